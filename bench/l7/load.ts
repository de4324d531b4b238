/** Load by wrk, and what it cost the proxy. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { h2load, wrk } from './proxies.ts';

const execute = promisify(execFile);

export type Load = {
  readonly connections: number;
  readonly seconds: number;
  readonly path: string;
  readonly host: string;
  /** A new connection for each request. */
  readonly close?: boolean;
};

export type Measured = {
  readonly requests: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU of the proxy per request, µs. */
  readonly userUs: number;
  readonly systemUs: number;
};

/** User and system time of a process, µs. The kernel counts in hundredths of a second. */
export function cpuOf(pid: number): { readonly userUs: number; readonly systemUs: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { userUs: Number(fields[11]) * 10_000, systemUs: Number(fields[12]) * 10_000 };
}

/** Resident memory, KiB. */
export function residentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

function micros(text: string | undefined): number {
  const [, value, unit] = /([\d.]+)(us|ms|s)/.exec(text ?? '') ?? [];
  return Number(value ?? Number.NaN) * (unit === 's' ? 1e6 : unit === 'ms' ? 1e3 : 1);
}

/** Runs wrk against a proxy. wrk is closed-loop: its percentiles hide waiting that a fixed rate would show. */
export async function measure(pid: number, port: number, load: Load): Promise<Measured> {
  const before = cpuOf(pid);
  const args = ['-t1', `-c${load.connections}`, `-d${load.seconds}s`, '--latency', '--timeout', '10s'];
  args.push('-H', `Host: ${load.host}`);
  if (load.close === true) args.push('-H', 'Connection: close');
  const { stdout } = await execute(wrk ?? '', [...args, `http://127.0.0.1:${port}${load.path}`]);
  const after = cpuOf(pid);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  const errors =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
  return {
    requests,
    failed: errors.map(Number).reduce((a, b) => a + b, refused),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0),
    p50Us: micros(/\s50%\s+(\S+)/.exec(stdout)?.[1]),
    p99Us: micros(/\s99%\s+(\S+)/.exec(stdout)?.[1]),
    userUs: (after.userUs - before.userUs) / requests,
    systemUs: (after.systemUs - before.systemUs) / requests,
  };
}

export type Http2Load = Omit<Load, 'close'> & {
  /** Requests open on each connection at once. */
  readonly streams: number;
  /** Over TLS. */
  readonly tls?: boolean;
  /** A file to POST, as calls of gRPC; undefined: GET. */
  readonly grpcBody?: string;
};

/** Runs h2load against a proxy: HTTP/2 in the clear by prior knowledge, or over TLS. */
export async function measureHttp2(pid: number, port: number, load: Http2Load): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-h2load-'));
  try {
    const log = join(folder, 'log');
    const args = [
      '-t1',
      `-c${load.connections}`,
      `-m${load.streams}`,
      `-D${load.seconds}`,
      `--log-file=${log}`,
    ];
    if (load.grpcBody !== undefined) {
      args.push('-d', load.grpcBody, '-H', 'content-type: application/grpc', '-H', 'te: trailers');
    }
    if (load.tls === true) args.push(`--connect-to=127.0.0.1:${port}`, `https://${load.host}${load.path}`);
    else args.push('-H', `:authority: ${load.host}`, `http://127.0.0.1:${port}${load.path}`);
    const before = cpuOf(pid);
    const { stdout } = await execute(h2load ?? '', args);
    const after = cpuOf(pid);
    // "start of the request, status, time that it took", in µs; the status is -1 for one that failed.
    const rows = readFileSync(log, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('\t').map(Number));
    const times = rows.map(([, , took = 0]) => took).toSorted((a, b) => a - b);
    const counts = /requests: .* (\d+) done, (\d+) succeeded, (\d+) failed/.exec(stdout) ?? [];
    const requests = Number(counts[2] ?? 0);
    return {
      requests,
      failed: Number(counts[3] ?? 0),
      perSecond: Number(/finished in .*?, ([\d.]+) req\/s/.exec(stdout)?.[1] ?? 0),
      p50Us: times[Math.floor(times.length / 2)] ?? Number.NaN,
      p99Us: times[Math.floor(times.length * 0.99)] ?? Number.NaN,
      userUs: (after.userUs - before.userUs) / requests,
      systemUs: (after.systemUs - before.systemUs) / requests,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
