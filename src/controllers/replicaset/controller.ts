import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { keyOf, objectKey } from '../../api/object.ts';
import { pods, replicaSets } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import { Expectations } from '../../control/expectations.ts';
import { done, requeueAfter } from '../../control/reconciler.ts';
import { matchesSelector } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import {
  type ControllerContext,
  controllerIndex,
  controllerUidsOf,
  reconcilerTask,
  withEvents,
} from '../context.ts';
import { adoptionPatch, controllerOf, controllerReference, releasePatch } from '../ownership.ts';
import { statusPatch } from '../status-patch.ts';
import { planReplicaSet, planReplicaSetStatus, podFromTemplate } from './plan.ts';

/** Keeps the asked number of Pods of every ReplicaSet. */
export function replicaSetController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const setInformer = informers.of(replicaSets);
  const podInformer = informers.of(pods);
  const recorder = context.recorder('replicaset-controller');
  const queue = new WorkQueue(timing.clock);
  podInformer.addIndex(controllerIndex, controllerUidsOf);
  setInformer.addIndex(controllerIndex, controllerUidsOf);
  const podsExpected = new Expectations(podInformer, timing.clock);

  setInformer.onChange((key) => queue.add(key));
  podInformer.onChange((_key, now, old) => {
    for (const pod of [now, old]) {
      if (pod === undefined) continue;
      const controller = controllerOf(pod);
      const { namespace, labels } = pod.metadata ?? {};
      if (controller?.kind === 'ReplicaSet') queue.add(objectKey(namespace, controller.name));
      if (controller !== undefined) continue;
      for (const set of setInformer.list()) {
        if (set.metadata?.namespace === namespace && matchesSelector(set.spec?.selector, labels))
          queue.add(keyOf(set));
      }
    }
  });

  function candidatesOf(set: ReplicaSet): Pod[] {
    const { namespace = '', uid = '' } = set.metadata ?? {};
    return [
      ...podInformer.byIndex(controllerIndex, `${namespace}/${uid}`),
      ...podInformer.byIndex(controllerIndex, `${namespace}/`),
    ];
  }

  /** Pods of all ReplicaSets of the same owner, this one's among them. */
  function relatedTo(set: ReplicaSet): Pod[] {
    const namespace = set.metadata?.namespace ?? '';
    const owner = controllerOf(set);
    const sets =
      owner === undefined ? [set] : setInformer.byIndex(controllerIndex, `${namespace}/${owner.uid}`);
    return [...sets].flatMap(({ metadata }) => [
      ...podInformer.byIndex(controllerIndex, `${namespace}/${metadata?.uid ?? ''}`),
    ]);
  }

  async function createPods(
    set: ReplicaSet,
    count: number,
    signal: AbortSignal,
  ): Promise<ApiError | undefined> {
    const key = keyOf(set);
    const template = podFromTemplate(set);
    // One, then two, four…: where the server refuses, it refuses few times.
    for (let created = 0, batch = 1; created < count; created += batch, batch *= 2) {
      const size = Math.min(batch, count - created);
      const results = await Promise.allSettled(
        Array.from({ length: size }, async () => {
          const pod = await client.create(pods, template, { signal });
          podsExpected.written(key, pod);
          recorder.event(set, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata?.name}`);
        }),
      );
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        const error: unknown = result.reason;
        if (!(error instanceof ApiError)) throw error;
        recorder.event(set, 'Warning', 'FailedCreate', `Error creating: ${error.message}`);
        return error;
      }
    }
    return undefined;
  }

  async function removePods(set: ReplicaSet, remove: readonly Pod[], signal: AbortSignal): Promise<void> {
    for (const pod of remove) {
      const { namespace, name = '', uid } = pod.metadata ?? {};
      try {
        await client.delete(pods, namespace, name, { uid, signal });
        podsExpected.deleted(keyOf(set), pod);
        recorder.event(set, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }

  const reconciler = reconcilerTask(context, 'replicaset', queue, async (key, signal) => {
    const set = setInformer.get(key);
    if (set === undefined) return done;
    const waitMs = podsExpected.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const plan = planReplicaSet(set, candidatesOf(set), relatedTo(set));
    const reference = controllerReference(replicaSets, set);
    for (const pod of plan.claims.adopt) {
      const { namespace, name = '' } = pod.metadata ?? {};
      const adopted = await client.patch(pods, namespace, name, 'merge', adoptionPatch(pod, reference), {
        signal,
      });
      podsExpected.written(key, adopted);
    }
    for (const pod of plan.claims.release) {
      const { namespace, name = '' } = pod.metadata ?? {};
      const patch = releasePatch(pod, set.metadata?.uid);
      podsExpected.written(key, await client.patch(pods, namespace, name, 'merge', patch, { signal }));
    }
    const failure = await createPods(set, plan.create, signal);
    await removePods(set, plan.remove, signal);

    const owned = [...plan.claims.owned, ...plan.claims.adopt];
    const { status, recheckAfterMs } = planReplicaSetStatus(
      set,
      owned,
      timing.clock.nowMs(),
      failure?.message,
    );
    const patch = statusPatch(set.status, status);
    if (patch !== undefined) {
      const { namespace, name = '' } = set.metadata ?? {};
      await client.patch(replicaSets, namespace, name, 'merge', patch, { subresource: 'status', signal });
    }
    if (failure !== undefined) throw failure;
    return recheckAfterMs === undefined ? done : requeueAfter(recheckAfterMs);
  });
  return withEvents(reconciler, recorder);
}
