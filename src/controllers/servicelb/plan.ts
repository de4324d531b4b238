import type { LoadBalancerIngress, Node, Pod, PortStatus, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { keyOf } from '../../api/object.ts';
import { canonicalIp, compareIp, parseIp } from '../../base/ip.ts';
import { matchesLabels } from '../../control/selector.ts';
import type { ConditionText } from '../service-conditions.ts';
import { heldByPods, heldEverywhere } from './held-ports.ts';

const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** The class that means us; a Service without any is ours too. */
export const ownClass = 'fairlead.dev/servicelb';

/** What a port's status says when another has that port of the nodes. The API wants names outside Kubernetes with a domain. */
const portTakenError = 'fairlead.dev/PortUnavailable';

/** Type of the condition that core/v1 has for ports that do not work. */
export const portsErrorCondition = 'LoadBalancerPortsError';

/** A message names no more; a Pod on each of a thousand nodes may have the port. */
const clashesNamedMax = 8;

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
  /** Undefined: of all nodes. */
  readonly node: string | undefined;
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
  /** Those with ports of their nodes; others do no harm. */
  readonly pods: Iterable<Pod>;
  /** Those of the Service. */
  readonly slices: Iterable<EndpointSlice>;
};

/**
 * Addresses of the nodes that take the Service's traffic: all ready ones, under externalTrafficPolicy Local those with a ready
 * endpoint; only spec.loadBalancerIP where it is one of these. A port that something else has is not taken away from it: among load
 * balancers the oldest has it, on its node a Pod, whatever its age, since nothing would tell a Pod. An address's other ports work, with
 * the error at that port; one of which none is left is not named.
 */
export function planBalancer(service: Service, context: BalancerContext): BalancerPlan {
  if (!isBalanced(service)) return { ingress: [], clashes: [], wantedAddressMissing: false };
  const everywhere = clashesOf(service, context.services);
  const ports = service.spec?.ports ?? [];
  if (everywhere.length === ports.length) {
    return { ingress: [], clashes: everywhere, wantedAddressMissing: false };
  }
  const chosen = chooseAddresses(service, context);
  const held = heldByPods([...context.pods].filter((pod) => !isBehind(service, pod)));
  const onNodes: PortClash[] = [];
  const ingress = chosen.addresses.flatMap(({ node, ip }): readonly LoadBalancerIngress[] => {
    const holders = (held.get(node) ?? []).filter(({ address }) => address === undefined || address === ip);
    const here = portsOf(service).flatMap((port): readonly PortClash[] => {
      if (everywhere.some((clash) => clash.port === port)) return [];
      const holder = holders.find((one) => one.port === port)?.holder;
      return holder === undefined ? [] : [{ port, node, holder }];
    });
    onNodes.push(...here);
    const taken = new Set([...everywhere, ...here].map(({ port }) => port));
    if (taken.size === ports.length) return [];
    if (taken.size === 0) return [{ ip, ipMode: 'VIP' }];
    const status = ports.map(({ port, protocol = 'TCP' }): PortStatus => {
      const working = { port, protocol };
      return taken.has(portText(working)) ? { ...working, error: portTakenError } : working;
    });
    return [{ ip, ipMode: 'VIP', ports: status }];
  });
  return {
    ingress,
    clashes: [...everywhere, ...onNodes],
    wantedAddressMissing: chosen.wantedAddressMissing,
  };
}

/** The Service leads to this Pod: who reaches it by its own port reaches it by the Service's, too. */
function isBehind(service: Service, pod: Pod): boolean {
  return (
    pod.metadata?.namespace === service.metadata?.namespace &&
    matchesLabels(service.spec?.selector, pod.metadata?.labels)
  );
}

type NodeAddress = { readonly node: string; readonly ip: string };

function chooseAddresses(
  service: Service,
  context: BalancerContext,
): { readonly addresses: readonly NodeAddress[]; readonly wantedAddressMissing: boolean } {
  const families = service.spec?.ipFamilies ?? ['IPv4'];
  const holds = nodesWithEndpoints(service, context.slices);
  const taking = [...context.nodes].filter(
    (node) => isTakingTraffic(node) && holds(node.metadata?.name ?? ''),
  );
  const addresses = families.flatMap((family) =>
    taking
      .flatMap((node): readonly NodeAddress[] => {
        const ip = addressOf(node, family);
        return ip === undefined ? [] : [{ node: node.metadata?.name ?? '', ip }];
      })
      .toSorted((a, b) => compareAddresses(a.ip, b.ip)),
  );
  const wanted = canonicalIp(service.spec?.loadBalancerIP ?? '');
  const picked = addresses.filter(({ ip }) => ip === wanted);
  const wantedAddressMissing = wanted !== undefined && picked.length === 0;
  return { addresses: picked.length > 0 ? picked : addresses, wantedAddressMissing };
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
  const held = heldEverywhere(all, keyOf(service));
  return portsOf(service).flatMap((port) => {
    const older = holders.get(port);
    const holder = held.get(port) ?? (older === undefined ? undefined : `Service ${keyOf(older)}`);
    return holder === undefined ? [] : [{ port, node: undefined, holder }];
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
    .slice(0, clashesNamedMax)
    .map(
      ({ port, node, holder }) =>
        `port ${port} of ${node === undefined ? 'the nodes' : `node ${node}`} belongs to ${holder}`,
    );
  const more = clashes.length - taken.length;
  const all = more === 0 ? taken : [...taken, `and ${more} more`];
  return `${all.join('; ')}: delete that or choose another port`;
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
