import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { unifiedDiff } from './unified-diff.ts';

test('unified diff: equal texts have none', () => {
  assert.equal(unifiedDiff('a\nb\n', 'a\nb\n', 'x', 'y'), '');
});

test('unified diff: hunks with three lines around', () => {
  const before = 'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n';
  const after = before.replace('b\n', 'B\n').replace('l\n', '').replace('m\n', 'm\nn\n');
  assert.equal(
    unifiedDiff(before, after, 'x', 'y'),
    '--- x\n+++ y\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -9,5 +9,5 @@\n i\n j\n k\n-l\n m\n+n\n',
  );
});

test('unified diff: applied to the first text it gives the second', () => {
  const text = fc
    .array(fc.constantFrom('a', 'b', 'c'), { maxLength: 20 })
    .map((lines) => lines.map((line) => `${line}\n`).join(''));
  fc.assert(
    fc.property(text, text, (before, after) => {
      assert.equal(applied(before, unifiedDiff(before, after, 'x', 'y')), after);
    }),
  );
});

function applied(text: string, diff: string): string {
  const source = text.split('\n').slice(0, -1);
  const out: string[] = [];
  let at = 0;
  for (const line of diff.split('\n').slice(2, -1)) {
    const [, start, length] = /^@@ -(\d+),(\d+) /.exec(line) ?? [];
    if (start !== undefined) {
      const first = Number(start) - (length === '0' ? 0 : 1);
      out.push(...source.slice(at, first));
      at = first;
    } else if (line.startsWith('+')) out.push(line.slice(1));
    else {
      assert.equal(source[at], line.slice(1));
      if (line.startsWith(' ')) out.push(line.slice(1));
      at += 1;
    }
  }
  return [...out, ...source.slice(at)].map((line) => `${line}\n`).join('');
}
