/** Load by wrk, and what it cost the proxy. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { wrk } from './proxies.ts';

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
