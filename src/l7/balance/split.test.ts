import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashText } from './hash.ts';
import { type Split, splitByHash, SplitTurns } from './split.ts';

const splitOf = (...weights: readonly number[]): Split =>
  weights.map((weight, backend) => ({ backend, key: `default/web-v${backend}`, weight }));

function counted(split: Split, take: (index: number) => number, requests: number): readonly number[] {
  const counts = new Array<number>(split.length).fill(0);
  for (let index = 0; index < requests; index += 1) counts[take(index)]! += 1;
  return counts;
}

test('split: shares are exact over a round, spread evenly, and need not sum up to anything', () => {
  const turns = new SplitTurns();
  const split = splitOf(3, 1, 0);
  assert.deepEqual(
    counted(split, () => turns.next(split).backend, 4000),
    [3000, 1000, 0],
  );
  const row = Array.from({ length: 8 }, () => turns.next(split).backend).join('');
  assert.equal(row, '00100010', 'not three times the one and then the other');
  const odd = splitOf(7, 11, 2);
  assert.deepEqual(
    counted(odd, () => turns.next(odd).backend, 20),
    [7, 11, 2],
  );
});

test('split: by hash each key stays, in shares near the weights; a weight that grows moves keys only to itself', () => {
  const before = splitOf(80, 20, 0);
  const after = splitOf(80, 40, 0);
  const keys = Array.from({ length: 5000 }, (_, index) => hashText(`client ${index}`));
  const [one = 0, two = 0, none] = counted(
    before,
    (index) => splitByHash(before, keys[index]!).backend,
    keys.length,
  );
  assert.equal(none, 0);
  assert.ok(Math.abs(two / (one + two) - 0.2) < 0.03, `${two} of ${one + two}`);
  for (const key of keys) {
    const was = splitByHash(before, key).backend;
    assert.equal(splitByHash(before, key).backend, was);
    if (was === 1) assert.equal(splitByHash(after, key).backend, 1);
  }
});
