import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { jobs } from '../../api/resource.ts';
import { controllerReference } from '../ownership.ts';
import { indexKey, indexOf, isIndexed, successesOf, type Tally } from './tally.ts';

/** Held on a Job's Pods until the Job is over: its counts are taken from the Pods, so none may vanish before. */
export const trackingFinalizer = 'batch.kubernetes.io/job-tracking';
const failureCountKey = 'batch.kubernetes.io/job-index-failure-count';
const ignoredCountKey = 'batch.kubernetes.io/job-index-ignored-failure-count';

/** Pause before a failed Pod is made anew, doubled with every failure. */
const backoffFirstMs = 10_000;
const backoffMaxMs = 600_000;
/** Pods created in one pass at most. */
const burstMax = 500;

export type PodPlan = {
  readonly missing: readonly Pod[];
  readonly surplus: readonly Pod[];
  /** Until something that failed may be tried again. */
  readonly waitMs: number | undefined;
};

const settled: PodPlan = { missing: [], surplus: [], waitMs: undefined };

/** Which Pods to make or to drop so that as many run as parallelism asks for. */
export function planPods(job: Job, tally: Tally, nowMs: number): PodPlan {
  const { completions, parallelism = 1 } = job.spec ?? {};
  const left =
    completions === undefined
      ? tally.succeeded.length > 0
        ? tally.active.length // the work is running out: no new ones
        : Number.POSITIVE_INFINITY
      : completions - successesOf(job, tally) - tally.failedIndexes.size;
  const wanted = Math.min(parallelism, Math.max(0, left));
  const useful = usefulPods(job, tally);
  const most = Math.min(wanted, useful.size);
  if (tally.active.length > most) {
    const usefulFirst = tally.active.toSorted((x, y) => Number(useful.has(y)) - Number(useful.has(x)));
    return { ...settled, surplus: usefulFirst.slice(most) };
  }
  const count = Math.min(burstMax, wanted - tally.active.length - tally.leaving.length);
  if (count <= 0) return settled;
  if (isIndexed(job)) return planIndexes(job, tally, count, nowMs);
  const waitMs = backoffLeft([...tally.failed, ...tally.ignored], nowMs);
  if (waitMs > 0) return { ...settled, waitMs };
  return { ...settled, missing: Array.from({ length: count }, () => podOfJob(job)) };
}

/** Active Pods; of an Indexed Job those that work on an index which is not done and which nobody else has. */
function usefulPods(job: Job, tally: Tally): ReadonlySet<Pod> {
  if (!isIndexed(job)) return new Set(tally.active);
  const seen = new Set<number>();
  return new Set(
    tally.active.filter((pod) => {
      const index = indexOf(pod);
      const isNew = index >= 0 && index < (job.spec?.completions ?? 0) && !seen.has(index);
      seen.add(index);
      return isNew && !tally.doneIndexes.has(index);
    }),
  );
}

/** The lowest indexes that nobody works on. With a limit per index each waits for itself. */
function planIndexes(job: Job, tally: Tally, count: number, nowMs: number): PodPlan {
  const { completions = 0, backoffLimitPerIndex } = job.spec ?? {};
  const perIndex = backoffLimitPerIndex !== undefined;
  const together = perIndex ? 0 : backoffLeft([...tally.failed, ...tally.ignored], nowMs);
  if (together > 0) return { ...settled, waitMs: together };
  const taken = new Set([
    ...tally.doneIndexes,
    ...tally.failedIndexes,
    ...[...tally.active, ...tally.leaving].map(indexOf),
  ]);
  const failures = perIndex ? failuresByIndex(tally) : new Map<number, Failures>();
  const missing: Pod[] = [];
  let waitMs: number | undefined;
  for (let index = 0; index < completions && missing.length < count; index++) {
    if (taken.has(index)) continue;
    const before = failures.get(index) ?? { counted: [], ignored: [] };
    const leftMs = backoffLeft([...before.counted, ...before.ignored], nowMs);
    if (leftMs > 0) waitMs = Math.min(waitMs ?? leftMs, leftMs);
    else missing.push(podOfJob(job, index, perIndex ? before : undefined));
  }
  return { ...settled, missing, waitMs };
}

type Failures = { readonly counted: readonly Pod[]; readonly ignored: readonly Pod[] };

function failuresByIndex(tally: Tally): ReadonlyMap<number, Failures> {
  const found = new Map<number, { counted: Pod[]; ignored: Pod[] }>();
  for (const kind of ['counted', 'ignored'] as const) {
    for (const pod of kind === 'counted' ? tally.failed : tally.ignored) {
      const index = indexOf(pod);
      const entry = found.get(index) ?? { counted: [], ignored: [] };
      entry[kind].push(pod);
      found.set(index, entry);
    }
  }
  return found;
}

/** How long the last of these failures still holds back the next try, ms. */
function backoffLeft(failures: readonly Pod[], nowMs: number): number {
  if (failures.length === 0) return 0;
  const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(failures.length - 1, 10));
  return Math.max(0, Math.max(...failures.map(endOf)) + delayMs - nowMs);
}

function endOf(pod: Pod): number {
  const times = (pod.status?.containerStatuses ?? []).map(({ state }) => state?.terminated?.finishedAt);
  const known = times.filter((time) => time !== undefined).map((time) => Date.parse(time));
  const fallback = pod.metadata?.deletionTimestamp ?? pod.metadata?.creationTimestamp;
  return known.length > 0 ? Math.max(...known) : Date.parse(fallback ?? '') || 0;
}

/** The Pod to create; with `index` the one that works on that part of an Indexed Job. */
function podOfJob(job: Job, index?: number, failures?: Failures): Pod {
  const { metadata, spec } = job.spec?.template ?? {};
  const name = job.metadata?.name ?? '';
  const indexed = index === undefined ? {} : { [indexKey]: String(index) };
  const variable = {
    name: 'JOB_COMPLETION_INDEX',
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: `metadata.annotations['${indexKey}']` } },
  };
  const numbered = <C extends { readonly env?: readonly { readonly name: string }[] | undefined }>(
    container: C,
  ): C =>
    index === undefined || container.env?.some((entry) => entry.name === variable.name) === true
      ? container
      : { ...container, env: [...(container.env ?? []), variable] };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: index === undefined ? `${name}-` : `${name}-${index}-`,
      namespace: job.metadata?.namespace,
      labels: { ...metadata?.labels, ...indexed },
      annotations: { ...metadata?.annotations, ...indexed, ...failureCounts(failures) },
      finalizers: [...(metadata?.finalizers ?? []), trackingFinalizer],
      ownerReferences: [controllerReference(jobs, job)],
    },
    spec: {
      ...spec,
      containers: (spec?.containers ?? []).map(numbered),
      ...(spec?.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(numbered) }),
      ...(index === undefined ? {} : { hostname: `${name}-${index}` }),
    },
  };
}

/** Under a limit per index the Pod tells how often its index has failed before. */
function failureCounts(failures: Failures | undefined): Readonly<Record<string, string>> {
  if (failures === undefined) return {};
  const { counted, ignored } = failures;
  const ofIgnored = ignored.length === 0 ? {} : { [ignoredCountKey]: String(ignored.length) };
  return { [failureCountKey]: String(counted.length), ...ofIgnored };
}
