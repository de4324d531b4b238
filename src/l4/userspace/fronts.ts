import type { ObjectKey } from '../../api/object.ts';
import { cidrContains, type Cidr, parseCidr, parseIp } from '../../base/ip.ts';
import type { ServiceEndpoint } from '../../model/endpoints.ts';
import type { NodeView, ServicePortView, ServiceView } from '../../model/view.ts';
import { compareAge } from '../claims.ts';
import type { CompileOptions } from '../compile.ts';
import type { RulesetProblem } from '../ruleset.ts';

export type Backend = { readonly address: string; readonly port: number };

/** One address and port that a socket listens at, and where its clients are led. */
export type Front = {
  /** `tcp 10.43.0.5 80`. */
  readonly id: string;
  readonly service: ObjectKey;
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** For clients in the cluster and for those outside; empty: these clients are turned away. */
  readonly inside: readonly Backend[];
  readonly outside: readonly Backend[];
  /** Empty: everybody may come. */
  readonly sourceRanges: readonly Cidr[];
  readonly affinityTimeoutSeconds: number | undefined;
  /** `address port` of all that still serve: flows of UDP may stay with them. */
  readonly serving: ReadonlySet<string>;
};

export type FrontPlan = {
  readonly fronts: ReadonlyMap<string, Front>;
  /** Addresses that are no node's, and ranges: the node has to take their packets for its own. */
  readonly localRanges: readonly string[];
  readonly problems: readonly RulesetProblem[];
};

/** Sockets at once. Service ports beyond that are not served, which is told. */
export const frontsMax = 8192;

/** NodeView → sockets; `localAddresses` are the machine's own, where node ports answer. The same policies as compile.ts; Services without endpoints have no socket, so the kernel refuses. */
export function planFronts(
  view: NodeView,
  options: CompileOptions,
  localAddresses: readonly string[],
): FrontPlan {
  const fronts = new Map<string, Front>();
  const localRanges = new Set(options.serviceCidrs);
  const problems: RulesetProblem[] = [];
  /** Of each Service that has any: how many fronts have no socket, and the first of them. */
  const leftOut = new Map<ObjectKey, { readonly first: string; readonly count: number }>();
  const nodePortAddresses = new Set([...view.node.addresses, ...localAddresses, '127.0.0.1']);
  const nodeAddresses = new Set([...options.clusterNodeAddresses, ...view.node.addresses]);
  for (const service of [...view.services.values()].toSorted(compareAge)) {
    for (const port of service.ports) {
      if (port.facts.protocol === 'SCTP') {
        const message = `port ${port.facts.port}/SCTP needs nftables: it is not served`;
        problems.push({ service: service.key, reason: 'SCTPNotSupported', message });
        continue;
      }
      for (const front of frontsOfPort(service, port, nodePortAddresses)) {
        const holder = fronts.get(front.id);
        if (holder !== undefined) {
          const message = `${front.id} already belongs to ${holder.service}`;
          if (holder.service !== service.key)
            problems.push({ service: service.key, reason: 'AddressTaken', message });
        } else if (fronts.size >= frontsMax) {
          const { first = front.id, count = 0 } = leftOut.get(service.key) ?? {};
          leftOut.set(service.key, { first, count: count + 1 });
        } else if (!nodeAddresses.has(front.address) || view.node.addresses.includes(front.address)) {
          fronts.set(front.id, front);
        }
      }
      for (const address of [...port.facts.externalIps, ...port.facts.loadBalancerIps]) {
        if (!nodeAddresses.has(address)) localRanges.add(`${address}/${address.includes(':') ? 128 : 32}`);
      }
    }
  }
  for (const [service, { first, count }] of leftOut) {
    const more = count === 1 ? 'is' : `and ${count - 1} more are`;
    const message = `more than ${frontsMax} sockets: ${first} ${more} not served`;
    problems.push({ service, reason: 'TooManyPorts', message });
  }
  return { fronts, localRanges: [...localRanges], problems };
}

function frontsOfPort(
  service: ServiceView,
  port: ServicePortView,
  nodePortAddresses: Iterable<string>,
): readonly Front[] {
  const { facts } = port;
  const protocol = facts.protocol === 'UDP' ? 'udp' : 'tcp';
  const cluster = port.cluster.map(backendOf);
  const local = port.local.map(backendOf);
  if (cluster.length === 0 && local.length === 0) return [];
  const internal = facts.internalPolicy === 'Local' ? local : cluster;
  const external = { inside: cluster, outside: facts.externalPolicy === 'Local' ? local : cluster };
  const restricted = new Set(facts.loadBalancerIps.map((address) => `${address} ${facts.port}`));
  const front = (address: string, number: number, targets: Pick<Front, 'inside' | 'outside'>): Front => ({
    id: `${protocol} ${address} ${number}`,
    service: service.key,
    protocol,
    address,
    port: number,
    inside: sameFamily(targets.inside, address),
    outside: sameFamily(targets.outside, address),
    sourceRanges: restricted.has(`${address} ${number}`) ? rangesOf(facts.sourceRanges) : [],
    affinityTimeoutSeconds: facts.affinityTimeoutSeconds,
    serving: new Set(port.serving.map((endpoint) => `${endpoint.address} ${endpoint.port}`)),
  });
  const fronts = facts.clusterIps.map((address) =>
    front(address, facts.port, { inside: internal, outside: internal }),
  );
  for (const address of new Set([...facts.externalIps, ...facts.loadBalancerIps])) {
    fronts.push(front(address, facts.port, external));
  }
  const { nodePort } = facts;
  if (nodePort !== undefined) {
    for (const address of nodePortAddresses) fronts.push(front(address, nodePort, external));
  }
  return fronts.filter(({ inside, outside }) => inside.length + outside.length > 0);
}

function backendOf({ address, port }: ServiceEndpoint): Backend {
  return { address, port };
}

function sameFamily(backends: readonly Backend[], address: string): readonly Backend[] {
  return backends.filter((backend) => backend.address.includes(':') === address.includes(':'));
}

/** Who counts as inside the cluster; the rest is outside. */
export type InsideRanges = readonly Cidr[];

export function insideRanges(view: NodeView, options: CompileOptions): InsideRanges {
  const own = view.node.addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  return rangesOf([...options.clusterCidrs, ...view.node.podCidrs, ...own, '127.0.0.0/8', '::1/128']);
}

function rangesOf(texts: readonly string[]): readonly Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}

/** Where a client may be led; empty: nowhere. A process of the node itself comes from the front's own address. */
export function backendsFor(front: Front, client: string, inside: InsideRanges): readonly Backend[] {
  const own = client === front.address;
  if (front.sourceRanges.length > 0 && !own && !inRanges(client, front.sourceRanges)) return [];
  return own || inRanges(client, inside) ? front.inside : front.outside;
}

function inRanges(address: string, ranges: readonly Cidr[]): boolean {
  const ip = parseIp(address);
  return ip !== undefined && ranges.some((range) => cidrContains(range, ip));
}
