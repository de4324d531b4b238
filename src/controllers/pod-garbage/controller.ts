import type { Pod } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';
import { nodes, pods } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { type ApiClient, isApiError } from '../../client/client.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { disruptionPatch } from '../pod-status.ts';

/** A node that is gone for this long is gone for good; one that only registers anew keeps its Pods. */
const quarantineMs = 40_000;
/** Finished Pods kept in the whole cluster; past it the oldest go. kube-controller-manager's default. */
const finishedPodsMax = 12_500;
const nodeIndex = 'node';

/** Removes Pods that no kubelet will ever remove: those of nodes that are gone, and too many finished ones. */
export function podGarbageController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const podInformer = informers.of(pods);
  const nodeInformer = informers.of(nodes);
  const queue = new WorkQueue(timing.clock);
  podInformer.addIndex(nodeIndex, (pod) => [pod.spec?.nodeName ?? '']);
  podInformer.onChange((_key, now, old) => {
    const name = now?.spec?.nodeName ?? '';
    if (
      name !== '' &&
      old?.spec?.nodeName !== name &&
      nodeInformer.synced &&
      nodeInformer.get(name) === undefined
    ) {
      queue.addAfter(`node:${name}`, quarantineMs);
    }
    if (now !== undefined && isFinished(now) && podInformer.size > finishedPodsMax) queue.add('finished');
  });
  nodeInformer.onChange((key, now) => {
    if (now === undefined) queue.addAfter(`node:${key}`, quarantineMs);
  });

  async function reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    if (key === 'start') {
      for (const { spec } of podInformer.list()) {
        const name = spec?.nodeName ?? '';
        if (name !== '' && nodeInformer.get(name) === undefined) queue.addAfter(`node:${name}`, quarantineMs);
      }
      return done;
    }
    if (key === 'finished') {
      const finished = [...podInformer.list()].filter(isFinished).toSorted(byCreation);
      const excess = Math.max(0, finished.length - finishedPodsMax);
      for (const pod of finished.slice(0, excess)) await removePod(client, pod, timing.clock.nowMs(), signal);
      return done;
    }
    const name = key.slice('node:'.length);
    if (nodeInformer.get(name) !== undefined) return done;
    try {
      await client.get(nodes, undefined, name, signal);
      return requeueAfter(quarantineMs); // it is there: our copy is behind
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
    for (const pod of podInformer.byIndex(nodeIndex, name))
      await removePod(client, pod, timing.clock.nowMs(), signal);
    return done;
  }

  const task = reconcilerTask(context, 'pod-garbage', queue, reconcile, 1);
  return {
    name: task.name,
    run(signal) {
      queue.add('start');
      return task.run(signal);
    },
  };
}

async function removePod(client: ApiClient, pod: Pod, nowMs: number, signal: AbortSignal): Promise<void> {
  const { namespace, name = '', uid } = pod.metadata ?? {};
  try {
    // Nobody else will say how it ended: who counts such Pods would wait for ever.
    if (!isFinished(pod)) {
      const patch = disruptionPatch('DeletionByPodGC', 'PodGC: node no longer exists', nowMs);
      const failed = { status: { ...patch.status, phase: 'Failed' } };
      await client.patch(pods, namespace, name, 'strategic', failed, { subresource: 'status', signal });
    }
    await client.delete(pods, namespace, name, { uid, gracePeriodSeconds: 0, signal });
  } catch (error) {
    if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
  }
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function byCreation(a: Pod, b: Pod): number {
  const [first = '', second = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp];
  return first === second ? (keyOf(a) < keyOf(b) ? -1 : 1) : first < second ? -1 : 1;
}
