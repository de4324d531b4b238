import type { EndpointAddress, EndpointSubset, Endpoints, Service } from '../../api/gen/core-v1.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { endpoints as endpointsResource } from '../../api/resource.ts';
import { type Group, inSafeOrder, planFill, type SliceWrite } from '../endpointslice/fill.ts';
import { managedByLabel, serviceNameLabel } from '../endpointslice/plan.ts';
import { controllerReference } from '../ownership.ts';
import { canonicalJson } from '../status-patch.ts';

export const mirroredBy = 'endpointslicemirroring-controller.k8s.io';
const skipLabel = 'endpointslice.kubernetes.io/skip-mirror';
const headlessLabel = 'service.kubernetes.io/headless';
const leaderAnnotation = 'control-plane.alpha.kubernetes.io/leader';

/** Addresses of one subset that are mirrored; the rest is left out. kube-controller-manager's default. */
export const addressesPerSubsetMax = 1000;

/** Annotations that are about the Endpoints object itself. */
const ownAnnotations: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'endpoints.kubernetes.io/last-change-trigger-time',
]);

/** Only what people write by hand: with a selector the Service's slices are made from its Pods. */
export function isMirrored(object: Endpoints | undefined, service: Service | undefined): object is Endpoints {
  return (
    object !== undefined &&
    service !== undefined &&
    service.spec?.selector === undefined &&
    object.metadata?.deletionTimestamp === undefined &&
    object.metadata?.labels?.[skipLabel] !== 'true' &&
    object.metadata?.annotations?.[leaderAnnotation] === undefined
  );
}

/** What people should hear of addresses that are not mirrored; undefined: all are. */
export function leftOutText({ subsets = [] }: Endpoints): string | undefined {
  const counts = subsets.map(
    ({ addresses = [], notReadyAddresses = [] }) => addresses.length + notReadyAddresses.length,
  );
  const leftOut = counts.reduce((sum, count) => sum + Math.max(0, count - addressesPerSubsetMax), 0);
  if (leftOut === 0) return undefined;
  return `A max of ${addressesPerSubsetMax} addresses of a subset can be mirrored to EndpointSlices: ${leftOut} were left out`;
}

/** The writes that make `existing`, the mirrored slices of the object's Service, tell the same as the object. */
export function planMirror(object: Endpoints, existing: Iterable<EndpointSlice>): readonly SliceWrite[] {
  const unclaimed = new Set(existing);
  const writes: SliceWrite[] = [];
  for (const family of ['IPv4', 'IPv6'] as const) {
    const groups = groupsOf(object.subsets ?? [], family);
    const mine = [...unclaimed].filter(({ addressType }) => addressType === family);
    for (const slice of mine) unclaimed.delete(slice);
    // No addresses: no slice either, unlike that of a selector, for nobody waits here for a Pod to come.
    if (groups.size === 0) writes.push(...mine.map((slice) => ({ kind: 'delete' as const, slice })));
    else writes.push(...planFill(groups, mine, (...parts) => sliceOf(object, family, ...parts)));
  }
  for (const slice of unclaimed) writes.push({ kind: 'delete', slice });
  return inSafeOrder(writes);
}

function groupsOf(subsets: readonly EndpointSubset[], family: 'IPv4' | 'IPv6'): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const subset of subsets) {
    const all = [
      ...(subset.addresses ?? []).map((address) => endpointOf(address, true)),
      ...(subset.notReadyAddresses ?? []).map((address) => endpointOf(address, false)),
    ].slice(0, addressesPerSubsetMax);
    const own = all.filter(({ addresses: [ip = ''] }) => ip.includes(':') === (family === 'IPv6'));
    if (own.length === 0) continue;
    const ports = (subset.ports ?? []).map(portOf);
    const key = canonicalJson(ports);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ports, endpoints: own });
    else group.endpoints.push(...own);
  }
  return groups;
}

function portOf({ name = '', port, protocol = 'TCP', appProtocol }: EndpointPort): EndpointPort {
  return { name, port, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) };
}

function endpointOf({ ip, hostname, nodeName, targetRef }: EndpointAddress, ready: boolean): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(targetRef === undefined ? {} : { targetRef }),
  };
}

function sliceOf(
  object: Endpoints,
  family: string,
  ports: readonly EndpointPort[],
  endpoints: readonly Endpoint[],
  base: EndpointSlice | undefined,
): EndpointSlice {
  const { name = '', namespace } = object.metadata ?? {};
  const { [headlessLabel]: _headless, ...labels } = object.metadata?.labels ?? {};
  const annotations = Object.fromEntries(
    Object.entries(object.metadata?.annotations ?? {}).filter(([key]) => !ownAnnotations.has(key)),
  );
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...(base?.metadata ?? { generateName: `${name}-`, namespace }),
      labels: { ...labels, [serviceNameLabel]: name, [managedByLabel]: mirroredBy },
      annotations,
      ownerReferences: [controllerReference(endpointsResource, object)],
    },
    addressType: family,
    endpoints,
    ports,
  };
}
