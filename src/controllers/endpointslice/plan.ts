import type { Pod, Service, ServicePort } from '../../api/gen/core-v1.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { services } from '../../api/resource.ts';
import { controllerReference } from '../ownership.ts';
import { isPodFinished, isPodReady } from '../pod-status.ts';
import { canonicalJson } from '../status-patch.ts';
import { type Group, inSafeOrder, type MakeSlice, planFill, type SliceWrite } from './fill.ts';
import { shareZones, type TopologyState } from './topology.ts';

export const serviceNameLabel = 'kubernetes.io/service-name';
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const managedBy = 'endpointslice-controller.k8s.io';
const headlessLabel = 'service.kubernetes.io/headless';
/** The older name goes before the newer one. */
const topologyModeAnnotations = [
  'service.kubernetes.io/topology-aware-hints',
  'service.kubernetes.io/topology-mode',
] as const;
/** Proxies measure by it how long a change takes to reach them. */
const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

export type SliceContext = {
  /** Zone of a node by its name, undefined if it has none. */
  zoneOf(nodeName: string): string | undefined;
  /** Processor cores of the ready nodes by zone; undefined while one of them has no zone or no cores. */
  coresByZone?(): ReadonlyMap<string, number> | undefined;
  /** When the first of the changes happened that these writes follow; undefined: not known. */
  readonly triggeredAt?: string | undefined;
};

export type SlicePlan = {
  readonly writes: readonly SliceWrite[];
  /** What came of topology mode Auto. */
  readonly topology: TopologyState;
};

/**
 * The writes that make the Service's slices equal to its Pods. Endpoints stay in the slice where they are, so one changed
 * Pod changes one slice. New slices come first and deletions last: an endpoint is never missing in between.
 */
export function planSlices(
  service: Service,
  pods: Iterable<Pod>,
  existing: Iterable<EndpointSlice>,
  context: SliceContext,
): SlicePlan {
  const families = familiesOf(service);
  const members = [...pods].filter((pod) => !isPodFinished(pod)).toSorted(byName);
  const unclaimed = new Map([...existing].map((slice) => [slice.metadata?.name ?? '', slice]));
  const writes: SliceWrite[] = [];
  const topology = new Map<string, string | undefined>();
  for (const family of families) {
    const mine = [...unclaimed.values()].filter((slice) => slice.addressType === family).toSorted(byName);
    for (const slice of mine) unclaimed.delete(slice.metadata?.name ?? '');
    const groups = groupByPorts(service, members, family, context);
    if (wantsSharedZones(service)) topology.set(family, hintSharedZones(groups, context));
    const make: MakeSlice = (ports, endpoints, base) =>
      sliceOf(service, family, ports, endpoints, base, context.triggeredAt);
    writes.push(...planFill(groups, mine, make));
  }
  for (const slice of unclaimed.values()) writes.push({ kind: 'delete', slice });
  return { writes: inSafeOrder(writes), topology };
}

function groupByPorts(
  service: Service,
  pods: readonly Pod[],
  family: string,
  context: SliceContext,
): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const pod of pods) {
    const address = addressOf(pod, family);
    if (address === undefined) continue;
    const ports = portsOf(service, pod);
    const key = canonicalJson(ports);
    let group = groups.get(key);
    if (group === undefined) {
      group = { ports, endpoints: [] };
      groups.set(key, group);
    }
    group.endpoints.push(endpointOf(service, pod, address, context));
  }
  return groups;
}

/** The older heuristic, which goes before spec.trafficDistribution. */
function wantsSharedZones(service: Service): boolean {
  const annotations = service.metadata?.annotations ?? {};
  const [mode = ''] = topologyModeAnnotations.flatMap((name) => annotations[name] ?? []);
  return mode === 'Auto' || mode === 'auto';
}

/** Returns why there are no hints. */
function hintSharedZones(groups: ReadonlyMap<string, Group>, context: SliceContext): string | undefined {
  const all = [...groups.values()].flatMap(({ endpoints }) => endpoints);
  const shares = shareZones(
    all.filter(({ conditions }) => conditions?.ready === true),
    context.coresByZone?.(),
  );
  if (shares.kind === 'impossible') return shares.problem;
  for (const { endpoints } of groups.values()) {
    for (const [index, endpoint] of endpoints.entries()) {
      const name = shares.zones.get(endpoint);
      if (name !== undefined) endpoints[index] = { ...endpoint, hints: { forZones: [{ name }] } };
    }
  }
  return undefined;
}

