import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, watch } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, basename } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import {
  type ContainerdOptions,
  type ContainerdPaths,
  mayLowerOomScore,
  renderContainerdConfig,
} from './containerd-config.ts';
import type { Cri } from './cri.ts';

export type Containerd = {
  /** Resolves when CRI answers for the first time; rejects when it did not within `startTimeoutMs`. */
  ready(): Promise<void>;
  /** Keeps containerd running until the signal aborts; leaves it and its containers running then. */
  run(signal: AbortSignal): Promise<void>;
};

export type ContainerdSpawnOptions = Omit<ContainerdOptions, 'mayLowerOomScore'> & {
  /** Image pulls go through this HTTP CONNECT proxy, "http://10.41.0.1:3128"; undefined: directly. */
  readonly imageProxy: string | undefined;
};

/** How long a new containerd may take until CRI answers, ms. Usually 30 ms; a cold disk takes seconds. */
const startTimeoutMs = 30_000;
/** Between two looks at whether CRI answers yet, ms. */
const answerPollMs = 5;
/** Between the death of containerd and its next start, ms; keeps a broken one from spinning. */
const restartDelayMs = 200;
/** Between two looks at a containerd that is not our child, ms. Our child's end is told by an event. */
const adoptedPollMs = 1_000;

/**
 * Starts the node's containerd, or adopts the running one: it is not a part of this process, so that containers outlive
 * a restart of the node agent. Call at once at start-up; everything else can be done while it starts.
 */
export function startContainerd(
  cri: Cri,
  paths: ContainerdPaths,
  options: ContainerdSpawnOptions,
  clock: Clock,
  log: Logger,
): Containerd {
  let child: ChildProcess | undefined;
  const first = begin();
  first.catch(() => {}); // reported by whoever awaits ready()

  async function begin(): Promise<void> {
    if (await answers(cri)) {
      log.info('adopted running containerd', { socket: paths.socket });
      return;
    }
    await prepare(paths, options);
    await start();
  }

  async function start(): Promise<void> {
    await rm(paths.socket, { force: true });
    child = spawnContainerd(paths, options);
    const failed = new AbortController();
    child.once('error', (cause) => {
      failed.abort(
        new Error('containerd cannot be started; install it, on Debian with `apt-get install containerd`', {
          cause,
        }),
      );
    });
    child.once('exit', (code, signal) => {
      failed.abort(
        new Error(`containerd ended at start (${signal ?? `code ${code}`}); see ${paths.logFile}`),
      );
    });
    const startedMs = clock.monotonicMs();
    await socketAppears(paths.socket, failed.signal);
    while (!(await answers(cri))) {
      failed.signal.throwIfAborted();
      if (clock.monotonicMs() - startedMs > startTimeoutMs) {
        throw new Error(`containerd did not answer within ${startTimeoutMs} ms; see ${paths.logFile}`);
      }
      await clock.sleep(answerPollMs);
    }
    if (child.pid !== undefined) await writeFile(paths.pidFile, `${child.pid}\n`);
    log.info('containerd started', { pid: child.pid, tookMs: Math.round(clock.monotonicMs() - startedMs) });
  }

  async function waitForEnd(signal: AbortSignal): Promise<void> {
    if (child !== undefined) {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit', { signal });
      return;
    }
    const pid = Number(await readFile(paths.pidFile, 'utf8').catch(() => '0'));
    while (pid > 0 && isAlive(pid)) await clock.sleep(adoptedPollMs, signal);
  }

  return {
    ready: () => first,
    async run(signal) {
      await first;
      while (!signal.aborted) {
        try {
          await waitForEnd(signal);
          if (signal.aborted) return;
          log.error('containerd has ended, starting it again', { logFile: paths.logFile });
          await clock.sleep(restartDelayMs, signal);
          await start();
        } catch (error) {
          if (signal.aborted) return;
          log.error('containerd could not be started', { error });
          await clock.sleep(restartDelayMs, signal).catch(() => {}); // aborted: the loop ends
        }
      }
    },
  };
}

async function prepare(
  paths: ContainerdPaths,
  options: Omit<ContainerdOptions, 'mayLowerOomScore'>,
): Promise<void> {
  const folders = [
    paths.root,
    paths.state,
    paths.cniConfigDir,
    dirname(paths.socket),
    dirname(paths.logFile),
  ];
  await Promise.all(folders.map((folder) => mkdir(folder, { recursive: true })));
  const mayLower = mayLowerOomScore(await readFile('/proc/self/status', 'utf8'));
  await writeFile(
    paths.configFile,
    renderContainerdConfig(paths, { ...options, mayLowerOomScore: mayLower }),
  );
}

function spawnContainerd(paths: ContainerdPaths, options: ContainerdSpawnOptions): ChildProcess {
  const logFd = openSync(paths.logFile, 'a');
  const proxy = options.imageProxy;
  const proxyEnv =
    proxy === undefined ? {} : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: 'localhost,127.0.0.1' };
  const child = spawn('containerd', ['--config', paths.configFile], {
    detached: true, // outlives us, and a Ctrl-C meant for us does not reach it
    stdio: ['ignore', logFd, logFd],
    env: { ...process.env, ...proxyEnv },
  });
  closeSync(logFd);
  child.unref();
  return child;
}

/** Resolves as soon as the socket's file may be there; a watch, because containerd needs only some 25 ms. */
async function socketAppears(path: string, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(dirname(path), (_event, name) => {
      if (name === basename(path)) finish();
    });
    const finish = () => {
      watcher.close();
      signal.removeEventListener('abort', fail);
      resolve();
    };
    const fail = () => {
      watcher.close();
      reject(signal.reason);
    };
    signal.addEventListener('abort', fail, { once: true });
    if (signal.aborted) fail();
  });
}

async function answers(cri: Cri): Promise<boolean> {
  try {
    await cri.version({});
    return true;
  } catch {
    return false; // not there yet, or still loading its plugins
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
