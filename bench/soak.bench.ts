/**
 * The ingress engine under clients that behave in every way at once, each answer checked byte for byte: keep-alive, pipelined and
 * HTTP/2 requests, bodies both ways, slow readers, upgrades, clients that leave in the middle, backends that reset in the middle; a
 * third of it within TLS, while endpoints and routes change all the time. At the end nothing may be left: no connection, no
 * descriptor, no memory that goes on growing. Exit status 1 if anything was wrong.
 *
 *   npm run bench -- soak [--seconds 60] [--transport uring|net] [--clients 48] [--seed 1]
 *
 * Everything runs on the loopback.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { parseArgs } from 'node:util';
import { residentMb, socketsOf, startEngine, untilFew, untilQuiet } from './soak/engine.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    transport: { type: 'string', default: 'uring' },
    clients: { type: 'string', default: '48' },
    seed: { type: 'string', default: '1' },
  },
});
const host = 'soak.example';
const localhost = '127.0.0.1';
const bodyBytesMax = 1 << 20;
/** What takes longer has been forgotten by somebody. */
const wayMs = 60_000;

/** Bytes that tell at each place whether they belong there. */
const pattern = Buffer.alloc(bodyBytesMax + 251);
for (let at = 0; at < pattern.length; at += 1) pattern[at] = at % 251;
const patternFrom = (seed: number, length: number): Buffer =>
  pattern.subarray(seed % 251, (seed % 251) + length);

type Random = (below: number) => number;

/** Mulberry32. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Mostly small, now and then up to the largest. */
const sizeOf = (random: Random): number => random([200, 4000, 20_000, 100_000, bodyBytesMax][random(5)] ?? 1);

const counts = {
  requests: 0,
  secure: 0,
  bytes: 0,
  left: 0,
  cut: 0,
  changes: 0,
  slowestMs: 0,
  slowest: '',
  wrong: 0,
};
const firstWrong: string[] = [];

function wrong(what: string): void {
  counts.wrong += 1;
  if (firstWrong.length < 10) firstWrong.push(what);
}

function check(what: string, found: Buffer, wanted: Buffer): void {
  counts.requests += 1;
  counts.bytes += found.length;
  if (!found.equals(wanted))
    wrong(`${what}: ${found.length} bytes instead of ${wanted.length}, or other ones`);
}

// --- the backend -------------------------------------------------------------------------------------------------

/** GET /SEED/LENGTH: bytes of the pattern; /reset/LENGTH: some of them, then a reset. POST: the digest of what came. Upgrade: what comes goes back. */
function answer(incoming: IncomingMessage, response: ServerResponse): void {
  if (incoming.method === 'POST') {
    const digest = createHash('sha256');
    incoming.on('data', (chunk: Buffer) => digest.update(chunk));
    incoming.on('end', () => response.end(digest.digest('hex')));
    incoming.on('error', () => response.destroy());
    return;
  }
  incoming.resume();
  const [, seed, length] = (incoming.url ?? '').split('/');
  if (seed === 'reset') {
    response.setHeader('content-length', bodyBytesMax);
    response.write(patternFrom(0, Number(length)), () => incoming.socket.resetAndDestroy());
    return;
  }
  const bytes = patternFrom(Number(seed), Number(length));
  if (Number(seed) % 2 === 0) response.setHeader('content-length', bytes.length);
  // Ended after an announcement: without one a POST may meet the end, and is then rightly answered 502.
  if (Number(seed) % 16 === 1) response.shouldKeepAlive = false;
  response.end(bytes);
}

