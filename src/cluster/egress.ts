import { readFileSync } from 'node:fs';
import { BlockList, connect, createServer, isIPv6, type Socket } from 'node:net';
import type { IpFamily } from '../base/ip.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { type ClusterConfig, networkNetns } from './config.ts';
import { DatagramRelay } from './egress-datagrams.ts';
import {
  egressDevice,
  egressPort,
  planEgressRoutes,
  planEgressRules,
  planFlowLimits,
} from './egress-rules.ts';
import { runBatch, runTool } from './network.ts';
import { openPacketDevice } from './packet-device.ts';
import { type FamilyRanges, rangesOf } from './ranges.ts';
import { inNetns, originalDestination } from './sockets.ts';
import { notTheWorld } from './world.ts';

/** Bounds of the relay. At `connectionsMax` new connections are reset. */
export const egressLimits = {
  connectionsMax: 2048,
  connectTimeoutMs: 15_000,
  /** A connection without a word for this long is asked whether its other side is still there. */
  keepAliveMs: 60_000,
} as const;

/**
 * Pods' way to the world. The cluster's rules lead TCP connections to a socket in the node network and datagrams to an interface there;
 * from here they go on by sockets of this machine's own namespace, whose routes and rules nobody has to touch. Without nftables there is
 * no way out, without TUN interfaces one for TCP only, which the log tells. Resolves when the signal aborts.
 */
export async function runEgress(config: ClusterConfig, log: Logger, signal: AbortSignal): Promise<void> {
  const families = waysOut();
  const ranges = rangesOf(config).filter(({ family }) => families.includes(family));
  const netns = networkNetns(config.name);
  const isRefused = refusalOf(
    rangesOf(config).flatMap(({ nodes, pods, services }) => [nodes, pods, services]),
  );
  const relays = ranges.map(({ gateway }) => {
    const fd = inNetns(netns, () => openSocket('tcp', gateway, egressPort));
    return runEgressRelay(fd, log, signal, { destinationOf: originalDestination, isRefused });
  });
  try {
    for (const { netns: where, script } of planEgressRules(config, families)) {
      await inNetns(where, () => runTool('nft', ['-f', '-'], script));
    }
  } catch (error) {
    log.warn('Pods cannot reach the world: the rules were refused', { error });
  }
  if (ranges.length > 0) relays.push(runDatagramEgress(config, ranges, isRefused, log, signal));
  await Promise.all([...relays, aborted(signal)]);
}

async function runDatagramEgress(
  config: ClusterConfig,
  ranges: readonly FamilyRanges[],
  isRefused: RelayOptions['isRefused'],
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const netns = networkNetns(config.name);
  const isNode = listed(ranges.map(({ nodes }) => nodes));
  try {
    const device = openPacketDevice(
      netns,
      egressDevice,
      (packet) => relay.receive(packet),
      (error) => log.warn('Pods reach the world by TCP only from now on', { error }),
    );
    const relay = new DatagramRelay({ write: device.write, isNode, isRefused, log });
    try {
      await limitFlows(config, log);
      await runBatch({ netns, lines: planEgressRoutes(ranges.map(({ family }) => family)) });
      await aborted(signal);
    } finally {
      device.close();
      relay.close();
    }
  } catch (error) {
    log.warn('Pods reach the world by TCP only: there is no interface for the rest', { error });
  }
}

async function limitFlows(config: ClusterConfig, log: Logger): Promise<void> {
  try {
    for (const { netns, script } of planFlowLimits(config, waysOut())) {
      await inNetns(netns, () => runTool('nft', ['-f', '-'], script));
    }
  } catch (error) {
    log.warn('a Pod may take all flows of its node with the world: the kernel cannot count them', { error });
  }
}

/** The cluster itself, and what is never the world. */
function refusalOf(ranges: readonly string[]): RelayOptions['isRefused'] {
  const isOwn = listed(ranges);
  return (address) => isOwn(address) || notTheWorld.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

function listed(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.split('/');
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return (address) => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/**
 * Families in which this machine has a way to somewhere else. A Pod whose packet is refused at once tries the other family; one whose
 * connection is taken and then lost does not.
 */
function waysOut(): readonly IpFamily[] {
  return [4, ...(hasIpv6Route() ? ([6] as const) : [])];
}

/** Destination, its bits, source, its bits, next hop, metric, use counts, flags, interface: all but the last in hexadecimal. */
function hasIpv6Route(): boolean {
  let routes: string;
  try {
    routes = readFileSync('/proc/net/ipv6_route', 'utf8');
  } catch {
    return false; // a machine without IPv6
  }
  return routes.split('\n').some((line) => {
    const [destination = '', bits, , , , , , , , link] = line.split(/\s+/);
    return /^0{32}$/.test(destination) && bits === '00' && link !== 'lo';
  });
}

export type Destination = { readonly host: string; readonly port: number };

export type RelayOptions = {
  /** Where the client wanted to go, by the descriptor of its connection; undefined: nowhere that could be found out. */
  readonly destinationOf: (fd: number) => Destination | undefined;
  /** Addresses that nobody is led to. */
  readonly isRefused: (address: string) => boolean;
};

/** Relays what is accepted from a listening socket. What cannot be reached is reset, so that the client knows at once. */
export async function runEgressRelay(
  fd: number,
  log: Logger,
  signal: AbortSignal,
  { destinationOf, isRefused }: RelayOptions,
): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
    open.add(client);
    client.once('close', () => open.delete(client));
    client.on('error', () => client.resetAndDestroy());
    const destination = destinationOf(descriptorOf(client));
    const isFull = open.size > egressLimits.connectionsMax;
    if (destination === undefined || isFull || isRefused(destination.host)) {
      log.info('a connection out of the cluster was refused', { destination, open: open.size });
      client.resetAndDestroy();
      return;
    }
    relay(client, destination, log);
  });
  server.listen({ fd });
  await aborted(signal);
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of open) socket.resetAndDestroy();
  await closed;
}

/** Node tells the descriptor of a socket only by its handle. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle?: { readonly fd: number } })._handle?.fd ?? -1;
}

function relay(client: Socket, { host, port }: Destination, log: Logger): void {
  const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true });
  upstream.setTimeout(egressLimits.connectTimeoutMs, () => {
    upstream.destroy(new Error(`no connection within ${egressLimits.connectTimeoutMs} ms`));
  });
  upstream.once('connect', () => {
    upstream.setTimeout(0);
    for (const socket of [client, upstream]) socket.setKeepAlive(true, egressLimits.keepAliveMs);
    client.pipe(upstream);
    upstream.pipe(client);
    client.resume();
  });
  upstream.on('error', (error) => {
    log.debug('a connection out of the cluster failed', { host, port, error });
    client.resetAndDestroy();
  });
  // An end of one side is passed on by pipe; what ends otherwise takes the other side with it.
  upstream.once('close', (hadError) => (hadError ? client.resetAndDestroy() : client.destroySoon()));
  client.once('close', (hadError) => (hadError ? upstream.resetAndDestroy() : upstream.destroySoon()));
}
