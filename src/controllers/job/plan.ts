import type { Job, JobCondition, JobStatus } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { jobs } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import { controllerReference } from '../ownership.ts';
import { isPodReady } from '../pod-status.ts';
import { nonZero } from '../status-patch.ts';

/** Held on a Job's Pods until the Job is over: its counts are taken from the Pods, so none may vanish before. */
export const trackingFinalizer = 'batch.kubernetes.io/job-tracking';
const indexKey = 'batch.kubernetes.io/job-completion-index';

/** Pause before a failed Pod is made anew, doubled with every failure. */
const backoffFirstMs = 10_000;
const backoffMaxMs = 600_000;
/** Pods created in one pass at most. */
const burstMax = 500;

export type JobPlan = {
  readonly create: readonly Pod[];
  readonly remove: readonly Pod[];
  /** Pods whose finalizer may go. */
  readonly release: readonly Pod[];
  readonly status: JobStatus;
  /** The Job itself goes now: its time to live after its end is over. */
  readonly expire: boolean;
  readonly recheckAfterMs: number | undefined;
  readonly event?: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string };
};

type Tally = {
  readonly succeeded: readonly Pod[];
  readonly failed: readonly Pod[];
  readonly active: readonly Pod[];
  /** Told to go, and under podReplacementPolicy Failed neither replaced nor counted before they are over. */
  readonly leaving: readonly Pod[];
};

type Verdict =
  | { readonly kind: 'runs' }
  | { readonly kind: 'complete' }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string };

/** What is to be done for one Job. */
export function planJob(job: Job, owned: readonly Pod[], nowMs: number): JobPlan {
  const tally = tallyOf(job, owned);
  const held = owned.filter((pod) => pod.metadata?.finalizers?.includes(trackingFinalizer) === true);
  if (isFinished(job)) return planFinished(job, tally, held, nowMs);
  if (job.metadata?.deletionTimestamp !== undefined) {
    return { ...nothing(job), release: held };
  }
  const startMs = startOf(job, nowMs);
  const verdict = judge(job, tally, startMs, nowMs);
  if (verdict.kind !== 'runs') return planEnd(job, tally, verdict, startMs, nowMs);
  if (job.spec?.suspend === true) {
    const status = { ...statusOf(job, tally, undefined), conditions: suspended(job, 'True', nowMs) };
    return { ...nothing(job), remove: tally.active, status };
  }
  const { missing, surplus, waitMs } = planPods(job, tally, nowMs);
  const deadlineMs = deadlineOf(job, startMs, nowMs);
  const waits = [waitMs, deadlineMs].filter((ms): ms is number => ms !== undefined && ms > 0);
  return {
    create: missing,
    remove: surplus,
    release: [],
    status: { ...statusOf(job, tally, startMs), conditions: suspended(job, 'False', nowMs) },
    expire: false,
    recheckAfterMs: waits.length === 0 ? undefined : Math.min(...waits),
  };
}

function nothing(job: Job): JobPlan {
  const status = job.status ?? {};
  return { create: [], remove: [], release: [], status, expire: false, recheckAfterMs: undefined };
}

function tallyOf(job: Job, owned: readonly Pod[]): Tally {
  const succeeded = owned.filter((pod) => pod.status?.phase === 'Succeeded');
  const waits = job.spec?.podReplacementPolicy === 'Failed';
  const leaving = owned.filter((pod) => waits && isLeaving(pod));
  // A Pod that was told to go before it was done has failed, whatever becomes of its containers.
  const failed = owned.filter(
    (pod) =>
      pod.status?.phase === 'Failed' ||
      (pod.status?.phase !== 'Succeeded' && pod.metadata?.deletionTimestamp !== undefined),
  );
  const over = new Set([...succeeded, ...failed]);
  return {
    succeeded,
    failed: failed.filter((pod) => !leaving.includes(pod)),
    active: owned.filter((pod) => !over.has(pod)),
    leaving,
  };
}

/** A Pod without a node has no kubelet that would tell of its end: it is over at once. */
function isLeaving({ metadata, spec, status }: Pod): boolean {
  if (metadata?.deletionTimestamp === undefined || (spec?.nodeName ?? '') === '') return false;
  return status?.phase !== 'Failed' && status?.phase !== 'Succeeded';
}