async function startBackend() {
  const server = createServer(answer);
  server.keepAliveTimeout = 0; // never
  server.on('upgrade', (_incoming, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    closeIdle: () => server.closeIdleConnections(),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

// --- ways to behave ----------------------------------------------------------------------------------------------

/** Where the engine listens, and whether TLS is spoken there. */
type Place = { readonly port: number; readonly secure: boolean };
type Way = (place: Place, random: Random) => Promise<void>;

const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const tlsAgent = new TlsAgent({ keepAlive: true, maxSockets: 32 });
/** The engine's certificate is signed by itself. */
const trusting = { rejectUnauthorized: false, servername: host };

function ask(
  { port, secure }: Place,
  random: Random,
  options: {
    readonly path: string;
    readonly method?: string;
    readonly headers?: Record<string, string | number>;
  },
) {
  const all = { host: localhost, port, ...options, headers: { host, ...options.headers } };
  const kept = random(4) > 0;
  if (!secure) return request({ ...all, agent: kept ? agent : new Agent() });
  return tlsRequest({ ...all, ...trusting, agent: kept ? tlsAgent : new TlsAgent() });
}

function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  return Array.fromAsync(stream).then((chunks) => Buffer.concat(chunks));
}

const get: Way = async (place, random) => {
  const [seed, length] = [random(1000), sizeOf(random)];
  const asked = ask(place, random, { path: `/${seed}/${length}` });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  check('GET', await read(response), patternFrom(seed, length));
};

const post: Way = async (place, random) => {
  const body = patternFrom(random(1000), sizeOf(random));
  const framing = random(2) === 0 ? { 'content-length': body.length } : { 'transfer-encoding': 'chunked' };
  const asked = ask(place, random, { path: '/', method: 'POST', headers: framing });
  const answered = once(asked, 'response'); // before anything is sent: an answer may come before the request's end
  answered.catch(() => {}); // told by the await below
  const half = random(body.length + 1);
  asked.write(body.subarray(0, half));
  if (random(3) === 0) await delay(random(20));
  asked.end(body.subarray(half));
  const [response] = (await answered) as [IncomingMessage];
  const found = await read(response);
  if (response.statusCode !== 200) wrong(`POST: ${response.statusCode} ${found.toString('latin1', 0, 200)}`);
  else check('POST', found, Buffer.from(createHash('sha256').update(body).digest('hex')));
};

/** Leaves somewhere in the middle, by a reset or in peace. */
const leave: Way = async (place, random) => {
  const socket = await dial(place);
  socket.write(`GET /1/${bodyBytesMax} HTTP/1.1\r\nhost: ${host}\r\n${random(3) === 0 ? '' : '\r\n'}`);
  socket.resume();
  await delay(random(15));
  if (random(2) === 0 && !place.secure) socket.resetAndDestroy();
  else socket.destroy();
  counts.left += 1;
};

const pipeline: Way = async (place, random) => {
  const wanted = Array.from({ length: 2 + random(7) }, () => [random(500) * 2, random(3000)] as const);
  const socket = await dial(place);
  const text = wanted.map(([seed, length], at) => {
    const last = at === wanted.length - 1 ? 'connection: close\r\n' : '';
    return `GET /${seed}/${length} HTTP/1.1\r\nhost: ${host}\r\n${last}\r\n`;
  });
  socket.write(text.join(''));
  const all = await read(socket);
  let from = 0;
  for (const [seed, length] of wanted) {
    const start = all.indexOf('\r\n\r\n', from) + 4;
    check('pipelined GET', all.subarray(start, start + length), patternFrom(seed, length));
    from = start + length;
  }
};

const slowReader: Way = async (place, random) => {
  const [seed, length] = [random(500) * 2, 100_000 + random(200_000)];
  const socket = await dial(place);
  socket.write(`GET /${seed}/${length} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    await delay(random(4));
  }
  const all = Buffer.concat(chunks);
  check('slow GET', all.subarray(all.indexOf('\r\n\r\n') + 4), patternFrom(seed, length));
};

const upgrade: Way = async (place, random) => {
  const socket = await dial(place);
  socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n`);
  const body = patternFrom(random(1000), 1 + random(50_000));
  let found = Buffer.alloc(0);
  let begun = false;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    found = Buffer.concat([found, chunk]);
    const end = found.indexOf('\r\n\r\n');
    if (!begun && end !== -1) {
      begun = true;
      found = found.subarray(end + 4);
      socket.write(body);
    }
    if (begun && found.length >= body.length) break;
  }
  check('upgrade', found, body);
  socket.destroy();
};

const http2: Way = async (place, random) => {
  const session = place.secure
    ? connectHttp2(`https://${localhost}:${place.port}`, trusting)
    : connectHttp2(`http://${localhost}:${place.port}`);
  session.on('error', () => {}); // each stream tells of it
  try {
    const streams = Array.from({ length: 1 + random(12) }, async () => {
      const [seed, length] = [random(1000), sizeOf(random)];
      const stream = session.request({ ':path': `/${seed}/${length}`, ':authority': host });
      if (random(8) === 0) {
        stream.on('error', () => {});
        await delay(random(5));
        stream.close(8); // CANCEL
        counts.left += 1;
        return;
      }
      check('HTTP/2 GET', await read(stream as AsyncIterable<Buffer>), patternFrom(seed, length));
    });
    await Promise.all(streams);
  } finally {
    session.destroy();
  }
};

/** The endpoint resets its connection within the answer: what came before is right, and the answer does not seem whole. */
const broken: Way = async (place, random) => {
  const length = 1 + random(200_000);
  const asked = ask(place, random, { path: `/reset/${length}` });
  const chunks: Buffer[] = [];
  let whole = false;
  asked.end();
  try {
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode === 502)
      chunks.push(patternFrom(0, (await read(response)).length)); // cut before its head was here
    else for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    whole = response.statusCode === 200;
  } catch {
    counts.cut += 1; // as it should be
  }
  const found = Buffer.concat(chunks);
  check('cut GET', found, patternFrom(0, found.length));
  if (whole) wrong('an answer that its endpoint has cut looks whole');
};

