import type { Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { formatIp, type Ip, ipToBytes, parseIp } from '../base/ip.ts';
import { conditionsOf } from '../model/endpoints.ts';

/** Addresses by family, as the bytes of A and AAAA records. In canonical order, each once. */
export type Addresses = {
  readonly v4: readonly Uint8Array[];
  readonly v6: readonly Uint8Array[];
};

/** A port that has SRV records, in the spelling of DNS. */
export type NamedPort = {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
};

/** One name below a headless Service. */
export type NamedEndpoint = {
  /** The Pod's hostname, or its address with dashes. */
  readonly hostname: string;
  readonly addresses: Addresses;
  readonly ports: readonly NamedPort[];
};

/** All that DNS says of one Service. Made anew when the Service or its slices change, never changed. */
export type ServiceRecords =
  | {
      readonly kind: 'cluster';
      readonly addresses: Addresses;
      readonly ports: readonly NamedPort[];
      /** TCP ports that a load balancer leads here from outside of the cluster. */
      readonly balancedPorts: readonly number[];
    }
  | {
      readonly kind: 'headless';
      readonly addresses: Addresses;
      /** By hostname. Only those that are ready. */
      readonly endpoints: ReadonlyMap<string, NamedEndpoint>;
    }
  | { readonly kind: 'external'; readonly target: string };

/** A name for an address, for reverse look-ups: '' is the Service itself, else one of its endpoints. */
export type ReverseName = { readonly address: string; readonly hostname: string };

export const noAddresses: Addresses = { v4: [], v6: [] };

/** `Service.spec.clusterIP` of a headless Service. */
export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None' && service.spec.type !== 'ExternalName';
}

/**
 * The records of one Service. `slices` are asked for only if it is headless: a ClusterIP does not depend on its endpoints.
 * Spec: Kubernetes DNS-Based Service Discovery 1.1.0, sections 2.3 to 2.5.
 */
export function compileService(service: Service, slices: () => Iterable<EndpointSlice>): ServiceRecords {
  const spec = service.spec;
  if (spec?.type === 'ExternalName') {
    return { kind: 'external', target: (spec.externalName ?? '').toLowerCase().replace(/\.$/, '') };
  }
  if (isHeadless(service)) return compileHeadless(slices());
  const ips = spec?.clusterIPs ?? (spec?.clusterIP === undefined ? [] : [spec.clusterIP]);
  const ports = (spec?.ports ?? []).flatMap((port) => namedPort(port.name, port.protocol, port.port));
  return { kind: 'cluster', addresses: addressesOf(ips), ports, balancedPorts: balancedPortsOf(service) };
}

function balancedPortsOf({ spec, status }: Service): readonly number[] {
  if (spec?.type !== 'LoadBalancer' || (status?.loadBalancer?.ingress ?? []).length === 0) return [];
  return (spec.ports ?? []).filter(({ protocol = 'TCP' }) => protocol === 'TCP').map(({ port }) => port);
}

function compileHeadless(slices: Iterable<EndpointSlice>): ServiceRecords {
  const ips = new Map<string, string[]>();
  const ports = new Map<string, Map<string, NamedPort>>();
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue;
    const slicePorts = (slice.ports ?? []).flatMap((port) => namedPort(port.name, port.protocol, port.port));
    for (const endpoint of slice.endpoints ?? []) {
      const ip = parseIp(endpoint.addresses[0] ?? ''); // consumers use the first only (discovery/v1 Endpoint)
      if (ip === undefined || !conditionsOf(endpoint).ready) continue;
      const hostname = hostnameOf(endpoint.hostname, ip);
      multiAdd(ips, hostname, formatIp(ip));
      let known = ports.get(hostname);
      if (known === undefined) ports.set(hostname, (known = new Map()));
      for (const port of slicePorts) known.set(`${port.name} ${port.protocol} ${port.port}`, port);
    }
  }
  const endpoints = new Map<string, NamedEndpoint>();
  for (const hostname of [...ips.keys()].toSorted()) {
    endpoints.set(hostname, {
      hostname,
      addresses: addressesOf(ips.get(hostname) ?? []),
      ports: [...(ports.get(hostname)?.values() ?? [])],
    });
  }
  return { kind: 'headless', addresses: addressesOf([...ips.values()].flat()), endpoints };
}

/** The addresses that lead back to this Service, for PTR. */
export function reverseNames(records: ServiceRecords): readonly ReverseName[] {
  switch (records.kind) {
    case 'cluster':
      return textsOf(records.addresses).map((address) => ({ address, hostname: '' }));
    case 'headless':
      return [...records.endpoints.values()].flatMap(({ hostname, addresses }) =>
        textsOf(addresses).map((address) => ({ address, hostname })),
      );
    case 'external':
      return [];
  }
}

/** A key of the address's bytes for maps: quick to make from a query. */
export function addressKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function textsOf({ v4, v6 }: Addresses): readonly string[] {
  return [...v4, ...v6].map(addressKey);
}

function hostnameOf(hostname: string | undefined, ip: Ip): string {
  if (hostname !== undefined && hostname !== '') return hostname.toLowerCase();
  return formatIp(ip).replaceAll(/[.:]/g, '-');
}

function namedPort(
  name: string | undefined,
  protocol: string | undefined,
  port: number | undefined,
): readonly NamedPort[] {
  if (name === undefined || name === '' || port === undefined) return [];
  const lower = (protocol ?? 'TCP').toLowerCase();
  if (lower !== 'tcp' && lower !== 'udp' && lower !== 'sctp') return [];
  return [{ name: name.toLowerCase(), protocol: lower, port }];
}

/** Of addresses in text form; what is none is left out. */
export function addressesOf(texts: readonly string[]): Addresses {
  const ips = new Map<string, Ip>();
  for (const text of texts) {
    const ip = parseIp(text);
    if (ip !== undefined) ips.set(formatIp(ip), ip);
  }
  if (ips.size === 0) return noAddresses;
  const sorted = [...ips.values()].toSorted((a, b) => (a.value < b.value ? -1 : 1));
  return {
    v4: sorted.filter((ip) => ip.family === 4).map(ipToBytes),
    v6: sorted.filter((ip) => ip.family === 6).map(ipToBytes),
  };
}

function multiAdd(map: Map<string, string[]>, key: string, value: string): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** Whether the two give the same answers; so that churn which DNS does not show leaves the zone's serial alone. */
export function sameRecords(a: ServiceRecords, b: ServiceRecords): boolean {
  return a.kind === b.kind && canonicalText(a) === canonicalText(b);
}

function canonicalText(records: ServiceRecords): string {
  switch (records.kind) {
    case 'external':
      return records.target;
    case 'cluster':
      return JSON.stringify([textsOf(records.addresses), records.ports, records.balancedPorts]);
    case 'headless':
      return JSON.stringify(
        [...records.endpoints.values()].map((endpoint) => [
          endpoint.hostname,
          textsOf(endpoint.addresses),
          endpoint.ports,
        ]),
      );
  }
}
