/** DNS servers that serve the same names, each as one process on loopback; and a stand-in for the API that ours reads. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { buildGo } from '../../test/support/clients.ts';
import { serviceOf, sliceOf } from '../../test/support/services.ts';
import { eventually, run } from '../../test/support/shell.ts';

export type World = { readonly services: number; readonly endpoints: number };

export function serviceName(index: number): string {
  return `svc-${index}.default.svc.cluster.local`;
}

export function serviceAddress(index: number): string {
  return `10.43.${(index >> 8) & 255}.${index & 255}`;
}

const endpointsPerSlice = 100;

export type BenchApi = {
  readonly server: Server;
  readonly url: string;
  /** Tells all watches of a resource. */
  tell(resource: string, event: { readonly type: string; readonly object: unknown }): void;
};

/** client-go, which CoreDNS has, wants to be told. */
const listTypes: Readonly<Record<string, { readonly apiVersion: string; readonly kind: string }>> = {
  namespaces: { apiVersion: 'v1', kind: 'NamespaceList' },
  services: { apiVersion: 'v1', kind: 'ServiceList' },
  endpointslices: { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSliceList' },
};

/** Lists of the world's objects; watches that tell what they are told. */
export async function startApi(world: World): Promise<BenchApi> {
  const headless = Math.ceil(world.endpoints / endpointsPerSlice);
  const namespaces = [{ metadata: { name: 'default', resourceVersion: '1' } }];
  const services = [
    ...Array.from({ length: world.services }, (_, index) => serviceOf(`svc-${index}`, serviceAddress(index))),
    ...Array.from({ length: headless }, (_, index) => serviceOf(`set-${index}`, 'None')),
  ];
  const endpointslices = Array.from({ length: headless }, (_, index) =>
    sliceOf(
      `set-${index}`,
      Array.from({ length: endpointsPerSlice }, (_each, pod) => `10.44.${index}.${pod + 1}`),
    ),
  );
  const lists: Readonly<Record<string, readonly unknown[]>> = { namespaces, services, endpointslices };
  const watches = new Map<string, Set<ServerResponse>>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    response.setHeader('content-type', 'application/json');
    const resource = url.pathname.split('/').at(-1) ?? '';
    if (url.searchParams.has('watch')) {
      response.flushHeaders();
      const open = watches.get(resource) ?? new Set();
      watches.set(resource, open.add(response));
      response.on('close', () => open.delete(response));
      return;
    }
    const items = lists[resource] ?? [];
    const type = listTypes[resource] ?? { apiVersion: 'v1', kind: 'List' };
    response.end(JSON.stringify({ ...type, metadata: { resourceVersion: '1' }, items }));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tell(resource, event) {
      for (const watch of watches.get(resource) ?? []) watch.write(`${JSON.stringify(event)}\n`);
    },
  };
}

export type ServerKind = 'fairlead' | 'coredns' | 'unbound' | 'dnsmasq';

const corednsFolder = join(import.meta.dirname, '../coredns');

/** Undefined, or why CoreDNS cannot be built here. */
export async function readyCoreDns(): Promise<string | undefined> {
  const built = await buildGo(corednsFolder, '.');
  return typeof built === 'string' ? built : undefined;
}

export type RunningServer = { readonly pid: number; readonly port: number; stop(): Promise<void> };

/** Starts one of the servers with one thread; resolves when it answers for the world's first name. */
export async function startServer(
  kind: ServerKind,
  folder: string,
  world: World,
  options: { readonly apiUrl: string; readonly upstreamPort: number },
): Promise<RunningServer> {
  const port = await freePort();
  const [file, args] = commandOf(kind, folder, world, { ...options, port });
  return startProcess(file, args, join(folder, `${kind}.log`), port, serviceName(0));
}

/** An upstream: every name under example.com has one address. */
export async function startUpstreamServer(folder: string): Promise<RunningServer> {
  const port = await freePort();
  const file = join(folder, 'upstream.conf');
  writeFileSync(
    file,
    [
      ...unboundHead(folder, port),
      '  local-zone: "example.com." redirect',
      '  local-data: "example.com. 300 IN A 192.0.2.7"',
      '',
    ].join('\n'),
  );
  return startProcess('unbound', ['-d', '-c', file], join(folder, 'upstream.log'), port, 'first.example.com');
}

