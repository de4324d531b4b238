/**
 * The ingress engine beside other proxies: CPU per request, throughput, latency at fixed rates, big bodies, big route tables, time
 * to effect, memory.
 *
 *   npm run bench -- l7 [--seconds 2] [--rounds 3] [--parts small,tls,echo,open,http2,routes,churn,effect,memory] [--rates 1000,4000] [--hosts 10,1000,10000] [--only NAME] [--write]
 *
 * Of the rounds the one with the least CPU per request counts, for each proxy alike: others use the machine, too.
 * Everything runs on the loopback, one proxy at a time, in front of the same nginx. Needs nginx and wrk, the part
 * http2 also h2load; HAProxy and Caddy are left out where they are not installed.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Http2Client } from './l7/http2-client.ts';
import { measureGrpcStream } from './l7/grpc-load.ts';
import { type Http2Load, type Load, type Measured, measure, measureHttp2, residentKib } from './l7/load.ts';
import { type Echoed, measureEcho, startEcho } from './l7/echo.ts';
import { measureEffect } from './l7/effect.ts';
import { type Handshakes, makeCertificate, measureHandshakes } from './l7/handshakes.ts';
import { type Latencies, measureOpenLoop } from './l7/open-loop.ts';
import {
  h2load,
  missing,
  type Proxy,
  proxies,
  type Running,
  routesFile,
  type Site,
  startBackend,
  startGrpcBackend,
} from './l7/proxies.ts';
import { machineLine, writeSection } from './lib/report.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    parts: { type: 'string', default: 'small,tls,echo,open,http2,routes,churn,effect,memory' },
    rates: { type: 'string', default: '1000,4000' },
    hosts: { type: 'string', default: '10,1000,10000' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const parts = new Set(values.parts.split(','));
const measured = proxies.filter(({ name }) => name.includes(values.only));
const host = 'bench.example';
const proxyPort = 18_080;
const backendPorts = [19_001, 19_002] as const;

const loads: readonly (readonly [title: string, load: Omit<Load, 'seconds' | 'host'>])[] = [
  ['small, keep-alive, 1 connection', { connections: 1, path: '/' }],
  ['small, keep-alive, 64 connections', { connections: 64, path: '/' }],
  ['small, keep-alive, 1,000 connections', { connections: 1000, path: '/' }],
  ['small, a new connection each, 64 at once', { connections: 64, path: '/', close: true }],
  ['16 KB, keep-alive, 64 connections', { connections: 64, path: '/16k' }],
  ['1 MB, keep-alive, 16 connections', { connections: 16, path: '/1m' }],
];

const lines: string[] = [];
const say = (...more: readonly string[]): void => {
  lines.push(...more);
  console.log(more.join('\n'));
};
const head =
  '| proxy | user µs | system µs | CPU µs per request | ratio to nginx | requests/s | p50 µs | p99 µs | failed |';
const rule = '|---|---|---|---|---|---|---|---|---|';

async function withProxy<T>(proxy: Proxy, site: Site, body: (pid: number) => Promise<T>): Promise<T> {
  const running = await proxy.start(site);
  try {
    // A first load brings connections, caches and compiled code into their usual state.
    await measure(running.pid, running.port, { connections: 64, seconds: 1, path: '/', host });
    return await body(running.pid);
  } finally {
    await running.stop();
  }
}

function row(name: string, it: Measured, nginx: Measured | undefined): string {
  const cpu = it.userUs + it.systemUs;
  const ratio = nginx === undefined ? '–' : (cpu / (nginx.userUs + nginx.systemUs)).toFixed(2);
  const whole = [it.perSecond, it.p50Us, it.p99Us].map((value) => value.toFixed(0)).join(' | ');
  return `| ${name} | ${it.userUs.toFixed(1)} | ${it.systemUs.toFixed(1)} | ${cpu.toFixed(1)} | ${ratio} | ${whole} | ${it.failed} |`;
}

/** Failed requests of all rounds are added up. */
function keepBest(results: Map<string, Measured>, name: string, it: Measured): void {
  const before = results.get(name);
  const failed = it.failed + (before?.failed ?? 0);
  const better = before === undefined || it.userUs + it.systemUs < before.userUs + before.systemUs;
  results.set(name, { ...(better ? it : before), failed });
}

function table(title: string, results: ReadonlyMap<string, Measured>): void {
  const nginx = [...results].find(([name]) => name.startsWith('nginx'))?.[1];
  say('', `**${title}**`, '', head, rule, ...[...results].map(([name, it]) => row(name, it, nginx)));
}

function siteOf(folder: string, hosts: readonly string[], backends: readonly number[]): Site {
  return { folder, port: proxyPort, hosts, backendPorts: backends };
}

