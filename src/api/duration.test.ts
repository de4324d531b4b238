import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ageOf, humanDuration, parseDurationMs } from './duration.ts';

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

const cases: readonly (readonly [number, string])[] = [
  [-5, '<invalid>'],
  [-1, '0s'],
  [0, '0s'],
  [119, '119s'],
  [2 * minute, '2m'],
  [5 * minute + 3, '5m3s'],
  [10 * minute + 3, '10m'],
  [179 * minute, '179m'],
  [3 * hour + 12 * minute, '3h12m'],
  [8 * hour + 12 * minute, '8h'],
  [47 * hour, '47h'],
  [2 * day + 4 * hour, '2d4h'],
  [8 * day + 4 * hour, '8d'],
  [729 * day, '729d'],
  [2 * 365 * day + 20 * day, '2y20d'],
  [9 * 365 * day, '9y'],
];

for (const [seconds, want] of cases) {
  test(`duration: ${seconds} s is ${want}`, () => assert.equal(humanDuration(seconds * 1000), want));
}

test('duration: an age needs a time', () => {
  assert.equal(ageOf('', 0), '<unknown>');
  assert.equal(ageOf('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:03Z')), '5m3s');
});

for (const [text, want] of [
  ['0', 0],
  ['1s', 1000],
  ['1m30.5s', 90_500],
  ['-2h', -7_200_000],
  ['100us', 0.1],
  ['.5ms', 0.5],
  ['', undefined],
  ['1', undefined],
  ['1d', undefined],
  ['s', undefined],
  ['1s ', undefined],
] as const) {
  test(`Go's duration ${JSON.stringify(text)}`, () => assert.equal(parseDurationMs(text), want));
}
