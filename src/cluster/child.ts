import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import type { Logger } from '../base/log.ts';
import { type ClusterConfig, pathsOf } from './config.ts';
import { inNetns } from './sockets.ts';
import { isAlive, type ProcessState, startTicksOf } from './state.ts';

/** First wait before a process that ended is started again; doubled each time, up to the last. */
export const restartDelayFirstMs = 100;
export const restartDelayLastMs = 10_000;
/** A process that ran this long has recovered: its next restart waits only the first delay. */
export const stableAfterMs = 30_000;
/** How often an adopted process, which is not our child, is looked at. */
export const adoptedPollMs = 500;
/** Time between SIGTERM and SIGKILL. */
export const stopGraceMs = 10_000;

/** A program in a network namespace with its inherited sockets. */
export type ChildSpec = {
  readonly name: string;
  readonly netns: string;
  /** Flags of the runtime, before the main file. */
  readonly runtimeFlags: readonly string[];
  readonly command: readonly string[];
  /** Our descriptors; the child has them as 3, 4, …. */
  readonly fds: readonly number[];
  readonly descriptors: readonly string[];
};

export type Launcher = {
  readonly executable: string;
  /** Before the arguments of `fairlead`: flags of the runtime and the main file. */
  readonly prefix: readonly string[];
  readonly env: NodeJS.ProcessEnv;
};

/** Keeps one process running until the signal aborts, then stops it. See `runChild`. */
export type ChildHandle = {
  /** Lets a process go on that was started with its gate closed. */
  open(): void;
  readonly done: Promise<void>;
};

type Running = {
  readonly state: ProcessState;
  readonly exited: Promise<string>;
  readonly child: ChildProcess | undefined;
};

/**
 * Starts the process (or adopts `leftover`, which a supervisor that was killed left running) and starts it again
 * whenever it ends, with growing delays. On abort: SIGTERM, and SIGKILL after `stopGraceMs`.
 * `gated`: the first start waits in the child, after loading its code, until `open` is called.
 */
export function runChild(
  config: ClusterConfig,
  spec: ChildSpec,
  launcher: Launcher,
  options: { readonly gated: boolean; readonly leftover: ProcessState | undefined },
  log: Logger,
  signal: AbortSignal,
): ChildHandle {
  let current: Running | undefined;
  let gateOpen = !options.gated;
  const openGate = (): void => {
    gateOpen = true;
    const gate = current?.child?.stdio[3 + spec.fds.length];
    if (gate !== null && gate !== undefined && 'end' in gate) gate.end('\n');
  };
  const run = async (): Promise<void> => {
    let restarts = options.leftover?.restarts ?? 0;
    let delayMs = restartDelayFirstMs;
    const stopping = aborted(signal);
    current =
      options.leftover === undefined
        ? start(config, spec, launcher, restarts, !gateOpen)
        : adopt(options.leftover);
    while (true) {
      const why = await Promise.race([current.exited, stopping]);
      if (signal.aborted) return stop(current, log);
      const ranMs = Date.now() - current.state.startedAtMs;
      delayMs = ranMs > stableAfterMs ? restartDelayFirstMs : delayMs;
      log.warn('process ended', {
        process: spec.name,
        pid: current.state.pid,
        why,
        ranMs,
        restartInMs: delayMs,
      });
      await Promise.race([stopping, sleepUnref(delayMs)]);
      if (signal.aborted) return;
      delayMs = Math.min(delayMs * 2, restartDelayLastMs);
      restarts += 1;
      current = start(config, spec, launcher, restarts, !gateOpen);
    }
  };
  return { open: openGate, done: run() };
}

function start(
  config: ClusterConfig,
  spec: ChildSpec,
  launcher: Launcher,
  restarts: number,
  gated: boolean,
): Running {
  const paths = pathsOf(config);
  const output = openSync(paths.logOf(spec.name), 'a', 0o640);
  try {
    const gateFd = String(3 + spec.fds.length);
    const child = inNetns(spec.netns, () =>
      spawn(launcher.executable, [...spec.runtimeFlags, ...launcher.prefix, ...spec.command], {
        cwd: '/',
        detached: true, // a group of its own: Ctrl-C in a terminal reaches the supervisor only, which stops in order
        env: {
          ...launcher.env,
          FAIRLEAD_CLUSTER: config.name,
          ...(gated ? { FAIRLEAD_GATE_FD: gateFd } : {}),
        },
        stdio: ['ignore', output, output, ...spec.fds, ...(gated ? (['pipe'] as const) : [])],
      }),
    );
    const exited = new Promise<string>((resolve) => {
      child.once('exit', (code, killedBy) => resolve(killedBy ?? `exit code ${code}`));
      child.once('error', (error) => resolve(error.message));
    });
    const state: ProcessState = {
      name: spec.name,
      pid: child.pid ?? 0,
      startTicks: startTicksOf(child.pid ?? 0) ?? '',
      startedAtMs: Date.now(),
      restarts,
      command: spec.command,
      descriptors: spec.descriptors,
    };
    writeFileSync(paths.processFile(spec.name), `${JSON.stringify(state)}\n`, { mode: 0o644 });
    return { state, exited, child };
  } finally {
    closeSync(output);
  }
}

function adopt(state: ProcessState): Running {
  const exited = new Promise<string>((resolve) => {
    const timer = setInterval(() => {
      if (isAlive(state)) return;
      clearInterval(timer);
      resolve('adopted process is gone');
    }, adoptedPollMs);
    timer.unref();
  });
  return { state, exited, child: undefined };
}

/** Ends a process: SIGTERM, then SIGKILL. Resolves when it is gone. */
async function stop(running: Running, log: Logger): Promise<void> {
  const { pid } = running.state;
  if (!isAlive(running.state)) return;
  const gone = running.child === undefined ? waitGone(running.state) : running.exited;
  process.kill(pid, 'SIGTERM');
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), stopGraceMs);
  await Promise.race([gone, aborted(limit.signal)]);
  clearTimeout(timer);
  if (!isAlive(running.state)) return;
  log.warn('process did not stop, killing it', { process: running.state.name, pid, afterMs: stopGraceMs });
  process.kill(pid, 'SIGKILL');
  await gone;
}

/** Ends a process that is not our child. */
export async function stopLeftover(state: ProcessState, log: Logger): Promise<void> {
  await stop(adopt(state), log);
}

async function waitGone(state: ProcessState): Promise<void> {
  while (isAlive(state)) await new Promise((resolve) => setTimeout(resolve, 20));
}

function aborted(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('stopping');
    else signal.addEventListener('abort', () => resolve('stopping'), { once: true });
  });
}

function sleepUnref(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