async function small(folder: string): Promise<void> {
  const site = siteOf(folder, [host], [backendPorts[0]]);
  const results = new Map(loads.map(([title]) => [title, new Map<string, Measured>()]));
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const proxy of measured) {
      await withProxy(proxy, site, async (pid) => {
        for (const [title, load] of loads) {
          await measure(pid, proxyPort, { ...load, seconds: 1, host }); // each load has code and memory of its own
          const it = await measure(pid, proxyPort, { ...load, seconds, host });
          keepBest(results.get(title) ?? new Map(), proxy.name, it);
        }
      });
    }
  }
  for (const [title, result] of results) table(title, result);
}

/** HTTP/2 to backends of HTTP/1.1, then calls of gRPC, which are HTTP/2 on both sides. */
async function http2(folder: string): Promise<void> {
  if (h2load === undefined) {
    say('', 'HTTP/2 was not measured: h2load is not installed (nghttp2-client)');
    return;
  }
  const messages = (count: number): string => {
    const file = join(folder, `messages-${count}`);
    const one = Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100, 'x')]);
    writeFileSync(file, Buffer.concat(Array.from({ length: count }, () => one)));
    return file;
  };
  const grpcPort = 19_003;
  const plain = siteOf(folder, [host], [backendPorts[0]]);
  const encrypted = { ...plain, certificate: await makeCertificate(folder, host) };
  const calls = { ...siteOf(folder, [host], [grpcPort]), grpc: true };
  type Http2Case = readonly [title: string, site: Site, load: Omit<Http2Load, 'seconds' | 'host'>];
  const cases: readonly Http2Case[] = [
    ['HTTP/2, small, 1 connection, 1 stream', plain, { connections: 1, streams: 1, path: '/' }],
    ['HTTP/2, small, 8 connections, 32 streams each', plain, { connections: 8, streams: 32, path: '/' }],
    [
      'HTTP/2 over TLS 1.3, small, 8 connections, 32 streams each',
      encrypted,
      { connections: 8, streams: 32, path: '/', tls: true },
    ],
    ['HTTP/2, 16 KB, 8 connections, 8 streams each', plain, { connections: 8, streams: 8, path: '/16k' }],
    [
      'gRPC unary, 100 bytes, 8 connections, 8 streams each',
      calls,
      { connections: 8, streams: 8, path: '/bench.Echo/Unary', grpcBody: messages(1) },
    ],
    [
      'gRPC, 1,000 messages both ways a call, 4 connections',
      calls,
      { connections: 4, streams: 1, path: '/bench.Echo/Stream', grpcBody: messages(1000) },
    ],
  ];
  const grpc = await startGrpcBackend(grpcPort);
  try {
    for (const [title, site, load] of cases) {
      const results = new Map<string, Measured>();
      for (let round = 0; round < Number(values.rounds); round += 1) {
        for (const proxy of load.tls === true ? measured.filter(speaksTls) : measured) {
          const running: Running = await proxy.start(site);
          const port = load.tls === true ? proxyPort + 1 : running.http2Port;
          try {
            // As for HTTP/1.1: one stream alone would not bring compiled code into its usual state within a second.
            await measureHttp2(running.pid, port, { ...load, connections: 8, streams: 8, seconds: 1, host });
            keepBest(results, proxy.name, await measureHttp2(running.pid, port, { ...load, seconds, host }));
          } finally {
            await running.stop();
          }
        }
      }
      table(title, results);
    }
    await grpcMessages(calls);
  } finally {
    await grpc.stop();
  }
}

/** Streams that stay open: what a message costs that is answered before the next goes, and one among many. */
async function grpcMessages(site: Site): Promise<void> {
  for (const inFlight of [1, 64]) {
    const results = new Map<string, Measured>();
    const load = { connections: 4, inFlight, messageBytes: 100, host, path: '/bench.Echo/Stream' };
    for (let round = 0; round < Number(values.rounds); round += 1) {
      for (const proxy of measured) {
        const running = await proxy.start(site);
        try {
          await measureGrpcStream(running.pid, running.http2Port, { ...load, seconds: 1 });
          const it = await measureGrpcStream(running.pid, running.http2Port, { ...load, seconds });
          keepBest(results, proxy.name, it);
        } finally {
          await running.stop();
        }
      }
    }
    const way = inFlight === 1 ? 'one at a time' : `${inFlight} on their way`;
    table(`gRPC, a message and its echo on open streams, ${way}, 4 connections`, results);
  }
}

