import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Resolver, Via } from './resolver.ts';
import { cannotListen, clientOf, type ListenAddress, type Listener, serverLimits } from './server-limits.ts';
import { wireLimits } from './wire.ts';

/** Serves DNS over TCP at an address, or on a listening socket that was made by somebody else. Rejects when it cannot. */
export async function listenTcp(
  where: ListenAddress | { readonly fd: number },
  resolver: Resolver,
  clock: Clock,
  log: Logger,
): Promise<Listener> {
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    serveConnection(socket, resolver, clock);
  });
  server.maxConnections = serverLimits.connectionsMax;
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
  const via: Via = { protocol: 'tcp', family: socket.remoteFamily === 'IPv6' ? 6 : 4 };
  const client = clientOf(socket.remoteAddress ?? '');
  let waiting: Buffer = Buffer.alloc(0); // less than one message
  let underWay = 0;
  let ended = false;
  const busy = (): boolean =>
    underWay >= serverLimits.pipelinedMax || socket.writableLength > serverLimits.outputBytesMax;

  const send = (answer: Buffer): void => {
    if (socket.destroyed) return;
    const whole = Buffer.allocUnsafe(lengthBytes + answer.length);
    whole.writeUInt16BE(answer.length);
    whole.set(answer, lengthBytes);
    socket.write(whole);
  };
  const sendLater = async (answer: Promise<Buffer>): Promise<void> => {
    underWay += 1;
    const late = await answer;
    underWay -= 1;
    send(late);
    proceed();
  };
  /** False: the connection is closed. */
  const answerAll = (): boolean => {
    const startMs = clock.monotonicMs();
    let used = 0;
    let quick = 0;
    const flush = (): void => {
      if (used > 0) socket.write(Buffer.from(collected.subarray(0, used)));
      used = 0;
    };
    let at = 0;
    while (!busy() && waiting.length - at >= lengthBytes) {
      const from = at + lengthBytes;
      const end = from + waiting.readUInt16BE(at);
      if (waiting.length < end) break;
      at = end;
      if (!resolver.allow(client, startMs)) continue;
      if (used + lengthBytes + wireLimits.udpBytesMax > collected.length) flush();
      const bytes = resolver.quick(waiting, from, end, collected, used + lengthBytes, via, client, startMs);
      if (bytes > 0) {
        collected.writeUInt16BE(bytes, used);
        used += lengthBytes + bytes;
        quick += 1;
        continue;
      }
      const answer = resolver.resolve(waiting.subarray(from, end), via, client);
      if (answer === undefined) {
        flush();
        socket.destroy(); // not a query: nothing good follows
        return false;
      }
      if (answer instanceof Promise) void sendLater(answer);
      else send(answer);
    }
    waiting = waiting.subarray(at);
    flush();
    if (quick > 0) resolver.took(quick, (clock.monotonicMs() - startMs) / quick);
    return true;
  };
  const proceed = (): void => {
    if (!answerAll()) return;
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
