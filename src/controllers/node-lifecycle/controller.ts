import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { leases, nodes, pods } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import { runTogether, type Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { createInformer } from '../../control/create-informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { isPodFinished, isPodReady } from '../pod-status.ts';
import { evictionTimeMs, monitorGraceMs, planTaints, silentConditions } from './plan.ts';

const nodeIndex = 'node';
const leaseNamespace = 'kube-node-lease';

/** Notices nodes that have fallen silent, keeps the taints that follow from conditions, and evicts Pods by them. */
export function nodeLifecycleController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const { clock } = timing;
  const nodeInformer = informers.of(nodes);
  const podInformer = informers.of(pods);
  const leaseInformer = createInformer(client, leases, {
    namespace: leaseNamespace,
    log: context.log,
    timing,
  });
  const recorder = context.recorder('node-controller');
  const nodeQueue = new WorkQueue(clock);
  const evictionQueue = new WorkQueue(clock);
  /** When we last heard of a node, on our own clock: those of nodes may be wrong. */
  const heardAtMs = new Map<string, number>();
  podInformer.addIndex(nodeIndex, (pod) => [pod.spec?.nodeName ?? '']);

  nodeInformer.onChange((name, now, old) => {
    if (now === undefined) {
      heardAtMs.delete(name);
      return;
    }
    if (old === undefined || heartbeatOf(now) !== heartbeatOf(old)) heardAtMs.set(name, clock.monotonicMs());
    nodeQueue.add(name);
    if (hasNoExecute(now) || (old !== undefined && hasNoExecute(old))) {
      for (const pod of podInformer.byIndex(nodeIndex, name))
        evictionQueue.add(`${pod.metadata?.namespace}/${pod.metadata?.name}`);
    }
  });
  leaseInformer.onChange((_key, now) => {
    const name = now?.metadata?.name;
    if (name === undefined || !nodeInformer.synced) return;
    heardAtMs.set(name, clock.monotonicMs());
    // A renewal matters only where silence was noticed: else it is one every ten seconds a node for nothing.
    if (isSilent(nodeInformer.get(name))) nodeQueue.add(name);
  });
  podInformer.onChange((key, now, old) => {
    if (now === undefined || (now.spec?.nodeName ?? '') === '' || old?.spec?.nodeName === now.spec?.nodeName)
      return;
    const node = nodeInformer.get(now.spec?.nodeName ?? '');
    if (node !== undefined && hasNoExecute(node)) evictionQueue.add(key);
  });

  async function reconcileNode(name: string, signal: AbortSignal): Promise<Outcome> {
    const node = nodeInformer.get(name);
    if (node === undefined) return done;
    const silentForMs = clock.monotonicMs() - (heardAtMs.get(name) ?? 0);
    if (silentForMs >= monitorGraceMs) {
      const conditions = silentConditions(node, clock.nowMs());
      if (conditions !== undefined) {
        const patch = {
          metadata: { resourceVersion: node.metadata?.resourceVersion },
          status: { conditions },
        };
        await client.patch(nodes, undefined, name, 'merge', patch, { subresource: 'status', signal });
        recorder.event(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
        return done; // the change brings it back for its taints
      }
    }
    const taints = planTaints(node, clock.nowMs());
    if (taints !== undefined) {
      const { uid, resourceVersion } = node.metadata ?? {};
      const patch = {
        metadata: { uid, resourceVersion },
        spec: { taints: taints.length === 0 ? null : taints },
      };
      await client.patch(nodes, undefined, name, 'merge', patch, { signal });
    }
    if (isReady(node)) return requeueAfter(Math.max(1000, monitorGraceMs - silentForMs));
    if (isSilent(node)) await markPodsNotReady(name, signal);
    return silentForMs < monitorGraceMs ? requeueAfter(monitorGraceMs - silentForMs) : done;
  }

  /** Pods of an unreachable node get no traffic, whatever they last said of themselves. */
  async function markPodsNotReady(nodeName: string, signal: AbortSignal): Promise<void> {
    for (const pod of podInformer.byIndex(nodeIndex, nodeName)) {
      if (!isPodReady(pod)) continue;
      const { namespace, name = '' } = pod.metadata ?? {};
      const lastTransitionTime = rfc3339(clock.nowMs());
      const patch = {
        status: {
          conditions: [{ type: 'Ready', status: 'False', reason: 'NodeNotReady', lastTransitionTime }],
        },
      };
      try {
        await client.patch(pods, namespace, name, 'strategic', patch, { subresource: 'status', signal });
        recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }

  async function reconcileEviction(key: string, signal: AbortSignal): Promise<Outcome> {
    const pod = podInformer.get(key);
    const node = nodeInformer.get(pod?.spec?.nodeName ?? '');
    if (pod === undefined || node === undefined || !isEvictable(pod)) return done;
    const evictAtMs = evictionTimeMs(pod, node.spec?.taints ?? [], clock.nowMs());
    if (evictAtMs === undefined) return done;
    const leftMs = evictAtMs - clock.nowMs();
    if (leftMs > 0) return requeueAfter(leftMs);
    const { namespace, name = '', uid } = pod.metadata ?? {};
    recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`);
    try {
      await client.delete(pods, namespace, name, { uid, signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
    }
    return done;
  }

  const nodeTask = reconcilerTask(context, 'node-lifecycle', nodeQueue, reconcileNode);
  const evictionTask = reconcilerTask(context, 'taint-eviction', evictionQueue, reconcileEviction);
  const leaseTask = { name: 'node leases', run: (signal: AbortSignal) => leaseInformer.run(signal) };
  const all = {
    name: 'node-lifecycle',
    run: (signal: AbortSignal) => runTogether([leaseTask, nodeTask, evictionTask], signal),
  };
  return withEvents(all, recorder);
}

/** Mirror Pods cannot be evicted: their kubelet makes them anew. */
function isEvictable(pod: Pod): boolean {
  return (
    !isPodFinished(pod) &&
    pod.metadata?.deletionTimestamp === undefined &&
    pod.metadata?.annotations?.['kubernetes.io/config.mirror'] === undefined
  );
}

function readyStatus(node: Node | undefined): string | undefined {
  return node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
}

function isReady(node: Node): boolean {
  return readyStatus(node) === 'True';
}

function isSilent(node: Node | undefined): boolean {
  return readyStatus(node) === 'Unknown';
}

function hasNoExecute(node: Node): boolean {
  return node.spec?.taints?.some(({ effect }) => effect === 'NoExecute') === true;
}

function heartbeatOf(node: Node): string | undefined {
  return node.status?.conditions?.find(({ type }) => type === 'Ready')?.lastHeartbeatTime;
}