async function routes(folder: string): Promise<void> {
  for (const count of values.hosts.split(',').map(Number)) {
    const hosts = [host, ...Array.from({ length: count - 1 }, (_, index) => `host-${index}.example`)];
    const site = siteOf(folder, hosts, [backendPorts[0]]);
    const results = new Map<string, Measured>();
    const load = { connections: 64, seconds, path: '/', host: hosts[count >> 1] ?? host };
    for (let round = 0; round < Number(values.rounds); round += 1) {
      for (const proxy of measured) {
        const it = await withProxy(proxy, site, (pid) => measure(pid, proxyPort, load));
        keepBest(results, proxy.name, it);
      }
    }
    table(`${count} hosts: small, keep-alive, 64 connections`, results);
  }
}

/** Endpoints come and go as fast as the routes file can be replaced. */
async function churn(folder: string): Promise<void> {
  say(
    '',
    '**endpoints swapped 20 times a second under load, 64 connections**',
    '',
    '| proxy | requests | swaps | failed |',
  );
  say('|---|---|---|---|');
  for (const proxy of measured.filter(({ name }) => name.startsWith('Fairlead'))) {
    const site = siteOf(folder, [host], [backendPorts[0]]);
    await withProxy(proxy, site, async (pid) => {
      let swaps = 0;
      const timer = setInterval(() => {
        swaps += 1;
        routesFile({ ...site, backendPorts: [backendPorts[swaps % 2] ?? backendPorts[0]] });
      }, 50);
      const it = await measure(pid, proxyPort, { connections: 64, seconds: seconds + 1, path: '/', host });
      clearInterval(timer);
      say(`| ${proxy.name} | ${it.requests} | ${swaps} | ${it.failed} |`);
    });
  }
}

const handshakes = 1000;
/** Caddy's configuration here has no TLS. */
const speaksTls = ({ name }: Proxy): boolean => !name.startsWith('Caddy');

async function tls(folder: string): Promise<void> {
  const certificate = await makeCertificate(folder, host);
  const site = { ...siteOf(folder, [host], [backendPorts[0]]), certificate };
  const speaking = measured.filter(speaksTls);
  for (const resume of [false, true]) {
    const best = new Map<string, Handshakes>();
    for (let round = 0; round < Number(values.rounds); round += 1) {
      for (const proxy of speaking) {
        const options = { count: handshakes, concurrency: 16, resume };
        const it = await withProxy(proxy, site, async (pid) => {
          await measureHandshakes(pid, proxyPort + 1, host, options); // as the first load does for plain requests
          return measureHandshakes(pid, proxyPort + 1, host, options);
        });
        const before = best.get(proxy.name);
        const better = before === undefined || it.cpuUs < before.cpuUs ? it : before;
        best.set(proxy.name, { ...better, failed: it.failed + (before?.failed ?? 0) });
      }
    }
    const title = `TLS 1.3, a new connection for each request, ${resume ? 'sessions taken up' : 'whole handshakes'}`;
    say(
      '',
      `**${title}**`,
      '',
      '| proxy | CPU µs a connection | sessions taken up | failed |',
      '|---|---|---|---|',
    );
    for (const [name, it] of best) {
      say(`| ${name} | ${it.cpuUs.toFixed(0)} | ${it.resumed} of ${handshakes} | ${it.failed} |`);
    }
  }
}

async function echo(folder: string): Promise<void> {
  const server = await startEcho();
  const site = { ...siteOf(folder, [host], [backendPorts[0]]), echoPort: server.port };
  const best = new Map<string, Echoed>();
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const proxy of measured) {
      const it = await withProxy(proxy, site, (pid) =>
        measureEcho(pid, proxyPort, host, { connections: 64, seconds }),
      );
      const before = best.get(proxy.name);
      const better = before === undefined || it.cpuUs < before.cpuUs ? it : before;
      best.set(proxy.name, { ...better, failed: it.failed + (before?.failed ?? 0) });
    }
  }
  server.close();
  const title = 'WebSocket: 64 bytes and their echo, 64 connections';
  say('', `**${title}**`, '', '| proxy | CPU µs | messages/s | failed |', '|---|---|---|---|');
  for (const [name, it] of best) {
    say(`| ${name} | ${it.cpuUs.toFixed(1)} | ${it.perSecond.toFixed(0)} | ${it.failed} |`);
  }
}

