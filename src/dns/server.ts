import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolver } from './resolver.ts';
import { type ListenAddress, type Listener, serverLimits } from './server-limits.ts';
import { listenTcp } from './tcp.ts';
import { listenUdp, serveUdpDescriptor } from './udp.ts';

export type { ListenAddress } from './server-limits.ts';

/**
 * Sockets made by whoever starts this process and kept open by him, so that queries wait in them while it is started
 * again instead of being refused.
 */
export type InheritedSockets = {
  /** Bound UDP sockets and the addresses that they are bound to; made so that others may share their port. */
  readonly udp: readonly { readonly fd: number; readonly address: string }[];
  /** Listening TCP sockets; with any, no other is made. */
  readonly tcp: readonly number[];
};

export type DnsServer = Listener;

/** `serveDns` at each of the addresses; inherited sockets count for the first. Its port is told. */
export async function serveAll(
  addresses: readonly ListenAddress[],
  inherited: InheritedSockets,
  names: Promise<unknown>,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<DnsServer> {
  const servers: DnsServer[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(async (server) => server.close()));
  };
  try {
    for (const [index, address] of addresses.entries()) {
      const sockets = index === 0 ? inherited : { udp: [], tcp: [] };
      servers.push(await serveDns(address, sockets, names, resolver, clock, log));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { port: servers[0]?.port ?? 0, close };
}

/**
 * Listens on UDP and TCP. Rejects when it cannot. `names` resolves when the names are known: until then, but not for ever,
 * inherited sockets are not read, so that nobody who can wait is told that his name failed.
 */
async function serveDns(
  address: ListenAddress,
  inherited: InheritedSockets,
  names: Promise<unknown>,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<DnsServer> {
  const own = await serveOwn(address, inherited, resolver, clock, log);
  const later = serveInherited(inherited, names, resolver, clock, log);
  return {
    port: own.port,
    async close() {
      const listeners = await later.close();
      await Promise.all([own, ...listeners].map(async (listener) => listener.close()));
    },
  };
}

async function serveOwn(
  address: ListenAddress,
  inherited: InheritedSockets,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const except = new Set(inherited.udp.map((socket) => socket.address));
  if (inherited.tcp.length > 0) return listenUdp(address, except, resolver, clock, log);
  // A port that is free for TCP may be taken for UDP: with port 0 the next one is tried.
  const triesMax = address.port === 0 ? 20 : 1;
  for (let tries = 1; ; tries++) {
    const tcp = await listenTcp(address, resolver, clock, log);
    try {
      const udp = await listenUdp({ host: address.host, port: tcp.port }, except, resolver, clock, log);
      return {
        port: tcp.port,
        async close() {
          await Promise.all([udp.close(), tcp.close()]);
        },
      };
    } catch (error) {
      await tcp.close();
      if (tries >= triesMax) throw error;
    }
  }
}

/** The same on sockets that somebody else made alone. */
export function serveInherited(
  inherited: InheritedSockets,
  names: Promise<unknown>,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): { close(): Promise<readonly Listener[]> } {
  const closing = Promise.withResolvers<void>();
  let closed = false;
  const serve = async (): Promise<readonly Listener[]> => {
    const waited = Promise.withResolvers<void>();
    const cancel = clock.after(serverLimits.namesWaitMs, waited.resolve);
    await Promise.race([names, waited.promise, closing.promise]);
    cancel();
    if (closed) return [];
    return Promise.all([
      ...inherited.udp.map((socket) => serveUdpDescriptor(socket, resolver, clock, log)),
      ...inherited.tcp.map((fd) => listenTcp({ fd }, resolver, clock, log)),
    ]);
  };
  const serving = serve();
  serving.catch((error: unknown) => log.error('an inherited socket cannot be served', { error }));
  return {
    async close() {
      closed = true;
      closing.resolve();
      return serving.catch(() => []);
    },
  };
}
