import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { countIndexes, type IndexRange, parseIndexes } from '../../api/kinds/job-indexes.ts';

type FailureRule = NonNullable<NonNullable<Job['spec']>['podFailurePolicy']>['rules'][number];

/** What a Pod's failure means for its Job. */
export type FailureMeaning =
  /** One more towards the limits. */
  | { readonly kind: 'counts' }
  /** It is as if it had not been. */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'fails-index' }
  /** `message` in Kubernetes' words. */
  | { readonly kind: 'fails-job'; readonly message: string };

/** The first rule of the Job's podFailurePolicy that fits decides; without one the failure counts. */
export function meaningOf(job: Job, pod: Pod): FailureMeaning {
  const rules = job.spec?.podFailurePolicy?.rules ?? [];
  for (const [index, rule] of rules.entries()) {
    const found = matchOf(rule, pod);
    if (found === undefined) continue;
    switch (rule.action) {
      case 'Ignore':
        return { kind: 'ignored' };
      case 'FailIndex':
        return { kind: 'fails-index' };
      case 'FailJob':
        return { kind: 'fails-job', message: `${found} matching FailJob rule at index ${index}` };
      default:
        return { kind: 'counts' };
    }
  }
  return { kind: 'counts' };
}

function matchOf(rule: FailureRule, pod: Pod): string | undefined {
  const { namespace = '', name = '' } = pod.metadata ?? {};
  const codes = rule.onExitCodes;
  if (codes !== undefined) {
    const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
    for (const status of statuses) {
      const exitCode = status.state?.terminated?.exitCode ?? 0;
      if (exitCode === 0 || (codes.containerName ?? status.name) !== status.name) continue;
      if (codes.values.includes(exitCode) !== (codes.operator === 'In')) continue;
      return `Container ${status.name} for pod ${namespace}/${name} failed with exit code ${exitCode}`;
    }
    return undefined;
  }
  const conditions = pod.status?.conditions ?? [];
  const pattern = rule.onPodConditions?.find((wanted) =>
    conditions.some(({ type, status }) => type === wanted.type && status === (wanted.status ?? 'True')),
  );
  return pattern === undefined ? undefined : `Pod ${namespace}/${name} has condition ${pattern.type}`;
}

/** The first rule of the Job's successPolicy that holds, in Kubernetes' words; undefined: none does. */
export function metSuccessRule(job: Job, succeeded: ReadonlySet<number>): string | undefined {
  const rules = job.spec?.successPolicy?.rules ?? [];
  const index = rules.findIndex(({ succeededIndexes, succeededCount }) => {
    if (succeededIndexes === undefined) return succeeded.size >= (succeededCount ?? Number.POSITIVE_INFINITY);
    const parsed = parseIndexes(succeededIndexes, job.spec?.completions ?? 0);
    if ('problem' in parsed) return false; // a Job that has shrunk since: such indexes never come
    const done = [...succeeded].filter((one) => isIn(one, parsed.ranges)).length;
    return done >= (succeededCount ?? countIndexes(parsed.ranges));
  });
  return index === -1 ? undefined : `Matched rules at index ${index}`;
}

function isIn(index: number, ranges: readonly IndexRange[]): boolean {
  return ranges.some(({ from, to }) => index >= from && index <= to);
}
