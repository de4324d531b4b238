import { nextTime, parseCron } from '../../api/cron.ts';
import type { CronJob, CronJobStatus, Job } from '../../api/gen/batch-v1.ts';
import { cronJobs } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import { isFinished } from '../job/plan.ts';
import { controllerReference } from '../ownership.ts';

/** Times missed while nobody looked: past so many the oldest are not counted any more. */
const missedMax = 100;

export type CronJobPlan = {
  readonly create: Job | undefined;
  readonly remove: readonly Job[];
  readonly status: CronJobStatus;
  readonly recheckAfterMs: number | undefined;
  readonly warning?: { readonly reason: string; readonly message: string };
};

/** What is to be done for one CronJob at this moment. */
export function planCronJob(cronJob: CronJob, owned: readonly Job[], nowMs: number): CronJobPlan {
  const finished = owned.filter(isFinished);
  const active = owned.filter((job) => !isFinished(job));
  const remove = [...planHistoryOf(cronJob, finished)];
  const status = statusOf(cronJob, active, finished);
  const idle = { create: undefined, remove, status, recheckAfterMs: undefined };
  const { schedule, timeZone = 'UTC', suspend, concurrencyPolicy } = cronJob.spec;
  const parsed = parseCron(schedule);
  if (typeof parsed === 'string') {
    const message = `unparseable schedule: ${JSON.stringify(schedule)}: ${parsed}`;
    return { ...idle, warning: { reason: 'UnparseableSchedule', message } };
  }
  if (suspend === true || cronJob.metadata?.deletionTimestamp !== undefined) return idle;
  const { due, next } = dueTime(cronJob, parsed, timeZone, nowMs);
  const recheckAfterMs = next === undefined ? undefined : Math.max(1, next - nowMs);
  if (due === undefined) return { ...idle, recheckAfterMs };
  const deadline = cronJob.spec?.startingDeadlineSeconds;
  const scheduled = { ...status, lastScheduleTime: rfc3339(due) };
  if (deadline !== undefined && due + deadline * 1000 < nowMs) {
    const message = `Missed scheduled time to start a job: ${rfc3339(due)}`;
    return { ...idle, recheckAfterMs, warning: { reason: 'MissSchedule', message } };
  }
  const job = jobAt(cronJob, due);
  if (owned.some(({ metadata }) => metadata?.name === job.metadata?.name)) {
    return { ...idle, status: scheduled, recheckAfterMs };
  }
  if (concurrencyPolicy === 'Forbid' && active.length > 0) {
    // Its end is heard of, so the time is tried again then.
    const message = 'Not starting job because prior execution is running and concurrency policy is Forbid';
    return { ...idle, recheckAfterMs, warning: { reason: 'JobAlreadyActive', message } };
  }
  if (concurrencyPolicy === 'Replace') remove.push(...active);
  return { create: job, remove, status: scheduled, recheckAfterMs };
}

function dueTime(
  cronJob: CronJob,
  schedule: Exclude<ReturnType<typeof parseCron>, string>,
  timeZone: string,
  nowMs: number,
): { readonly due: number | undefined; readonly next: number | undefined } {
  const from = cronJob.status?.lastScheduleTime ?? cronJob.metadata?.creationTimestamp;
  let after = Date.parse(from ?? '') || nowMs;
  const deadline = cronJob.spec?.startingDeadlineSeconds;
  if (deadline !== undefined) after = Math.max(after, nowMs - deadline * 1000);
  let due: number | undefined;
  for (let count = 0; ; count++) {
    const next = nextTime(schedule, after, timeZone);
    if (next === undefined || next > nowMs) return { due, next };
    due = next;
    // Far behind: only the newest matters, so begin shortly before now.
    after = count === missedMax ? Math.max(next, nowMs - 86_400_000) : next;
    if (count > missedMax * 20) return { due, next: nextTime(schedule, nowMs, timeZone) };
  }
}

function statusOf(cronJob: CronJob, active: readonly Job[], finished: readonly Job[]): CronJobStatus {
  const done = finished
    .filter((job) => job.status?.completionTime !== undefined)
    .map((job) => job.status?.completionTime ?? '');
  const last = [...done, cronJob.status?.lastSuccessfulTime ?? ''].toSorted().at(-1) ?? '';
  return {
    ...(active.length === 0
      ? {}
      : {
          active: active.map(({ metadata }) => ({
            kind: 'Job',
            apiVersion: 'batch/v1',
            namespace: metadata?.namespace,
            name: metadata?.name,
            uid: metadata?.uid,
            resourceVersion: metadata?.resourceVersion,
          })),
        }),
    ...(cronJob.status?.lastScheduleTime === undefined
      ? {}
      : { lastScheduleTime: cronJob.status.lastScheduleTime }),
    ...(last === '' ? {} : { lastSuccessfulTime: last }),
  };
}

/** Finished Jobs beyond the limits, the oldest first. */
function planHistoryOf(cronJob: CronJob, finished: readonly Job[]): readonly Job[] {
  const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cronJob.spec ?? {};
  const failed = (job: Job): boolean =>
    job.status?.conditions?.some(({ type, status }) => type === 'Failed' && status === 'True') === true;
  const oldest = (jobs: readonly Job[], limit: number): readonly Job[] =>
    jobs
      .filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
      .toSorted((a, b) => ((a.status?.startTime ?? '') < (b.status?.startTime ?? '') ? -1 : 1))
      .slice(0, Math.max(0, jobs.length - limit));
  return [
    ...oldest(
      finished.filter((job) => !failed(job)),
      successfulJobsHistoryLimit,
    ),
    ...oldest(finished.filter(failed), failedJobsHistoryLimit),
  ];
}

/** The Job of a scheduled time. Its name comes from the time, so that no time runs twice. */
function jobAt(cronJob: CronJob, atMs: number): Job {
  const { name = '', namespace } = cronJob.metadata ?? {};
  const template = cronJob.spec?.jobTemplate;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: `${name}-${Math.floor(atMs / 60_000)}`,
      namespace,
      labels: template?.metadata?.labels,
      annotations: {
        ...template?.metadata?.annotations,
        'batch.kubernetes.io/cronjob-scheduled-timestamp': rfc3339(atMs),
      },
      ownerReferences: [controllerReference(cronJobs, cronJob)],
    },
    spec: template?.spec,
  };
}
