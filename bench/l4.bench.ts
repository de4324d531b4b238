/**
 * The service proxy: loading and changing its rules, what they cost a connection, and how soon a change is in the kernel.
 *
 *   npm run bench -- l4 [--sizes 100,1000,10000,30000] [--write]
 *
 * Everything happens in network namespaces that end with the process. Needs root, nft, ip, nsenter; iperf3 for throughput.
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { enterNewNetworkNamespace } from '../test/support/namespace.ts';
import { measureConnections } from './l4/connect.ts';
import { measureProgramming } from './l4/programming.ts';
import { measureRuleset, rivalLoadMsMax } from './l4/ruleset.ts';
import { measureThroughput } from './l4/throughput.ts';
import { measureUserspace } from './l4/userspace.ts';
import { machineLine, writeSection } from './lib/report.ts';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '100,1000,10000,30000' },
    seconds: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
  },
});
const sizes = values.sizes.split(',').map(Number);

const reason = process.getuid?.() === 0 ? await enterNewNetworkNamespace() : 'needs root';
if (reason !== undefined) {
  console.log(`not measured: ${reason}`);
  process.exit(0);
}

const number = (value: number, digits = 1): string => (Number.isNaN(value) ? '–' : value.toFixed(digits));
const before = number(loadavg()[0] ?? 0);
const lines: string[] = [];
const say = (...more: readonly string[]): void => {
  lines.push(...more);
  console.log(more.join('\n'));
};

say(
  'Services × 4 endpoints, ours beside a chain per Service and endpoint (written by the benchmark in the layout of kube-proxy’s',
  'nftables mode). Both are loaded by nft(8). A change replaces one endpoint; median of 20.',
  '',
  '| Services | load, ms | chain per endpoint | one change by nft, ms | chain per endpoint | one change by libnftables, ms | compile, ms | heap, MB | kernel, MB | chain per endpoint |',
  '|---|---|---|---|---|---|---|---|---|---|',
);
const rivalSizes: number[] = [];
let rivalGaveUpAt: number | undefined;
for (const size of sizes.toSorted((a, b) => a - b)) {
  const row = await measureRuleset(size, { withRival: rivalGaveUpAt === undefined });
  if (row.rival === undefined) rivalGaveUpAt ??= size;
  else rivalSizes.push(size);
  const { loadMs = Number.NaN, changeMs = Number.NaN, kernelMb = Number.NaN } = row.rival ?? {};
  const gaveUp = rivalGaveUpAt === size ? `given up after ${rivalLoadMsMax}` : undefined;
  const cells = [
    row.loadMs,
    gaveUp ?? loadMs,
    row.toolChangeMs,
    changeMs,
    row.libraryChangeMs,
    row.compileMs,
    row.heapMb,
    row.kernelMb,
    kernelMb,
  ];
  say(`| ${size} | ${cells.map((cell) => (typeof cell === 'string' ? cell : number(cell))).join(' | ')} |`);
}

say(
  '',
  'From a changed EndpointSlice in the proxy’s watch to the kernel’s acknowledgement, 200 changes, the running proxy:',
  '',
  '| Services | p50, ms | p99, ms |',
  '|---|---|---|',
);
for (const size of sizes) {
  const row = await measureProgramming(size);
  say(`| ${size} | ${number(row.p50Ms, 2)} | ${number(row.p99Ms, 2)} |`);
}

say(
  '',
  'TCP connections from the node over a veth pair, one after the other, 3,000 each, time of connect(2):',
  '',
  '| to | Services in the rules | p50, µs | p99, µs | connections/s |',
  '|---|---|---|---|---|',
);
for (const row of await measureConnections(sizes, rivalSizes)) {
  say(
    `| ${row.what} | ${row.services} | ${number(row.p50Us)} | ${number(row.p99Us)} | ${number(row.perSecond, 0)} |`,
  );
}

const throughput = await measureThroughput(Number(values.seconds));
if (throughput.length > 0) {
  say(
    '',
    `One TCP connection by iperf3 for ${values.seconds} s, 1,000 Services:`,
    '',
    '| to | Gbit/s |',
    '|---|---|',
  );
  for (const row of throughput) say(`| ${row.what} | ${number(row.gbitPerSecond)} |`);
}

const userspace = await measureUserspace(Number(values.seconds));
if (userspace.length > 0) {
  say(
    '',
    'Without nftables: whole connections (open, read the end), one after the other, 12,000 each, and one connection by iperf3:',
    '',
    '| by | p50, µs | p99, µs | processor of the proxy a connection, µs | Gbit/s |',
    '|---|---|---|---|---|',
  );
  for (const row of userspace) {
    const { what, p50Us, p99Us, cpuUs, gbitPerSecond } = row;
    say(`| ${what} | ${number(p50Us)} | ${number(p99Us)} | ${number(cpuUs)} | ${number(gbitPerSecond)} |`);
  }
}

if (values.write) {
  const command = `Command: \`npm run bench -- l4 --sizes ${values.sizes} --write\`. ${machineLine()}, load average ${before} before and ${number(loadavg()[0] ?? 0)} after.`;
  writeSection('l4', [command, '', ...lines].join('\n'));
}
