import { createServer, connect, type Server, type Socket } from 'node:net';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';

/** A published port: an inherited listening socket, and the load balancer's port which it leads to. */
export type RelayedPort = { readonly fd: number; readonly port: number };

export type RelayOptions = {
  /** Where the load balancer's ports answer: the node's own address. */
  readonly targetAddress: string;
  /** Connections at once, a port; more are closed at once. */
  readonly connectionsMax: number;
  /** How long a connection to the Service may take to be made; the client is then reset. */
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

function carry(client: Socket, port: number, options: RelayOptions, open: Set<Socket>): void {
  const upstream = connect({ host: options.targetAddress, port, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(() => fail(), options.connectTimeoutMs);
  const fail = (): void => {
    client.resetAndDestroy();
    if (upstream.connecting) upstream.destroy();
    else upstream.resetAndDestroy();
  };
  for (const socket of [client, upstream]) {
    open.add(socket);
    socket.setKeepAlive(true, keepAliveDelayMs);
    socket.on('error', fail); // one side is broken: the other must not see a clean end
    socket.on('close', () => {
      clearTimeout(timer);
      open.delete(socket);
    });
  }
  upstream.once('connect', () => {
    clearTimeout(timer);
    client.pipe(upstream);
    upstream.pipe(client);
    client.resume();
  });
}
