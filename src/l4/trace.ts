import { cidrContains, type Ip, parseCidr, parseIp } from '../base/ip.ts';
import { assert } from '../base/assert.ts';
import {
  type BalancingChain,
  elementId,
  elementsOf,
  frontWithoutTransport,
  type Ruleset,
  type SetName,
  type Space,
} from './ruleset.ts';

/** The first packet of a connection, as it arrives at the node or leaves a process on it. */
export type VirtualPacket = {
  readonly origin: 'network' | 'node';
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** What the kernel draws: the endpoint index is `draw` modulo the number of endpoints. */
  readonly draw: number;
};

/** `loopback`: to 127.0.0.0/8 or ::1 from elsewhere, which the kernel never takes. */
export type DropReason = 'loopback' | 'source-range' | 'no-local-endpoint';

export type Fate =
  | {
      readonly kind: 'forward';
      readonly address: string;
      readonly port: number;
      /** The endpoint sees the node's address instead of the client's. */
      readonly masqueraded: boolean;
    }
  | { readonly kind: 'refuse' }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  /** None of our business: routed as it is, or taken by a process on the node. */
  | { readonly kind: 'pass'; readonly masqueraded: boolean };

/**
 * What the kernel would do with `packet` under `ruleset`: the chains of render.ts, executed over the data. Clients' remembered
 * choices are not known here. `nodeAddresses` are the addresses that the node itself has, loopback aside.
 */
export function tracePacket(ruleset: Ruleset, nodeAddresses: readonly string[], packet: VirtualPacket): Fate {
  const table = createLookup(ruleset);
  const isLocal = (address: string): boolean => nodeAddresses.includes(address) || isLoopback(address);
  const vip = `${packet.destination} . ${packet.protocol} . ${packet.port}`;
  const nodePort = `${packet.protocol} . ${packet.port}`;
  const destinationLocal = isLocal(packet.destination);
  if (packet.origin === 'network' && isLoopback(packet.destination)) {
    return { kind: 'drop', reason: 'loopback' };
  }

  // guard
  if (table.has('restricted_vips', vip) && !table.hasSource(vip, packet.source)) {
    return { kind: 'drop', reason: 'source-range' };
  }
  if (table.has('refused_vips', vip)) return { kind: 'refuse' };
  if (destinationLocal && table.has('refused_node_ports', nodePort)) return { kind: 'refuse' };

  // prerouting, output
  const external = packet.origin === 'network' && !table.inRanges('cluster_sources', packet.source);
  const order: readonly Space[] = external
    ? ['external_vips', 'external_node_ports', 'vips', 'node_ports']
    : ['vips', 'node_ports'];
  for (const space of order) {
    const isVip = space === 'vips' || space === 'external_vips';
    if (!isVip && !destinationLocal) continue;
    const front = isVip ? vip : nodePort;
    const verdict = table.value(space, front);
    if (verdict === undefined) continue;
    if (verdict === 'drop') return { kind: 'drop', reason: 'no-local-endpoint' };
    const chain = ruleset.chains.get(verdict.replace(/^goto /, ''));
    assert(chain !== undefined, `element ${front} names a chain that is not there: ${verdict}`);
    const [address, port] = drawEndpoint(table, chain, front, packet.draw);
    const masqueraded = serviceSourceRewritten(table, packet, address, isLocal);
    return { kind: 'forward', address, port, masqueraded };
  }

  // stray_forward, stray_output, postrouting
  if (table.inRanges('service_ranges', packet.destination)) return { kind: 'refuse' };
  return {
    kind: 'pass',
    masqueraded: !destinationLocal && leavesCluster(table, packet.source, packet.destination),
  };
}

function drawEndpoint(
  table: Lookup,
  chain: BalancingChain,
  front: string,
  draw: number,
): readonly [address: string, port: number] {
  const key = `${frontWithoutTransport(front, chain.transport)} . ${draw % chain.size}`;
  const value = table.value(`${chain.space}_${chain.transport}_endpoints`, key);
  assert(value !== undefined, `${front} has no endpoint ${draw % chain.size} of ${chain.size}`);
  const cut = value.lastIndexOf(' . ');
  return [value.slice(0, cut), Number(value.slice(cut + 3))];
}

function serviceSourceRewritten(
  table: Lookup,
  packet: VirtualPacket,
  endpoint: string,
  isLocal: (address: string) => boolean,
): boolean {
  const { source, destination } = packet;
  if (isLoopback(source)) return !isLocal(endpoint);
  if (!isLocal(source)) {
    if (table.has('hairpins', `${source} . ${endpoint}`)) return true;
    const answerPassesHere =
      table.has('local_endpoints', endpoint) ||
      table.inRanges('node_pods', endpoint) ||
      table.inRanges('node_pods', source) ||
      (table.inRanges('cluster_sources', source) && table.inRanges('service_ranges', destination));
    if (!answerPassesHere) return true;
  }
  return leavesCluster(table, source, endpoint);
}

function leavesCluster(table: Lookup, source: string, destination: string): boolean {
  return table.inRanges('node_pods', source) && !table.inRanges('cluster_ranges', destination);
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

type Lookup = {
  value(set: SetName, key: string): string | undefined;
  has(set: SetName, key: string): boolean;
  inRanges(set: SetName, address: string): boolean;
  hasSource(front: string, source: string): boolean;
};

function createLookup(ruleset: Ruleset): Lookup {
  const elements = elementsOf(ruleset);
  const keysOf = (set: SetName): readonly string[] =>
    [...elements.values()].filter((element) => element.set === set).map((element) => element.key);
  const value = (set: SetName, key: string): string | undefined =>
    elements.get(elementId({ set, key }))?.value;
  return {
    value,
    has: (set, key) => value(set, key) !== undefined,
    inRanges: (set, address) => keysOf(set).some((range) => rangeHolds(range, parseIp(address))),
    hasSource(front, source) {
      const prefix = `${front} . `;
      return keysOf('allowed_sources').some(
        (key) => key.startsWith(prefix) && rangeHolds(key.slice(prefix.length), parseIp(source)),
      );
    },
  };
}

function rangeHolds(text: string, ip: Ip | undefined): boolean {
  const range = parseCidr(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
  return range !== undefined && ip !== undefined && cidrContains(range, ip);
}
