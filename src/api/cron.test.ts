import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isTimeZone, nextTime, parseCron } from './cron.ts';

const times = [
  { name: 'every minute', cron: '* * * * *', after: '2026-01-01T00:00:30Z', want: '2026-01-01T00:01:00Z' },
  { name: 'a step', cron: '*/15 * * * *', after: '2026-01-01T00:15:00Z', want: '2026-01-01T00:30:00Z' },
  { name: 'the next day', cron: '30 2 * * *', after: '2026-01-01T03:00:00Z', want: '2026-01-02T02:30:00Z' },
  {
    name: 'a weekday by name',
    cron: '0 9 * * MON',
    after: '2026-01-01T00:00:00Z',
    want: '2026-01-05T09:00:00Z',
  },
  { name: 'Sunday as seven', cron: '0 0 * * 7', after: '2026-01-01T00:00:00Z', want: '2026-01-04T00:00:00Z' },
  { name: 'day or weekday', cron: '0 0 13 * 5', after: '2026-02-01T00:00:00Z', want: '2026-02-06T00:00:00Z' },
  { name: 'a leap day', cron: '0 0 29 2 *', after: '2026-01-01T00:00:00Z', want: '2028-02-29T00:00:00Z' },
  { name: 'a macro', cron: '@monthly', after: '2026-01-01T00:00:00Z', want: '2026-02-01T00:00:00Z' },
  { name: 'a distance', cron: '@every 1h30m', after: '2026-01-01T00:00:00Z', want: '2026-01-01T01:30:00Z' },
  { name: 'never', cron: '0 0 30 2 *', after: '2026-01-01T00:00:00Z', want: undefined },
  {
    name: 'a range with a step',
    cron: '0 8-18/5 * * *',
    after: '2026-01-01T09:00:00Z',
    want: '2026-01-01T13:00:00Z',
  },
  {
    name: 'a time zone in winter',
    cron: '0 9 * * *',
    zone: 'Europe/Berlin',
    after: '2026-01-01T00:00:00Z',
    want: '2026-01-01T08:00:00Z',
  },
  {
    name: 'a time zone in summer',
    cron: '0 9 * * *',
    zone: 'Europe/Berlin',
    after: '2026-07-01T12:00:00Z',
    want: '2026-07-02T07:00:00Z',
  },
];

for (const { name, cron, after, want, zone } of times) {
  test(`cron: next time, ${name}`, () => {
    const schedule = parseCron(cron);
    assert.ok(typeof schedule !== 'string', cron);
    const next = nextTime(schedule, Date.parse(after), zone ?? 'UTC');
    assert.equal(next === undefined ? undefined : new Date(next).toISOString().replace('.000', ''), want);
  });
}

for (const text of [
  '',
  '* * * *',
  '60 * * * *',
  '* 24 * * *',
  '5-1 * * * *',
  '*/0 * * * *',
  'x * * * *',
  '@often',
  '@every x',
  '1-2-3 * * * *',
  '1/2/3 * * * *',
]) {
  test(`cron: refused: ${JSON.stringify(text)}`, () => {
    assert.equal(typeof parseCron(text), 'string');
  });
}

test('cron: no text makes the parser throw, and next times lie ahead', () => {
  const field = fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 0, max: 70 }).map(String),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(fc.array(field, { minLength: 4, maxLength: 6 }), (fields) => {
      const schedule = parseCron(fields.join(' '));
      if (typeof schedule === 'string') return;
      const next = nextTime(schedule, 0, 'UTC');
      assert.ok(next === undefined || next > 0);
    }),
    { numRuns: 300 },
  );
});

test('cron: time zones', () => {
  assert.equal(isTimeZone('Europe/Berlin'), true);
  assert.equal(isTimeZone('Nowhere/City'), false);
});
