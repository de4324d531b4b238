import type {
  Binding,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  Service,
} from '../../api/gen/core-v1.ts';
import type { PodDisruptionBudget } from '../../api/gen/policy-v1.ts';
import type { StorageClass } from '../../api/gen/storage-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import {
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  podDisruptionBudgets,
  pods,
  type Resource,
  services,
  storageClasses,
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
import { disruptionPatch, isPodFinished, podCondition } from '../pod-status.ts';
import { podsAndServicesByNamespace } from '../service-pods.ts';
import { canonicalJson } from '../status-patch.ts';
import { reservation, selectedNodeAnnotation } from '../volume-binder/plan.ts';
import { ClusterState, priorityOf } from './cluster.ts';
import type { VolumeChoice } from './delayed-claims.ts';
import { type Cure, placePod } from './plan.ts';
import { type Preemption, planPreemption } from './preemption.ts';

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
  readonly #classInformer: Informer<StorageClass>;
  readonly #budgetInformer: Informer<PodDisruptionBudget>;
  /** Volumes that were given to claims, until our own copy shows it. */
  readonly #promised = new Map<string, ObjectKey>();
  readonly #cluster = new ClusterState();
  readonly #unschedulable = new Set<ObjectKey>();
  /** Uids of Pods that were made to leave, until our own copy shows it. */
  readonly #sentAway = new Set<string>();

  constructor(context: ControllerContext) {
    this.queue = new WorkQueue(context.timing.clock, (key) => {
      const pod = this.#podInformer.get(key);
      return pod === undefined ? 0 : priorityOf(pod);
    });
    this.recorder = context.recorder(schedulerName);
    this.#client = context.client;
    this.#clock = context.timing.clock;
    this.#nodeInformer = context.informers.of(nodes);
    this.#podInformer = context.informers.of(pods);
    this.#namespaceInformer = context.informers.of(namespaces);
    this.#serviceInformer = context.informers.of(services);
    this.#claimInformer = context.informers.of(persistentVolumeClaims);
    this.#volumeInformer = context.informers.of(persistentVolumes);
    this.#classInformer = context.informers.of(storageClasses);
    this.#budgetInformer = context.informers.of(podDisruptionBudgets);
  }

  listen(): void {
    this.#volumeInformer.onChange((name, now) => {
      if (now?.spec?.claimRef !== undefined || now === undefined) this.#promised.delete(name);
    });
    for (const informer of [this.#claimInformer, this.#volumeInformer, this.#classInformer])
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
      this.#followNomination(key, now, old);
      if (now?.metadata?.deletionTimestamp !== undefined || now?.metadata?.uid !== old?.metadata?.uid)
        this.#sentAway.delete(old?.metadata?.uid ?? '');
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
        volumes: () => [...this.#volumeInformer.list()],
        storageClass: (name) => this.#classInformer.get(name),
        promised: (volumeName) => this.#promised.get(volumeName),
      },
    });
    if (placement.kind === 'bind') {
      await this.#bind(pod, placement.nodeName, signal);
    } else if (placement.kind === 'reserve') {
      // Its claims' next change brings the Pod back.
      this.#unschedulable.add(key);
      for (const choice of placement.choices) await this.#reserve(choice, placement.nodeName, signal);
    } else {
      this.#unschedulable.add(key);
      await this.#despair(pod, placement.message, placement.cure, signal);
    }
    return done;
  }

  /** Makes room for a Pod that fits nowhere, if it is more important than others; says so if there is none. */
  async #despair(pod: Pod, message: string, cure: Cure | undefined, signal: AbortSignal): Promise<void> {
    if (cure === undefined) {
      await this.#report(pod, message, undefined, signal);
      return;
    }
    const key = keyOf(pod);
    const plan = planPreemption(pod, this.#cluster, cure, {
      budgets: this.#budgetInformer.list(),
      isLeaving: ({ metadata }) =>
        metadata?.deletionTimestamp !== undefined || this.#sentAway.has(metadata?.uid ?? ''),
    });
    if (plan.kind === 'preempt') {
      // Booked before anything is awaited: the decisions that follow must leave the room alone.
      const displaced = this.#cluster.nominatedBelow(pod, plan.nodeName);
      for (const other of displaced) this.#cluster.nominate(keyOf(other), undefined);
      this.#cluster.nominate(key, { pod, nodeName: plan.nodeName });
      await this.#sendAway(pod, plan, signal);
      await this.#report(pod, message, plan.nodeName, signal);
      for (const other of displaced) await this.#patchStatus(other, { nominatedNodeName: null }, signal);
      return;
    }
    if (plan.kind === 'helpless') this.#cluster.nominate(key, undefined);
    const nominated = this.#cluster.nominationOf(key)?.nodeName;
    await this.#report(pod, `${message} preemption: ${plan.message}`, nominated, signal);
  }

  async #sendAway(
    pod: Pod,
    { nodeName, victims }: Extract<Preemption, { readonly kind: 'preempt' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const why = `${schedulerName}: preempting to accommodate a higher priority pod`;
    for (const victim of victims) {
      const { namespace, name = '', uid = '', deletionTimestamp } = victim.metadata ?? {};
      if (deletionTimestamp !== undefined || this.#sentAway.has(uid)) continue;
      const { status } = disruptionPatch('PreemptionByScheduler', why, this.#clock.nowMs());
      await this.#patchStatus(victim, status, signal);
      try {
        await this.#client.delete(pods, namespace, name, { uid, signal });
      } catch (error) {
        // Gone, or another Pod of this name: there is room already.
        if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) continue;
        throw error;
      }
      if (this.#podInformer.get(keyOf(victim))?.metadata?.uid === uid) this.#sentAway.add(uid);
      const message = `Preempted by pod ${pod.metadata?.uid} on node ${nodeName}`;
      this.recorder.event(victim, 'Normal', 'Preempted', message);
    }
  }

  /** What the Pod's status says of the node where room was made, unless we know better; no more than that once it is placed. */
  #followNomination(key: ObjectKey, now: Pod | undefined, old: Pod | undefined): void {
    const known = this.#cluster.nominationOf(key);
    const nodeName = now?.status?.nominatedNodeName ?? '';
    if (now === undefined || (now.spec?.nodeName ?? '') !== '' || isPodFinished(now)) {
      this.#cluster.nominate(key, undefined);
      if (now === undefined && known !== undefined) this.#retryUnschedulable(); // the room is free for others
    } else if (nodeName !== (old?.status?.nominatedNodeName ?? '')) {
      this.#cluster.nominate(key, nodeName === '' ? undefined : { pod: now, nodeName });
    }
  }

  /** Gives a claim its volume, or tells its provisioner where to make one. The volume binder does the rest. */
  async #reserve({ claim, volume }: VolumeChoice, nodeName: string, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', uid, resourceVersion } = claim.metadata ?? {};
    if (volume === undefined) {
      if (claim.metadata?.annotations?.[selectedNodeAnnotation] === nodeName) return;
      const metadata = { uid, resourceVersion, annotations: { [selectedNodeAnnotation]: nodeName } };
      await this.#client.patch(persistentVolumeClaims, namespace, name, 'merge', { metadata }, { signal });
      return;
    }
    const volumeName = volume.metadata?.name ?? '';
    if (volume.spec?.claimRef?.uid === uid) return;
    this.#promised.set(volumeName, keyOf(claim));
    const body = reservation(claim, volume);
    try {
      await this.#client.patch(persistentVolumes, undefined, volumeName, 'merge', body, { signal });
    } catch (error) {
      this.#promised.delete(volumeName);
      throw error;
    }
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
      this.#retryUnschedulable(); // what was booked for it may be free
      // Gone or bound by somebody else: the informer tells what became of it.
      if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return;
      throw error;
    }
  }

  async #report(
    pod: Pod,
    message: string,
    nominatedNodeName: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    this.recorder.event(pod, 'Warning', 'FailedScheduling', message);
    const old = podCondition(pod, 'PodScheduled');
    const isTold = old?.status === 'False' && old.message === message;
    if (isTold && (pod.status?.nominatedNodeName ?? '') === (nominatedNodeName ?? '')) return;
    const lastTransitionTime =
      old?.status === 'False' ? old.lastTransitionTime : rfc3339(this.#clock.nowMs());
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime,
    };
    const status = { conditions: [condition], nominatedNodeName: nominatedNodeName ?? null };
    await this.#patchStatus(pod, status, signal);
  }

  /** A Pod that is gone needs no status. */
  async #patchStatus(pod: Pod, status: object, signal: AbortSignal): Promise<void> {
    const { namespace, name = '', uid } = pod.metadata ?? {};
    try {
      const patch = { metadata: { uid }, status };
      await this.#client.patch(pods, namespace, name, 'strategic', patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
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
