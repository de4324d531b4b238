import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Candidate, pendingDifferenceMin, pickEndpoint } from './balance.ts';

const idle: Candidate = { pending: 0, avoided: false };

test('l7 balance: equal endpoints get exactly equal shares', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 1000 }), (count, start) => {
      const endpoints = Array.from({ length: count }, () => idle);
      const shares = new Array<number>(count).fill(0);
      for (let turn = 0; turn < count * 3; turn += 1)
        shares[pickEndpoint(endpoints, start + turn, undefined)]! += 1;
      assert.deepEqual(new Set(shares), new Set([3]));
    }),
  );
});

const busy: Candidate = { pending: pendingDifferenceMin, avoided: false };
const broken: Candidate = { pending: 0, avoided: true };
const other: Candidate = { ...idle };
const cases: readonly (readonly [
  string,
  readonly Candidate[],
  number,
  ReadonlySet<Candidate> | undefined,
  number,
])[] = [
  ['nobody', [], 0, undefined, -1],
  ['the one', [idle], 7, undefined, 0],
  ['whose turn it is', [idle, idle, idle], 4, undefined, 1],
  ['the next when it is much busier', [busy, idle], 0, undefined, 1],
  ['the busy one when both are', [busy, busy], 0, undefined, 0],
  ['none that is avoided', [broken, idle], 0, undefined, 1],
  ['an avoided one before none', [broken, broken], 0, undefined, 0],
  ['none that was tried', [idle, other], 0, new Set([idle]), 1],
  ['nobody when all were tried', [idle, idle], 0, new Set([idle]), -1],
];

for (const [name, endpoints, cursor, excluded, want] of cases) {
  test(`l7 balance: picks ${name}`, () => {
    assert.equal(pickEndpoint(endpoints, cursor, excluded), want);
  });
}
