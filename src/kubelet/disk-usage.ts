import type { BigIntStats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

/** Files looked at for one folder; what lies beyond is not counted. */
const entriesMax = 1_000_000;
/** Files looked at at a time: others' I/O waits behind no more than these for a thread. */
const batchMax = 16;
/** The unit of st_blocks, bytes, whatever the file system's own blocks are. stat(2). */
const blockBytes = 512;

/** `complete`: false where only a part could be looked at; `bytes` is then the least that the folder takes. */
export type FolderUsage = { readonly bytes: number; readonly complete: boolean };

/**
 * What a folder takes on its disk: allocated blocks, a file with several names once, other file systems below it not.
 * 0 where there is no such folder. Its owner may change it meanwhile, and what is gone when it is looked at is not counted.
 */
export async function measureFolder(
  dir: string,
  signal: AbortSignal,
  limit: number = entriesMax,
): Promise<FolderUsage> {
  const root = await statOrGone(dir);
  if (root === undefined || root === 'unreachable') return { bytes: 0, complete: root === undefined };
  const seen = new Set<bigint>(); // inodes with several names
  const folders = [dir];
  let bytes = Number(root.blocks) * blockBytes;
  let left = limit;
  let complete = true;
  const count = async (paths: readonly string[]): Promise<void> => {
    const all = await Promise.all(paths.map(statOrGone));
    for (const [index, found] of all.entries()) {
      if (found === 'unreachable') complete = false;
      if (found === undefined || found === 'unreachable' || found.dev !== root.dev) continue;
      if (found.isDirectory()) folders.push(paths[index] ?? dir);
      else if (found.nlink > 1n) {
        if (seen.has(found.ino)) continue;
        seen.add(found.ino);
      }
      bytes += Number(found.blocks) * blockBytes;
    }
  };
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    let batch: string[] = [];
    for await (const path of pathsIn(folder)) {
      if (left === 0) return { bytes, complete: false };
      left--;
      if (batch.push(path) < batchMax) continue;
      signal.throwIfAborted();
      await count(batch);
      batch = [];
    }
    await count(batch);
  }
  return { bytes, complete };
}

async function* pathsIn(folder: string): AsyncGenerator<string, void, void> {
  try {
    for await (const { name } of await opendir(folder)) yield join(folder, name);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function statOrGone(path: string): Promise<BigIntStats | undefined | 'unreachable'> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isGone(error)) return undefined;
    // Folders may be nested deeper than a path can be long; the rest of the folder still counts.
    if (codeOf(error) === 'ENAMETOOLONG') return 'unreachable';
    throw error;
  }
}

/** Removed, or put in place of something else, since its name was read. */
function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '');
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