/** The worst round counts for the tail: a proxy that is slow once was slow. */
async function open(folder: string): Promise<void> {
  const site = siteOf(folder, [host], [backendPorts[0]]);
  const ways = [
    ['64 connections', { connections: 64 }],
    ['HTTP/2, 8 connections, 16 streams each', { connections: 8, streams: 16 }],
  ] as const;
  for (const [way, lanes] of ways) {
    for (const perSecond of values.rates.split(',').map(Number)) {
      const worst = new Map<string, Latencies>();
      for (let round = 0; round < Number(values.rounds); round += 1) {
        for (const proxy of measured) {
          const running = await proxy.start(site);
          try {
            const port = 'streams' in lanes ? running.http2Port : running.port;
            const loop = { port, host, path: '/', ...lanes };
            await measureOpenLoop({ ...loop, perSecond, seconds: 1 });
            const it = await measureOpenLoop({ ...loop, perSecond, seconds });
            const before = worst.get(proxy.name);
            const failed = it.failed + it.late + (before?.failed ?? 0);
            const slower = before === undefined || it.p999Us > before.p999Us ? it : before;
            worst.set(proxy.name, { ...slower, failed });
          } finally {
            await running.stop();
          }
        }
      }
      latencyTable(`${perSecond} requests/s whatever the answers take, ${way}`, worst);
    }
  }
}

function latencyTable(title: string, results: ReadonlyMap<string, Latencies>): void {
  say(
    '',
    `**${title}**`,
    '',
    '| proxy | p50 µs | p99 µs | p99.9 µs | failed or late |',
    '|---|---|---|---|---|',
  );
  for (const [name, it] of results) {
    const times = [it.p50Us, it.p99Us, it.p999Us].map((value) => value.toFixed(0)).join(' | ');
    say(`| ${name} | ${times} | ${it.failed} |`);
  }
}

const effectRoutes = 5000;
const effectChanges = 200;

/** Of our engine alone: the others follow files, not an API. */
async function effect(): Promise<void> {
  const title = `from a change in the API to the first request that is served by it, ${effectRoutes} routes`;
  say('', `**${title}**`, '', '| change | p50 ms | p99 ms | failed |', '|---|---|---|---|');
  for (const kind of ['endpoints', 'route'] as const) {
    const it = await measureEffect(kind, effectRoutes, effectChanges);
    say(`| ${kind} | ${it.p50Ms.toFixed(1)} | ${it.p99Ms.toFixed(1)} | ${it.failed} of ${it.requests} |`);
  }
}

const idleConnections = 6000;

async function memory(folder: string): Promise<void> {
  for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
    const title = `**${idleConnections} idle connections of ${version}, each after one request**`;
    say('', title, '', '| proxy | resident MB before | KB per connection |', '|---|---|---|');
    for (const proxy of measured) {
      const running = await proxy.start(siteOf(folder, [host], [backendPorts[0]]));
      try {
        await measure(running.pid, running.port, { connections: 64, seconds: 1, path: '/', host });
        const before = residentKib(running.pid);
        const sockets: Socket[] = [];
        for (let index = 0; index < idleConnections; index += 1) {
          sockets.push(
            await (version === 'HTTP/1.1' ? idleHttp1(running.port) : idleHttp2(running.http2Port)),
          );
        }
        const each = (residentKib(running.pid) - before) / idleConnections;
        for (const socket of sockets) socket.destroy();
        say(`| ${proxy.name} | ${(before / 1024).toFixed(0)} | ${each.toFixed(1)} |`);
      } finally {
        await running.stop();
      }
    }
  }
}

async function idleHttp1(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await once(socket, 'data');
  return socket;
}

async function idleHttp2(port: number): Promise<Socket> {
  const answered = Promise.withResolvers<void>();
  const client = await Http2Client.open(port, host, '/', () => answered.resolve());
  client.socket.once('close', () => answered.reject(new Error('a connection was closed')));
  client.get();
  await answered.promise;
  return client.socket;
}

if (missing.length > 0) {
  console.log(`not measured: ${missing.join(' and ')} not installed`);
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
const backends = [];
try {
  for (const port of backendPorts) backends.push(await startBackend(folder, port));
  if (parts.has('small')) await small(folder);
  if (parts.has('tls')) await tls(folder);
  if (parts.has('echo')) await echo(folder);
  if (parts.has('open')) await open(folder);
  if (parts.has('http2')) await http2(folder);
  if (parts.has('routes')) await routes(folder);
  if (parts.has('churn')) await churn(folder);
  if (parts.has('effect')) await effect();
  if (parts.has('memory')) await memory(folder);
} finally {
  for (const backend of backends) await backend.stop();
  rmSync(folder, { recursive: true, force: true });
}
if (values.write) {
  const command = `Command: \`npm run bench -- l7 --seconds ${values.seconds} --rounds ${values.rounds} --hosts ${values.hosts} --write\`. ${machineLine()}.`;
  writeSection('l7', [command, '', ...lines].join('\n'));
}
