import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PersistentMap } from './persistent-map.ts';

type Entry = readonly [string, number | undefined];
const entries = fc.array(
  fc.tuple(fc.string({ maxLength: 2 }), fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined })),
);

function applied(model: ReadonlyMap<string, number>, changes: readonly Entry[]): Map<string, number> {
  const copy = new Map(model);
  for (const [key, value] of changes) {
    if (value === undefined) copy.delete(key);
    else copy.set(key, value);
  }
  return copy;
}

test('persistent map: versions hold what a plain map would, and old ones stay as they were', () => {
  fc.assert(
    fc.property(entries, entries, (first, second) => {
      const models = [applied(new Map(), first), applied(applied(new Map(), first), second)];
      const before = PersistentMap.empty<string, number>().with(first);
      const now = before.with(second);
      for (const [index, map] of [before, now].entries()) {
        const model = models[index] ?? new Map();
        assert.deepEqual(new Map(map), model);
        assert.equal(map.size, model.size);
        assert.deepEqual(new Set(map.keys()), new Set(model.keys()));
        for (const key of model.keys()) assert.ok(map.has(key) && map.get(key) === model.get(key));
      }
    }),
  );
});

test('persistent map: changes are the keys whose values differ, with both values', () => {
  fc.assert(
    fc.property(entries, entries, (first, second) => {
      const before = PersistentMap.from<string, number>(applied(new Map(), first));
      const now = before.with(second);
      const rebuilt = PersistentMap.from<string, number>(new Map(now));
      for (const after of [now, rebuilt]) {
        const found = PersistentMap.changes(before, after);
        const keys = new Set([...before.keys(), ...after.keys()]);
        const wanted = [...keys].filter((key) => before.get(key) !== after.get(key));
        assert.deepEqual(found.map(({ key }) => key).toSorted(), wanted.toSorted());
        for (const { key, old, now: value } of found) {
          assert.deepEqual([old, value], [before.get(key), after.get(key)]);
        }
      }
    }),
  );
});

test('persistent map: a change that changes nothing gives the same map', () => {
  const map = PersistentMap.from<string, number>([['a', 1]]);
  assert.equal(map.with([]), map);
  assert.equal(
    map.with([
      ['a', 1],
      ['b', undefined],
    ]),
    map,
  );
});
