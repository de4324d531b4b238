import type { Job } from '../../api/gen/batch-v1.ts';
import type { Namespace, Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey, splitKey } from '../../api/object.ts';
import { jobs, namespaces, pods } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { type ApiClient, isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, type ControllerLoop, loopTask } from '../context.ts';
import { controllerOf, planClaims } from '../ownership.ts';
import { PodControl } from '../pod-control.ts';
import { statusPatch } from '../status-patch.ts';
import { isOurs, planJob, planLeaving } from './plan.ts';
import { trackingFinalizer } from './pods.ts';

/** Index of Pods by the Job that controls them, or that their label names, by name: the Job itself may be gone. */
const jobIndex = 'job';

/** Of a Pod that nobody controls, only one that the Job's finalizer still holds: the Job was deleted without its Pods. */
function jobKeysOf(pod: Pod): readonly string[] {
  const { namespace = '', labels, finalizers } = pod.metadata ?? {};
  const owner = controllerOf(pod);
  if (owner !== undefined) return owner.kind === 'Job' ? [`${namespace}/${owner.name}`] : [];
  const name = labels?.['batch.kubernetes.io/job-name'];
  return name !== undefined && finalizers?.includes(trackingFinalizer) === true
    ? [`${namespace}/${name}`]
    : [];
}

/** Runs every Job's Pods until enough have succeeded or too many failed. */
export function jobController(context: ControllerContext): Task {
  return loopTask(context, 'job', new JobLoop(context));
}

class JobLoop implements ControllerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #jobs: Informer<Job>;
  readonly #pods: Informer<Pod>;
  readonly #namespaces: Informer<Namespace>;
  readonly #control: PodControl<Job>;

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('job-controller');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#jobs = context.informers.of(jobs);
    this.#pods = context.informers.of(pods);
    this.#namespaces = context.informers.of(namespaces);
    this.#control = new PodControl(context, jobs, this.recorder, trackingFinalizer);
  }

  listen(): void {
    this.#pods.addIndex(jobIndex, jobKeysOf);
    this.#control.listen(this.#jobs, this.queue, (job) => job.spec?.selector);
    this.#namespaces.onChange((_key, now) => {
      if (now?.metadata?.deletionTimestamp === undefined) return;
      for (const job of this.#jobs.list()) {
        if (job.metadata?.namespace === now.metadata.name) this.queue.add(keyOf(job));
      }
    });
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const job = this.#jobs.get(key);
    await this.#releaseOrphans(key, job, signal);
    if (job === undefined) return done;
    const waitMs = this.#control.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const { namespace, name } = splitKey(key);
    const owned = await this.#podsOf(job, signal);
    // A namespace goes Pods first: held until their Job is over, they would keep it, and the Job with it, for ever.
    const leaves = this.#namespaces.get(namespace ?? '')?.metadata?.deletionTimestamp !== undefined;
    const plan = leaves ? planLeaving(job, owned) : planJob(job, owned, this.#clock.nowMs());
    // The status first: what it says must stand before the Pods that prove it are let go.
    const patch = statusPatch(job.status, plan.status);
    if (patch !== undefined) {
      await this.#client.patch(jobs, namespace, name, 'merge', patch, { subresource: 'status', signal });
    }
    if (plan.event !== undefined) {
      this.recorder.event(job, plan.event.type, plan.event.reason, plan.event.message);
    }
    const failure = await this.#control.create(job, plan.create, signal);
    await this.#control.remove(job, plan.remove, signal);
    for (const pod of plan.release) await this.#release(pod, signal);
    if (plan.expire) await this.#expire(job, signal);
    if (failure !== undefined) throw failure;
    return plan.recheckAfterMs === undefined ? done : requeueAfter(plan.recheckAfterMs);
  }

  /** The Pods that are the Job's; those of a Job that somebody else runs are left alone. */
  async #podsOf(job: Job, signal: AbortSignal): Promise<readonly Pod[]> {
    if (!isOurs(job)) return [];
    const claims = planClaims(job, job.spec?.selector, this.#control.candidatesOf(job));
    return this.#control.claim(job, claims, signal);
  }

  /** Pods of a Job that is gone, or goes and leaves them behind, are held by nobody any more. */
  async #releaseOrphans(key: ObjectKey, job: Job | undefined, signal: AbortSignal): Promise<void> {
    const mayAdopt = job !== undefined && job.metadata?.deletionTimestamp === undefined;
    for (const pod of this.#pods.byIndex(jobIndex, key)) {
      const controller = controllerOf(pod);
      if (controller === undefined ? mayAdopt : controller.uid === job?.metadata?.uid) continue;
      await this.#release(pod, signal);
    }
  }

  async #release(pod: Pod, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', uid, resourceVersion, finalizers = [] } = pod.metadata ?? {};
    const rest = finalizers.filter((finalizer) => finalizer !== trackingFinalizer);
    if (rest.length === finalizers.length) return;
    const patch = { metadata: { uid, resourceVersion, finalizers: rest.length === 0 ? null : rest } };
    try {
      await this.#client.patch(pods, namespace, name, 'merge', patch, { signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  async #expire(job: Job, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', uid } = job.metadata ?? {};
    try {
      await this.#client.delete(jobs, namespace, name, { uid, propagationPolicy: 'Background', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }
}
