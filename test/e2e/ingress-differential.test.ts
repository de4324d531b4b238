/**
 * The same bytes to nginx, to HAProxy and to us, each before a backend that notes what it sees. What both others refuse we never
 * forward, and where all take a request its backend sees as many. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { ingressDefaults } from '../../src/l7/controller/config.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { type IngressPorts, runStaticIngress } from '../../src/l7/controller/run.ts';
import { type CorpusCase, corpus, mutate, randomOf } from '../support/http1-corpus.ts';
import { localhost, testTransport, until } from './ingress-harness.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127);
const count = Number(process.env['FUZZ_COUNT'] ?? 100);

/** Comes behind every case, to see where the proxy believes that the case has ended. */
const sentinel = 'GET /sentinel HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n';

/** For heads and bodies that never come, ms. */
const patienceMs = 300;

const programOf = (name: string): string | undefined =>
  ['/usr/sbin', '/usr/bin', '/usr/local/sbin'].map((dir) => join(dir, name)).find((file) => existsSync(file));
const nginx = programOf('nginx');
const haproxy = programOf('haproxy');
const absent = [nginx === undefined ? 'nginx' : '', haproxy === undefined ? 'haproxy' : ''].filter(Boolean);
const skip = absent.length === 0 ? false : `needs ${absent.join(' and ')}`;

/**
 * What the backend's parser tells that is no fault of the proxy's: a body that its client did not send on is cut; and methods and targets
 * are narrower for it than for the protocol, which blurs no boundary between requests.
 */
const faultless = new Set(['HPE_INVALID_EOF_STATE', 'ECONNRESET', 'HPE_INVALID_URL', 'HPE_INVALID_METHOD']);

/**
 * A target with a host of its own: HAProxy refuses one that differs from Host, nginx characters that a host may have. We put it in the place
 * of Host (RFC 9112 §3.2.2), so that nothing is ambiguous behind us.
 */
const namesHostTwice = /(^|\r\n)[!-~]+ https?:\/\//i;

/** Notes each request, with its whole body; `broken` counts what is no HTTP for it. */
class Recorder {
  seen: string[] = [];
  broken: string[] = [];
  readonly server: Server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      this.seen.push(`${request.method} ${request.url} ${Buffer.concat(chunks).toString('latin1')}`);
      response.end('ok');
    });
  });

  async start(): Promise<number> {
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (!faultless.has(String(error.code))) this.broken.push(String(error.code));
      socket.destroy();
    });
    this.server.listen(0, localhost);
    await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  take(): readonly string[] {
    const { seen } = this;
    this.seen = [];
    return seen;
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, localhost);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, localhost);
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });
}

