/**
 * The ingress engine under clients that behave in every way at once, each answer checked byte for byte: keep-alive, pipelined and
 * HTTP/2 requests, bodies both ways, slow readers, upgrades, clients that leave in the middle. At the end nothing may be left: no
 * connection, no descriptor, no memory that goes on growing. Exit status 1 if anything was wrong.
 *
 *   npm run bench -- soak [--seconds 60] [--transport uring|net] [--clients 48] [--seed 1]
 *
 * Everything runs on the loopback.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

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

const counts = { requests: 0, bytes: 0, left: 0, wrong: 0 };
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

/** GET /SEED/LENGTH: bytes of the pattern. POST: the digest of what came. Upgrade: what comes goes back. */
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

type Way = (port: number, random: Random) => Promise<void>;

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  return Array.fromAsync(stream).then((chunks) => Buffer.concat(chunks));
}

const get: Way = async (port, random) => {
  const [seed, length] = [random(1000), sizeOf(random)];
  const options = { host: localhost, port, path: `/${seed}/${length}`, headers: { host } };
  const asked = request({ ...options, agent: random(4) === 0 ? new Agent() : agent });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  check('GET', await read(response), patternFrom(seed, length));
};

const post: Way = async (port, random) => {
  const body = patternFrom(random(1000), sizeOf(random));
  const framing = random(2) === 0 ? { 'content-length': body.length } : { 'transfer-encoding': 'chunked' };
  const asked = request({
    host: localhost,
    port,
    method: 'POST',
    path: '/',
    headers: { host, ...framing },
    agent,
  });
  const half = random(body.length + 1);
  asked.write(body.subarray(0, half));
  if (random(3) === 0) await delay(random(20));
  asked.end(body.subarray(half));
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  check('POST', await read(response), Buffer.from(createHash('sha256').update(body).digest('hex')));
};

/** Leaves somewhere in the middle, by a reset or in peace. */
const leave: Way = async (port, random) => {
  const socket = await dial(port);
  socket.write(`GET /1/${bodyBytesMax} HTTP/1.1\r\nhost: ${host}\r\n${random(3) === 0 ? '' : '\r\n'}`);
  socket.resume();
  await delay(random(15));
  if (random(2) === 0) socket.resetAndDestroy();
  else socket.destroy();
  counts.left += 1;
};

const pipeline: Way = async (port, random) => {
  const wanted = Array.from({ length: 2 + random(7) }, () => [random(500) * 2, random(3000)] as const);
  const socket = await dial(port);
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

const slowReader: Way = async (port, random) => {
  const [seed, length] = [random(500) * 2, 100_000 + random(200_000)];
  const socket = await dial(port);
  socket.write(`GET /${seed}/${length} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    await delay(random(4));
  }
  const all = Buffer.concat(chunks);
  check('slow GET', all.subarray(all.indexOf('\r\n\r\n') + 4), patternFrom(seed, length));
};

const upgrade: Way = async (port, random) => {
  const socket = await dial(port);
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

const http2: Way = async (port, random) => {
  const session = connectHttp2(`http://${localhost}:${port}`);
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

const ways: readonly (readonly [name: string, weight: number, way: Way])[] = [
  ['GET', 8, get],
  ['POST', 5, post],
  ['leave', 3, leave],
  ['pipeline', 3, pipeline],
  ['slow reader', 1, slowReader],
  ['upgrade', 2, upgrade],
  ['HTTP/2', 3, http2],
];
const lots = ways.flatMap(([name, weight, way]) => Array.from({ length: weight }, () => ({ name, way })));

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, localhost);
  await once(socket, 'connect');
  return socket;
}

async function behave(port: number, random: Random, untilMs: number): Promise<void> {
  while (performance.now() < untilMs) {
    const lot = lots[random(lots.length)];
    if (lot === undefined) return;
    try {
      await lot.way(port, random);
    } catch (error) {
      wrong(`${lot.name}: ${String(error)}`);
    }
  }
}

// --- the run -----------------------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'fairlead-soak-'));
const seconds = Number(values.seconds);
const backend = await startBackend();
const engine = await startEngine(backend.port);
try {
  const pid = engine.child.pid ?? 0;
  const descriptorsBefore = readdirSync(`/proc/${pid}/fd`).length;
  const startMs = performance.now();
  const untilMs = startMs + seconds * 1000;
  const memory: number[] = [];
  const clients = Array.from({ length: Number(values.clients) }, (_, at) =>
    behave(engine.port, seeded(Number(values.seed) * 1000 + at), untilMs),
  );
  for (let part = 1; part <= 4; part += 1) {
    await delay(startMs + (part * seconds * 1000) / 4 - performance.now());
    memory.push(residentMb(pid));
    console.log(`${(part * seconds) / 4} s: ${JSON.stringify(counts)}, ${memory.at(-1)} MB resident`);
  }
  await Promise.all(clients);
  agent.destroy();
  const left = await untilQuiet(engine.healthPort);
  backend.closeIdle();
  await delay(500); // for the engine to hear of it
  const descriptors = readdirSync(`/proc/${pid}/fd`).length - descriptorsBefore;
  console.log(
    `${values.transport}: ${counts.requests} answers, ${(counts.bytes / 1e9).toFixed(2)} GB, all compared; ${counts.left} clients left early`,
  );
  console.log(
    `wrong: ${counts.wrong}; connections left: ${left}; descriptors more than at the start: ${descriptors}; MB resident by quarters: ${memory.join(', ')}`,
  );
  for (const text of firstWrong) console.log(`  ${text}`);
  if (counts.wrong > 0 || left > 0 || descriptors > 4) process.exitCode = 1;
} finally {
  await engine.stop();
  backend.close();
  rmSync(folder, { recursive: true });
}

async function startEngine(backendPort: number) {
  const config = join(folder, 'routes.yaml');
  const [port, healthPort] = [await freePort(), await freePort()];
  writeFileSync(
    config,
    `routes:\n  - host: ${host}\n    path: /\n    backends: [${localhost}:${backendPort}]\n`,
  );
  const program = join(import.meta.dirname, '../src/cmd/fairlead.ts');
  const child: ChildProcess = spawn(
    process.execPath,
    [
      ...['--disable-warning=ExperimentalWarning', program, 'ingress', '--config', config],
      ...['--http', `${localhost}:${port}`, '--https', '', '--transport', String(values.transport)],
      ...['--health-address', `${localhost}:${healthPort}`],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  while (!(await isReady(healthPort))) {
    if (child.exitCode !== null) throw new Error('the engine ended at once: its messages are above');
    await delay(50);
  }
  return {
    child,
    port,
    healthPort,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

async function isReady(healthPort: number): Promise<boolean> {
  try {
    return (await fetch(`http://${localhost}:${healthPort}/readyz`)).ok;
  } catch {
    return false; // it does not listen yet
  }
}

/** The clients' connections that the engine still has after at most ten seconds. */
async function untilQuiet(healthPort: number): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    const text = await (await fetch(`http://${localhost}:${healthPort}/metrics`)).text();
    const open = Number(/^fairlead_ingress_client_connections (\d+)/m.exec(text)?.[1] ?? Number.NaN);
    if (open === 0 || attempt === 100) return open;
    await delay(100);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, localhost);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

function residentMb(pid: number): number {
  const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return Math.round(kib / 1024);
}
