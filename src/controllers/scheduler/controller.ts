import type {
  Binding,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  Service,
} from '../../api/gen/core-v1.ts';
import { keyOf, objectKey, type ObjectKey } from '../../api/object.ts';
import {
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type Resource,
  services,
} from '../../api/resource.ts';
import type { Clock } from '../../base/clock.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import type { ApiClient } from '../../client/client.ts';
import { isApiError } from '../../client/client.ts';
import type { Informer } from '../../control/informer.ts';
import { done, type Outcome } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { matchesLabels } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { isPodFinished, podCondition } from '../pod-status.ts';
import { podsAndServicesByNamespace } from '../service-pods.ts';
import { canonicalJson } from '../status-patch.ts';
import { ClusterState } from './cluster.ts';
import { placePod } from './plan.ts';

export const schedulerName = 'default-scheduler';

/** Bindings under way at once. Decisions are made one after the other: each counts those before it. */
const bindingsMax = 16;

/** Where Binding objects are posted: pods/NAME/binding. */
const podBindings: Resource<Binding> = {
  group: '',
  version: 'v1',
  plural: 'pods',
  kind: 'Binding',
  namespaced: true,
};

/** Gives every Pod without a node one, the moment it appears; those that fit nowhere when something changes. */
export function schedulerController(context: ControllerContext): Task {
  podsAndServicesByNamespace(context.informers);
  const loop = new SchedulerLoop(context);
  loop.listen();
  const reconcile = (key: ObjectKey, signal: AbortSignal): Promise<Outcome> => loop.reconcile(key, signal);
  return withEvents(reconcilerTask(context, 'scheduler', loop.queue, reconcile, bindingsMax), loop.recorder);
}

class SchedulerLoop {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #nodeInformer: Informer<Node>;
  readonly #podInformer: Informer<Pod>;
  readonly #namespaceInformer: Informer<Namespace>;
  readonly #serviceInformer: Informer<Service>;
  readonly #claimInformer: Informer<PersistentVolumeClaim>;
  readonly #volumeInformer: Informer<PersistentVolume>;
  readonly #cluster = new ClusterState();
  readonly #unschedulable = new Set<ObjectKey>();

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock);
    this.recorder = context.recorder(schedulerName);
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#nodeInformer = context.informers.of(nodes);
    this.#podInformer = context.informers.of(pods);
    this.#namespaceInformer = context.informers.of(namespaces);
    this.#serviceInformer = context.informers.of(services);
    this.#claimInformer = context.informers.of(persistentVolumeClaims);
    this.#volumeInformer = context.informers.of(persistentVolumes);
  }

  listen(): void {
    for (const informer of [this.#claimInformer, this.#volumeInformer])
      informer.onChange(() => this.#retryUnschedulable());
    this.#nodeInformer.onChange((_key, now, old) => {
      if (now === undefined) this.#cluster.removeNode(old?.metadata?.name ?? '');
      else this.#cluster.setNode(now);
      if (now !== undefined && (old === undefined || nodeFacts(now) !== nodeFacts(old)))
        this.#retryUnschedulable();
    });
    this.#podInformer.onChange((key, now, old) => {
      const isPlaced = (now?.spec?.nodeName ?? '') !== '';
      if (isPlaced || now === undefined) this.#cluster.setPod(key, now);
      if (now === undefined) this.#unschedulable.delete(key);
      else if (isOurs(now)) this.queue.add(key);
      // Room may have become free, or a Pod that others want to be near has come.
      const freed = now === undefined || isPodFinished(now);
      const wasPlaced = (old?.spec?.nodeName ?? '') !== '';
      if ((wasPlaced && freed) || isPlaced !== wasPlaced) this.#retryUnschedulable();
    });
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const pod = this.#podInformer.get(key);
    if (pod === undefined || !isOurs(pod) || this.#cluster.isPlaced(key)) return done;
    const { namespace = '', labels } = pod.metadata ?? {};
    const selectors = [...this.#serviceInformer.byIndex('namespace', namespace)]
      .map(({ spec }) => spec?.selector)
      .filter((selector) => matchesLabels(selector, labels));
    const placement = placePod(pod, this.#cluster, {
      namespaceOf: (name) => this.#namespaceInformer.get(name),
      siblings: (other) => selectors.some((selector) => matchesLabels(selector, other.metadata?.labels)),
      claims: {
        claim: (ofNamespace, name) => this.#claimInformer.get(objectKey(ofNamespace, name)),
        volume: (name) => this.#volumeInformer.get(objectKey(undefined, name)),
      },
    });
    if (placement.kind === 'bind') {
      await this.#bind(pod, placement.nodeName, signal);
    } else {
      this.#unschedulable.add(key);
      await this.#report(pod, placement.message, signal);
    }
    return done;
  }

  #retryUnschedulable(): void {
    for (const key of this.#unschedulable) this.queue.add(key);
    this.#unschedulable.clear();
  }

  async #bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    const key = keyOf(pod);
    const { namespace, name, uid } = pod.metadata ?? {};
    this.#cluster.assume(pod, nodeName);
    try {
      const target = { apiVersion: 'v1', kind: 'Node', name: nodeName };
      const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target };
      await this.#client.create(podBindings, binding, { subresource: 'binding', signal });
      this.recorder.event(pod, 'Normal', 'Scheduled', `Successfully assigned ${key} to ${nodeName}`);
    } catch (error) {
      const current = this.#podInformer.get(key);
      this.#cluster.setPod(key, (current?.spec?.nodeName ?? '') === '' ? undefined : current);
      // Gone or bound by somebody else: the informer tells what became of it.
      if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return;
      throw error;
    }
  }

  async #report(pod: Pod, message: string, signal: AbortSignal): Promise<void> {
    this.recorder.event(pod, 'Warning', 'FailedScheduling', message);
    const old = podCondition(pod, 'PodScheduled');
    if (old?.status === 'False' && old.message === message) return;
    const lastTransitionTime =
      old?.status === 'False' ? old.lastTransitionTime : rfc3339(this.#clock.nowMs());
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime,
    };
    const { namespace, name = '' } = pod.metadata ?? {};
    try {
      const patch = { status: { conditions: [condition] } };
      await this.#client.patch(pods, namespace, name, 'strategic', patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }
}

/** Waits for a node, from us. */
function isOurs(pod: Pod): boolean {
  return (
    (pod.spec?.nodeName ?? '') === '' &&
    pod.metadata?.deletionTimestamp === undefined &&
    !isPodFinished(pod) &&
    (pod.spec?.schedulerName ?? schedulerName) === schedulerName &&
    (pod.spec?.schedulingGates ?? []).length === 0
  );
}

/** What decides about Pods; heartbeats are not among it. */
function nodeFacts(node: Node): string {
  const { labels } = node.metadata ?? {};
  return canonicalJson([labels, node.spec?.unschedulable, node.spec?.taints, node.status?.allocatable]);
}
