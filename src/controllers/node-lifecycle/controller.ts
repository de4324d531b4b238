import type { Lease } from '../../api/gen/coordination-v1.ts';
import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { leases, nodes, pods } from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import { rfc3339 } from '../../base/clock.ts';
import { runTogether, type Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import { isApiError } from '../../client/client.ts';
import { createInformer } from '../../control/create-informer.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { disruptionPatch, isPodFinished, isPodReady } from '../pod-status.ts';
import { evictionTimeMs, planTaints, silentConditions } from './plan.ts';

const nodeIndex = 'node';
const leaseNamespace = 'kube-node-lease';

/**
 * Notices nodes that have not been heard of for `monitorGraceMs`, keeps the taints that follow from conditions, and evicts Pods by
 * them.
 */
export function nodeLifecycleController(context: ControllerContext, monitorGraceMs: number): Task {
  const loop = new NodeLifecycle(context, monitorGraceMs);
  loop.listen();
  const nodeTask = reconcilerTask(context, 'node-lifecycle', loop.nodeQueue, (key, signal) =>
    loop.reconcileNode(key, signal),
  );
  const evictionTask = reconcilerTask(context, 'taint-eviction', loop.evictionQueue, (key, signal) =>
    loop.reconcileEviction(key, signal),
  );
  const leaseTask = { name: 'node leases', run: (signal: AbortSignal) => loop.leaseInformer.run(signal) };
  const all = {
    name: 'node-lifecycle',
    run: (signal: AbortSignal) => runTogether([leaseTask, nodeTask, evictionTask], signal),
  };
  return withEvents(all, loop.recorder);
}

class NodeLifecycle {
  readonly nodeQueue: WorkQueue;
  readonly evictionQueue: WorkQueue;
  readonly leaseInformer: Informer<Lease>;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #nodeInformer: Informer<Node>;
  readonly #podInformer: Informer<Pod>;
  readonly #monitorGraceMs: number;
  /** When we last heard of a node, on our own clock: those of nodes may be wrong. */
  readonly #heardAtMs = new Map<string, number>();
  /** renewTime of a node's Lease when it was last read instead of watched. */
  readonly #readRenewTimes = new Map<string, string>();

  constructor(context: ControllerContext, monitorGraceMs: number) {
    this.#monitorGraceMs = monitorGraceMs;
    const { client, informers, log, timing } = context;
    this.nodeQueue = new WorkQueue(timing.clock);
    this.evictionQueue = new WorkQueue(timing.clock);
    this.leaseInformer = createInformer(client, leases, { namespace: leaseNamespace, log, timing });
    this.recorder = context.recorder('node-controller');
    this.#client = client;
    this.#clock = timing.clock;
    this.#nodeInformer = informers.of(nodes);
    this.#podInformer = informers.of(pods);
  }

  listen(): void {
    this.#podInformer.addIndex(nodeIndex, (pod) => [pod.spec?.nodeName ?? '']);
    this.#nodeInformer.onChange((name, now, old) => {
      if (now === undefined) {
        this.#heardAtMs.delete(name);
        this.#readRenewTimes.delete(name);
        return;
      }
      // What says Unknown was written by us.
      if (old === undefined || (!isSilent(now) && heartbeatOf(now) !== heartbeatOf(old)))
        this.#heardAtMs.set(name, this.#clock.monotonicMs());
      this.nodeQueue.add(name);
      if (hasNoExecute(now) || (old !== undefined && hasNoExecute(old))) {
        for (const pod of this.#podInformer.byIndex(nodeIndex, name))
          this.evictionQueue.add(`${pod.metadata?.namespace}/${pod.metadata?.name}`);
      }
    });
    this.leaseInformer.onChange((_key, now) => {
      const name = now?.metadata?.name;
      if (name === undefined || !this.#nodeInformer.synced) return;
      this.#heardAtMs.set(name, this.#clock.monotonicMs());
      // A renewal matters only where silence was noticed: else it is one every ten seconds a node for nothing.
      if (isSilent(this.#nodeInformer.get(name))) this.nodeQueue.add(name);
    });
    this.#podInformer.onChange((key, now, old) => {
      if (
        now === undefined ||
        (now.spec?.nodeName ?? '') === '' ||
        old?.spec?.nodeName === now.spec?.nodeName
      )
        return;
      const node = this.#nodeInformer.get(now.spec?.nodeName ?? '');
      if (node !== undefined && hasNoExecute(node)) this.evictionQueue.add(key);
    });
  }

  async reconcileNode(name: string, signal: AbortSignal): Promise<Outcome> {
    const node = this.#nodeInformer.get(name);
    if (node === undefined) return done;
    const silentForMs = await this.#silentForMs(name, signal);
    if (silentForMs >= this.#monitorGraceMs) {
      const conditions = silentConditions(node, this.#clock.nowMs());
      if (conditions !== undefined) {
        const patch = {
          metadata: { resourceVersion: node.metadata?.resourceVersion },
          status: { conditions },
        };
        await this.#client.patch(nodes, undefined, name, 'merge', patch, { subresource: 'status', signal });
        this.recorder.event(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
        return done; // the change brings it back for its taints
      }
    }
    const taints = planTaints(node, this.#clock.nowMs());
    if (taints !== undefined) {
      const { uid, resourceVersion } = node.metadata ?? {};
      const patch = {
        metadata: { uid, resourceVersion },
        spec: { taints: taints.length === 0 ? null : taints },
      };
      await this.#client.patch(nodes, undefined, name, 'merge', patch, { signal });
    }
    if (isReady(node)) return requeueAfter(Math.max(1000, this.#monitorGraceMs - silentForMs));
    // Not while the node is heard again and is about to say so itself: its kubelet would take the marks back at once.
    if (isSilent(node) && silentForMs >= this.#monitorGraceMs) await this.#markPodsNotReady(name, signal);
    return silentForMs < this.#monitorGraceMs ? requeueAfter(this.#monitorGraceMs - silentForMs) : done;
  }

  /**
   * Since we last heard of the node. Before that is taken for its silence we ask once: on a busy machine it is our own watch
   * that lags, and then every node would seem lost at the same time.
   */
  async #silentForMs(name: string, signal: AbortSignal): Promise<number> {
    const silentForMs = this.#clock.monotonicMs() - (this.#heardAtMs.get(name) ?? 0);
    if (silentForMs < this.#monitorGraceMs || isSilent(this.#nodeInformer.get(name))) return silentForMs;
    const known = this.leaseInformer.get(`${leaseNamespace}/${name}`)?.spec?.renewTime;
    const renewTime = await this.#renewTimeOf(name, signal);
    // What was read here and seen by no watch yet is read once: else a watch that hangs would keep a dead node alive.
    if (renewTime === undefined || renewTime === known || renewTime === this.#readRenewTimes.get(name)) {
      return silentForMs;
    }
    this.#readRenewTimes.set(name, renewTime);
    this.#heardAtMs.set(name, this.#clock.monotonicMs());
    return 0;
  }

  async #renewTimeOf(name: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      return (await this.#client.get(leases, leaseNamespace, name, signal)).spec?.renewTime;
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined; // heartbeats in its status alone
      throw error;
    }
  }

  /** Pods of an unreachable node get no traffic, whatever they last said of themselves. */
  async #markPodsNotReady(nodeName: string, signal: AbortSignal): Promise<void> {
    for (const pod of this.#podInformer.byIndex(nodeIndex, nodeName)) {
      if (!isPodReady(pod)) continue;
      const { namespace, name = '' } = pod.metadata ?? {};
      const lastTransitionTime = rfc3339(this.#clock.nowMs());
      const patch = {
        status: {
          conditions: [{ type: 'Ready', status: 'False', reason: 'NodeNotReady', lastTransitionTime }],
        },
      };
      try {
        await this.#client.patch(pods, namespace, name, 'strategic', patch, {
          subresource: 'status',
          signal,
        });
        this.recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
  }

  async reconcileEviction(key: string, signal: AbortSignal): Promise<Outcome> {
    const pod = this.#podInformer.get(key);
    const node = this.#nodeInformer.get(pod?.spec?.nodeName ?? '');
    if (pod === undefined || node === undefined || !isEvictable(pod)) return done;
    const evictAtMs = evictionTimeMs(pod, node.spec?.taints ?? [], this.#clock.nowMs());
    if (evictAtMs === undefined) return done;
    const leftMs = evictAtMs - this.#clock.nowMs();
    if (leftMs > 0) return requeueAfter(leftMs);
    const { namespace, name = '', uid } = pod.metadata ?? {};
    this.recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`);
    const patch = disruptionPatch(
      'DeletionByTaintManager',
      'Taint manager: deleting due to NoExecute taint',
      this.#clock.nowMs(),
    );
    try {
      await this.#client.patch(pods, namespace, name, 'strategic', patch, { subresource: 'status', signal });
      await this.#client.delete(pods, namespace, name, { uid, signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
    }
    return done;
  }
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