const ways: readonly (readonly [name: string, weight: number, way: Way])[] = [
  ['GET', 8, get],
  ['POST', 5, post],
  ['leave', 3, leave],
  ['pipeline', 3, pipeline],
  ['slow reader', 1, slowReader],
  ['upgrade', 2, upgrade],
  ['HTTP/2', 3, http2],
  ['cut', 2, broken],
];
const lots = ways.flatMap(([name, weight, way]) => Array.from({ length: weight }, () => ({ name, way })));

async function dial({ port, secure }: Place): Promise<Socket> {
  const socket = secure ? connectTls({ port, host: localhost, ...trusting }) : connect(port, localhost);
  await once(socket, secure ? 'secureConnect' : 'connect');
  return socket;
}

async function behave(
  { port, tlsPort }: { readonly port: number; readonly tlsPort: number },
  random: Random,
  untilMs: number,
): Promise<void> {
  while (performance.now() < untilMs) {
    const lot = lots[random(lots.length)];
    if (lot === undefined) return;
    const secure = random(3) === 0;
    const sinceMs = performance.now();
    const over = new AbortController();
    try {
      await Promise.race([
        lot.way({ port: secure ? tlsPort : port, secure }, random),
        delay(wayMs, undefined, over).then(() => Promise.reject(new Error(`no end within ${wayMs} ms`))),
      ]);
      if (secure) counts.secure += 1;
    } catch (error) {
      wrong(`${lot.name}${secure ? ' within TLS' : ''}: ${String(error)}`);
    }
    over.abort();
    const tookMs = Math.round(performance.now() - sinceMs);
    if (tookMs > counts.slowestMs) {
      counts.slowestMs = tookMs;
      counts.slowest = lot.name;
    }
  }
}

// --- the run -----------------------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'fairlead-soak-'));
const seconds = Number(values.seconds);
const backends = [await startBackend(), await startBackend()] as const;
const engine = await startEngine(
  { folder, host, transport: values.transport },
  backends.map(({ port }) => port),
);
try {
  const pid = engine.child.pid ?? 0;
  const descriptorsBefore = readdirSync(`/proc/${pid}/fd`).length;
  const startMs = performance.now();
  const untilMs = startMs + seconds * 1000;
  const memory: number[] = [];
  const clients = Array.from({ length: Number(values.clients) }, (_, at) =>
    behave(engine, seeded(Number(values.seed) * 1000 + at), untilMs),
  );
  const changing = setInterval(() => {
    counts.changes += 1;
    // One of the two, or both, and now and then another number of routes.
    engine.route(
      backends.filter((_, at) => counts.changes % 3 !== at).map(({ port }) => port),
      counts.changes % 5,
    );
  }, 100);
  for (let part = 1; part <= 4; part += 1) {
    await delay(startMs + (part * seconds * 1000) / 4 - performance.now());
    memory.push(residentMb(pid));
    console.log(`${(part * seconds) / 4} s: ${JSON.stringify(counts)}, ${memory.at(-1)} MB resident`);
  }
  await Promise.all(clients);
  clearInterval(changing);
  agent.destroy();
  tlsAgent.destroy();
  const left = await untilQuiet(engine.healthPort);
  for (const backend of backends) backend.closeIdle();
  const descriptors = (await untilFew(pid, descriptorsBefore + 4)) - descriptorsBefore;
  console.log(
    `${values.transport}: ${counts.requests} answers, ${(counts.bytes / 1e9).toFixed(2)} GB, all compared; ${counts.secure} times within TLS; ${counts.left} clients left early, ${counts.cut} answers cut by endpoints; ${counts.changes} changes of routes; slowest: ${counts.slowest}, ${counts.slowestMs} ms`,
  );
  console.log(
    `wrong: ${counts.wrong}; connections left: ${left}; descriptors more than at the start: ${descriptors}; MB resident by quarters: ${memory.join(', ')}`,
  );
  if (descriptors > 4)
    console.log(
      socketsOf(
        pid,
        backends.map(({ port }) => port),
      ),
    );
  for (const text of firstWrong) console.log(`  ${text}`);
  if (counts.wrong > 0 || left > 0 || descriptors > 4) process.exitCode = 1;
} finally {
  await engine.stop();
  for (const backend of backends) backend.close();
  rmSync(folder, { recursive: true });
}
