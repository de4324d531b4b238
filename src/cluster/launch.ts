import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Launcher } from './child.ts';
import { type ClusterConfig, pathsOf } from './config.ts';
import { completePath } from './prerequisites.ts';

/** How to start another process of Fairlead: this runtime with the same flags on the same main file. */
export function ownLauncher(): Launcher {
  const main = fileURLToPath(new URL('../cmd/fairlead.ts', import.meta.url));
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: completePath(process.env['PATH']) };
  delete env['FAIRLEAD_GATE_FD'];
  delete env['NODE_CHANNEL_FD'];
  delete env['NODE_TEST_CONTEXT'];
  delete env['NODE_OPTIONS']; // flags meant for the program that called us, such as a test runner's
  return { executable: process.execPath, prefix: ['--disable-warning=ExperimentalWarning', main], env };
}

/** The descriptor by which a supervisor talks with the `up` that started it. */
export const controlFd = 3;

/** Lines from the supervisor to `up`. */
export type ControlMessage =
  | { readonly kind: 'step'; readonly step: string }
  | { readonly kind: 'failed'; readonly message: string };

/**
 * The supervisor does little once all runs: a small young generation keeps its memory small. No flag may be among them that
 * changes how code is compiled (`node -p 'v8.cachedDataVersionTag()'` tells), else it cannot use the others' compile cache.
 */
const supervisorFlags = ['--max-semi-space-size=1', '--single-threaded-gc'];

/** A supervisor that was just started. */
export type StartedSupervisor = {
  readonly child: ChildProcess;
  /** Resolves when the step was reported. Rejects with what the supervisor said when it failed, or that it ended. */
  reached(step: string): Promise<void>;
  /** Keys are on disk: processes may go on. */
  release(): void;
  /** Lets it live without us. */
  detach(): void;
};

export function startSupervisor(
  config: ClusterConfig,
  launcher: Launcher,
  foreground: boolean,
): StartedSupervisor {
  const { logOf } = pathsOf(config);
  const output = openSync(logOf('supervisor'), 'a', 0o640);
  const child = spawn(
    launcher.executable,
    [...supervisorFlags, ...launcher.prefix, 'supervisor', '--cluster-file', pathsOf(config).clusterFile],
    {
      cwd: '/',
      detached: !foreground,
      env: { ...launcher.env, FAIRLEAD_CLUSTER: config.name },
      stdio: ['ignore', output, output, 'pipe'],
    },
  );
  closeSync(output);
  const control = child.stdio[controlFd] as Socket;
  const steps = new Set<string>();
  let failure: Error | undefined;
  let wake: () => void = () => {};
  let changed = new Promise<void>((resolve) => (wake = resolve));
  const tell = (): void => {
    const wakeAll = wake;
    changed = new Promise<void>((resolve) => (wake = resolve));
    wakeAll();
  };
  let buffered = '';
  control.on('error', () => {}); // it ended: told by 'exit'
  control.on('data', (chunk: Buffer) => {
    const lines = (buffered + chunk.toString()).split('\n');
    buffered = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as ControlMessage;
      if (message.kind === 'step') steps.add(message.step);
      else failure = new Error(message.message);
    }
    tell();
  });
  child.once('error', (error) => {
    failure ??= error;
    tell();
  });
  child.once('close', (code, killedBy) => {
    failure ??= new Error(
      `the supervisor ended (${killedBy ?? `exit code ${code}`}); see ${logOf('supervisor')}`,
    );
    tell();
  });
  return {
    child,
    async reached(step) {
      while (!steps.has(step)) {
        if (failure !== undefined) throw failure;
        await changed;
      }
    },
    release: () => control.write('go\n'),
    detach() {
      control.destroy();
      child.unref();
    },
  };
}

/** The supervisor's end of the control channel. Without one (started by hand) it reports to nobody and needs no word. */
export function openControl(): {
  report(message: ControlMessage): void;
  readonly released: Promise<void>;
  /** Resolves when `up` went away before it gave its word. */
  readonly abandoned: Promise<void>;
} {
  const control = new Socket({ fd: controlFd });
  control.on('error', () => {}); // `up` ended first: nobody is left to tell
  let release: () => void = () => {};
  let abandon: () => void = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const abandoned = new Promise<void>((resolve) => (abandon = resolve));
  let isReleased = false;
  control.once('data', () => {
    isReleased = true;
    release();
  });
  control.once('close', () => {
    if (!isReleased) abandon();
  });
  control.unref();
  return {
    report: (message) => {
      if (!control.destroyed) control.write(`${JSON.stringify(message)}\n`);
    },
    released,
    abandoned,
  };
}
