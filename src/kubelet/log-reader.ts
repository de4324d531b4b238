import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

const chunkBytes = 64 * 1024;
/** Lines longer than this are handed on in pieces; the runtime cuts them far earlier. */
const lineBytesMax = 1024 * 1024;
const newline = 0x0a;
/** While following: how often the file is looked at although no event told of a change, ms. */
const followPollMs = 1_000;

export type ReadOptions = {
  /** Start so that about this many lines are left. */
  readonly tailLines: number | undefined;
  /** After the end wait for more. Asked at each end of the file: true while the writer lives. */
  readonly follow: (() => Promise<boolean>) | undefined;
};

/**
 * The lines of a file that is still being written, without their newlines. While following, a file that was renamed
 * away (rotated) is read to its end and then the new one of its name from the start. A missing file has no lines.
 */
export async function* readLines(
  path: string,
  options: ReadOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  let file = await openIfThere(path);
  try {
    let offset = file === undefined ? 0 : await tailOffset(file, options.tailLines);
    let rest: Buffer = Buffer.alloc(0);
    const changes = options.follow === undefined ? undefined : watchFile(path);
    try {
      while (!signal.aborted) {
        const changed = changes?.next();
        const isAlive = options.follow === undefined ? false : await options.follow();
        if (file !== undefined) {
          for await (const chunk of readFrom(file, offset)) {
            offset += chunk.length;
            rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
            for (let end = rest.indexOf(newline); end !== -1; end = rest.indexOf(newline)) {
              yield rest.subarray(0, end);
              rest = rest.subarray(end + 1);
            }
            if (rest.length > lineBytesMax) {
              yield rest;
              rest = Buffer.alloc(0);
            }
          }
        }
        const next = options.follow === undefined ? undefined : await replacedBy(path, file);
        if (next !== undefined) {
          await file?.close();
          file = next;
          offset = 0;
          continue;
        }
        if (!isAlive) return;
        await Promise.race([changed, delay(followPollMs, signal)]);
      }
    } finally {
      changes?.close();
    }
  } finally {
    await file?.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function* readFrom(file: FileHandle, start: number): AsyncGenerator<Buffer, void, void> {
  let position = start;
  while (true) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Offset of the line that has `lines` - 1 whole lines after it; 0 when there are fewer. */
async function tailOffset(file: FileHandle, lines: number | undefined): Promise<number> {
  if (lines === undefined) return 0;
  const { size } = await file.stat();
  if (lines === 0) return size;
  let seen = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - chunkBytes);
    const { buffer } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    for (let index = buffer.length - 1; index >= 0; index--) {
      if (buffer[index] !== newline || start + index === size - 1) continue;
      seen += 1;
      if (seen === lines) return start + index + 1;
    }
    end = start;
  }
  return 0;
}

/** The new file of that name, opened; undefined while it still is the one that we read. */
async function replacedBy(path: string, file: FileHandle | undefined): Promise<FileHandle | undefined> {
  if (file === undefined) return openIfThere(path);
  const [ours, present] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
  return present === undefined || present.ino === ours.ino ? undefined : openIfThere(path);
}

function watchFile(path: string): { next(): Promise<void>; close(): void } {
  let changed = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), (_event, name) => {
    if (name !== basename(path)) return;
    changed.resolve();
    changed = Promise.withResolvers<void>();
  });
  watcher.on('error', () => {}); // the folder is gone with its Pod: the slow look finds the end
  return { next: () => changed.promise, close: () => watcher.close() };
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
