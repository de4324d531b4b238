import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolver, Via } from './resolver.ts';
import { cannotListen, clientOf, type ListenAddress, type Listener, serverLimits } from './server-limits.ts';
import { batchLimits, createUdpBatch, openUdpSocket, type UdpBatch } from './udp-batch.ts';

/**
 * On a wildcard address one socket for each address of this machine and one for the rest: an answer must come from the
 * address that was asked, and a wildcard socket leaves that choice to the route. Seen without it: a Pod on the DNS
 * server's own node is answered from the bridge's address, and its connection tracking drops the answer.
 * `except`: addresses that somebody else serves.
 */
export async function listenUdp(
  { host, port }: ListenAddress,
  except: ReadonlySet<string>,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const sockets = new Map<string, UdpSocket>();
  const open = async (local: string): Promise<void> => {
    sockets.set(local, await openUdp({ host: local, port }, resolver, clock, log));
  };
  await open(host);
  if (host !== '0.0.0.0' && host !== '::') {
    return { port, close: () => closeAll(sockets) };
  }
  const scan = async (): Promise<void> => {
    const current = localAddresses(host).difference(except);
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

/** Serves on a bound socket that was made by somebody else. Resolves to its address too. */
export async function serveUdpDescriptor(
  fd: number,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const socket = await bindUdp({ fd }, fd, 4, resolver, clock, log);
  return { port: socket.address().port, close: () => closeAll(new Map([['', socket]])) };
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

async function openUdp(
  where: ListenAddress,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<UdpSocket> {
  const family = isIP(where.host) === 6 ? 6 : 4;
  try {
    const fd = openUdpSocket(where.host, where.port);
    return await bindUdp(fd === undefined ? where : { fd }, fd, family, resolver, clock, log);
  } catch (error) {
    throw cannotListen(where, error);
  }
}

/** One batch serves all sockets: nothing in it outlives a call. */
let shared: UdpBatch | undefined;

async function bindUdp(
  where: ListenAddress | { readonly fd: number },
  fd: number | undefined,
  family: 4 | 6,
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<UdpSocket> {
  const socket = createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    reuseAddr: true, // a wildcard and its single addresses at once
    ipv6Only: family === 6,
    recvBufferSize: serverLimits.receiveBufferBytes,
  });
  const ready = Promise.withResolvers<void>();
  let bound = false;
  socket.on('error', (error) => {
    if (bound) log.warn('DNS over UDP', { error });
    else ready.reject(error);
  });
  shared ??= createUdpBatch();
  const via: Via = { protocol: 'udp', family };
  const single = singly(socket, via, resolver, clock, log);
  if (fd === undefined || shared === undefined) socket.on('message', single);
  else serveBatches(socket, fd, via, resolver, shared, clock, single);
  const done = (): void => {
    bound = true;
    ready.resolve();
  };
  if ('fd' in where) socket.bind({ fd: where.fd, exclusive: true }, done);
  else socket.bind({ address: where.host, port: where.port, exclusive: true }, done);
  await ready.promise;
  return socket;
}

/** Answers one datagram after the other: where the platform has no batches. */
function singly(socket: UdpSocket, via: Via, resolver: Resolver, clock: Clock, log: Logger) {
  let closed = false;
  socket.on('close', () => {
    closed = true;
  });
  const onSent = (error: Error | null): void => {
    if (error !== null && !closed) log.debug('a DNS answer was not sent', { error });
  };
  const answerLater = async (answer: Promise<Buffer>, peer: RemoteInfo): Promise<void> => {
    const late = await answer;
    if (!closed) socket.send(late, peer.port, peer.address, onSent);
  };
  return (query: Buffer, peer: RemoteInfo): void => {
    if (!resolver.allow(clientOf(peer.address), clock.monotonicMs())) return;
    const answer = resolver.resolve(query, via, clientOf(peer.address));
    if (answer instanceof Promise) void answerLater(answer, peer);
    else if (answer !== undefined) socket.send(answer, peer.port, peer.address, onSent);
  };
}

/**
 * The first datagram wakes us; those that have come behind it are taken together, and all answers that are ready are sent
 * together. Under load a query so costs a small part of two system calls instead of two whole ones.
 */
function serveBatches(
  socket: UdpSocket,
  fd: number,
  via: Via,
  resolver: Resolver,
  batch: UdpBatch,
  clock: Clock,
  single: (query: Buffer, peer: RemoteInfo) => void,
): void {
  let closed = false;
  socket.on('close', () => {
    closed = true;
  });
  const sendOne = (answer: Buffer, name: Uint8Array): void => {
    batch.output.set(answer, batch.answerAt);
    batch.answeredTo(name, answer.length);
    batch.send(fd);
  };
  const answerLater = async (answer: Promise<Buffer>, name: Uint8Array): Promise<void> => {
    const late = await answer;
    if (!closed) sendOne(late, name);
  };
  socket.on('message', (query, peer) => {
    const startMs = clock.monotonicMs();
    let quick = 0;
    let count = 0;
    const client = clientOf(peer.address);
    const first = batch.sender(peer.address, peer.port);
    if (first === undefined)
      single(query, peer); // an IPv6 address with a zone
    else if (resolver.allow(client, startMs)) {
      const bytes = resolver.quick(
        query,
        0,
        query.length,
        batch.output,
        batch.answerAt,
        via,
        client,
        startMs,
      );
      if (bytes > 0) {
        batch.answeredTo(first, bytes);
        quick += 1;
      } else {
        const answer = resolver.resolve(query, via, client);
        if (answer instanceof Promise) {
          void answerLater(answer, first);
        } else if (answer !== undefined) {
          batch.output.set(answer, batch.answerAt);
          batch.answeredTo(first, answer.length);
        }
      }
    }
    do {
      if (closed) return;
      count = batch.receive(fd);
      for (let slot = 0; slot < count; slot++) {
        if (batch.full) batch.send(fd);
        const bytes = batch.length(slot);
        const sender = batch.client(slot);
        if (bytes === 0 || !resolver.allow(sender, startMs)) continue;
        const from = slot * batchLimits.queryBytesMax;
        const written = resolver.quick(
          batch.input,
          from,
          from + bytes,
          batch.output,
          batch.answerAt,
          via,
          sender,
          startMs,
        );
        if (written > 0) {
          batch.answered(slot, written);
          quick += 1;
          continue;
        }
        const answer = resolver.resolve(batch.input.subarray(from, from + bytes), via, sender);
        if (answer instanceof Promise) {
          void answerLater(answer, batch.senderOf(slot));
        } else if (answer !== undefined) {
          batch.output.set(answer, batch.answerAt);
          batch.answered(slot, answer.length);
        }
      }
      batch.send(fd);
    } while (count === batchLimits.datagramsMax && quick < answersPerTurnMax);
    if (quick > 0) resolver.took(quick, (clock.monotonicMs() - startMs) / quick);
  });
}

/** Answers before other work of the process gets its turn. */
const answersPerTurnMax = 512;
