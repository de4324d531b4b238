import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolver, Via } from './resolver.ts';
import { type ClientNumbers, clientOf } from './client-number.ts';
import { cannotListen, type ListenAddress, type Listener, serverLimits } from './server-limits.ts';
import { wireLimits } from './wire.ts';

/** Bounds that tests make smaller. */
type TcpLimits = Pick<
  { readonly [K in keyof typeof serverLimits]: number },
  'connectionsMax' | 'idleTimeoutMs'
>;

/** Serves DNS over TCP at an address, or on a listening socket that was made by somebody else. Rejects when it cannot. */
export async function listenTcp(
  where: ListenAddress | { readonly fd: number },
  resolver: Resolver,
  clock: Clock,
  log: Logger,
  { connectionsMax, idleTimeoutMs }: TcpLimits = serverLimits,
): Promise<Listener> {
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    serveConnection(socket, resolver, clock);
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((done, fail) => {
    server.once('error', (error) => fail('fd' in where ? error : cannotListen(where, error)));
    if ('fd' in where) server.listen({ fd: where.fd }, done);
    else server.listen({ host: where.host, port: where.port, ipv6Only: isIP(where.host) === 6 }, done);
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

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

const lengthBytes = 2;
/** Answers that are ready at once are collected here and written together. */
const collected = Buffer.allocUnsafe(1 << 16);

/** Messages with their length before them, answered in whatever order they are ready (RFC 7766). */
function serveConnection(socket: Socket, resolver: Resolver, clock: Clock): void {
  const connection = new Connection(socket, resolver, clock);
  socket.on('error', () => socket.destroy()); // the peer went away: that is its right
  socket.on('drain', () => connection.proceed());
  socket.on('data', (chunk: Buffer) => connection.receive(chunk));
  socket.on('end', () => connection.end());
}

class Connection {
  readonly #socket: Socket;
  readonly #resolver: Resolver;
  readonly #clock: Clock;
  readonly #via: Via;
  readonly #client: ClientNumbers;
  /** Less than one message, or what there was no room for. */
  #waiting: Buffer = Buffer.alloc(0);
  #underWay = 0;
  #ended = false;
  /** Bytes in `collected`. */
  #used = 0;

  constructor(socket: Socket, resolver: Resolver, clock: Clock) {
    this.#socket = socket;
    this.#resolver = resolver;
    this.#clock = clock;
    this.#via = { protocol: 'tcp', family: socket.remoteFamily === 'IPv6' ? 6 : 4 };
    this.#client = clientOf(socket.remoteAddress ?? '');
  }

  receive(chunk: Buffer): void {
    this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    this.proceed();
  }

  end(): void {
    this.#ended = true;
    this.proceed();
  }

  proceed(): void {
    if (!this.#answerAll()) {
      this.#socket.destroy(); // not a query: nothing good follows
      return;
    }
    if (this.#busy) this.#socket.pause();
    else this.#socket.resume();
    if (this.#ended && this.#underWay === 0) this.#socket.end();
  }

  get #busy(): boolean {
    return (
      this.#underWay >= serverLimits.pipelinedMax || this.#socket.writableLength > serverLimits.outputBytesMax
    );
  }

  /** False: what came is no query. */
  #answerAll(): boolean {
    const startMs = this.#clock.monotonicMs();
    const { network, peer } = this.#client;
    let quick = 0;
    let at = 0;
    const input = this.#waiting;
    while (!this.#busy && input.length - at >= lengthBytes) {
      const from = at + lengthBytes;
      const end = from + input.readUInt16BE(at);
      if (input.length < end) break;
      at = end;
      if (!this.#resolver.allow(network, startMs)) continue;
      if (this.#used + lengthBytes + wireLimits.udpBytesMax > collected.length) this.#flush();
      const to = this.#used + lengthBytes;
      const bytes = this.#resolver.quick(input, from, end, collected, to, this.#via, peer, startMs);
      if (bytes > 0) {
        collected.writeUInt16BE(bytes, this.#used);
        this.#used += lengthBytes + bytes;
        quick += 1;
        continue;
      }
      const answer = this.#resolver.resolve(input.subarray(from, end), this.#via, peer);
      if (answer instanceof Promise) void this.#sendLater(answer);
      else if (answer !== undefined) this.#send(answer);
      else {
        this.#flush();
        return false;
      }
    }
    this.#waiting = input.subarray(at);
    this.#flush();
    if (quick > 0) this.#resolver.took(quick, (this.#clock.monotonicMs() - startMs) / quick);
    return true;
  }

  #flush(): void {
    if (this.#used > 0) this.#socket.write(Buffer.from(collected.subarray(0, this.#used)));
    this.#used = 0;
  }

  #send(answer: Buffer): void {
    if (this.#socket.destroyed) return;
    const whole = Buffer.allocUnsafe(lengthBytes + answer.length);
    whole.writeUInt16BE(answer.length);
    whole.set(answer, lengthBytes);
    this.#socket.write(whole);
  }

  async #sendLater(answer: Promise<Buffer>): Promise<void> {
    this.#underWay += 1;
    const late = await answer;
    this.#underWay -= 1;
    this.#send(late);
    this.proceed();
  }
}
