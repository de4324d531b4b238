/**
 * Cluster DNS beside CoreDNS (built from its Go module where Go is), unbound and dnsmasq, which serve the same names in the
 * same run: queries per second and processor time per query by dnsperf, and memory.
 *
 *   npm run bench -- dns [--seconds N] [--rounds N] [--write]
 *   npm run bench -- dns --only 'each once'          the scenarios of that name alone, nothing is written
 *
 * Every server has one thread. dnsperf and the server share two processors, so the rate is that of a pair; the processor
 * time per query, read from /proc/PID/stat, is the server's own and what to compare.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run, which } from '../test/support/shell.ts';
import { measureChanges } from './lib/dns-changes.ts';
import {
  type BenchApi,
  cpuMs,
  readyCoreDns,
  residentMb,
  type RunningServer,
  type ServerKind,
  serviceName,
  startApi,
  startServer,
  startUpstreamServer,
  type World,
} from './lib/dns-servers.ts';
import { machineLine, median, writeSection } from './lib/report.ts';

const withoutCoreDns = await readyCoreDns();
if (withoutCoreDns !== undefined) console.log(`not beside CoreDNS: ${withoutCoreDns}`);
const kinds: readonly ServerKind[] = [
  'fairlead',
  ...(withoutCoreDns === undefined ? ['coredns' as const] : []),
  'unbound',
  'dnsmasq',
];

type Scenario = {
  readonly name: string;
  readonly services: number;
  readonly transport: 'udp' | 'tcp';
  /** Names that dnsperf asks for in turn; `round` makes them new ones. */
  names(round: number): readonly string[];
};

const clusterNames = (count: number) => (): readonly string[] =>
  Array.from({ length: count }, (_, index) => serviceName((index * 7919) % count));
const missesMax = 200_000;

const scenarios: readonly Scenario[] = [
  { name: 'UDP, 100 Services', services: 100, transport: 'udp', names: clusterNames(100) },
  { name: 'UDP, 10,000 Services', services: 10_000, transport: 'udp', names: clusterNames(10_000) },
  { name: 'TCP, 100 Services', services: 100, transport: 'tcp', names: clusterNames(100) },
  { name: 'TCP, 10,000 Services', services: 10_000, transport: 'tcp', names: clusterNames(10_000) },
  {
    name: 'UDP, names that are missing',
    services: 100,
    transport: 'udp',
    names: () => Array.from({ length: 100 }, (_, index) => `gone-${index}.default.svc.cluster.local`),
  },
  {
    name: 'UDP, forwarded names from the cache',
    services: 100,
    transport: 'udp',
    names: () => Array.from({ length: 100 }, (_, index) => `n${index}.example.com`),
  },
  {
    name: 'UDP, forwarded names, each once',
    services: 100,
    transport: 'udp',
    names: (round) => Array.from({ length: missesMax }, (_, index) => `r${round}-${index}.example.com`),
  },
];

type Figure = { readonly perSecond: number; readonly cpuUs: number; readonly lost: number };

async function measure(
  server: RunningServer,
  scenario: Scenario,
  round: number,
  options: { readonly seconds: number; readonly folder: string },
): Promise<Figure> {
  const file = join(options.folder, 'queries');
  writeFileSync(
    file,
    scenario
      .names(round)
      .map((name) => `${name} A\n`)
      .join(''),
  );
  const startMs = performance.now();
  const before = cpuMs(server.pid);
  const { stdout } = await run('dnsperf', [
    ...['-s', '127.0.0.1', '-p', String(server.port), '-d', file, '-l', String(options.seconds)],
    ...['-c', scenario.transport === 'tcp' ? '10' : '4', '-q', '200', '-m', scenario.transport, '-t', '2'],
  ]);
  const usedMs = cpuMs(server.pid) - before;
  const number = (label: string): number => Number(new RegExp(`${label}:\\s+(\\d+)`).exec(stdout)?.[1] ?? 0);
  const completed = number('Queries completed');
  const seconds = Number(
    /Run time \(s\):\s+([\d.]+)/.exec(stdout)?.[1] ?? (performance.now() - startMs) / 1000,
  );
  return {
    perSecond: completed / seconds,
    cpuUs: (usedMs * 1000) / completed,
    lost: number('Queries lost'),
  };
}

/** Starts the servers of one world one after the other, uses them and stops them. */
async function withServers<T>(
  all: readonly ServerKind[],
  world: World,
  folder: string,
  upstreamPort: number,
  use: (servers: ReadonlyMap<ServerKind, RunningServer>, api: BenchApi) => Promise<T>,
): Promise<T> {
  const api = await startApi(world);
  const servers = new Map<ServerKind, RunningServer>();
  try {
    for (const kind of all) {
      servers.set(kind, await startServer(kind, folder, world, { apiUrl: api.url, upstreamPort }));
    }
    return await use(servers, api);
  } finally {
    for (const server of servers.values()) await server.stop();
    api.server.close();
    api.server.closeAllConnections();
  }
}

