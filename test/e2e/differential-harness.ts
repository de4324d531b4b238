/** nginx, HAProxy and ours side by side, each before a backend that notes what it sees. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { ingressDefaults } from '../../src/l7/controller/config.ts';
import { type IngressPorts, runStaticIngress } from '../../src/l7/controller/run.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { freePort } from '../support/ports.ts';
import { localhost, testTransport, until } from './ingress-harness.ts';

/** For heads and bodies that never come, ms. */
const patienceMs = 300;

const programOf = (name: string): string | undefined =>
  ['/usr/sbin', '/usr/bin', '/usr/local/sbin'].map((dir) => join(dir, name)).find((file) => existsSync(file));
const nginx = programOf('nginx');
const haproxy = programOf('haproxy');
const absent = [nginx === undefined ? 'nginx' : '', haproxy === undefined ? 'haproxy' : ''].filter(Boolean);
/** Why nothing can be compared here, or false. */
export const skip = absent.length === 0 ? false : `needs ${absent.join(' and ')}`;

/**
 * What the backend's parser tells that is no fault of the proxy's: a body that its client did not send on is cut; and methods and targets
 * are narrower for it than for the protocol, which blurs no boundary between requests.
 */
const faultless = new Set(['HPE_INVALID_EOF_STATE', 'ECONNRESET', 'HPE_INVALID_URL', 'HPE_INVALID_METHOD']);

/** A request as it reached the backend. */
export type Seen = Pick<IncomingMessage, 'method' | 'url' | 'headers'> & { readonly body: string };

/** Notes each request, with its whole body; `broken` counts what is no HTTP for it. */
class Recorder {
  seen: Seen[] = [];
  broken: string[] = [];
  readonly server: Server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url, headers } = request;
      this.seen.push({ method, url, headers, body: Buffer.concat(chunks).toString('latin1') });
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

  take(): readonly Seen[] {
    const { seen } = this;
    this.seen = [];
    return seen;
  }
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

function nginxConfig(folder: string, port: number, http2Port: number, backend: number): string {
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
    listen ${localhost}:${http2Port} http2;
    merge_slashes off;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`;
}

function haproxyConfig(port: number, http2Port: number, backend: number): string {
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
  bind ${localhost}:${http2Port} proto h2
  server one ${localhost}:${backend}
`;
}

export type Contender = {
  readonly name: string;
  readonly port: number;
  /** Where HTTP/2 is spoken by prior knowledge. */
  readonly http2Port: number;
  readonly recorder: Recorder;
};

export type Contenders = readonly [nginx: Contender, haproxy: Contender, ours: Contender];

/** Resolves with all three, and with what ends them. */
export async function startContenders(): Promise<{
  readonly contenders: Contenders;
  readonly stop: () => Promise<void>;
}> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-differential-'));
  const children: ChildProcess[] = [];
  const abort = new AbortController();
  const recorders: Recorder[] = [];
  let running: Promise<void> | undefined;

  async function startRecorder(): Promise<{ readonly recorder: Recorder; readonly backend: number }> {
    const recorder = new Recorder();
    recorders.push(recorder);
    return { recorder, backend: await recorder.start() };
  }

  async function startProgram(
    name: string,
    program: string,
    args: (port: number, http2Port: number, backend: number) => readonly string[],
  ): Promise<Contender> {
    const { recorder, backend } = await startRecorder();
    const port = await freePort();
    const http2Port = await freePort();
    children.push(spawn(program, args(port, http2Port, backend), { stdio: 'ignore' }));
    await until(() => listens(port));
    return { name, port, http2Port, recorder };
  }

  async function startOurs(): Promise<Contender> {
    const { recorder, backend } = await startRecorder();
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
    running = runStaticIngress(config, file, silentLogger, abort.signal, deps);
    running.catch(ready.reject);
    const port = (await ready.promise).http[0] ?? 0;
    return { name: 'fairlead', port, http2Port: port, recorder };
  }

  const contenders = [
    await startProgram('nginx', nginx ?? '', (...ports) => {
      writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder, ...ports));
      return ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', '/dev/null'];
    }),
    await startProgram('haproxy', haproxy ?? '', (...ports) => {
      writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(...ports));
      return ['-db', '-q', '-f', join(folder, 'haproxy.cfg')];
    }),
    await startOurs(),
  ] as const;
  for (const { recorder } of contenders) recorder.take();
  return {
    contenders,
    stop: async () => {
      abort.abort();
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
    },
  };
}