function commandOf(
  kind: ServerKind,
  folder: string,
  world: World,
  options: { readonly apiUrl: string; readonly upstreamPort: number; readonly port: number },
): readonly [file: string, args: readonly string[]] {
  const { port, upstreamPort } = options;
  const names = Array.from({ length: world.services }, (_, index) => index);
  switch (kind) {
    case 'fairlead': {
      const kubeconfig = join(folder, 'kubeconfig.json');
      const named = (rest: object) => [{ name: 'bench', ...rest }];
      const document = {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: named({ cluster: { server: options.apiUrl } }),
        users: named({ user: {} }),
        contexts: named({ context: { cluster: 'bench', user: 'bench' } }),
        'current-context': 'bench',
      };
      writeFileSync(kubeconfig, JSON.stringify(document));
      const main = join(import.meta.dirname, '../../src/cmd/fairlead.ts');
      const own = ['--kubeconfig', kubeconfig, '--listen', `127.0.0.1:${port}`];
      const rest = ['--upstream', `127.0.0.1:${upstreamPort}`, '--health-address', ''];
      // A limit that is never reached: its cost is part of what is measured.
      const limit = ['--client-rate', '100000000'];
      const flags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=2'];
      return [process.execPath, [...flags, main, 'dns', ...own, ...rest, ...limit]];
    }
    case 'coredns': {
      const file = join(folder, 'Corefile');
      const cluster = [`    endpoint ${options.apiUrl}`, '    pods disabled', '    ttl 5'];
      const lines = [
        `.:${port} {`,
        '  bind 127.0.0.1',
        '  errors',
        '  cache 30',
        ...['  kubernetes cluster.local {', ...cluster, '  }'],
        `  forward . 127.0.0.1:${upstreamPort}`,
        '}',
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      return ['env', ['GOMAXPROCS=1', join(corednsFolder, 'bin/coredns'), '-conf', file]];
    }
    case 'unbound': {
      const file = join(folder, 'unbound.conf');
      const data = names.map(
        (index) => `  local-data: "${serviceName(index)}. 5 IN A ${serviceAddress(index)}"`,
      );
      const zone = '  local-zone: "cluster.local." static';
      const forward = ['forward-zone:', '  name: "."', `  forward-addr: 127.0.0.1@${upstreamPort}`];
      writeFileSync(file, [...unboundHead(folder, port), zone, ...data, ...forward, ''].join('\n'));
      return ['unbound', ['-d', '-c', file]];
    }
    case 'dnsmasq': {
      const file = join(folder, 'hosts');
      writeFileSync(file, names.map((index) => `${serviceAddress(index)} ${serviceName(index)}\n`).join(''));
      const place = ['-k', '-u', 'root', '-C', '/dev/null', '-x', '', '-p', String(port), '-z'];
      const zone = ['-a', '127.0.0.1', '-h', '-H', file, '-R', '-S', `127.0.0.1#${upstreamPort}`];
      return [
        'dnsmasq',
        [...place, ...zone, '-c', '10000', '-T', '5', '-0', '10000', '-A', '/cluster.local/'],
      ];
    }
  }
}

function unboundHead(folder: string, port: number): readonly string[] {
  return [
    'server:',
    `  interface: 127.0.0.1@${port}`,
    '  num-threads: 1',
    '  do-daemonize: no',
    '  use-syslog: no',
    `  logfile: "${join(folder, `unbound-${port}.out`)}"`,
    '  chroot: ""',
    '  directory: ""',
    '  username: ""',
    '  pidfile: ""',
    '  module-config: "iterator"',
    '  do-not-query-localhost: no',
    '  outgoing-range: 4096',
    '  num-queries-per-thread: 2048',
    '  incoming-num-tcp: 100',
    '  minimal-responses: yes',
  ];
}

async function startProcess(
  file: string,
  args: readonly string[],
  log: string,
  port: number,
  name: string,
): Promise<RunningServer> {
  const output = openSync(log, 'w');
  const child = spawn(file, args, { stdio: ['ignore', output, output] });
  closeSync(output);
  const exited = new Promise<void>((done) => child.once('close', () => done()));
  await eventually(async () => {
    if (hasEnded(child)) throw new Error(`${file} ended: ${readFileSync(log, 'utf8')}`);
    const asked = await run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', '+time=1', '+short', name]);
    if (!/^\d+\./.test(asked.stdout)) throw new Error(`${file} does not answer for ${name}`);
  });
  return {
    pid: child.pid ?? 0,
    port,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Free for UDP and TCP, and below the ports that the kernel gives to clients, one of which could take it meanwhile. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if ((await isFreeForTcp(port)) && (await isFreeForUdp(port))) return port;
  }
}

async function isFreeForTcp(port: number): Promise<boolean> {
  const server = createNetServer();
  const listening = new Promise<boolean>((done) => {
    server.once('listening', () => done(true));
    server.once('error', () => done(false));
  });
  server.listen(port, '127.0.0.1');
  if (!(await listening)) return false;
  await new Promise<void>((done) => server.close(() => done()));
  return true;
}

async function isFreeForUdp(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  const bound = new Promise<boolean>((done) => {
    socket.once('listening', () => done(true));
    socket.once('error', () => done(false));
  });
  socket.bind(port, '127.0.0.1');
  const isFree = await bound;
  await new Promise<void>((done) => socket.close(() => done()));
  return isFree;
}

const ticksPerSecond = 100; // USER_HZ, the same on every Linux that we run on

/** Processor time of all threads of a process and of its children that ended (dnsmasq has one for each TCP connection), ms. */
export function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
  return (ticks * 1000) / ticksPerSecond;
}

export function residentMb(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024;
}
