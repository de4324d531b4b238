import { existsSync, readdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { UserError } from '../base/user-error.ts';
import { type ClusterConfig, pathsOf } from './config.ts';

/** How often a followed file is looked at for more. */
export const followIntervalMs = 200;
const chunkBytes = 64 * 1024;

export type PrintOptions = {
  /** Last lines; 0: all. */
  readonly lines: number;
  readonly follow: boolean;
};

/** Copies a component's log to `output`, and goes on with `follow` until the signal aborts. */
export async function printLog(
  config: ClusterConfig,
  component: string,
  options: PrintOptions,
  output: { write(chunk: Uint8Array): unknown },
  signal: AbortSignal,
): Promise<void> {
  const file = posix.join(pathsOf(config).logs, `${posix.basename(component)}.log`);
  if (!existsSync(file)) {
    const names = readdirSync(pathsOf(config).logs)
      .filter((name) => name.endsWith('.log'))
      .map((name) => name.slice(0, -'.log'.length));
    throw new UserError(`there is no component ${component}; there are: ${names.toSorted().join(', ')}`);
  }
  const handle = await open(file, 'r');
  try {
    let position = options.lines === 0 ? 0 : await startOfLast(handle, options.lines);
    while (true) {
      position = await copy(handle, position, output);
      if (!options.follow || signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, followIntervalMs));
      if (signal.aborted) return;
      // Rotation cuts the file: what comes next begins at its start.
      if ((await handle.stat()).size < position) position = 0;
    }
  } finally {
    await handle.close();
  }
}

async function copy(
  handle: FileHandle,
  from: number,
  output: { write(chunk: Uint8Array): unknown },
): Promise<number> {
  let position = from;
  while (true) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(chunkBytes), 0, chunkBytes, position);
    if (bytesRead === 0) return position;
    output.write(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Offset at which the last `lines` lines begin. */
async function startOfLast(handle: FileHandle, lines: number): Promise<number> {
  const { size } = await handle.stat();
  let position = size;
  let found = 0;
  while (position > 0) {
    const length = Math.min(chunkBytes, position);
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, position - length);
    for (let index = length - 1; index >= 0; index -= 1) {
      const offset = position - length + index;
      if (buffer[index] !== 0x0a || offset === size - 1) continue;
      found += 1;
      if (found === lines) return offset + 1;
    }
    position -= length;
  }
  return 0;
}
