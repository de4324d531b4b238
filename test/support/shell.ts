/** Running real programs from tests. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export type RunResult = {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** The program is killed after this long and the call rejects. Default 120 s. */
  readonly timeoutMs?: number;
};

/** Runs a program to its end, whatever its exit code. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new Error(
          `timed out: ${file} ${args.join(' ')}\n${Buffer.concat([...stdout, ...stderr]).toString('utf8')}`,
        ),
      );
    }, options.timeoutMs ?? 120_000);
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => {}); // a program that exits early does not read its input: its exit code tells
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({
        code,
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      });
    });
    child.stdin.end(options.input ?? '');
  });
}

/** Runs a program that must succeed; resolves to its standard output. */
export async function runOk(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await run(file, args, options);
  if (result.code !== 0) {
    throw new Error(`exit ${result.code}: ${file} ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  }
  return result.stdout;
}

/**
 * Asks again until `attempt` no longer throws; then its value. At the deadline rejects with the last failure: a minute by default, which costs
 * only who fails, and is long enough for a machine that is busy with something else.
 */
export async function eventually<T>(
  attempt: () => Promise<T> | T,
  options: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<T> {
  const deadlineMs = performance.now() + (options.timeoutMs ?? 60_000);
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() >= deadlineMs) throw error;
      await delay(options.everyMs ?? 50);
    }
  }
}

/** Full path of a program on PATH or in the system's sbin folders; undefined when there is none. */
export function which(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/** Why a test of the real cluster cannot run here; undefined when it can. */
export function missingForCluster(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  const missing = ['containerd', 'runc', 'nft', 'ip', 'nsenter', 'ctr', 'kubectl'].filter(
    (name) => which(name) === undefined,
  );
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`;
}
