import type { Job, JobCondition, JobStatus } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { formatIndexes } from '../../api/kinds/job-indexes.ts';
import { rfc3339 } from '../../base/clock.ts';
import { isPodReady } from '../pod-status.ts';
import { nonZero } from '../status-patch.ts';
import { planPods, trackingFinalizer } from './pods.ts';
import { isIndexed, successesOf, type Tally, tallyOf } from './tally.ts';
import { type Ended, judge } from './verdict.ts';

/** Who runs a Job whose managedBy names nobody else. */
const ownManager = 'kubernetes.io/job-controller';

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

/** False for a Job that a controller of somebody else runs; only its time to live after its end is ours then. */
export function isOurs(job: Job): boolean {
  return (job.spec?.managedBy ?? ownManager) === ownManager;
}

/** What is to be done for one Job. */
export function planJob(job: Job, owned: readonly Pod[], nowMs: number): JobPlan {
  if (!isOurs(job)) return isFinished(job) ? planExpiry(job, nowMs) : nothing(job);
  const tally = tallyOf(job, owned);
  if (isFinished(job)) return { ...planExpiry(job, nowMs), remove: tally.active, release: held(owned) };
  if (job.metadata?.deletionTimestamp !== undefined) return planLeaving(job, owned);
  const startMs = startOf(job, nowMs);
  const deadlineMs = deadlineOf(job, startMs, nowMs);
  const verdict = judge(job, tally, deadlineMs);
  if (verdict.kind !== 'runs') return planEnd(job, tally, verdict, startMs, nowMs);
  if (job.spec?.suspend === true) {
    const status = { ...statusOf(job, tally, undefined), conditions: suspended(job, 'True', nowMs) };
    return { ...nothing(job), remove: tally.active, status };
  }
  const { missing, surplus, waitMs } = planPods(job, tally, nowMs);
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

/** For a Job that goes, alone or with its namespace: nobody will ask for its counts. */
export function planLeaving(job: Job, owned: readonly Pod[]): JobPlan {
  return { ...nothing(job), release: held(owned) };
}

function held(owned: readonly Pod[]): readonly Pod[] {
  return owned.filter((pod) => pod.metadata?.finalizers?.includes(trackingFinalizer) === true);
}

function nothing(job: Job): JobPlan {
  const status = job.status ?? {};
  return { create: [], remove: [], release: [], status, expire: false, recheckAfterMs: undefined };
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

function statusOf(job: Job, tally: Tally, startMs: number | undefined): JobStatus {
  const perIndex = job.spec?.backoffLimitPerIndex !== undefined;
  return {
    active: nonZero(tally.active.length),
    ready: tally.active.filter(isPodReady).length,
    succeeded: nonZero(successesOf(job, tally)),
    failed: nonZero(tally.failed.length),
    terminating: tally.terminating.length,
    startTime: startMs === undefined ? undefined : rfc3339(startMs),
    completionTime: job.status?.completionTime,
    completedIndexes: isIndexed(job) ? formatIndexes(tally.doneIndexes) : undefined,
    failedIndexes: perIndex ? (formatIndexes(tally.failedIndexes) ?? '') : undefined,
    conditions: job.status?.conditions,
    uncountedTerminatedPods: {},
  };
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
function planEnd(job: Job, tally: Tally, verdict: Ended, startMs: number, nowMs: number): JobPlan {
  const { kind, reason, message } = verdict;
  const target = kind === 'failed' ? 'FailureTarget' : 'SuccessCriteriaMet';
  const known = job.status?.conditions ?? [];
  const decided = known.some(({ type }) => type === target)
    ? known
    : [...known, condition(target, 'True', reason, message, nowMs)];
  const status = statusOf(job, tally, startMs);
  const base = { ...nothing(job), remove: tally.active };
  if (tally.active.length + tally.terminating.length > 0)
    return { ...base, status: { ...status, conditions: decided } };
  const end = condition(kind === 'failed' ? 'Failed' : 'Complete', 'True', reason, message, nowMs);
  return {
    ...base,
    status: {
      ...status,
      ...(kind === 'failed' ? {} : { completionTime: rfc3339(nowMs) }),
      conditions: [...decided, end],
    },
    event:
      kind === 'failed'
        ? { type: 'Warning', reason, message }
        : { type: 'Normal', reason: 'Completed', message: 'Job completed' },
  };
}

function planExpiry(job: Job, nowMs: number): JobPlan {
  const ttl = job.spec?.ttlSecondsAfterFinished;
  const ended = (job.status?.conditions ?? []).find(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
  const endMs = Date.parse(ended?.lastTransitionTime ?? '') || nowMs;
  const leftMs = ttl === undefined ? undefined : Math.max(0, endMs + ttl * 1000 - nowMs);
  return {
    ...nothing(job),
    expire: leftMs === 0 && job.metadata?.deletionTimestamp === undefined,
    recheckAfterMs: leftMs === 0 ? undefined : leftMs,
  };
}
