import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import type { Balancer } from './balance.ts';
import { type Backend, backendsFor, type Front, type InsideRanges } from './fronts.ts';
import type { Relay } from './relay.ts';

/** Endpoints tried for one connection before its client is reset. */
const attemptsMax = 3;
/** An endpoint that has not answered by then is given up for the next, ms. */
const connectTimeoutMs = 5_000;
/** A UDP flow without packets ends after this time, ms: as long as conntrack keeps one that has had answers. */
const flowIdleMs = 120_000;

export type SocketLimits = {
  /** TCP connections carried at once by this process; further clients are reset. */
  readonly connectionsMax: number;
  /** UDP flows at once by one process; packets of further clients are dropped. */
  readonly flowsMax: number;
  /** Packets of one flow that wait while its socket gets its address; more are dropped. */
  readonly waitingPacketsMax: number;
};

export const socketLimits: SocketLimits = { connectionsMax: 16_384, flowsMax: 4096, waitingPacketsMax: 16 };

/** What all sockets of a data plane share. */
export type Shared = {
  readonly limits: SocketLimits;
  readonly balancer: Balancer;
  inside: InsideRanges;
  /** Carries TCP; undefined: sockets of this process do. */
  readonly relay: Relay | undefined;
  /** Clients of TCP in this process; bound: `limits.connectionsMax`. They outlive their listener, as connections outlive the Service. */
  readonly clients: Set<Socket>;
  flows: number;
  /** Makes the socket of a UDP flow. */
  readonly openUdp: (type: 'udp4' | 'udp6') => UdpSocket;
};

/** A socket that serves a front. */
export type Listener = {
  readonly front: Front;
  /** New clients are led by `front`; connections go on, UDP flows to endpoints that left end. Returns how many ended. */
  update(front: Front): number;
  /** No new connections; those that are open go on. UDP flows end: nobody is left whom they could be for. */
  close(): Promise<void>;
};

export function listen(front: Front, shared: Shared): Promise<Listener> {
  if (front.protocol === 'udp') return listenUdp(front, shared);
  return shared.relay === undefined ? listenTcp(front, shared) : listenByRelay(front, shared.relay);
}

async function listenByRelay(first: Front, relay: Relay): Promise<Listener> {
  let front = first;
  await relay.listen(front);
  return {
    get front() {
      return front;
    },
    update(next) {
      front = next;
      relay.update(next);
      return 0;
    },
    close() {
      relay.close(front.id);
      return Promise.resolve();
    },
  };
}

function listenTcp(first: Front, shared: Shared): Promise<Listener> {
  let front = first;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => client.destroy());
    if (shared.clients.size >= shared.limits.connectionsMax) {
      client.resetAndDestroy();
      return;
    }
    shared.clients.add(client);
    client.once('close', () => shared.clients.delete(client));
    lead(client, front, shared);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: front.address, port: front.port, ipv6Only: true }, () => {
      server.off('error', reject);
      server.on('error', () => {}); // accept failed for one client; the next one is served
      resolve({
        get front() {
          return front;
        },
        update(next) {
          front = next;
          return 0;
        },
        close() {
          server.close(); // its callback would wait for the connections
          return Promise.resolve();
        },
      });
    });
  });
}

/** Joins a client with the first endpoint that takes the connection. */
function lead(client: Socket, front: Front, shared: Shared): void {
  const address = plain(client.remoteAddress ?? '');
  const allowed = backendsFor(front, address, shared.inside);
  const backends = shared.balancer.order(front, address, allowed, attemptsMax);
  const attempt = (index: number): void => {
    const backend = backends[index];
    if (backend === undefined || client.destroyed) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({
      host: backend.address,
      port: backend.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    const next = (): void => {
      upstream.destroy();
      attempt(index + 1);
    };
    upstream.setTimeout(connectTimeoutMs, next);
    upstream.once('error', next);
    upstream.once('connect', () => {
      upstream.setTimeout(0);
      upstream.off('error', next);
      if (client.destroyed) {
        upstream.destroy();
        return;
      }
      shared.balancer.remember(front, address, backend);
      join(client, upstream);
    });
  };
  attempt(0);
}

/** Carries bytes and ends both ways; what breaks on one side is a reset on the other. */
function join(client: Socket, upstream: Socket): void {
  const pairs: readonly (readonly [Socket, Socket])[] = [
    [client, upstream],
    [upstream, client],
  ];
  for (const [from, to] of pairs) {
    from.on('error', () => to.resetAndDestroy());
    from.once('close', () => {
      if (!to.writableEnded) to.destroy();
    });
    from.pipe(to);
  }
}

type Flow = {
  readonly backend: Backend;
  readonly socket: UdpSocket;
  readonly timer: NodeJS.Timeout;
  /** undefined: connected. */
  waiting: Buffer[] | undefined;
};

async function listenUdp(first: Front, shared: Shared): Promise<Listener> {
  let front = first;
  const type = front.address.includes(':') ? 'udp6' : 'udp4';
  const server = createSocket({ type, ipv6Only: type === 'udp6' });
  const flows = new Map<string, Flow>();
  const end = (key: string, flow: Flow): void => {
    if (flows.get(key) !== flow) return;
    flows.delete(key);
    shared.flows--;
    clearTimeout(flow.timer);
    flow.socket.close();
  };
  const start = (key: string, from: RemoteInfo): Flow | undefined => {
    if (shared.flows >= shared.limits.flowsMax) return undefined;
    const client = plain(from.address);
    const [backend] = shared.balancer.order(front, client, backendsFor(front, client, shared.inside), 1);
    if (backend === undefined) return undefined;
    shared.balancer.remember(front, client, backend);
    const socket = shared.openUdp(type);
    const timer = setTimeout(() => end(key, flow), flowIdleMs);
    timer.unref();
    const flow: Flow = { backend, socket, timer, waiting: [] };
    flows.set(key, flow);
    shared.flows++;
    socket.on('message', (message) => {
      timer.refresh();
      server.send(message, from.port, from.address, () => {}); // a client that is gone needs no answer
    });
    socket.on('error', () => end(key, flow)); // the endpoint refuses: the next packet draws anew
    socket.connect(backend.port, backend.address, () => {
      for (const message of flow.waiting ?? []) socket.send(message);
      flow.waiting = undefined;
    });
    return flow;
  };
  server.on('message', (message, from) => {
    const key = `${from.address} ${from.port}`;
    const flow = flows.get(key) ?? start(key, from);
    if (flow === undefined) return;
    flow.timer.refresh();
    if (flow.waiting === undefined) flow.socket.send(message);
    else if (flow.waiting.length < shared.limits.waitingPacketsMax) flow.waiting.push(message);
  });
  await bound(server, front);
  server.on('error', () => {}); // one packet failed; the next one is served
  return {
    get front() {
      return front;
    },
    update(next) {
      front = next;
      let ended = 0;
      for (const [key, flow] of flows) {
        if (next.serving.has(`${flow.backend.address} ${flow.backend.port}`)) continue;
        end(key, flow);
        ended++;
      }
      return ended;
    },
    close: () =>
      new Promise((closed) => {
        for (const [key, flow] of flows) end(key, flow);
        server.close(() => closed());
      }),
  };
}

function bound(socket: UdpSocket, front: Front): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address: front.address, port: front.port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
}

function plain(address: string): string {
  return address.replace(/^::ffff:/, '');
}
