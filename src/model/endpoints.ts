import type { Service } from '../api/gen/core-v1.ts';
import type { Endpoint, EndpointSlice } from '../api/gen/discovery-v1.ts';
import { objectKey, type ObjectKey } from '../api/object.ts';
import { canonicalIp } from '../base/ip.ts';
import { type Protocol, protocolOf, servicePortNamed } from './service-port.ts';

export const serviceNameLabel = 'kubernetes.io/service-name';

/** One address and port behind a Service port, with the nil rules of EndpointConditions already applied. */
export type ServiceEndpoint = {
  /** Canonical text. */
  readonly address: string;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** '' when unknown. */
  readonly nodeName: string;
  readonly zone: string;
  /** The Pod's name within a headless Service; '' without. */
  readonly hostname: string;
  /** Hints: zones and nodes that should use this endpoint; empty: no hint. */
  readonly forZones: readonly string[];
  readonly forNodes: readonly string[];
};

/** The Service that a slice belongs to; undefined when its label is missing. */
export function serviceKeyOfSlice(slice: EndpointSlice): ObjectKey | undefined {
  const name = slice.metadata?.labels?.[serviceNameLabel];
  return name === undefined || name === '' ? undefined : objectKey(slice.metadata?.namespace, name);
}

export type EndpointConditionFacts = {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
};

/** `ready` and `serving` missing mean true, `terminating` missing means false (discovery/v1 EndpointConditions). */
export function conditionsOf(endpoint: Endpoint): EndpointConditionFacts {
  const conditions = endpoint.conditions;
  return {
    ready: conditions?.ready ?? true,
    serving: conditions?.serving ?? true,
    terminating: conditions?.terminating ?? false,
  };
}

/**
 * All endpoints, usable or not, of the Service port called `portName` ('' for the unnamed one). `slices` are those of one
 * Service. An endpoint that stands in two slices at once, as while it moves between them, is taken once, in its best state.
 * Sorted by address and port, so that equal slices in any order give equal lists.
 */
export function endpointsOfPort(
  slices: Iterable<EndpointSlice>,
  portName: string,
  protocol: Protocol,
): readonly ServiceEndpoint[] {
  const found = new Map<string, ServiceEndpoint>();
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue;
    const slicePort = slice.ports?.find(
      (port) => (port.name ?? '') === portName && protocolOf(port.protocol) === protocol,
    );
    if (slicePort?.port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      // Only the first address counts: consumers must treat further ones as equal, and writers set exactly one.
      const address = canonicalIp(endpoint.addresses[0] ?? '');
      if (address === undefined) continue;
      const facts = endpointFacts(endpoint, address, slicePort.port);
      const id = `${address} ${slicePort.port}`;
      const other = found.get(id);
      if (other === undefined || rankOf(facts) > rankOf(other)) found.set(id, facts);
    }
  }
  return [...found.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, facts]) => facts);
}

function endpointFacts(endpoint: Endpoint, address: string, port: number): ServiceEndpoint {
  const hints = endpoint.hints;
  return {
    address,
    port,
    ...conditionsOf(endpoint),
    nodeName: endpoint.nodeName ?? '',
    zone: endpoint.zone ?? '',
    hostname: endpoint.hostname ?? '',
    forZones: hints?.forZones?.map((zone) => zone.name) ?? [],
    forNodes: hints?.forNodes?.map((node) => node.name) ?? [],
  };
}

function rankOf(endpoint: ServiceEndpoint): number {
  return Number(endpoint.ready) * 2 + Number(endpoint.serving);
}

/**
 * Endpoints behind a backend such as an Ingress's: the Service port by name or number. All of them with their state; choose
 * with `usableEndpoints`. undefined: the Service has no such port.
 */
export function endpointsForBackend(
  service: Service,
  portNameOrNumber: string | number,
  slices: Iterable<EndpointSlice>,
): readonly ServiceEndpoint[] | undefined {
  const port = servicePortNamed(service, portNameOrNumber);
  const protocol = protocolOf(port?.protocol);
  if (port === undefined || protocol === undefined) return undefined;
  return endpointsOfPort(slices, port.name ?? '', protocol);
}

/**
 * Those to open new connections to: the ready ones; only where there are none, those that still serve while they terminate
 * (KEP-1669). Never one that terminates and is not serving.
 */
export function usableEndpoints(endpoints: readonly ServiceEndpoint[]): readonly ServiceEndpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  if (ready.length > 0) return ready;
  return endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
}

export function endpointsOnNode(
  endpoints: readonly ServiceEndpoint[],
  nodeName: string,
): readonly ServiceEndpoint[] {
  return endpoints.filter((endpoint) => endpoint.nodeName === nodeName);
}

/**
 * The part of `usable` that topology hints give to this node: by node where all have node hints and one names it, else by
 * zone in the same way, else all. Hints that would leave nothing are not followed (KEP-2433, KEP-3015).
 */
export function endpointsByHints(
  usable: readonly ServiceEndpoint[],
  nodeName: string,
  zone: string,
): readonly ServiceEndpoint[] {
  if (usable.every((endpoint) => endpoint.forNodes.length > 0)) {
    const here = usable.filter((endpoint) => endpoint.forNodes.includes(nodeName));
    if (here.length > 0) return here;
  }
  if (zone !== '' && usable.every((endpoint) => endpoint.forZones.length > 0)) {
    const here = usable.filter((endpoint) => endpoint.forZones.includes(zone));
    if (here.length > 0) return here;
  }
  return usable;
}
