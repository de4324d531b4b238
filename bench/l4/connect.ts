/**
 * TCP connections from the node to a Service, one after the other, by connect(2) itself: what the first packet of a flow costs,
 * and how many a second one client makes. Beside it the same to an endpoint's own address.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { renderFull, renderRemoval } from '../../src/l4/render.ts';
import { run, runOk } from '../../test/support/shell.ts';
import { percentile } from '../lib/report.ts';
import { clusterIpOf, endpointIpsOf } from './cluster.ts';
import { loadRival, removeRival, rulesetOf, signal, tool } from './ruleset.ts';

const connections = 3000;
/** Connections before those that are measured. */
export const warmUp = 300;

export type ConnectFigures = {
  readonly what: string;
  readonly services: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly perSecond: number;
};

/** A machine behind a veth pair that has the endpoints of the given Services. */
export type FarSide = { readonly pid: number; close(): Promise<void> };

export async function startFarSide(indexes: readonly number[]): Promise<FarSide> {
  const script = fileURLToPath(new URL('server.ts', import.meta.url));
  const child: ChildProcess = spawn('unshare', ['-n', process.execPath, script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const { stdout, pid } = child;
  if (stdout === null || pid === undefined) throw new Error('cannot start the far side');
  await once(createInterface({ input: stdout }), 'line');
  const inside = [
    'link set lo up',
    'link set eth0 up',
    'addr add 10.41.0.3/24 dev eth0',
    ...indexes.flatMap(endpointIpsOf).map((ip) => `addr add ${ip}/32 dev eth0`),
  ];
  await runOk('ip', ['link', 'set', 'lo', 'up']);
  await runOk('ip', ['link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
  await runOk('ip', ['-batch', '-'], {
    input: 'addr add 10.41.0.2/24 dev veth0\nlink set veth0 up\n',
  });
  await runOk('nsenter', ['-t', String(pid), '-n', 'ip', '-batch', '-'], { input: `${inside.join('\n')}\n` });
  await runOk('ip', ['route', 'add', '10.44.0.0/14', 'via', '10.41.0.3']);
  await runOk('ip', ['route', 'add', 'default', 'via', '10.41.0.3']);
  return {
    pid,
    async close() {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
      await run('ip', ['link', 'del', 'veth0']);
    },
  };
}

const afInet = 2;
const sockStream = 1;
const solSocket = 1;
const soLinger = 13;

async function systemCalls() {
  const { default: ffi } = await import('node:ffi');
  const { functions } = ffi.dlopen('libc.so.6', {
    socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
    connect: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
    setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
    recv: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
    close: { arguments: ['int32'], return: 'int32' },
  });
  return functions;
}

/** Microseconds of connections from the first packet to the far side's close: through a proxy that is both its connections. */
export function wholeConnections(address: string, port: number): Promise<readonly number[]> {
  return measure(address, port, (calls, socket) => calls.recv(socket, Buffer.alloc(1), 1n, 0) === 0n);
}

type Calls = Awaited<ReturnType<typeof systemCalls>>;

async function measure(
  address: string,
  port: number,
  finish: (calls: Calls, socket: number) => boolean = () => true,
): Promise<readonly number[]> {
  const calls = await systemCalls();
  const to = Buffer.alloc(16);
  to.writeUInt16LE(afInet, 0);
  to.writeUInt16BE(port, 2);
  for (const [index, part] of address.split('.').entries()) to[4 + index] = Number(part);
  const resetOnClose = Buffer.from(new Int32Array([1, 0]).buffer); // no TIME_WAIT to run out of ports
  const microseconds: number[] = [];
  for (let count = 0; count < warmUp + connections; count++) {
    const socket = calls.socket(afInet, sockStream, 0);
    calls.setsockopt(socket, solSocket, soLinger, resetOnClose, 8);
    const startMs = performance.now();
    const connected = calls.connect(socket, to, 16) === 0 && finish(calls, socket);
    if (count >= warmUp) microseconds.push((performance.now() - startMs) * 1000);
    calls.close(socket);
    if (!connected) throw new Error(`cannot connect to ${address}:${port}`);
  }
  return microseconds;
}

async function figures(
  what: string,
  services: number,
  address: string,
  port: number,
): Promise<ConnectFigures> {
  const startMs = performance.now();
  const times = await measure(address, port);
  const seconds = (performance.now() - startMs) / 1000;
  return {
    what,
    services,
    p50Us: percentile(times, 50),
    p99Us: percentile(times, 99),
    perSecond: (warmUp + connections) / seconds,
  };
}

/** `rivalSizes`: those at which the rival's ruleset can be loaded. */
export async function measureConnections(
  sizes: readonly number[],
  rivalSizes: readonly number[],
): Promise<readonly ConnectFigures[]> {
  const far = await startFarSide(sizes.map((size) => size >> 1));
  const rows: ConnectFigures[] = [];
  try {
    const [direct = ''] = endpointIpsOf((sizes[0] ?? 0) >> 1);
    rows.push(await figures('direct, no rules at all', 0, direct, 8080));
    for (const services of sizes) {
      await tool.run(renderFull(rulesetOf(services).ruleset), signal);
      rows.push(await figures('direct, past the rules', services, direct, 8080));
      rows.push(await figures('**Service**', services, clusterIpOf(services >> 1), 80));
      await tool.run(renderRemoval(4), signal);
      if (!rivalSizes.includes(services)) continue;
      if (await loadRival(services)) {
        rows.push(await figures('a chain per endpoint', services, clusterIpOf(services >> 1), 80));
      }
      await removeRival();
    }
  } finally {
    await far.close();
  }
  return rows;
}
