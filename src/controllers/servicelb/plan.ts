import type { LoadBalancerIngress, Node, PortStatus, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { keyOf } from '../../api/object.ts';
import { canonicalIp, compareIp, parseIp } from '../../base/ip.ts';
import type { ConditionText } from '../service-conditions.ts';

const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** The class that means us; a Service without any is ours too. */
export const ownClass = 'fairlead.dev/servicelb';

/** What a port's status says when another has that port of the nodes. The API wants names outside Kubernetes with a domain. */
const portTakenError = 'fairlead.dev/PortUnavailable';

/** Type of the condition that core/v1 has for ports that do not work. */
export const portsErrorCondition = 'LoadBalancerPortsError';

/** Ports of the nodes that the cluster itself lives by. A Service there would take them away from it. */
const reservedPorts: ReadonlyMap<string, string> = new Map([
  ['6443/TCP', 'the API server'],
  ['10250/TCP', 'the kubelet'],
]);

/** True for a Service whose load balancer is ours: those that name another class wait for that class's controller. */
export function isBalanced(service: Service): boolean {
  const { type, loadBalancerClass = ownClass } = service.spec ?? {};
  return (
    type === 'LoadBalancer' &&
    loadBalancerClass === ownClass &&
    service.metadata?.deletionTimestamp === undefined
  );
}

export type PortClash = {
  /** `80/TCP`. */
  readonly port: string;
  /** Who has it. */
  readonly holder: string;
};

export type BalancerPlan = {
  readonly ingress: readonly LoadBalancerIngress[];
  readonly clashes: readonly PortClash[];
  /** True: spec.loadBalancerIP is no address of a node that could take the traffic, so it is not followed. */
  readonly wantedAddressMissing: boolean;
};

export type BalancerContext = {
  /** All Services. */
  readonly services: Iterable<Service>;
  readonly nodes: Iterable<Node>;
  /** Those of the Service. */
  readonly slices: Iterable<EndpointSlice>;
};

/**
 * Addresses of the nodes that take the Service's traffic: all ready ones, under externalTrafficPolicy Local those with a ready
 * endpoint; only spec.loadBalancerIP where it is one of these. A port of the nodes can belong to one Service only: the oldest has it. Another one's other ports work, with the
 * error at that port; if none is left it has no address.
 */
export function planBalancer(service: Service, context: BalancerContext): BalancerPlan {
  if (!isBalanced(service)) return { ingress: [], clashes: [], wantedAddressMissing: false };
  const clashes = clashesOf(service, context.services);
  const ports = service.spec?.ports ?? [];
  if (clashes.length === ports.length) return { ingress: [], clashes, wantedAddressMissing: false };
  const families = service.spec?.ipFamilies ?? ['IPv4'];
  const holds = nodesWithEndpoints(service, context.slices);
  const taking = [...context.nodes].filter(
    (node) => isTakingTraffic(node) && holds(node.metadata?.name ?? ''),
  );
  const addresses = families.flatMap((family) =>
    taking.flatMap((node) => addressOf(node, family) ?? []).toSorted(compareAddresses),
  );
  const wanted = canonicalIp(service.spec?.loadBalancerIP ?? '');
  const wantedAddressMissing = wanted !== undefined && !addresses.includes(wanted);
  const chosen = wanted === undefined || wantedAddressMissing ? addresses : [wanted];
  const taken = new Set(clashes.map(({ port }) => port));
  const status = ports.map(({ port, protocol = 'TCP' }): PortStatus => {
    const working = { port, protocol };
    return taken.has(portText(working)) ? { ...working, error: portTakenError } : working;
  });
  const ingress = chosen.map((ip) => ({
    ip,
    ipMode: 'VIP',
    ...(taken.size === 0 ? {} : { ports: status }),
  }));
  return { ingress, clashes, wantedAddressMissing };
}

function portText({
  port,
  protocol = 'TCP',
}: {
  readonly port: number;
  readonly protocol?: string | undefined;
}) {
  return `${port}/${protocol}`;
}

export function portsOf(service: Service): readonly string[] {
  return (service.spec?.ports ?? []).map(portText);
}

function clashesOf(service: Service, all: Iterable<Service>): readonly PortClash[] {
  const holders = new Map<string, Service>();
  for (const other of all) {
    if (!isBalanced(other) || keyOf(other) === keyOf(service) || compareAge(other, service) > 0) continue;
    for (const port of portsOf(other)) {
      const known = holders.get(port);
      if (known === undefined || compareAge(other, known) < 0) holders.set(port, other);
    }
  }
  return portsOf(service).flatMap((port) => {
    const reserved = reservedPorts.get(port);
    if (reserved !== undefined) return [{ port, holder: reserved }];
    const holder = holders.get(port);
    return holder === undefined ? [] : [{ port, holder: `Service ${keyOf(holder)}` }];
  });
}

/** Under policy Local a node without endpoint would drop what comes: clients should not be sent there. */
function nodesWithEndpoints(service: Service, slices: Iterable<EndpointSlice>): (node: string) => boolean {
  if (service.spec?.externalTrafficPolicy !== 'Local') return () => true;
  const names = new Set<string>();
  for (const slice of slices) {
    for (const { nodeName, conditions } of slice.endpoints ?? []) {
      if (nodeName !== undefined && conditions?.ready !== false) names.add(nodeName);
    }
  }
  return (node) => names.has(node);
}

/** What the Service's condition of type `portsErrorCondition` should say; undefined: all its ports are its own. */
export function portsError(clashes: readonly PortClash[]): ConditionText | undefined {
  if (clashes.length === 0) return undefined;
  return { reason: 'PortUnavailable', message: clashMessage(clashes) };
}

function clashMessage(clashes: readonly PortClash[]): string {
  const taken = clashes
    .map(({ port, holder }) => `port ${port} of the nodes belongs to ${holder}`)
    .join('; ');
  return `${taken}: delete that or choose another port`;
}

function isTakingTraffic(node: Node): boolean {
  return (
    node.metadata?.deletionTimestamp === undefined &&
    node.metadata?.labels?.[excludeLabel] === undefined &&
    node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
  );
}

/** The external address if there is one: it is what clients outside reach. */
function addressOf(node: Node, family: string): string | undefined {
  const candidates = (node.status?.addresses ?? []).filter(
    ({ address }) => address.includes(':') === (family === 'IPv6'),
  );
  const ofType = (type: string) => candidates.find((candidate) => candidate.type === type)?.address;
  return ofType('ExternalIP') ?? ofType('InternalIP');
}

function compareAge(a: Service, b: Service): number {
  const [first = '', second = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp];
  if (first !== second) return first < second ? -1 : 1;
  return keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0;
}

/** Of one family. By number, not by text: 10.41.0.9 comes before 10.41.0.10, fd00::a before fd00::10. */
function compareAddresses(a: string, b: string): number {
  const [first, second] = [parseIp(a), parseIp(b)];
  if (first === undefined || second === undefined) return a < b ? -1 : a > b ? 1 : 0;
  return compareIp(first, second);
}