/** Each round asks every server, so that what else goes on in the machine meets all of them. */
async function compare(
  scenario: Scenario,
  upstreamPort: number,
  options: { readonly seconds: number; readonly rounds: number; readonly folder: string },
): Promise<readonly string[]> {
  const { folder, rounds, seconds } = options;
  const world = { services: scenario.services, endpoints: 0 };
  const figures = new Map<ServerKind, Figure[]>(kinds.map((kind) => [kind, []]));
  await withServers(kinds, world, folder, upstreamPort, async (servers) => {
    // Warms caches and compilers.
    for (const server of servers.values()) await measure(server, scenario, 0, { seconds: 1, folder });
    for (let round = 1; round <= rounds; round++) {
      for (const [kind, server] of servers) {
        figures.get(kind)?.push(await measure(server, scenario, round, { seconds, folder }));
      }
    }
  });
  const of = (kind: ServerKind, pick: (figure: Figure) => number): number =>
    median((figures.get(kind) ?? []).map(pick));
  return kinds.map((kind) => {
    const cpu = of(kind, (figure) => figure.cpuUs);
    const ratioTo = (rival: ServerKind): string =>
      kinds.includes(rival) ? (cpu / of(rival, (figure) => figure.cpuUs)).toFixed(2) : '–';
    const lost = (figures.get(kind) ?? []).reduce((sum, figure) => sum + figure.lost, 0);
    const rate = of(kind, (figure) => figure.perSecond).toFixed(0);
    return `| ${scenario.name} | ${kind} | ${rate} | ${cpu.toFixed(2)} | ${ratioTo('coredns')} | ${ratioTo('unbound')} | ${lost} |`;
  });
}

async function compareAll(
  chosen: readonly Scenario[],
  options: { readonly seconds: number; readonly rounds: number; readonly folder: string },
): Promise<readonly string[]> {
  const upstream = await startUpstreamServer(options.folder);
  const lines = [
    '| queries | server | queries/s | CPU µs/query | ratio to CoreDNS | ratio to unbound | lost |',
    '|---|---|---|---|---|---|---|',
  ];
  try {
    for (const scenario of chosen) {
      const compared = await compare(scenario, upstream.port, options);
      console.log(compared.join('\n'));
      lines.push(...compared);
    }
  } finally {
    await upstream.stop();
  }
  return lines;
}

/** Resident memory of ours with and without 10,000 endpoints of headless Services. */
async function memory(folder: string): Promise<string> {
  const endpoints = 10_000;
  const resident = async (world: World): Promise<number> =>
    withServers(['fairlead'], world, folder, 53, async (servers) =>
      residentMb(servers.get('fairlead')?.pid ?? 0),
    );
  const empty = await resident({ services: 1, endpoints: 0 });
  const full = await resident({ services: 1, endpoints });
  return `Resident memory of Fairlead's DNS: ${empty.toFixed(0)} MB without endpoints, ${full.toFixed(0)} MB with ${endpoints} endpoints of 100 headless Services (${(full - empty).toFixed(0)} MB more).`;
}

/** From the word of a change in our watch to the first answer that has it. */
async function changes(folder: string): Promise<readonly string[]> {
  const lines = ['| Services | p50, ms | p99, ms |', '|---|---|---|'];
  for (const services of [100, 10_000]) {
    const world = { services, endpoints: 100 };
    const times = await withServers(['fairlead'], world, folder, 53, async (servers, api) =>
      measureChanges(servers.get('fairlead')?.port ?? 0, api),
    );
    const at = (share: number): string => (times[Math.floor(times.length * share)] ?? 0).toFixed(2);
    lines.push(`| ${services} | ${at(0.5)} | ${at(0.99)} |`);
  }
  return lines;
}

const missing = ['dnsperf', 'unbound', 'dnsmasq', 'dig'].filter((program) => which(program) === undefined);
if (missing.length > 0) {
  console.log(
    `not measured: needs ${missing.join(', ')} (Debian packages dnsperf, unbound, dnsmasq-base, bind9-dnsutils)`,
  );
  process.exit(0);
}
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'fairlead-bench-dns-'));
try {
  const only = new RegExp(values.only, 'i');
  const lines = await compareAll(
    scenarios.filter(({ name }) => only.test(name)),
    { seconds: Number(values.seconds), rounds: Number(values.rounds), folder },
  );
  if (values.only !== '') process.exit(0);
  const resident = await memory(folder);
  console.log(resident);
  const changed = await changes(folder);
  console.log(changed.join('\n'));
  const latency =
    'From a changed EndpointSlice of a headless Service in the watch to the first answer that has the new address, 200 changes ' +
    '(one client asks without pause; its question and answer are part of the time):';
  if (values.write) {
    const command = `npm run bench -- dns --seconds ${values.seconds} --rounds ${values.rounds} --write`;
    writeSection(
      'dns',
      [
        `Command: \`${command}\`. ${machineLine()}.`,
        '',
        ...lines,
        '',
        resident,
        '',
        latency,
        '',
        ...changed,
      ].join('\n'),
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
