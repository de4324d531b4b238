import type { Node, Pod, Service } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import { endpointSlices, nodes, pods, services } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { Expectations } from '../../control/expectations.ts';
import type { Informer } from '../../control/informer.ts';
import { done, requeueAfter } from '../../control/reconciler.ts';
import type { Recorder } from '../../control/recorder.ts';
import { matchesLabels } from '../../control/selector.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { podsAndServicesByNamespace, podsOfService } from '../service-pods.ts';
import { managedBy, managedByLabel, planSlices, serviceNameLabel } from './plan.ts';
import { coresByZone, isControlPlane, topologyEvents, type TopologyState, zoneLabel } from './topology.ts';
import { writeSlice } from './write.ts';

const serviceIndex = 'service';
const unasked: TopologyState = new Map();

/** Keeps the EndpointSlices of every Service with a selector equal to its Pods. */
export function endpointSliceController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const serviceInformer = informers.of(services);
  const podInformer = informers.of(pods);
  const sliceInformer = informers.of(endpointSlices);
  const nodeInformer = informers.of(nodes);
  const recorder = context.recorder('endpoint-slice-controller');
  const topologies = toldTopologies(recorder);
  const queue = new WorkQueue(timing.clock);
  podsAndServicesByNamespace(informers);
  sliceInformer.addIndex(serviceIndex, ({ metadata }) =>
    metadata?.labels?.[managedByLabel] === managedBy
      ? [objectKey(metadata.namespace, metadata.labels[serviceNameLabel] ?? '')]
      : [],
  );
  const expectations = new Expectations(sliceInformer, timing.clock);

  const triggers = new Map<ObjectKey, number>(); // bound: Services that wait for a pass

  /** The earliest counts: it is what the slowest client has waited for. */
  function changed(key: ObjectKey): void {
    if (!triggers.has(key)) triggers.set(key, timing.clock.nowMs());
    queue.add(key);
  }

  serviceInformer.onChange((key, _now, old) => (old === undefined ? changed(key) : queue.add(key)));
  podInformer.onChange((_key, now, old) => {
    if (now !== undefined && old !== undefined && !podMatters(now, old)) return;
    for (const service of selecting(serviceInformer, [now, old])) changed(keyOf(service));
  });
  sliceInformer.onChange((_key, now, old) => {
    const { namespace, labels } = (now ?? old)?.metadata ?? {};
    if (labels?.[managedByLabel] === managedBy)
      queue.add(objectKey(namespace, labels[serviceNameLabel] ?? ''));
  });
  nodeInformer.onChange((_key, now, old) => {
    if (placeOf(now) === placeOf(old)) return;
    for (const service of serviceInformer.list()) queue.add(keyOf(service));
  });

  const task = reconcilerTask(context, 'endpointslice', queue, async (key, signal) => {
    const waitMs = expectations.waitMs(key);
    if (waitMs > 0) return requeueAfter(waitMs);
    const service = serviceInformer.get(key);
    const existing = [...sliceInformer.byIndex(serviceIndex, key)];
    const managed = service?.spec?.selector !== undefined && service.spec.type !== 'ExternalName';
    const members = managed ? podsOfService(informers, service) : [];
    // Slices of a Service that is gone are the garbage collector's; those of one that lost its selector stay as they are.
    const triggeredMs = triggers.get(key);
    triggers.delete(key);
    if (!managed || service.metadata?.deletionTimestamp !== undefined) {
      topologies.forget(key);
      return done;
    }
    const { writes, topology } = planSlices(service, members, existing, {
      zoneOf: (nodeName) => nodeInformer.get(nodeName)?.metadata?.labels?.[zoneLabel],
      coresByZone: () => coresByZone(nodeInformer.list()),
      triggeredAt: triggeredMs === undefined ? undefined : new Date(triggeredMs).toISOString(),
    });
    for (const write of writes) {
      const written = await writeSlice(client, write, signal);
      if (written === undefined) expectations.deleted(key, write.slice);
      else expectations.written(key, written);
    }
    topologies.tell(key, service, topology);
    return done;
  });
  return withEvents(task, recorder);
}

/** Tells each Service's changes of topology mode Auto once. */
function toldTopologies(recorder: Recorder) {
  const told = new Map<ObjectKey, TopologyState>(); // bound: Services of that mode
  return {
    tell(key: ObjectKey, service: Service, now: TopologyState): void {
      for (const { type, reason, message } of topologyEvents(told.get(key) ?? unasked, now)) {
        recorder.event(service, type, reason, message);
      }
      if (now.size === 0) told.delete(key);
      else told.set(key, now);
    },
    forget: (key: ObjectKey): unknown => told.delete(key),
  };
}

/** False if the change cannot show in an endpoint: a kubelet's status updates are mostly of that kind. */
function podMatters(now: Pod, old: Pod): boolean {
  const facts = (pod: Pod): string =>
    JSON.stringify([
      pod.metadata?.labels,
      pod.metadata?.deletionTimestamp,
      pod.metadata?.uid,
      pod.spec?.nodeName,
      pod.status?.podIP,
      pod.status?.podIPs,
      pod.status?.phase,
      pod.status?.conditions?.find((condition) => condition.type === 'Ready')?.status,
    ]);
  return facts(now) !== facts(old);
}

/** What of a node shows in slices: its zone, and what its zone's share is counted from. */
function placeOf(node: Node | undefined): string {
  const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const cpu = node?.status?.allocatable?.['cpu'];
  return JSON.stringify([node?.metadata?.labels?.[zoneLabel], cpu, ready, isControlPlane(node)]);
}

/** The Services that select any of these versions of a Pod. */
function selecting(
  informer: Informer<Service>,
  versions: readonly (Pod | undefined)[],
): ReadonlySet<Service> {
  const found = new Set<Service>();
  for (const pod of versions) {
    if (pod === undefined) continue;
    for (const service of informer.byIndex('namespace', pod.metadata?.namespace ?? '')) {
      if (matchesLabels(service.spec?.selector, pod.metadata?.labels)) found.add(service);
    }
  }
  return found;
}
