import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nextRandom, shuffled } from './random.ts';

test('shuffled: every order comes up, none much more often than another', () => {
  const counts = new Map<string, number>();
  let state = 1;
  for (let round = 0; round < 6000; round++) {
    state = nextRandom(state);
    const order = shuffled(['a', 'b', 'c'], state).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const [order, count] of counts) assert.ok(count > 800 && count < 1200, `${order}: ${count}`);
});

test('shuffled: nothing is lost or doubled', () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.integer({ min: 1, max: 0xffffffff }), (items, state) => {
      assert.deepEqual(
        shuffled(items, state).toSorted((a, b) => a - b),
        items.toSorted((a, b) => a - b),
      );
    }),
  );
});
