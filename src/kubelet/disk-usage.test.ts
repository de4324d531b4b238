import assert from 'node:assert/strict';
import { link, mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { measureFolder } from './disk-usage.ts';

const { signal } = new AbortController();
const kibi = 1024;

describe('measureFolder', () => {
  let root = '';
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'fairlead-disk-usage-'));
  });
  after(() => rm(root, { recursive: true, force: true }));

  const make = async (name: string): Promise<string> => {
    const dir = join(root, name);
    await mkdir(join(dir, 'deep', 'deeper'), { recursive: true });
    return dir;
  };
  /** Bytes beyond what the folders themselves take. */
  const growth = async (dir: string, change: () => Promise<void>): Promise<number> => {
    const empty = await measureFolder(dir, signal);
    await change();
    const filled = await measureFolder(dir, signal);
    assert.ok(empty.complete && filled.complete);
    return filled.bytes - empty.bytes;
  };

  test('counts files at any depth, one with two names once', async () => {
    const dir = await make('links');
    const added = await growth(dir, async () => {
      await writeFile(join(dir, 'a'), Buffer.alloc(256 * kibi, 1));
      await writeFile(join(dir, 'deep', 'deeper', 'b'), Buffer.alloc(256 * kibi, 1));
      await link(join(dir, 'a'), join(dir, 'deep', 'again'));
    });
    assert.ok(added >= 512 * kibi && added < 768 * kibi, String(added));
  });

  test('counts what is allocated: a hole takes nothing', async () => {
    const dir = await make('sparse');
    const added = await growth(dir, async () => {
      await using file = await open(join(dir, 'hole'), 'w');
      await file.truncate(1024 * 1024 * kibi);
    });
    assert.ok(added < 64 * kibi, String(added));
  });

  test('does not follow links out of the folder', async () => {
    const outside = await make('outside');
    await writeFile(join(outside, 'big'), Buffer.alloc(512 * kibi, 1));
    const dir = await make('inside');
    const added = await growth(dir, () => symlink(outside, join(dir, 'way-out')));
    assert.ok(added < 64 * kibi, String(added));
  });

  test('ends at its bound and says so', async () => {
    const dir = await make('many');
    for (let index = 0; index < 40; index++) await writeFile(join(dir, `f${index}`), 'x');
    assert.equal((await measureFolder(dir, signal, 20)).complete, false);
    assert.equal((await measureFolder(dir, signal, 42)).complete, true); // 40 files, 2 folders
  });

  test('a folder that is not there takes nothing', async () => {
    assert.deepEqual(await measureFolder(join(root, 'none'), signal), { bytes: 0, complete: true });
  });

  test('stops when it is told to', async () => {
    const dir = await make('stopped');
    for (let index = 0; index < 40; index++) await writeFile(join(dir, `f${index}`), 'x');
    await assert.rejects(measureFolder(dir, AbortSignal.abort()), { name: 'AbortError' });
  });
});
