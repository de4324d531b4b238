import type { ObjectKey } from '../api/object.ts';
import type { IpFamily } from '../base/ip.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import type { ServiceView } from '../model/view.ts';

/** The name of our table, in the families ip and ip6. */
export const tableName = 'fairlead';

/**
 * A space is one way to look up a destination. `vips`: address and port. `node_ports`: port, at any address of the node.
 * The `external_` ones hold only Services of externalTrafficPolicy Local and are asked first, for packets from outside.
 */
export const spaces = ['vips', 'external_vips', 'node_ports', 'external_node_ports'] as const;
export type Space = (typeof spaces)[number];

/** Protocols with ports, in nft's words. */
export const transports = ['tcp', 'udp', 'sctp'] as const;
export type Transport = (typeof transports)[number];

/** Sets and maps that the compiler fills. What each holds: README.md. */
export type SetName =
  | Space
  | `${Space}_choices`
  | `${Space}_${Transport}_endpoints`
  | `${Space}_${Transport}_affine`
  | 'refused_vips'
  | 'refused_node_ports'
  | 'restricted_vips'
  | 'allowed_sources'
  | 'hairpins'
  | 'local_endpoints'
  | 'cluster_sources'
  | 'cluster_ranges'
  | 'node_pods'
  | 'service_ranges';

/** Filled by the kernel, one entry per client with session affinity: `…_clients`. */
export type ClientMapName = `${Space}_clients`;

/** One element, in nft's own words. `value` is '' in a set. */
export type RuleElement = {
  readonly set: SetName;
  /** Concatenation such as `10.43.0.1 . tcp . 80`. */
  readonly key: string;
  readonly value: string;
};

/** A client's choice, read from the kernel, to be carried over a replacement of the table. */
export type ClientElement = {
  readonly map: ClientMapName;
  readonly key: string;
  readonly value: string;
  readonly timeoutSeconds: number;
  readonly expiresSeconds: number;
};

/** A chain that spreads over `size` endpoints, shared by all Services of that size in that space and protocol. */
export type BalancingChain = {
  readonly name: string;
  readonly space: Space;
  readonly transport: Transport;
  readonly size: number;
  /** undefined: every connection for itself. */
  readonly affinityTimeoutSeconds: number | undefined;
};

export function balancingChain(
  space: Space,
  transport: Transport,
  size: number,
  affinityTimeoutSeconds: number | undefined,
): BalancingChain {
  const suffix = affinityTimeoutSeconds === undefined ? '' : `-${affinityTimeoutSeconds}s`;
  return { name: `${space}-${transport}-${size}${suffix}`, space, transport, size, affinityTimeoutSeconds };
}

/** Chains that come and go together. */
const chainsPerBlock = 8;

/** Chains of one name are needed together: see `chainBlock`. */
export function chainBlockName({ space, transport, size, affinityTimeoutSeconds }: BalancingChain): string {
  const block = Math.ceil(size / chainsPerBlock) * chainsPerBlock;
  return balancingChain(space, transport, block, affinityTimeoutSeconds).name;
}

/**
 * All sizes of which one makes the others likely: a Service of 3 endpoints will soon have 4. With the chain there already that is
 * a change of elements alone, which needs no start of nft(8) (libnftables.ts).
 */
export function chainBlock(chain: BalancingChain): readonly BalancingChain[] {
  const first = Math.floor((chain.size - 1) / chainsPerBlock) * chainsPerBlock + 1;
  return Array.from({ length: chainsPerBlock }, (_, index) =>
    balancingChain(chain.space, chain.transport, first + index, chain.affinityTimeoutSeconds),
  );
}

/** `10.43.0.1 . tcp . 80` → `10.43.0.1 . 80`, `tcp . 30080` → `30080`: the keys of maps that have one protocol. */
export function frontWithoutTransport(front: string, transport: Transport): string {
  return front.replace(`${transport} . `, '');
}

/** Where UDP packets may still go that came for one front; flows to elsewhere are stale. */
export type UdpFront = {
  /** `10.43.0.10 . 53`, or `*  . 30053` for a node port. */
  readonly front: string;
  /** `address . port` of all endpoints that still serve. */
  readonly backends: ReadonlySet<string>;
};

/** All that one Service adds to the table. Immutable and kept as long as its Service's view is the same object. */
export type Fragment = {
  readonly view: ServiceView;
  /** Shared addresses that an older Service holds already: not ours. */
  readonly denied: string;
  readonly elements: readonly RuleElement[];
  readonly chains: readonly BalancingChain[];
  /** Addresses of endpoints on this node. */
  readonly locals: readonly string[];
  readonly udpFronts: readonly UdpFront[];
};

/** Something in a Service that could not be done; its other parts work. */
export type RulesetProblem = {
  readonly service: ObjectKey;
  /** As an Event has it. */
  readonly reason: 'AddressTaken' | 'TooManyPorts' | 'SCTPNotSupported';
  readonly message: string;
};

/** Who wants which external or load-balancer address and port, the oldest first: that one has it. By `frontKey`. */
export type Claims = PersistentMap<string, readonly ServiceView[]>;

/** The whole table of one family as data. Two versions are compared in time of what differs. */
export type Ruleset = {
  readonly family: IpFamily;
  /** What it was made of. */
  readonly services: PersistentMap<ObjectKey, ServiceView>;
  readonly fragments: PersistentMap<ObjectKey, Fragment>;
  /** Elements that no single Service owns. */
  readonly common: readonly RuleElement[];
  /** What `common` was made of; kept for comparison by identity. */
  readonly commonInput: readonly unknown[];
  /** By name; whole blocks of them. */
  readonly chains: ReadonlyMap<string, BalancingChain>;
  /** How often fragments use a block of chains, and have an endpoint's address on this node. */
  readonly chainUses: ReadonlyMap<string, number>;
  readonly localUses: ReadonlyMap<string, number>;
  readonly claims: Claims;
  /** By `UdpFront.front`: the backends. */
  readonly udpFronts: PersistentMap<string, ReadonlySet<string>>;
  /** Of the Services that have any. */
  readonly problems: PersistentMap<ObjectKey, readonly RulesetProblem[]>;
};

/** What there is before the first Service. */
export function emptyRuleset(family: IpFamily): Ruleset {
  return {
    family,
    services: PersistentMap.empty(),
    fragments: PersistentMap.empty(),
    common: [],
    commonInput: [],
    chains: new Map(),
    chainUses: new Map(),
    localUses: new Map(),
    claims: PersistentMap.empty(),
    udpFronts: PersistentMap.empty(),
    problems: PersistentMap.empty(),
  };
}

/** All elements, those of Services first; where two claim one key the first stays. */
export function elementsOf(ruleset: Ruleset): ReadonlyMap<string, RuleElement> {
  const elements = new Map<string, RuleElement>();
  for (const fragment of ruleset.fragments.values()) addElements(elements, fragment.elements);
  addElements(elements, ruleset.common);
  return elements;
}

export function addElements(into: Map<string, RuleElement>, elements: Iterable<RuleElement>): void {
  for (const element of elements) {
    const id = elementId(element);
    if (!into.has(id)) into.set(id, element);
  }
}

export function elementId(element: { readonly set: string; readonly key: string }): string {
  return `${element.set} ${element.key}`;
}
