import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { meaningOf } from './policies.ts';

export const indexKey = 'batch.kubernetes.io/job-completion-index';

/** A Job's Pods by what has become of them. */
export type Tally = {
  readonly succeeded: readonly Pod[];
  /** Those that count towards backoffLimit. */
  readonly failed: readonly Pod[];
  /** Failures that the Job's podFailurePolicy ignores. */
  readonly ignored: readonly Pod[];
  readonly active: readonly Pod[];
  /** Told to go, and under podReplacementPolicy Failed neither replaced nor counted before they are over. */
  readonly leaving: readonly Pod[];
  /** Told to go, and still running, under whatever policy. */
  readonly terminating: readonly Pod[];
  /** Of an Indexed Job: indexes that are done, and those that have failed for good. */
  readonly doneIndexes: ReadonlySet<number>;
  readonly failedIndexes: ReadonlySet<number>;
  /** Why a podFailurePolicy ends the Job, in Kubernetes' words. */
  readonly failsJob: string | undefined;
};

export function tallyOf(job: Job, owned: readonly Pod[]): Tally {
  const succeeded = owned.filter((pod) => pod.status?.phase === 'Succeeded');
  const terminating = owned.filter(isLeaving);
  const waits = job.spec?.podReplacementPolicy === 'Failed';
  const leaving = waits ? terminating : [];
  // A Pod that was told to go before it was done has failed, whatever becomes of its containers.
  const over = owned.filter(
    (pod) =>
      pod.status?.phase === 'Failed' ||
      (pod.status?.phase !== 'Succeeded' && pod.metadata?.deletionTimestamp !== undefined),
  );
  const ended = over.filter((pod) => !leaving.includes(pod)).map((pod) => ({ pod, ...meaning(job, pod) }));
  const settled = new Set([...succeeded, ...over]);
  const doneIndexes = new Set(succeeded.map(indexOf).filter((index) => isIndexOf(job, index)));
  return {
    succeeded,
    failed: ended.filter(({ kind }) => kind !== 'ignored').map(({ pod }) => pod),
    ignored: ended.filter(({ kind }) => kind === 'ignored').map(({ pod }) => pod),
    active: owned.filter((pod) => !settled.has(pod)),
    leaving,
    terminating,
    doneIndexes,
    failedIndexes: failedIndexesOf(job, ended, doneIndexes),
    failsJob: ended.find(({ message }) => message !== undefined)?.message,
  };
}

function meaning(job: Job, pod: Pod): { readonly kind: string; readonly message: string | undefined } {
  const found = meaningOf(job, pod);
  return { kind: found.kind, message: found.kind === 'fails-job' ? found.message : undefined };
}

/** A Pod without a node has no kubelet that would tell of its end: it is over at once. */
function isLeaving({ metadata, spec, status }: Pod): boolean {
  if (metadata?.deletionTimestamp === undefined || (spec?.nodeName ?? '') === '') return false;
  return status?.phase !== 'Failed' && status?.phase !== 'Succeeded';
}

/** Failed for good: more often than backoffLimitPerIndex allows, or by a rule. Without that limit no index fails. */
function failedIndexesOf(
  job: Job,
  ended: readonly { readonly pod: Pod; readonly kind: string }[],
  done: ReadonlySet<number>,
): ReadonlySet<number> {
  const limit = job.spec?.backoffLimitPerIndex;
  if (limit === undefined) return new Set();
  const failures = new Map<number, number>();
  for (const { pod, kind } of ended) {
    const index = indexOf(pod);
    if (kind === 'ignored' || done.has(index) || !isIndexOf(job, index)) continue;
    const weight = kind === 'counts' ? 1 : Number.POSITIVE_INFINITY;
    failures.set(index, (failures.get(index) ?? 0) + weight);
  }
  return new Set([...failures].filter(([, count]) => count > limit).map(([index]) => index));
}

export function isIndexed(job: Job): boolean {
  return job.spec?.completionMode === 'Indexed';
}

/** -1 for a Pod without an index. */
export function indexOf(pod: Pod): number {
  return Number(pod.metadata?.annotations?.[indexKey] ?? -1);
}

function isIndexOf(job: Job, index: number): boolean {
  return index >= 0 && index < (job.spec?.completions ?? 0);
}

/** How many have succeeded: Pods, or indexes where the Job has such. */
export function successesOf(job: Job, tally: Tally): number {
  return isIndexed(job) ? tally.doneIndexes.size : tally.succeeded.length;
}
