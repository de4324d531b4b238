import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSqliteStore } from './sqlite.ts';
import { isStoreError } from './store.ts';

test('sqlite store: state and revision survive a restart', async () => {
  await inFolder(async (path) => {
    const before = openSqliteStore(path);
    const a = await before.put('/a', { before: '', after: 'ä' }, 0);
    const b = await before.put('/b', { before: '', after: 'x' }, 0);
    await before.delete('/b', { before: '', after: 'x' }, b.revision);
    const revision = before.revision;
    await before.close();

    const after = openSqliteStore(path);
    assert.equal(after.get('/a')?.value.toString(), `${a.revision}ä`);
    assert.equal(after.get('/b'), undefined);
    assert.equal(after.revision, revision);
    assert.throws(
      () => after.watch('/', revision - 1, () => {}),
      (error) => isStoreError(error, 'Expired'),
    );
    await after.close();
  });
});

test('sqlite store: a second server on the same file is refused', async () => {
  await inFolder(async (path) => {
    const first = openSqliteStore(path);
    assert.throws(
      () => openSqliteStore(path),
      (error) => isStoreError(error, 'Failed') && /another API server/.test(error.message),
    );
    await first.close();
  });
});

test('sqlite store: each acknowledged write is there after kill -9', async () => {
  await inFolder(async (path) => {
    const acknowledged = await writeUntilKilled(path, 400);
    const store = openSqliteStore(path);
    for (const [key, revision] of acknowledged) {
      assert.ok((store.get(key)?.revision ?? 0) >= revision, `${key} at ${revision} was lost`);
    }
    assert.ok(store.revision >= Math.max(...acknowledged.values()));
    await store.close();
  });
});

/** Starts a child that writes for ever and prints what was acknowledged; kills it after `count` lines. */
async function writeUntilKilled(path: string, count: number): Promise<Map<string, number>> {
  const source = `
    import { openSqliteStore } from ${JSON.stringify(fileURLToPath(new URL('./sqlite.ts', import.meta.url)))};
    import { writeSync } from 'node:fs';
    const store = openSqliteStore(${JSON.stringify(path)});
    async function writer(id) {
      for (let at = 0; ; at++) {
        const key = '/' + id + '/' + (at % 50);
        const entry = await store.put(key, { before: '', after: 'x'.repeat(200) }, store.get(key)?.revision ?? 0);
        writeSync(1, key + ' ' + entry.revision + '\\n');
      }
    }
    await Promise.all([1, 2, 3, 4].map(writer));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const acknowledged = new Map<string, number>();
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [key, revision] = line.split(' ');
    if (key !== undefined && revision !== undefined) acknowledged.set(key, Number(revision));
    if (++lines === count) child.kill('SIGKILL');
  }
  await exited;
  assert.ok(lines >= count, 'the writer ended by itself');
  return acknowledged;
}

async function inFolder(body: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-sqlite-'));
  try {
    await body(join(folder, 'store', 'state.db'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