export function isFinished(job: Job): boolean {
  return (job.status?.conditions ?? []).some(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
}

function startOf(job: Job, nowMs: number): number {
  const started = job.status?.startTime;
  return started === undefined ? nowMs : Date.parse(started);
}

function deadlineOf(job: Job, startMs: number, nowMs: number): number | undefined {
  const seconds = job.spec?.activeDeadlineSeconds;
  return seconds === undefined ? undefined : startMs + seconds * 1000 - nowMs;
}

function judge(job: Job, tally: Tally, startMs: number, nowMs: number): Verdict {
  const { completions, parallelism = 1, backoffLimit = 6, template, suspend } = job.spec ?? {};
  const restarts =
    template?.spec?.restartPolicy === 'OnFailure'
      ? tally.active.reduce((sum, pod) => sum + restartsOf(pod), 0)
      : 0;
  if (tally.failed.length > backoffLimit || restarts > backoffLimit) {
    const message = 'Job has reached the specified backoff limit';
    return { kind: 'failed', reason: 'BackoffLimitExceeded', message };
  }
  const leftMs = deadlineOf(job, startMs, nowMs);
  if (leftMs !== undefined && leftMs <= 0 && suspend !== true) {
    const message = 'Job was active longer than specified deadline';
    return { kind: 'failed', reason: 'DeadlineExceeded', message };
  }
  const succeeded = isIndexed(job) ? completedIndexes(job, tally).size : tally.succeeded.length;
  if (completions !== undefined) return { kind: succeeded >= completions ? 'complete' : 'runs' };
  // A work queue: done when one Pod found nothing more to do and the others have ended.
  if (parallelism > 0 && succeeded > 0 && tally.active.length === 0) return { kind: 'complete' };
  return { kind: 'runs' };
}

function isIndexed(job: Job): boolean {
  return job.spec?.completionMode === 'Indexed';
}

function restartsOf(pod: Pod): number {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  return statuses.reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function indexOf(pod: Pod): number {
  return Number(pod.metadata?.annotations?.[indexKey] ?? -1);
}

function completedIndexes(job: Job, tally: Tally): ReadonlySet<number> {
  const count = job.spec?.completions ?? 0;
  return new Set(tally.succeeded.map(indexOf).filter((index) => index >= 0 && index < count));
}

/** Which Pods to make or to drop so that as many run as parallelism asks for. */
function planPods(
  job: Job,
  tally: Tally,
  nowMs: number,
): {
  readonly missing: readonly Pod[];
  readonly surplus: readonly Pod[];
  readonly waitMs: number | undefined;
} {
  const { completions, parallelism = 1 } = job.spec ?? {};
  const done = isIndexed(job) ? completedIndexes(job, tally) : new Set<number>();
  const left =
    completions === undefined
      ? tally.succeeded.length > 0
        ? tally.active.length // the work is running out: no new ones
        : Number.POSITIVE_INFINITY
      : completions - (isIndexed(job) ? done.size : tally.succeeded.length);
  const wanted = Math.min(parallelism, left);
  if (tally.active.length > wanted) {
    return { missing: [], surplus: tally.active.slice(wanted), waitMs: undefined };
  }
  const count = Math.min(burstMax, wanted - tally.active.length - tally.leaving.length);
  if (count <= 0) return { missing: [], surplus: [], waitMs: undefined };
  const waitMs = backoffLeft(tally, nowMs);
  if (waitMs > 0) return { missing: [], surplus: [], waitMs };
  if (!isIndexed(job)) {
    return { missing: Array.from({ length: count }, () => podOfJob(job)), surplus: [], waitMs: undefined };
  }
  const taken = new Set([...done, ...[...tally.active, ...tally.leaving].map(indexOf)]);
  const free: number[] = [];
  for (let index = 0; index < (completions ?? 0) && free.length < count; index++) {
    if (!taken.has(index)) free.push(index);
  }
  return { missing: free.map((index) => podOfJob(job, index)), surplus: [], waitMs: undefined };
}

/** How long the last failure still holds back the next try, ms. */
function backoffLeft(tally: Tally, nowMs: number): number {
  const ends = tally.failed.map(endOf);
  if (ends.length === 0) return 0;
  const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(ends.length - 1, 10));
  return Math.max(0, Math.max(...ends) + delayMs - nowMs);
}

function endOf(pod: Pod): number {
  const times = (pod.status?.containerStatuses ?? []).map(({ state }) => state?.terminated?.finishedAt);
  const known = times.filter((time) => time !== undefined).map((time) => Date.parse(time));
  const fallback = pod.metadata?.deletionTimestamp ?? pod.metadata?.creationTimestamp;
  return known.length > 0 ? Math.max(...known) : Date.parse(fallback ?? '') || 0;
}

function statusOf(job: Job, tally: Tally, startMs: number | undefined): JobStatus {
  const terminating = [...tally.failed, ...tally.leaving].filter(
    (pod) => pod.status?.phase !== 'Failed' && (pod.metadata?.deletionGracePeriodSeconds ?? 0) > 0,
  );
  return {
    active: nonZero(tally.active.length),
    ready: tally.active.filter(isPodReady).length,
    succeeded: nonZero(isIndexed(job) ? completedIndexes(job, tally).size : tally.succeeded.length),
    failed: nonZero(tally.failed.length),
    terminating: terminating.length,
    startTime: startMs === undefined ? undefined : rfc3339(startMs),
    completionTime: job.status?.completionTime,
    completedIndexes: isIndexed(job) ? formatIndexes(completedIndexes(job, tally)) : undefined,
    conditions: job.status?.conditions,
    uncountedTerminatedPods: {},
  };
}

/** "0-2,5": sorted, runs joined. */
export function formatIndexes(indexes: ReadonlySet<number>): string | undefined {
  const sorted = [...indexes].toSorted((a, b) => a - b);
  const runs: { from: number; to: number }[] = [];
  for (const index of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && index === last.to + 1) last.to = index;
    else runs.push({ from: index, to: index });
  }
  if (runs.length === 0) return undefined;
  return runs.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}

