/** The userspace fallback beside HAProxy in TCP mode: whole connections one after the other, processor time, and throughput. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { serviceOf, sliceOf } from '../../test/support/services.ts';
import { eventually, runOk, which } from '../../test/support/shell.ts';
import { percentile } from '../lib/report.ts';
import { endpointIpsOf } from './cluster.ts';
import { startFarSide, warmUp, wholeConnections } from './connect.ts';
import { gbitPerSecond } from './throughput.ts';

const clusterIp = '10.43.0.5';
const haproxyPort = 9000;
/** Of 3,000 connections each: some kernels count processor time in ticks of 10 ms, and V8 optimizes for a while. */
const rounds = 4;

export type UserspaceFigures = {
  readonly what: string;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of the proxy, a connection. */
  readonly cpuUs: number;
  readonly gbitPerSecond: number;
};

/** Processor time of a process and its children so far, µs. */
function cpuUs(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return ownCpuUs(pid) + children.reduce((sum, child) => sum + cpuUs(Number(child)), 0);
}

/** By the scheduler's own count of all threads: /proc/PID/stat has ticks of 10 ms, each of them many connections. */
function ownCpuUs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    const [ranNs = '0'] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return sum + Number(ranNs) / 1000;
  }, 0);
}

async function startProxy(endpoints: readonly string[], mode: string): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('../../test/e2e/l4-node.ts', import.meta.url));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, 'node-0', mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const tell = (request: unknown): void => void child.stdin.write(`${JSON.stringify(request)}\n`);
  for (const [name, port, target] of [
    ['web', 80, 8080],
    ['iperf', 81, 8081],
  ] as const) {
    tell({
      op: 'put',
      kind: 'endpointslices',
      object: sliceOf(name, endpoints, [{ name: '', port: target, protocol: 'TCP' }]),
    });
    const ip = name === 'web' ? clusterIp : '10.43.0.6';
    tell({
      op: 'put',
      kind: 'services',
      object: serviceOf(name, ip, { ports: [{ port, protocol: 'TCP' }] }),
    });
  }
  tell({ op: 'start' });
  await once(createInterface({ input: child.stdout }), 'line');
  return child;
}

async function startHaproxy(folder: string, endpoints: readonly string[]): Promise<ChildProcess> {
  const backend = (port: number): string =>
    endpoints.map((ip, index) => `  server s${index} ${ip}:${port}\n`).join('');
  const timeouts = '  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n';
  const config = `global\n  nbthread 1\ndefaults\n  mode tcp\n${timeouts}
listen web\n  bind 127.0.0.1:${haproxyPort}\n${backend(8080)}listen iperf\n  bind 127.0.0.1:${haproxyPort + 1}\n${backend(8081)}`;
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, config);
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' });
  await eventually(() => runOk('sh', ['-c', `ss -ltn | grep -q :${haproxyPort}`]), { timeoutMs: 5000 });
  return child;
}

/** Without the rows whose programs are not installed. */
export async function measureUserspace(seconds: number): Promise<readonly UserspaceFigures[]> {
  if (which('iperf3') === undefined) return [];
  const endpoints = endpointIpsOf(50);
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-bench-'));
  const far = await startFarSide([50]);
  const children = [
    spawn('nsenter', ['-t', String(far.pid), '-n', 'iperf3', '-s', '-p', '8081'], { stdio: 'ignore' }),
  ];
  const row = async (
    what: string,
    pid: number | undefined,
    web: readonly [string, number],
    iperf: readonly [string, number],
  ): Promise<UserspaceFigures> => {
    await wholeConnections(...web); // a proxy lives long: what its first connections cost is not its price
    const before = cpuUs(pid);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) times.push(...(await wholeConnections(...web)));
    const used = (cpuUs(pid) - before) / (times.length + rounds * warmUp);
    return {
      what,
      p50Us: percentile(times, 50),
      p99Us: percentile(times, 99),
      cpuUs: used,
      gbitPerSecond: await gbitPerSecond(...iperf, seconds),
    };
  };
  try {
    const [direct = ''] = endpoints;
    const rows = [await row('direct', undefined, [direct, 8080], [direct, 8081])];
    for (const [what, mode] of [
      ['**userspace**', 'userspace'],
      ['userspace where Node.js has no FFI', 'userspace-here'],
    ] as const) {
      const proxy = await startProxy([direct], mode);
      rows.push(await row(what, proxy.pid, [clusterIp, 80], ['10.43.0.6', 81]));
      const ended = once(proxy, 'close');
      proxy.stdin?.end();
      await ended;
    }
    if (which('haproxy') !== undefined) {
      const haproxy = await startHaproxy(folder, [direct]);
      children.push(haproxy);
      const [web, iperf] = [haproxyPort, haproxyPort + 1];
      rows.push(await row('HAProxy, one thread', haproxy.pid, ['127.0.0.1', web], ['127.0.0.1', iperf]));
    }
    return rows;
  } finally {
    for (const child of children) {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    }
    await far.close();
    rmSync(folder, { recursive: true });
  }
}
