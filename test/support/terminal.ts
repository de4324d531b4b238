/** A person at a terminal: a program behind a real pseudo-terminal (made by util-linux's `script`). */
import { spawn } from 'node:child_process';

export type Terminal = {
  /** Types text; end a line with \r, as a keyboard does. */
  type(text: string): void;
  /** Waits until what was printed since the last match matches; resolves to the match. */
  expect(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Waits for the program to end; resolves to its exit code. */
  exited(timeoutMs?: number): Promise<number | null>;
  /** Everything printed so far. */
  readonly screen: string;
  kill(): void;
};

export function openTerminal(command: string, env: Readonly<Record<string, string>> = {}): Terminal {
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let screen = '';
  let matchedUpTo = 0;
  let exitCode: number | null | undefined;
  let wake: () => void = () => {};
  const print = (chunk: Buffer): void => {
    screen += chunk.toString('utf8');
    wake();
  };
  child.stdout.on('data', print);
  child.stderr.on('data', print);
  child.stdin.on('error', () => {}); // typing into a program that has gone: its exit code tells
  child.on('close', (code) => {
    exitCode = code;
    wake();
  });

  async function until<T>(what: string, probe: () => T | undefined, timeoutMs: number): Promise<T> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const found = probe();
      if (found !== undefined) return found;
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) throw new Error(`waited for ${what}; the screen shows:\n${screen}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  return {
    type: (text) => void child.stdin.write(text),
    expect: (pattern, timeoutMs = 60_000) =>
      until(
        String(pattern),
        () => {
          const match = pattern.exec(screen.slice(matchedUpTo));
          if (match === null) return undefined;
          matchedUpTo += match.index + match[0].length;
          return match;
        },
        timeoutMs,
      ),
    exited: async (timeoutMs = 60_000) => {
      const done = await until(
        'the program to end',
        () => (exitCode === undefined ? undefined : { exitCode }),
        timeoutMs,
      );
      return done.exitCode;
    },
    get screen() {
      return screen;
    },
    kill: () => void child.kill('SIGKILL'),
  };
}