function nginxConfig(folder: string, port: number, backend: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off; master_process off; pid ${folder}/pid; error_log /dev/null;
events {}
http {
  access_log off;
  client_header_timeout ${patienceMs}ms; client_body_timeout ${patienceMs}ms; keepalive_timeout ${patienceMs}ms;
  lingering_close off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  upstream backend { server ${localhost}:${backend}; }
  server {
    listen ${localhost}:${port};
    merge_slashes off;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`;
}

function haproxyConfig(port: number, backend: number): string {
  return `
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client ${patienceMs}ms
  timeout server 1s
  timeout http-request ${patienceMs}ms
  timeout http-keep-alive ${patienceMs}ms
listen all
  bind ${localhost}:${port}
  server one ${localhost}:${backend}
`;
}

type Contender = { readonly name: string; readonly port: number; readonly recorder: Recorder };

/** All that comes back until the proxy ends the connection. */
function ask(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, localhost);
    const chunks: Buffer[] = [];
    const finish = (): void => resolve(Buffer.concat(chunks).toString('latin1'));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', finish);
    socket.write(bytes);
  });
}

describe('ingress differential: nginx, HAProxy and Fairlead', { timeout: 300_000, skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-differential-'));
  const children: ChildProcess[] = [];
  const stop = new AbortController();
  const recorders: Recorder[] = [];
  let running: Promise<void> | undefined;
  let contenders: readonly [Contender, Contender, Contender];

  async function startProgram(
    name: string,
    program: string,
    args: (port: number, backend: number) => readonly string[],
  ) {
    const recorder = new Recorder();
    recorders.push(recorder);
    const backend = await recorder.start();
    const port = await freePort();
    children.push(spawn(program, args(port, backend), { stdio: 'ignore' }));
    await until(() => listens(port));
    return { name, port, recorder };
  }

  async function startOurs(): Promise<Contender> {
    const recorder = new Recorder();
    recorders.push(recorder);
    const backend = await recorder.start();
    const file = join(folder, 'routes.yaml');
    writeFileSync(file, `routes:\n  - backends: ["${localhost}:${backend}"]\n`);
    const ready = Promise.withResolvers<IngressPorts>();
    const config = {
      ...ingressDefaults,
      http: [{ kind: 'address', host: localhost, port: 0 } as const],
      https: [],
      healthAddress: undefined,
      limits: {
        ...defaultLimits,
        clientHeaderTimeoutMs: patienceMs,
        clientIdleTimeoutMs: patienceMs,
        clientBodyTimeoutMs: patienceMs,
        lingerTimeoutMs: 50,
      },
    };
    const deps = { clock: systemClock, onReady: ready.resolve, transport: await testTransport() };
    running = runStaticIngress(config, file, silentLogger, stop.signal, deps);
    running.catch(ready.reject);
    return { name: 'fairlead', port: (await ready.promise).http[0] ?? 0, recorder };
  }

  before(async () => {
    contenders = [
      await startProgram('nginx', nginx ?? '', (port, backend) => {
        writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder, port, backend));
        return ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', '/dev/null'];
      }),
      await startProgram('haproxy', haproxy ?? '', (port, backend) => {
        writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(port, backend));
        return ['-db', '-q', '-f', join(folder, 'haproxy.cfg')];
      }),
      await startOurs(),
    ];
    for (const { recorder } of contenders) recorder.take();
  });

  after(async () => {
    stop.abort();
    await running;
    for (const child of children) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    for (const { server } of recorders) {
      server.close();
      server.closeAllConnections();
    }
    rmSync(folder, { recursive: true, force: true });
  });

  /** What each backend has seen of a case, the sentinel left out, and whether the sentinel was seen as a request. */
  async function compare({ name, bytes }: CorpusCase): Promise<void> {
    const sent = Buffer.concat([bytes, Buffer.from(sentinel)]);
    const outcomes = await Promise.all(
      contenders.map(async ({ port, recorder }) => {
        const answer = await ask(port, sent);
        const all = recorder.take();
        const requests = all.filter((line) => !line.startsWith('GET /sentinel '));
        return { answer, requests, whole: requests.length < all.length };
      }),
    );
    const [one, two, ours] = outcomes;
    assert.ok(one !== undefined && two !== undefined && ours !== undefined);
    const told = (): string =>
      `${name} ${JSON.stringify(bytes.toString('latin1'))}\n${outcomes.map((outcome, index) => `${contenders[index]?.name}: ${JSON.stringify(outcome)}`).join('\n')}`;
    const broken = contenders[2].recorder.broken.splice(0);
    assert.deepEqual(broken, [], `we forwarded what is no HTTP: ${told()}`);
    const most = Math.max(one.requests.length, two.requests.length);
    const excused = namesHostTwice.test(bytes.toString('latin1'));
    assert.ok(excused || ours.requests.length <= most, `we let pass what both others refuse: ${told()}`);
    if (one.whole && two.whole && ours.whole && one.requests.length === two.requests.length) {
      assert.equal(ours.requests.length, one.requests.length, `we count otherwise: ${told()}`);
      const bodies = (lines: readonly string[]): readonly string[] =>
        lines.map((line) => line.split(' ').slice(2).join(' '));
      assert.deepEqual(bodies(ours.requests), bodies(one.requests), `we read another body: ${told()}`);
    }
  }

  for (const one of corpus) test(one.name, async () => compare(one));

  test(`${count} mutations from seed ${seed}`, async () => {
    const random = randomOf(seed);
    for (let turn = 0; turn < count; turn += 1) await compare(mutate(random));
  });
});
