import { connect, createServer, isIPv6, type Server, type Socket } from 'node:net';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';

/** A published port: an inherited listening socket, and the load balancer's port which it leads to. */
export type RelayedPort = { readonly fd: number; readonly port: number };

export type RelayOptions = {
  /**
   * Where the load balancer's ports answer: the node's own addresses, of each family one at most. Tried in turn, that of the
   * client's family first: a Service may have only one of them.
   */
  readonly targetAddresses: readonly string[];
  /** Connections at once, a port; more are closed at once. */
  readonly connectionsMax: number;
  /** How long a connection to the Service may take to be made, all addresses together; the client is then reset. */
  readonly connectTimeoutMs: number;
};

export const relayDefaults = { connectionsMax: 4096, connectTimeoutMs: 10_000 } as const;

/** TCP probes of a silent connection, so that one whose other end vanished does not stay for ever. */
const keepAliveDelayMs = 60_000;

/**
 * Carries TCP connections of published host ports to the load balancer's ports in this network namespace, where the service
 * proxy takes them on. Half-closed connections stay half open, back-pressure goes through, and a refused connection is
 * passed on as a reset. Resolves when the signal aborts and all connections are closed.
 */
export async function runRelay(
  ports: readonly RelayedPort[],
  options: RelayOptions,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const open = new Set<Socket>();
  const servers = ports.map((port) => serve(port, options, open, log));
  await Promise.all(servers.map(listening));
  await aborted(signal);
  const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
  for (const socket of open) socket.destroy();
  await Promise.all(closed);
}

function serve({ fd, port }: RelayedPort, options: RelayOptions, open: Set<Socket>, log: Logger): Server {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    carry(client, port, options, open);
  });
  server.maxConnections = options.connectionsMax;
  server.on('drop', () =>
    log.warn('too many connections to a published port', { port, max: options.connectionsMax }),
  );
  server.listen({ fd });
  return server;
}

function listening(server: Server): Promise<void> {
  if (server.listening) return Promise.resolve();
  return new Promise((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', reject);
  });
}

/** The address of the client's own family first. */
function targetsOf(client: Socket, addresses: readonly string[]): readonly string[] {
  const isOwn = (address: string): boolean => isIPv6(address) === (client.localFamily === 'IPv6');
  return [...addresses.filter(isOwn), ...addresses.filter((address) => !isOwn(address))];
}

function carry(client: Socket, port: number, options: RelayOptions, open: Set<Socket>): void {
  let upstream: Socket | undefined;
  const fail = (): void => {
    client.resetAndDestroy();
    if (upstream?.connecting === true) upstream.destroy();
    else upstream?.resetAndDestroy();
  };
  const timer = setTimeout(fail, options.connectTimeoutMs);
  keep(client, open, () => clearTimeout(timer));
  client.on('error', fail); // one side is broken: the other must not see a clean end
  const reach = ([host, ...others]: readonly string[]): void => {
    const socket = connect({ host: host ?? '', port, allowHalfOpen: true, noDelay: true });
    upstream = socket;
    keep(socket, open, () => {});
    const refused = (): void => {
      if (others.length === 0 || client.destroyed) fail();
      else reach(others);
    };
    socket.once('error', refused);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', refused);
      socket.on('error', fail);
      client.pipe(socket);
      socket.pipe(client);
      client.resume();
    });
  };
  reach(targetsOf(client, options.targetAddresses));
}

function keep(socket: Socket, open: Set<Socket>, closed: () => void): void {
  open.add(socket);
  socket.setKeepAlive(true, keepAliveDelayMs);
  socket.on('close', () => {
    closed();
    open.delete(socket);
  });
}
