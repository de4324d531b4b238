import type { Service, ServicePort } from '../api/gen/core-v1.ts';
import { keyOf, type ObjectKey } from '../api/object.ts';
import { canonicalIp, formatCidr, parseCidr } from '../base/ip.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** Which endpoints may be used: all of the cluster, or only those on the node that the packet is on. */
export type TrafficPolicy = 'Cluster' | 'Local';

/** One port of one Service with all that a data plane needs of both. Addresses and ranges are canonical text. */
export type ServicePortFacts = {
  readonly serviceKey: ObjectKey;
  /** '' when the Service's only port has no name. */
  readonly portName: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** undefined: none allocated. */
  readonly nodePort: number | undefined;
  /** Empty for headless and ExternalName Services. */
  readonly clusterIps: readonly string[];
  readonly externalIps: readonly string[];
  /**
   * From status; without those of ipMode Proxy, which must go through the load balancer, and those that have an error at this
   * port.
   */
  readonly loadBalancerIps: readonly string[];
  /** Who may reach the load-balancer addresses; empty: everybody. */
  readonly sourceRanges: readonly string[];
  readonly internalPolicy: TrafficPolicy;
  readonly externalPolicy: TrafficPolicy;
  /** undefined: no session affinity. Seconds that a client stays with its endpoint since its last new connection. */
  readonly affinityTimeoutSeconds: number | undefined;
  /** 0: none. */
  readonly healthCheckNodePort: number;
};

/** A label that gives a Service to a service proxy of that name: every other one leaves it alone. */
export const proxyNameLabel = 'service.kubernetes.io/service-proxy-name';

export const affinityTimeoutSecondsDefault = 10_800;

export function protocolOf(text: string | undefined): Protocol | undefined {
  if (text === undefined || text === '') return 'TCP';
  return text === 'TCP' || text === 'UDP' || text === 'SCTP' ? text : undefined;
}

export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** A Service is ready for data planes when it is no name for something outside the cluster. */
export function servicePortsOf(service: Service): readonly ServicePortFacts[] {
  const spec = service.spec ?? {};
  if (spec.type === 'ExternalName') return [];
  const shared = sharedFactsOf(service);
  const facts: ServicePortFacts[] = [];
  for (const port of spec.ports ?? []) {
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) continue; // a protocol of the future: no data plane of ours carries it
    const nodePort = port.nodePort ?? 0;
    facts.push({
      ...shared,
      loadBalancerIps: loadBalancerIpsOf(service, port.port, protocol),
      portName: port.name ?? '',
      protocol,
      port: port.port,
      nodePort: nodePort > 0 && spec.type !== 'ClusterIP' ? nodePort : undefined,
    });
  }
  return facts;
}

function sharedFactsOf(
  service: Service,
): Omit<ServicePortFacts, 'portName' | 'protocol' | 'port' | 'nodePort' | 'loadBalancerIps'> {
  const spec = service.spec ?? {};
  const clusterIps = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  const balanced = spec.type === 'LoadBalancer';
  const timeout = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? affinityTimeoutSecondsDefault;
  return {
    serviceKey: keyOf(service),
    clusterIps: canonicalAddresses(clusterIps),
    externalIps: canonicalAddresses(spec.externalIPs ?? []),
    sourceRanges: balanced ? canonicalRanges(spec.loadBalancerSourceRanges ?? []) : [],
    internalPolicy: spec.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    externalPolicy: spec.externalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    affinityTimeoutSeconds: spec.sessionAffinity === 'ClientIP' ? timeout : undefined,
    healthCheckNodePort: spec.healthCheckNodePort ?? 0,
  };
}

function loadBalancerIpsOf(service: Service, number: number, protocol: Protocol): readonly string[] {
  if (service.spec?.type !== 'LoadBalancer') return [];
  const entries = (service.status?.loadBalancer?.ingress ?? []).filter(({ ipMode, ports = [] }) => {
    const status = ports.find((port) => port.port === number && port.protocol === protocol);
    return ipMode !== 'Proxy' && (status?.error ?? '') === '';
  });
  return canonicalAddresses(entries.map((entry) => entry.ip ?? ''));
}

/** What is no address ('', 'None', garbage of another API server) is left out; each address once. */
function canonicalAddresses(texts: readonly string[]): readonly string[] {
  const addresses = new Set<string>();
  for (const text of texts) {
    const address = canonicalIp(text.trim());
    if (address !== undefined) addresses.add(address);
  }
  return [...addresses];
}

function canonicalRanges(texts: readonly string[]): readonly string[] {
  const ranges = new Set<string>();
  for (const text of texts) {
    const range = parseCidr(text.trim());
    if (range !== undefined) ranges.add(formatCidr(range));
  }
  return [...ranges];
}

/** The port of a Service that a backend names, by `name` or by `port` number; undefined when it has none such. */
export function servicePortNamed(service: Service, nameOrNumber: string | number): ServicePort | undefined {
  const ports = service.spec?.ports ?? [];
  return typeof nameOrNumber === 'number'
    ? ports.find((port) => port.port === nameOrNumber)
    : ports.find((port) => (port.name ?? '') === nameOrNumber);
}
