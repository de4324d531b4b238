import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerCache, cacheLimits, secondsToKeep } from './cache.ts';
import type { ForwardAnswer } from './question.ts';
import { type ResourceRecord, rcodes } from './wire.ts';

function address(ttlSeconds: number): ResourceRecord {
  return { name: 'a.example', ttlSeconds, data: { type: 'A', address: Uint8Array.of(1, 2, 3, 4) } };
}

function soa(ttlSeconds: number, minimumSeconds: number): ResourceRecord {
  const rest = { serial: 1, refreshSeconds: 1, retrySeconds: 1, expireSeconds: 1 };
  const data = { type: 'SOA', primary: 'ns.example', mailbox: 'm.example', minimumSeconds, ...rest } as const;
  return { name: 'example', ttlSeconds, data };
}

function told(
  rcode: number,
  answers: readonly ResourceRecord[],
  authorities: readonly ResourceRecord[] = [],
) {
  return { rcode, authenticData: false, answers, authorities, additionals: [] } satisfies ForwardAnswer;
}

const cases: readonly (readonly [string, ForwardAnswer, number])[] = [
  ['the shortest record decides', told(rcodes.NOERROR, [address(60), address(20)]), 20],
  ['not longer than the bound', told(rcodes.NOERROR, [address(86_400)]), cacheLimits.positiveSecondsMax],
  ['a record with no time is not kept', told(rcodes.NOERROR, [address(0)]), 0],
  ['no such name: the least of SOA and its minimum', told(rcodes.NXDOMAIN, [], [soa(20, 10)]), 10],
  ['no such type: as well', told(rcodes.NOERROR, [], [soa(7, 10)]), 7],
  ['not longer than the bound of absence', told(rcodes.NXDOMAIN, [], [soa(900, 900)]), 30],
  ['absence without SOA is not kept', told(rcodes.NXDOMAIN, []), 0],
  ['a failure is not kept', told(rcodes.SERVFAIL, [], [soa(20, 10)]), 0],
];
for (const [name, answer, want] of cases) {
  test(`cache: ${name}`, () => assert.equal(secondsToKeep(answer), want));
}

test('cache: an answer whose time is over is kept for when nobody gives a new one, absence is not', () => {
  const cache = new AnswerCache();
  const dayMs = cacheLimits.staleSecondsMax * 1000;
  const empty = { rcode: 0, authenticData: false, answers: [], authorities: [], additionals: [] };
  const address = { type: 'A', address: Uint8Array.of(192, 0, 2, 1) } as const;
  const answer = { ...empty, answers: [{ name: 'a.example', ttlSeconds: 10, data: address }] };
  cache.set('a', answer, 100, 0);
  assert.equal(cache.getStale('a', 9999), undefined, 'it still holds');
  assert.equal(cache.get('a', 10_000), undefined);
  const stale = cache.getStale('a', 10_000);
  assert.equal(stale?.answer.answers[0]?.ttlSeconds, cacheLimits.staleTtlSeconds);
  assert.equal(stale.retryAtMs, undefined);
  cache.postpone('a', 40_000);
  assert.equal(cache.getStale('a', 10_001)?.retryAtMs, 40_000);
  assert.equal(cache.getStale('a', 10_000 + dayMs), undefined, 'too old');
});

test('cache: what is asked for often is renewed once before its time is over', () => {
  const cache = new AnswerCache();
  const empty = { rcode: 0, authenticData: false, answers: [], authorities: [], additionals: [] };
  const address = { type: 'A', address: Uint8Array.of(192, 0, 2, 1) } as const;
  cache.set('a', { ...empty, answers: [{ name: 'a', ttlSeconds: 100, data: address }] }, 100, 0);
  cache.get('a', 1000);
  assert.equal(cache.dueForRefresh('a', 95_000), false, 'asked for once');
  cache.get('a', 2000);
  assert.equal(cache.dueForRefresh('a', 80_000), false, 'too early');
  assert.equal(cache.dueForRefresh('a', 91_000), true);
  assert.equal(cache.dueForRefresh('a', 92_000), false, 'once only');
});

test('cache: an answer ages and then is gone', () => {
  const cache = new AnswerCache();
  cache.set('k', told(rcodes.NOERROR, [address(20)]), 100, 1000);
  assert.equal(cache.get('k', 1999)?.answers[0]?.ttlSeconds, 20);
  assert.equal(cache.get('k', 16_000)?.answers[0]?.ttlSeconds, 5);
  assert.equal(cache.get('k', 21_000), undefined);
  assert.equal(cache.size, 1);
});

test('cache: at the bound, what was not asked for lately goes', () => {
  const cache = new AnswerCache();
  const half = cacheLimits.entriesMax / 2;
  const add = (from: number, to: number): void => {
    for (let index = from; index < to; index++) {
      cache.set(String(index), told(rcodes.NOERROR, [address(20)]), 100, 0);
    }
  };
  add(0, 2 * half);
  assert.equal(cache.size, cacheLimits.entriesMax);
  assert.notEqual(cache.get('0', 0), undefined);
  add(2 * half, 4 * half - 2);
  assert.ok(cache.size <= cacheLimits.entriesMax);
  assert.equal(cache.get('1', 0), undefined);
  assert.notEqual(cache.get('0', 0), undefined);
  assert.notEqual(cache.get(String(4 * half - 3), 0), undefined);
});

test('cache: a big answer is not kept', () => {
  const cache = new AnswerCache();
  cache.set('k', told(rcodes.NOERROR, [address(20)]), cacheLimits.entryBytesMax + 1, 0);
  assert.equal(cache.size, 0);
});