function endpointOf(service: Service, pod: Pod, address: string, context: SliceContext): Endpoint {
  const terminating = pod.metadata?.deletionTimestamp !== undefined;
  const serving = isPodReady(pod);
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const nodeName = pod.spec?.nodeName;
  const zone = nodeName === undefined ? undefined : context.zoneOf(nodeName);
  const { hostname, subdomain } = pod.spec ?? {};
  const named = hostname !== undefined && hostname !== '' && subdomain === service.metadata?.name;
  const hints = ready && !wantsSharedZones(service) ? hintsOf(service, nodeName, zone) : undefined;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(named ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(hints === undefined ? {} : { hints }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata?.namespace,
      name: pod.metadata?.name,
      uid: pod.metadata?.uid,
    },
  };
}

/** spec.trafficDistribution, KEP-3015: each endpoint is for its own zone, or its own node. */
function hintsOf(
  service: Service,
  nodeName: string | undefined,
  zone: string | undefined,
): Endpoint['hints'] | undefined {
  const distribution = service.spec?.trafficDistribution;
  const forZones = zone === undefined ? {} : { forZones: [{ name: zone }] };
  if (distribution === 'PreferSameNode' && nodeName !== undefined) {
    return { ...forZones, forNodes: [{ name: nodeName }] };
  }
  const sameZone = distribution === 'PreferClose' || distribution === 'PreferSameZone';
  return sameZone && zone !== undefined ? forZones : undefined;
}

/** The Pod's own numbers for the Service's ports; a name that the Pod does not have leaves that port out. */
export function portsOf(service: Service, pod: Pod): readonly EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const servicePort of service.spec?.ports ?? []) {
    const port = targetPortOf(servicePort, pod);
    if (port === undefined) continue;
    const { appProtocol } = servicePort;
    ports.push({
      name: servicePort.name ?? '',
      port,
      protocol: servicePort.protocol ?? 'TCP',
      ...(appProtocol === undefined ? {} : { appProtocol }),
    });
  }
  return ports;
}

function targetPortOf(servicePort: ServicePort, pod: Pod): number | undefined {
  const { targetPort, protocol = 'TCP' } = servicePort;
  if (targetPort === undefined || targetPort === 0 || targetPort === '') return servicePort.port;
  if (typeof targetPort === 'number') return targetPort;
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  );
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (port.name === targetPort && (port.protocol ?? 'TCP') === protocol) return port.containerPort;
    }
  }
  return undefined;
}

/** Families of the Service; a headless one without any serves those of its Pods, IPv4 at least. */
export function familiesOf(service: Service): readonly string[] {
  const families = service.spec?.ipFamilies ?? [];
  return families.length === 0 ? ['IPv4'] : families;
}

export function addressOf(pod: Pod, family: string): string | undefined {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const all = listed.length > 0 ? listed : [pod.status?.podIP ?? ''];
  return all.find((ip) => ip !== '' && ip !== undefined && ip.includes(':') === (family === 'IPv6'));
}

/** The slice as it should be: metadata of `base` is kept where it exists, our labels win. */
function sliceOf(
  service: Service,
  family: string,
  ports: readonly EndpointPort[],
  endpoints: readonly Endpoint[],
  base: EndpointSlice | undefined,
  triggeredAt: string | undefined,
): EndpointSlice {
  const name = service.metadata?.name ?? '';
  const metadata = base?.metadata ?? { generateName: `${name}-`, namespace: service.metadata?.namespace };
  const labels: Record<string, string> = { ...service.metadata?.labels };
  labels[serviceNameLabel] = name;
  labels[managedByLabel] = managedBy;
  if (service.spec?.clusterIP === 'None') labels[headlessLabel] = '';
  else delete labels[headlessLabel];
  const { [triggerTimeAnnotation]: _before, ...others } = metadata.annotations ?? {};
  const annotations =
    triggeredAt === undefined ? others : { ...others, [triggerTimeAnnotation]: triggeredAt };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels, annotations, ownerReferences: [controllerReference(services, service)] },
    addressType: family,
    endpoints,
    ports,
  };
}

function byName(
  a: { readonly metadata?: Pod['metadata'] },
  b: { readonly metadata?: Pod['metadata'] },
): number {
  return (a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1;
}
