import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import { pods, replicaSets } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { matchesSelector } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import {
  type ControllerContext,
  controllerIndex,
  controllerUidsOf,
  reconcilerTask,
  withEvents,
} from '../context.ts';
import { adoptionPatch, type Claims, controllerOf, controllerReference, releasePatch } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { planReplicaSet, planReplicaSetStatus, podFromTemplate } from './plan.ts';

/** Keeps the asked number of Pods of every ReplicaSet. */
export function replicaSetController(context: ControllerContext): Task {
  const loop = new ReplicaSetLoop(context);
  loop.listen();
  const reconcile = (key: ObjectKey, signal: AbortSignal): Promise<Outcome> => loop.reconcile(key, signal);
  return withEvents(reconcilerTask(context, 'replicaset', loop.queue, reconcile), loop.recorder);
}

class ReplicaSetLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #setInformer: Informer<ReplicaSet>;
  readonly #podInformer: Informer<Pod>;
  readonly #podsExpected: Expectations<Pod>;

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder('replicaset-controller');
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#setInformer = context.informers.of(replicaSets);
    this.#podInformer = context.informers.of(pods);
    this.#podsExpected = new Expectations(this.#podInformer, this.#clock);
  }

  listen(): void {
    this.#podInformer.addIndex(controllerIndex, controllerUidsOf);
    this.#setInformer.addIndex(controllerIndex, controllerUidsOf);
    this.#setInformer.onChange((key) => this.queue.add(key));
    this.#podInformer.onChange((_key, now, old) => {
      for (const pod of [now, old]) {
        if (pod === undefined) continue;
        const controller = controllerOf(pod);
        const { namespace, labels } = pod.metadata ?? {};
        if (controller?.kind === 'ReplicaSet') this.queue.add(objectKey(namespace, controller.name));
        if (controller !== undefined) continue;
        for (const set of this.#setInformer.list()) {
          if (set.metadata?.namespace === namespace && matchesSelector(set.spec?.selector, labels))
            this.queue.add(keyOf(set));
        }
      }
    });
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const set = this.#setInformer.get(key);
    if (set === undefined) return done;
    const waitMs = this.#podsExpected.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const plan = planReplicaSet(set, this.#candidatesOf(set), this.#relatedTo(set));
    await this.#claim(set, plan.claims, signal);
    const failure = await this.#createPods(set, plan.create, signal);
    await this.#removePods(set, plan.remove, signal);

    const owned = [...plan.claims.owned, ...plan.claims.adopt];
    const { status, recheckAfterMs } = planReplicaSetStatus(
      set,
      owned,
      this.#clock.nowMs(),
      failure?.message,
    );
    const patch = statusPatch(set.status, status);
    if (patch !== undefined) {
      const { namespace, name = '' } = set.metadata ?? {};
      await this.#client.patch(replicaSets, namespace, name, 'merge', patch, {
        subresource: 'status',
        signal,
      });
    }
    if (failure !== undefined) throw failure;
    return recheckAfterMs === undefined ? done : requeueAfter(recheckAfterMs);
  }

  async #claim(set: ReplicaSet, claims: Claims<Pod>, signal: AbortSignal): Promise<void> {
    const key = keyOf(set);
    const reference = controllerReference(replicaSets, set);
    for (const pod of claims.adopt) {
      const { namespace, name = '' } = pod.metadata ?? {};
      const adopted = await this.#client.patch(
        pods,
        namespace,
        name,
        'merge',
        adoptionPatch(pod, reference),
        {
          signal,
        },
      );
      this.#podsExpected.written(key, adopted);
    }
    for (const pod of claims.release) {
      const { namespace, name = '' } = pod.metadata ?? {};
      const patch = releasePatch(pod, set.metadata?.uid);
      this.#podsExpected.written(
        key,
        await this.#client.patch(pods, namespace, name, 'merge', patch, { signal }),
      );
    }
  }

  #candidatesOf(set: ReplicaSet): Pod[] {
    const { namespace = '', uid = '' } = set.metadata ?? {};
    return [
      ...this.#podInformer.byIndex(controllerIndex, `${namespace}/${uid}`),
      ...this.#podInformer.byIndex(controllerIndex, `${namespace}/`),
    ];
  }

  /** Pods of all ReplicaSets of the same owner, this one's among them. */
  #relatedTo(set: ReplicaSet): Pod[] {
    const namespace = set.metadata?.namespace ?? '';
    const owner = controllerOf(set);
    const sets =
      owner === undefined ? [set] : this.#setInformer.byIndex(controllerIndex, `${namespace}/${owner.uid}`);
    return [...sets].flatMap(({ metadata }) => [
      ...this.#podInformer.byIndex(controllerIndex, `${namespace}/${metadata?.uid ?? ''}`),
    ]);
  }

  async #createPods(set: ReplicaSet, count: number, signal: AbortSignal): Promise<ApiError | undefined> {
    const key = keyOf(set);
    const template = podFromTemplate(set);
    // One, then two, four…: where the server refuses, it refuses few times.
    for (let created = 0, batch = 1; created < count; created += batch, batch *= 2) {
      const size = Math.min(batch, count - created);
      const results = await Promise.allSettled(
        Array.from({ length: size }, async () => {
          const pod = await this.#client.create(pods, template, { signal });
          this.#podsExpected.written(key, pod);
          this.recorder.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata?.name}`);
        }),
      );
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        const error: unknown = result.reason;
        if (!(error instanceof ApiError)) throw error;
        this.recorder.event(set, 'Warning', 'FailedCreate', `Error creating: ${error.message}`);
        return error;
      }
    }
    return undefined;
  }

  async #removePods(set: ReplicaSet, remove: readonly Pod[], signal: AbortSignal): Promise<void> {
    for (const pod of remove) {
      const { namespace, name = '', uid } = pod.metadata ?? {};
      try {
        await this.#client.delete(pods, namespace, name, { uid, signal });
        this.#podsExpected.deleted(keyOf(set), pod);
        this.recorder.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }
}