function suspended(job: Job, status: 'True' | 'False', nowMs: number): JobStatus['conditions'] {
  const old = job.status?.conditions ?? [];
  const known = old.find(({ type }) => type === 'Suspended');
  if ((known === undefined && status === 'False') || known?.status === status) {
    return old.length === 0 ? undefined : old;
  }
  const reason = status === 'True' ? 'JobSuspended' : 'JobResumed';
  const message = status === 'True' ? 'Job suspended' : 'Job resumed';
  return [
    ...old.filter(({ type }) => type !== 'Suspended'),
    condition('Suspended', status, reason, message, nowMs),
  ];
}

function condition(
  type: string,
  status: string,
  reason: string,
  message: string,
  nowMs: number,
): JobCondition {
  const now = rfc3339(nowMs);
  return { type, status, reason, message, lastProbeTime: now, lastTransitionTime: now };
}

/** The Job is decided: what still runs is stopped, and once it has, the Job is finished. */
function planEnd(
  job: Job,
  tally: Tally,
  verdict: Exclude<Verdict, { kind: 'runs' }>,
  startMs: number,
  nowMs: number,
): JobPlan {
  const failed = verdict.kind === 'failed';
  const reason = failed ? verdict.reason : 'CompletionsReached';
  const message = failed ? verdict.message : 'Reached expected number of succeeded pods';
  const others = (job.status?.conditions ?? []).filter(({ type }) => type === 'Suspended');
  const end = rfc3339(nowMs);
  const status = statusOf(job, { ...tally, active: [] }, startMs);
  return {
    create: [],
    remove: tally.active,
    release: [],
    status: {
      ...status,
      ready: 0,
      ...(failed ? { failed: nonZero(tally.failed.length + tally.active.length) } : { completionTime: end }),
      conditions: [
        ...others,
        condition(failed ? 'FailureTarget' : 'SuccessCriteriaMet', 'True', reason, message, nowMs),
        condition(failed ? 'Failed' : 'Complete', 'True', reason, message, nowMs),
      ],
    },
    expire: false,
    recheckAfterMs: undefined,
    event: failed
      ? { type: 'Warning', reason, message }
      : { type: 'Normal', reason: 'Completed', message: 'Job completed' },
  };
}

function planFinished(job: Job, tally: Tally, held: readonly Pod[], nowMs: number): JobPlan {
  const ttl = job.spec?.ttlSecondsAfterFinished;
  const ended = (job.status?.conditions ?? []).find(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
  const endMs = Date.parse(ended?.lastTransitionTime ?? '') || nowMs;
  const leftMs = ttl === undefined ? undefined : Math.max(0, endMs + ttl * 1000 - nowMs);
  return {
    ...nothing(job),
    remove: tally.active,
    release: held,
    expire: leftMs === 0 && job.metadata?.deletionTimestamp === undefined,
    recheckAfterMs: leftMs === 0 ? undefined : leftMs,
  };
}

/** The Pod to create; with `index` the one that works on that part of an Indexed Job. */
function podOfJob(job: Job, index?: number): Pod {
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
      annotations: { ...metadata?.annotations, ...indexed },
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
