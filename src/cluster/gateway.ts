import { lookup } from 'node:dns/promises';
import { connect, createServer, isIPv6, type Server, type Socket } from 'node:net';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { type ClusterConfig, gatewayOf, networkNetns, proxyPort } from './config.ts';
import { runDnsRelay } from './dns-relay.ts';
import { runEgress } from './egress.ts';
import { inNetns } from './sockets.ts';
import { notTheWorld } from './world.ts';

/** Bounds of the CONNECT proxy. At `tunnelsMax` new connections are closed at once. */
export const gatewayLimits = {
  tunnelsMax: 256,
  requestBytesMax: 8192,
  requestTimeoutMs: 10_000,
  connectTimeoutMs: 15_000,
} as const;

/**
 * The way out of a cluster: an HTTP CONNECT proxy for image pulls, a DNS relay to the host's resolvers, and a relay for the Pods' TCP
 * connections. They listen inside the node network (their sockets are made there) and connect from the host's namespace.
 * With egress `none` there is none of them. Resolves when the signal aborts.
 */
export async function runGateway(config: ClusterConfig, log: Logger, signal: AbortSignal): Promise<void> {
  if (config.egress === 'none') return aborted(signal);
  const netns = networkNetns(config.name);
  const gateway = gatewayOf(config);
  const [proxyFd, dnsTcpFd] = inNetns(netns, () => [
    openSocket('tcp', gateway, proxyPort),
    openSocket('tcp', gateway, 53),
  ]);
  const dnsUdpFd = inNetns(netns, () => openSocket('udp', gateway, 53));
  await Promise.all([
    runConnectProxy(proxyFd ?? -1, log, signal),
    runDnsRelay({ udpFd: dnsUdpFd, tcpFd: dnsTcpFd ?? -1, isIpv6: isIPv6(gateway) }, log, signal),
    runEgress(config, log, signal),
  ]);
}

/** Serves `CONNECT host:port` on an inherited socket. */
export async function runConnectProxy(fd: number, log: Logger, signal: AbortSignal): Promise<void> {
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    open.add(client);
    client.on('close', () => open.delete(client));
    client.on('error', () => client.destroy());
    readRequest(client, (request, rest) => {
      tunnel(client, request, rest, open).catch((error: unknown) => {
        log.info('a tunnel could not be made', { target: request, error });
        answer(client, '502 Bad Gateway');
      });
    });
  });
  server.maxConnections = gatewayLimits.tunnelsMax;
  server.listen({ fd });
  await aborted(signal);
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of open) socket.destroy();
  await closed;
}

function answer(client: Socket, status: string): void {
  client.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
  client.destroySoon();
}

/** Host and port of `CONNECT host:port HTTP/1.x`, or undefined. */
export function parseConnect(line: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^CONNECT (?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5}) HTTP\/1\.[01]$/.exec(
    line,
  );
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65535 ? undefined : { host, port };
}

function readRequest(client: Socket, then: (target: string, rest: Buffer) => void): void {
  let head = Buffer.alloc(0);
  client.setTimeout(gatewayLimits.requestTimeoutMs, () => client.destroy());
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0 && head.length <= gatewayLimits.requestBytesMax) return;
    client.off('data', onData);
    client.pause();
    client.setTimeout(0);
    if (end < 0) answer(client, '431 Request Header Fields Too Large');
    else then(head.subarray(0, head.indexOf('\r\n')).toString('latin1'), head.subarray(end + 4));
  };
  client.on('data', onData);
}

async function tunnel(client: Socket, line: string, rest: Buffer, open: Set<Socket>): Promise<void> {
  const target = parseConnect(line);
  if (target === undefined) {
    answer(client, '405 Method Not Allowed');
    return;
  }
  const addresses = await lookup(target.host, { all: true });
  const allowed = addresses.filter(
    ({ address }) => !notTheWorld.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'),
  );
  const [first] = allowed;
  if (first === undefined) {
    answer(client, '403 Forbidden');
    return;
  }
  const upstream = connect({ host: first.address, port: target.port, allowHalfOpen: true, noDelay: true });
  open.add(upstream);
  upstream.on('close', () => {
    open.delete(upstream);
    client.destroySoon();
  });
  client.on('close', () => upstream.destroySoon());
  await connected(upstream);
  upstream.on('error', () => client.destroy());
  client.write('HTTP/1.1 200 Connection established\r\n\r\n');
  if (rest.length > 0) upstream.write(rest);
  client.pipe(upstream);
  upstream.pipe(client);
  client.resume();
}

async function connected(socket: Socket): Promise<void> {
  socket.setTimeout(gatewayLimits.connectTimeoutMs, () => {
    socket.destroy(new Error(`no connection within ${gatewayLimits.connectTimeoutMs} ms`));
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.setTimeout(0);
}
