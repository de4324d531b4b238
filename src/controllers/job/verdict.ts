import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { metSuccessRule } from './policies.ts';
import { isIndexed, successesOf, type Tally } from './tally.ts';

/** How it stands with a Job; `reason` and `message` are those of its conditions. */
export type Verdict =
  | { readonly kind: 'runs' }
  | { readonly kind: 'complete' | 'failed'; readonly reason: string; readonly message: string };

export type Ended = Exclude<Verdict, { kind: 'runs' }>;

const runs: Verdict = { kind: 'runs' };

/** Whether the Job is decided, and by what. A decision that stands in its conditions is kept. */
export function judge(job: Job, tally: Tally, leftMs: number | undefined): Verdict {
  return (
    earlierVerdict(job) ??
    failureOf(job, tally, leftMs) ??
    indexFailureOf(job, tally) ??
    successOf(job, tally) ??
    runs
  );
}

function earlierVerdict(job: Job): Ended | undefined {
  for (const { type, status, reason = '', message = '' } of job.status?.conditions ?? []) {
    if (status !== 'True') continue;
    if (type === 'SuccessCriteriaMet') return { kind: 'complete', reason, message };
    if (type === 'FailureTarget') return { kind: 'failed', reason, message };
  }
  return undefined;
}

function failed(reason: string, message: string): Ended {
  return { kind: 'failed', reason, message };
}

function failureOf(job: Job, tally: Tally, leftMs: number | undefined): Ended | undefined {
  const { backoffLimit = 6, template, suspend } = job.spec ?? {};
  if (tally.failsJob !== undefined) return failed('PodFailurePolicy', tally.failsJob);
  const restarts =
    template?.spec?.restartPolicy === 'OnFailure'
      ? tally.active.reduce((sum, pod) => sum + restartsOf(pod), 0)
      : 0;
  if (tally.failed.length > backoffLimit || restarts > backoffLimit)
    return failed('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  if (leftMs !== undefined && leftMs <= 0 && suspend !== true)
    return failed('DeadlineExceeded', 'Job was active longer than specified deadline');
  return undefined;
}

function restartsOf(pod: Pod): number {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  return statuses.reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function indexFailureOf(job: Job, tally: Tally): Ended | undefined {
  const { completions = 0, maxFailedIndexes } = job.spec ?? {};
  const count = tally.failedIndexes.size;
  if (maxFailedIndexes !== undefined && count > maxFailedIndexes) {
    const message = 'Job has exceeded the specified maximal number of failed indexes';
    return failed('MaxFailedIndexesExceeded', message);
  }
  if (count > 0 && count + tally.doneIndexes.size >= completions)
    return failed('FailedIndexes', 'Job has failed indexes');
  return undefined;
}

function successOf(job: Job, tally: Tally): Ended | undefined {
  const { completions, parallelism = 1 } = job.spec ?? {};
  const rule = isIndexed(job) ? metSuccessRule(job, tally.doneIndexes) : undefined;
  if (rule !== undefined) return { kind: 'complete', reason: 'SuccessPolicy', message: rule };
  const succeeded = successesOf(job, tally);
  // A work queue is done when one Pod found nothing more to do and the others have ended.
  const isDone =
    completions === undefined
      ? parallelism > 0 && succeeded > 0 && tally.active.length === 0
      : succeeded >= completions;
  if (!isDone) return undefined;
  const message = 'Reached expected number of succeeded pods';
  return { kind: 'complete', reason: 'CompletionsReached', message };
}
