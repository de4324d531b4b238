import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { readFileSync, statSync } from 'node:fs';
import { connect, createServer, isIP, type Socket } from 'node:net';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { hostDnsAddresses } from './config.ts';

/**
 * Bounds of the relay. At `queriesMax` open UDP queries new ones are not answered (clients ask again);
 * at `connectionsMax` new TCP connections are closed.
 */
export const dnsRelayLimits = {
  queriesMax: 1024,
  connectionsMax: 64,
  /** How long one resolver has for its answer before the next is asked. */
  resolverTimeoutMs: 2000,
  idleTimeoutMs: 10_000,
  messageBytesMin: 12,
} as const;

const resolvConf = '/etc/resolv.conf';
const resolversMax = 3; // as resolv.conf(5)

/** Addresses after `nameserver` in the text of a resolv.conf, without the clusters' own (`--resolve-on-host`): they know no others' names. */
export function parseResolvers(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIP(address.split('%')[0] ?? '') !== 0 && !hostDnsAddresses.includes(address))
    .slice(0, resolversMax);
}

/** The host's resolvers, read again when the file changes. */
export function hostResolvers(file: string = resolvConf): () => readonly string[] {
  let changedMs = -1;
  let resolvers: readonly string[] = [];
  return () => {
    try {
      const { mtimeMs } = statSync(file);
      if (mtimeMs !== changedMs) resolvers = parseResolvers(readFileSync(file, 'utf8'));
      changedMs = mtimeMs;
    } catch {
      resolvers = []; // no file: nobody to ask, queries go unanswered
    }
    return resolvers;
  };
}

/** Sends DNS messages from inherited sockets on to the host's resolvers as they are. Resolves when the signal aborts. */
export async function runDnsRelay(
  sockets: { readonly udpFd: number; readonly tcpFd: number; readonly isIpv6?: boolean },
  log: Logger,
  signal: AbortSignal,
  resolvers: () => readonly string[] = hostResolvers(),
  resolverPort = 53,
): Promise<void> {
  await Promise.all([
    relayUdp(
      createSocket(sockets.isIpv6 === true ? 'udp6' : 'udp4'),
      sockets.udpFd,
      log,
      signal,
      resolvers,
      resolverPort,
    ),
    relayTcp(sockets.tcpFd, signal, resolvers, resolverPort),
  ]);
}

async function relayUdp(
  listener: UdpSocket,
  fd: number,
  log: Logger,
  signal: AbortSignal,
  resolvers: () => readonly string[],
  resolverPort: number,
): Promise<void> {
  const open = new Set<UdpSocket>();
  listener.on('error', (error) => log.warn('DNS relay', { error }));
  listener.on('message', (query, from) => {
    if (query.length < dnsRelayLimits.messageBytesMin || open.size >= dnsRelayLimits.queriesMax) return;
    ask(listener, query, from, resolvers(), resolverPort, open);
  });
  await new Promise<void>((resolve) => listener.bind({ fd }, resolve));
  await aborted(signal);
  for (const socket of open) socket.close();
  await new Promise<void>((resolve) => listener.close(resolve));
}

/** A socket of its own for each query: its random port is part of what protects against forged answers (RFC 5452). */
function ask(
  listener: UdpSocket,
  query: Buffer,
  from: RemoteInfo,
  resolvers: readonly string[],
  resolverPort: number,
  open: Set<UdpSocket>,
): void {
  const [resolver, ...others] = resolvers;
  if (resolver === undefined) return;
  const socket = createSocket(isIP(resolver) === 6 ? 'udp6' : 'udp4');
  open.add(socket);
  let settled = false;
  const settle = (next: boolean): void => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    socket.close();
    if (next) ask(listener, query, from, others, resolverPort, open);
  };
  const timer = setTimeout(() => settle(true), dnsRelayLimits.resolverTimeoutMs);
  socket.on('close', () => {
    settled = true;
    clearTimeout(timer);
    open.delete(socket);
  });
  socket.on('error', () => settle(true));
  socket.on('message', (answer) => {
    if (answer.readUInt16BE(0) !== query.readUInt16BE(0)) return;
    listener.send(answer, from.port, from.address);
    settle(false);
  });
  // Connected: the kernel then drops answers from anybody else and reports a refusal.
  socket.connect(resolverPort, resolver, () => {
    if (!settled) socket.send(query);
  });
}

async function relayTcp(
  fd: number,
  signal: AbortSignal,
  resolvers: () => readonly string[],
  resolverPort: number,
): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const [host] = resolvers();
    if (host === undefined) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host, port: resolverPort, allowHalfOpen: true });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.setTimeout(dnsRelayLimits.idleTimeoutMs, () => socket.destroy());
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        open.delete(socket);
        other.destroySoon();
      });
      socket.pipe(other);
    }
  });
  server.maxConnections = dnsRelayLimits.connectionsMax;
  server.listen({ fd });
  await aborted(signal);
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of open) socket.destroy();
  await closed;
}
