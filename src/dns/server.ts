import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolve } from './resolver.ts';

export type ListenAddress = {
  readonly host: string;
  /** 0: any port that is free for both UDP and TCP, for tests. */
  readonly port: number;
};

/** Bounds of serving. */
export const serverLimits = {
  /** TCP connections; more are closed at once. */
  connectionsMax: 1000,
  /** Queries of one connection under way; then it is not read from until one is answered. */
  pipelinedMax: 64,
  /** Answers of one connection that wait to be sent, bytes; then it is not read from either. */
  outputBytesMax: 1 << 20,
  /** A connection on which nothing happens is closed (RFC 7766, 6.2.3). */
  idleTimeoutMs: 10_000,
  /** Asked of the kernel for each UDP socket: a burst of queries waits here and is lost beyond it. */
  receiveBufferBytes: 4 << 20,
  /** How often new addresses of this machine are looked for, see `listenUdp`. */
  addressScanMs: 10_000,
} as const;

export type DnsServer = {
  readonly port: number;
  /** Stops listening and closes all connections. Resolves when the sockets are closed. */
  close(): Promise<void>;
};

/** Listens on UDP and TCP. Rejects when it cannot. */
export async function serveDns(
  address: ListenAddress,
  resolve: Resolve,
  clock: Clock,
  log: Logger,
): Promise<DnsServer> {
  // A port that is free for TCP may be taken for UDP: with port 0 the next one is tried.
  const triesMax = address.port === 0 ? 20 : 1;
  for (let tries = 1; ; tries++) {
    const tcp = await listenTcp(address, resolve, log);
    try {
      const udp = await listenUdp({ host: address.host, port: tcp.port }, resolve, clock, log);
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

type Listener = { readonly port: number; close(): Promise<void> };

/**
 * On a wildcard address one socket for each address of this machine and one for the rest: an answer must come from the
 * address that was asked, and a wildcard socket leaves that choice to the route. Seen without it: a Pod on the DNS
 * server's own node is answered from the bridge's address, and its connection tracking drops the answer.
 */
async function listenUdp(
  { host, port }: ListenAddress,
  resolve: Resolve,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const sockets = new Map<string, UdpSocket>();
  const open = async (local: string): Promise<void> => {
    sockets.set(local, await openUdp({ host: local, port }, resolve, log));
  };
  await open(host);
  if (host !== '0.0.0.0' && host !== '::') {
    return { port, close: () => closeAll(sockets) };
  }
  const scan = async (): Promise<void> => {
    const current = localAddresses(host);
    for (const [local, socket] of sockets) {
      if (local === host || current.has(local)) continue;
      sockets.delete(local);
      socket.close();
    }
    for (const local of current) {
      if (sockets.has(local)) continue;
      try {
        await open(local);
      } catch (error) {
        log.debug('cannot listen on an address of this machine', { address: local, error }); // it may be gone again
      }
    }
  };
  await scan();
  let closed = false;
  let scanning = Promise.resolve();
  let stop = (): void => {};
  const rescan = (): void => {
    if (closed) return;
    stop = clock.after(serverLimits.addressScanMs, () => {
      scanning = scan().finally(rescan);
    });
  };
  rescan();
  return {
    port,
    async close() {
      closed = true;
      stop();
      await scanning; // so that no socket opens behind us
      await closeAll(sockets);
    },
  };
}

async function closeAll(sockets: Map<string, UdpSocket>): Promise<void> {
  const all = [...sockets.values()];
  sockets.clear();
  await Promise.all(all.map((socket) => new Promise<void>((done) => socket.close(() => done()))));
}

/** Of the family of the wildcard address; link-local ones are left out, they need a zone. */
function localAddresses(wildcard: string): ReadonlySet<string> {
  const family = wildcard === '::' ? 'IPv6' : 'IPv4';
  const all = Object.values(networkInterfaces()).flatMap((interfaces) => interfaces ?? []);
  const usable = all.filter((each) => each.family === family && !each.address.startsWith('fe80:'));
  return new Set(usable.map((each) => each.address));
}

async function openUdp({ host, port }: ListenAddress, resolve: Resolve, log: Logger): Promise<UdpSocket> {
  const family = isIP(host) === 6 ? 6 : 4;
  const via = { protocol: 'udp', family } as const;
  const socket = createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    reuseAddr: true, // a wildcard and its single addresses at once
    ipv6Only: family === 6,
    recvBufferSize: serverLimits.receiveBufferBytes,
  });
  const ready = Promise.withResolvers<void>();
  let bound = false;
  let closed = false;
  socket.on('close', () => {
    closed = true;
  });
  socket.on('error', (error) => {
    if (bound) log.warn('DNS over UDP', { error });
    else ready.reject(cannotListen(host, port, error));
  });
  const onSent = (error: Error | null): void => {
    if (error !== null && !closed) log.debug('a DNS answer was not sent', { error });
  };
  socket.on('message', (query, peer) => {
    const answer = resolve(query, via);
    if (answer instanceof Promise) {
      void answer.then((late) => {
        if (!closed) socket.send(late, peer.port, peer.address, onSent);
      });
    } else if (answer !== undefined) {
      socket.send(answer, peer.port, peer.address, onSent);
    }
  });
  socket.bind({ address: host, port, exclusive: true }, () => {
    bound = true;
    ready.resolve();
  });
  await ready.promise;
  return socket;
}

async function listenTcp({ host, port }: ListenAddress, resolve: Resolve, log: Logger): Promise<Listener> {
  const open = new Set<Socket>();
  const family = isIP(host) === 6 ? 6 : 4;
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    serveConnection(socket, resolve, family);
  });
  server.maxConnections = serverLimits.connectionsMax;
  await new Promise<void>((done, fail) => {
    server.once('error', (error) => fail(cannotListen(host, port, error)));
    server.listen({ host, port, ipv6Only: family === 6 }, done);
  });
  server.on('error', (error) => log.warn('DNS over TCP', { error }));
  return {
    port: portOf(server),
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** Messages with their length before them, answered in whatever order they are ready (RFC 7766). */
function serveConnection(socket: Socket, resolve: Resolve, family: 4 | 6): void {
  const via = { protocol: 'tcp', family } as const;
  let waiting: Buffer = Buffer.alloc(0); // less than one message
  let underWay = 0;
  let ended = false;
  const busy = (): boolean =>
    underWay >= serverLimits.pipelinedMax || socket.writableLength > serverLimits.outputBytesMax;

  const send = (answer: Buffer): void => {
    if (socket.destroyed) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(answer.length);
    socket.cork();
    socket.write(length);
    socket.write(answer);
    socket.uncork();
  };
  const proceed = (): void => {
    while (!busy() && waiting.length >= 2) {
      const end = 2 + waiting.readUInt16BE(0);
      if (waiting.length < end) break;
      const message = waiting.subarray(2, end);
      waiting = waiting.subarray(end);
      const answer = resolve(message, via);
      if (answer === undefined) {
        socket.destroy(); // not a query: nothing good follows
        return;
      }
      if (!(answer instanceof Promise)) {
        send(answer);
        continue;
      }
      underWay += 1;
      void answer.then((late) => {
        underWay -= 1;
        send(late);
        proceed();
      });
    }
    if (busy()) socket.pause();
    else socket.resume();
    if (ended && underWay === 0) socket.end();
  };
  socket.setTimeout(serverLimits.idleTimeoutMs, () => socket.destroy());
  socket.on('error', () => socket.destroy()); // the peer went away: that is its right
  socket.on('drain', proceed);
  socket.on('data', (chunk: Buffer) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    proceed();
  });
  socket.on('end', () => {
    ended = true;
    proceed();
  });
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function cannotListen(host: string, port: number, cause: unknown): Error {
  return new Error(`cannot listen on ${host}:${port}: is it in use or not allowed? Choose another --listen`, {
    cause,
  });
}
