import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readLines } from './log-reader.ts';

async function logFile(t: TestContext, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-log-'));
  t.after(() => rm(dir, { recursive: true }));
  const path = join(dir, '0.log');
  await writeFile(path, text);
  return path;
}

const never = new AbortController().signal;

async function all(path: string, tailLines: number | undefined): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(path, { tailLines, follow: undefined }, never))
    lines.push(line.toString());
  return lines;
}

test('log reader: all lines, the last ones, none', async (t) => {
  const path = await logFile(t, 'a\nb\nc\n');
  assert.deepEqual(await all(path, undefined), ['a', 'b', 'c']);
  assert.deepEqual(await all(path, 2), ['b', 'c']);
  assert.deepEqual(await all(path, 9), ['a', 'b', 'c']);
  assert.deepEqual(await all(path, 0), []);
  assert.deepEqual(await all(`${path}.none`, undefined), []);
});

test('log reader: the last lines of a file of many chunks', async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index}`);
  const path = await logFile(t, `${lines.join('\n')}\n`);
  assert.deepEqual(await all(path, 12_000), lines.slice(-12_000));
});

test('log reader: follows what is appended, over a rotation, until the writer ends', async (t) => {
  const path = await logFile(t, 'a\n');
  let isAlive = true;
  const lines: string[] = [];
  for await (const line of readLines(path, { tailLines: undefined, follow: async () => isAlive }, never)) {
    lines.push(line.toString());
    if (lines.length === 1) await appendFile(path, 'b\n');
    if (lines.length === 2) {
      await rename(path, `${path}.1`);
      await writeFile(path, 'c\n');
    }
    if (lines.length === 3) isAlive = false;
  }
  assert.deepEqual(lines, ['a', 'b', 'c']);
});
