import type { Binding, Node, Pod } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';
import { namespaces, nodes, pods, type Resource, services } from '../../api/resource.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { done } from '../../control/reconciler.ts';
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
  const { client, informers, timing } = context;
  const podInformer = informers.of(pods);
  const namespaceInformer = informers.of(namespaces);
  const serviceInformer = informers.of(services);
  const recorder = context.recorder(schedulerName);
  const queue = new WorkQueue(timing.clock);
  const cluster = new ClusterState();
  const unschedulable = new Set<string>();
  podsAndServicesByNamespace(informers);

  function retryUnschedulable(): void {
    for (const key of unschedulable) queue.add(key);
    unschedulable.clear();
  }

  informers.of(nodes).onChange((_key, now, old) => {
    if (now === undefined) cluster.removeNode(old?.metadata?.name ?? '');
    else cluster.setNode(now);
    if (now !== undefined && (old === undefined || nodeFacts(now) !== nodeFacts(old))) retryUnschedulable();
  });
  podInformer.onChange((key, now, old) => {
    const isPlaced = (now?.spec?.nodeName ?? '') !== '';
    if (isPlaced || now === undefined) cluster.setPod(key, now);
    if (now === undefined) unschedulable.delete(key);
    else if (isOurs(now)) queue.add(key);
    // Room may have become free, or a Pod that others want to be near has come.
    const freed = now === undefined || isPodFinished(now);
    const wasPlaced = (old?.spec?.nodeName ?? '') !== '';
    if ((wasPlaced && freed) || isPlaced !== wasPlaced) retryUnschedulable();
  });

  async function bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    const key = keyOf(pod);
    const { namespace, name, uid } = pod.metadata ?? {};
    cluster.assume(pod, nodeName);
    try {
      const target = { apiVersion: 'v1', kind: 'Node', name: nodeName };
      const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target };
      await client.create(podBindings, binding, { subresource: 'binding', signal });
      recorder.event(pod, 'Normal', 'Scheduled', `Successfully assigned ${key} to ${nodeName}`);
    } catch (error) {
      const current = podInformer.get(key);
      cluster.setPod(key, (current?.spec?.nodeName ?? '') === '' ? undefined : current);
      // Gone or bound by somebody else: the informer tells what became of it.
      if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return;
      throw error;
    }
  }

  async function report(pod: Pod, message: string, signal: AbortSignal): Promise<void> {
    recorder.event(pod, 'Warning', 'FailedScheduling', message);
    const old = podCondition(pod, 'PodScheduled');
    if (old?.status === 'False' && old.message === message) return;
    const lastTransitionTime =
      old?.status === 'False' ? old.lastTransitionTime : rfc3339(timing.clock.nowMs());
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
      await client.patch(pods, namespace, name, 'strategic', patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  const task = reconcilerTask(
    context,
    'scheduler',
    queue,
    async (key, signal) => {
      const pod = podInformer.get(key);
      if (pod === undefined || !isOurs(pod) || cluster.isPlaced(key)) return done;
      const { namespace = '', labels } = pod.metadata ?? {};
      const selectors = [...serviceInformer.byIndex('namespace', namespace)]
        .map(({ spec }) => spec?.selector)
        .filter((selector) => matchesLabels(selector, labels));
      const placement = placePod(pod, cluster, {
        namespaceOf: (name) => namespaceInformer.get(name),
        siblings: (other) => selectors.some((selector) => matchesLabels(selector, other.metadata?.labels)),
      });
      if (placement.kind === 'bind') {
        await bind(pod, placement.nodeName, signal);
      } else {
        unschedulable.add(key);
        await report(pod, placement.message, signal);
      }
      return done;
    },
    bindingsMax,
  );
  return withEvents(task, recorder);
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
