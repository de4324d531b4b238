import type { CronJob, Job } from '../../api/gen/batch-v1.ts';
import { type ObjectKey, objectKey } from '../../api/object.ts';
import { cronJobs, jobs } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import {
  type ControllerContext,
  controllerIndex,
  controllerUidsOf,
  reconcilerTask,
  withEvents,
} from '../context.ts';
import { controllerOf } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { planCronJob } from './plan.ts';

/** Starts the Jobs of every CronJob when they are due. */
export function cronJobController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const recorder = context.recorder('cronjob-controller');
  const queue = new WorkQueue(timing.clock);
  const owners = informers.of(cronJobs);
  const children = informers.of(jobs);
  const expected = new Expectations<Job>(children, timing.clock);
  children.addIndex(controllerIndex, controllerUidsOf);
  owners.onChange((key) => queue.add(key));
  children.onChange((_key, now, old) => {
    const job = now ?? old;
    const owner = job === undefined ? undefined : controllerOf(job);
    if (owner?.kind === 'CronJob') queue.add(objectKey(job?.metadata?.namespace, owner.name));
  });

  async function remove(cronJob: CronJob, job: Job, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', uid } = job.metadata ?? {};
    if (job.metadata?.deletionTimestamp !== undefined) return;
    try {
      await client.delete(jobs, namespace, name, { uid, propagationPolicy: 'Background', signal });
      recorder.event(cronJob, 'Normal', 'SuccessfulDelete', `Deleted job ${name}`);
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  async function create(cronJob: CronJob, key: ObjectKey, job: Job, signal: AbortSignal): Promise<void> {
    try {
      expected.written(key, await client.create(jobs, job, { signal }));
      recorder.event(cronJob, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata?.name}`);
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw error;
    }
  }

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const cronJob = owners.get(key);
    if (cronJob === undefined) return done;
    const waitMs = expected.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const { namespace = '', name = '', uid = '' } = cronJob.metadata ?? {};
    const owned = [...children.byIndex(controllerIndex, `${namespace}/${uid}`)];
    const plan = planCronJob(cronJob, owned, timing.clock.nowMs());
    for (const job of plan.remove) await remove(cronJob, job, signal);
    if (plan.create !== undefined) await create(cronJob, key, plan.create, signal);
    if (plan.warning !== undefined) {
      recorder.event(cronJob, 'Warning', plan.warning.reason, plan.warning.message);
    }
    const patch = statusPatch(cronJob.status, plan.status);
    if (patch !== undefined) {
      await client.patch(cronJobs, namespace, name, 'merge', patch, { subresource: 'status', signal });
    }
    return plan.recheckAfterMs === undefined ? done : requeueAfter(plan.recheckAfterMs);
  }

  return withEvents(reconcilerTask(context, 'cronjob', queue, reconcile, 2), recorder);
}
