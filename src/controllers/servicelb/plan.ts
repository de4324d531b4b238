import type { LoadBalancerIngress, Node, Service } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';

const excludeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** True for a Service whose load balancer is ours: those that name a class wait for that class's controller. */
export function isBalanced(service: Service): boolean {
  return (
    service.spec?.type === 'LoadBalancer' &&
    service.spec.loadBalancerClass === undefined &&
    service.metadata?.deletionTimestamp === undefined
  );
}

export type BalancerPlan = {
  readonly ingress: readonly LoadBalancerIngress[];
  /** The other Service that has one of the ports already, and which port that is. */
  readonly clash: { readonly service: string; readonly port: string } | undefined;
};

/**
 * Addresses of the nodes that take the Service's traffic. A port of the nodes can belong to one Service only: the oldest
 * has it, others stay without address until it goes.
 */
export function planBalancer(service: Service, all: Iterable<Service>, nodes: Iterable<Node>): BalancerPlan {
  if (!isBalanced(service)) return { ingress: [], clash: undefined };
  const clash = clashOf(service, all);
  if (clash !== undefined) return { ingress: [], clash };
  const families = service.spec?.ipFamilies ?? ['IPv4'];
  const addresses = [...nodes]
    .filter(isTakingTraffic)
    .flatMap((node) => families.flatMap((family) => addressOf(node, family) ?? []))
    .toSorted(compareAddresses);
  return { ingress: addresses.map((ip) => ({ ip, ipMode: 'VIP' })), clash: undefined };
}

export function portsOf(service: Service): readonly string[] {
  return (service.spec?.ports ?? []).map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`);
}

function clashOf(service: Service, all: Iterable<Service>): BalancerPlan['clash'] {
  const mine = new Set(portsOf(service));
  const older = [...all]
    .filter((other) => other !== service && isBalanced(other) && compareAge(other, service) < 0)
    .toSorted(compareAge);
  for (const other of older) {
    const port = portsOf(other).find((candidate) => mine.has(candidate));
    // One that lost itself takes no port from anybody.
    if (port !== undefined && clashOf(other, older) === undefined) return { service: keyOf(other), port };
  }
  return undefined;
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

/** By number, not by text: 10.41.0.9 comes before 10.41.0.10. */
function compareAddresses(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
