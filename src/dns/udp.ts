import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolver, Via } from './resolver.ts';
import { type ClientNumbers, clientOf } from './client-number.ts';
import { cannotListen, type ListenAddress, type Listener, serverLimits } from './server-limits.ts';
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

/** Serves on a socket that was bound to the address by somebody else. */
export async function serveUdpDescriptor(
  { fd, address }: { readonly fd: number; readonly address: string },
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const socket = await bindUdp({ fd }, fd, isIP(address) === 6 ? 6 : 4, resolver, clock, log);
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
  else {
    const server = new BatchServer(fd, via, resolver, shared, clock);
    socket.on('close', () => server.close());
    socket.on('message', (query, peer) => {
      if (!server.serve(query, peer)) single(query, peer);
    });
  }
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
    const client = clientOf(peer.address);
    if (!resolver.allow(client.network, clock.monotonicMs())) return;
    const answer = resolver.resolve(query, via, client.peer);
    if (answer instanceof Promise) void answerLater(answer, peer);
    else if (answer !== undefined) socket.send(answer, peer.port, peer.address, onSent);
  };
}

/**
 * The first datagram wakes us; those that have come behind it are taken together, and all answers that are ready are sent
 * together. Under load a query so costs a small part of two system calls instead of two whole ones.
 */
class BatchServer {
  readonly #fd: number;
  readonly #via: Via;
  readonly #resolver: Resolver;
  readonly #batch: UdpBatch;
  readonly #clock: Clock;
  #closed = false;
  /** Bounded by the questions to others that may be under way. */
  #late: { readonly name: Uint8Array; readonly bytes: Buffer }[] = [];
  /** Answers of this turn that were there already. */
  #quick = 0;

  constructor(fd: number, via: Via, resolver: Resolver, batch: UdpBatch, clock: Clock) {
    this.#fd = fd;
    this.#via = via;
    this.#resolver = resolver;
    this.#batch = batch;
    this.#clock = clock;
  }

  close(): void {
    this.#closed = true;
  }

  /** Answers the datagram and those behind it. False: its sender's address cannot be written as a name. */
  serve(query: Buffer, peer: RemoteInfo): boolean {
    const name = this.#batch.sender(peer.address, peer.port);
    if (name === undefined) return false; // an IPv6 address with a zone
    const startMs = this.#clock.monotonicMs();
    this.#quick = 0;
    this.#answerFirst(query, clientOf(peer.address), name, startMs);
    while (!this.#closed) {
      const count = this.#batch.receive(this.#fd);
      for (let slot = 0; slot < count; slot++) this.#answerSlot(slot, startMs);
      this.#batch.send(this.#fd);
      if (count < batchLimits.datagramsMax || this.#quick >= answersPerTurnMax) break;
    }
    const quick = this.#quick;
    if (quick > 0) this.#resolver.took(quick, (this.#clock.monotonicMs() - startMs) / quick);
    return true;
  }

  #answerFirst(query: Buffer, { network, peer }: ClientNumbers, name: Uint8Array, nowMs: number): void {
    const { output, answerAt } = this.#batch;
    if (!this.#resolver.allow(network, nowMs)) return;
    const bytes = this.#resolver.quick(query, 0, query.length, output, answerAt, this.#via, peer, nowMs);
    if (bytes > 0) {
      this.#batch.answeredTo(name, bytes);
      this.#quick += 1;
      return;
    }
    const answer = this.#resolver.resolve(query, this.#via, peer);
    if (answer instanceof Promise) {
      void this.#answerLater(answer, name);
    } else if (answer !== undefined) {
      output.set(answer, answerAt);
      this.#batch.answeredTo(name, answer.length);
    }
  }

  #answerSlot(slot: number, nowMs: number): void {
    const batch = this.#batch;
    if (batch.full) batch.send(this.#fd);
    const length = batch.length(slot);
    if (length === 0 || !this.#resolver.allow(batch.network(slot), nowMs)) return;
    const peer = batch.peer(slot);
    const from = slot * batchLimits.queryBytesMax;
    const to = from + length;
    const { input, output, answerAt } = batch;
    const bytes = this.#resolver.quick(input, from, to, output, answerAt, this.#via, peer, nowMs);
    if (bytes > 0) {
      batch.answered(slot, bytes);
      this.#quick += 1;
      return;
    }
    // A copy: an answer that comes later still needs the question, and the slot is used again.
    const answer = this.#resolver.resolve(Buffer.from(input.subarray(from, to)), this.#via, peer);
    if (answer instanceof Promise) {
      void this.#answerLater(answer, batch.senderOf(slot));
    } else if (answer !== undefined) {
      output.set(answer, answerAt);
      batch.answered(slot, answer.length);
    }
  }

  async #answerLater(answer: Promise<Buffer>, name: Uint8Array): Promise<void> {
    const bytes = await answer;
    this.#late.push({ name, bytes });
    if (this.#late.length === 1) setImmediate(() => this.#sendLate());
  }

  /** Answers that have come in this turn go together, as the others' did. */
  #sendLate(): void {
    const all = this.#late;
    this.#late = [];
    if (this.#closed) return;
    const batch = this.#batch;
    for (const { name, bytes } of all) {
      if (batch.full) batch.send(this.#fd);
      batch.output.set(bytes, batch.answerAt);
      batch.answeredTo(name, bytes.length);
    }
    batch.send(this.#fd);
  }
}

/** Answers before other work of the process gets its turn. */
const answersPerTurnMax = 512;
