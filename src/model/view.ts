import type { Node, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { keyOf, type ObjectKey } from '../api/object.ts';
import { canonicalIp, formatCidr, parseCidr } from '../base/ip.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import {
  endpointsByHints,
  endpointsOfPort,
  endpointsOnNode,
  type ServiceEndpoint,
  serviceKeyOfSlice,
  usableEndpoints,
} from './endpoints.ts';
import { type ServicePortFacts, servicePortsOf } from './service-port.ts';

/** What Services look like from one node. Immutable; parts that did not change keep their identity between views. */
export type NodeView = {
  readonly node: NodeFacts;
  /** Services that have at least one port, in no certain order. */
  readonly services: PersistentMap<ObjectKey, ServiceView>;
};

export type NodeFacts = {
  readonly name: string;
  readonly zone: string;
  /** InternalIP and ExternalIP addresses, canonical. */
  readonly addresses: readonly string[];
  /** Ranges of this node's Pods, canonical. */
  readonly podCidrs: readonly string[];
};

export type ServiceView = {
  readonly key: ObjectKey;
  readonly createdAt: string;
  readonly ports: readonly ServicePortView[];
};

export type ServicePortView = {
  readonly facts: ServicePortFacts;
  /** For policy Cluster: usable ones of the whole cluster, narrowed by topology hints. */
  readonly cluster: readonly ServiceEndpoint[];
  /** For policy Local: usable ones on this node. */
  readonly local: readonly ServiceEndpoint[];
  /** All that still serve, including those no longer offered to new connections: their old flows may go on. */
  readonly serving: readonly ServiceEndpoint[];
};

const zoneLabel = 'topology.kubernetes.io/zone';

/** `undefined` while the Node object is not known: only its name is sure then. */
export function nodeFactsOf(name: string, node: Node | undefined): NodeFacts {
  const addresses = new Set<string>();
  for (const entry of node?.status?.addresses ?? []) {
    if (entry.type !== 'InternalIP' && entry.type !== 'ExternalIP') continue;
    const address = canonicalIp(entry.address);
    if (address !== undefined) addresses.add(address);
  }
  const ranges = node?.spec?.podCIDRs ?? (node?.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  const podCidrs = ranges.flatMap((text) => {
    const range = parseCidr(text);
    return range === undefined ? [] : [formatCidr(range)];
  });
  return { name, zone: node?.metadata?.labels?.[zoneLabel] ?? '', addresses: [...addresses], podCidrs };
}

/** One Service seen from a node; undefined when it has no port that a data plane could serve. */
export function serviceViewOf(
  service: Service,
  slices: Iterable<EndpointSlice>,
  node: Pick<NodeFacts, 'name' | 'zone'>,
): ServiceView | undefined {
  const facts = servicePortsOf(service);
  if (facts.length === 0) return undefined;
  const own = [...slices];
  const ports = facts.map((port) => {
    const all = endpointsOfPort(own, port.portName, port.protocol);
    // Each family for itself: a client of one cannot use an endpoint of the other.
    const families = [all.filter(isIpv4), all.filter((endpoint) => !isIpv4(endpoint))];
    return {
      facts: port,
      cluster: families.flatMap((list) => endpointsByHints(usableEndpoints(list), node.name, node.zone)),
      local: families.flatMap((list) => usableEndpoints(endpointsOnNode(list, node.name))),
      serving: all.filter((endpoint) => endpoint.ready || endpoint.serving),
    };
  });
  return { key: keyOf(service), createdAt: service.metadata?.creationTimestamp ?? '', ports };
}

function isIpv4({ address }: ServiceEndpoint): boolean {
  return !address.includes(':');
}

/** The whole view at once; `run.ts` of a data plane keeps one up to date by Service instead. */
export function buildNodeView(
  services: Iterable<Service>,
  slices: Iterable<EndpointSlice>,
  node: NodeFacts,
): NodeView {
  const slicesByService = new Map<ObjectKey, EndpointSlice[]>();
  for (const slice of slices) {
    const key = serviceKeyOfSlice(slice);
    if (key === undefined) continue;
    const own = slicesByService.get(key);
    if (own === undefined) slicesByService.set(key, [slice]);
    else own.push(slice);
  }
  const views: (readonly [ObjectKey, ServiceView])[] = [];
  for (const service of services) {
    const key = keyOf(service);
    const view = serviceViewOf(service, slicesByService.get(key) ?? [], node);
    if (view !== undefined) views.push([key, view]);
  }
  return { node, services: PersistentMap.from(views) };
}
