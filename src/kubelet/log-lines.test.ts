import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LogFormatter, parseLogLine, parseLogQuery } from './log-lines.ts';

const format = (lines: readonly string[], query = '') => {
  const formatter = new LogFormatter(
    parseLogQuery(new URLSearchParams(query), Date.parse('2026-01-01T00:01:00Z')),
  );
  return lines
    .flatMap((line) => {
      const parsed = parseLogLine(Buffer.from(line));
      return parsed === undefined ? [] : formatter.format(parsed);
    })
    .join('');
};

const lines = [
  '2026-01-01T00:00:01.5Z stdout F first',
  '2026-01-01T00:00:02.5Z stdout P sec',
  '2026-01-01T00:00:02.6Z stderr F between',
  '2026-01-01T00:00:02.7Z stdout F ond',
  '2026-01-01T00:00:50.0Z stderr F ',
  'broken',
];

for (const { name, query, want } of [
  { name: 'text alone', query: '', want: 'first\nsecbetween\nond\n\n' },
  { name: 'sinceSeconds', query: 'sinceSeconds=30', want: '\n' },
  { name: 'sinceTime', query: 'sinceTime=2026-01-01T00:00:50Z', want: '\n' },
  {
    name: 'timestamps, once a line',
    query: 'timestamps=true',
    want: '2026-01-01T00:00:01.5Z first\n2026-01-01T00:00:02.5Z sec2026-01-01T00:00:02.6Z between\nond\n2026-01-01T00:00:50.0Z \n',
  },
]) {
  test(`log lines: ${name}`, () => assert.equal(format(lines, query), want));
}

test('log query: what is no number is refused', () => {
  for (const query of ['tailLines=-1', 'limitBytes=x', 'sinceTime=yesterday']) {
    assert.throws(() => parseLogQuery(new URLSearchParams(query), 0), RangeError, query);
  }
});

test('log lines: any text comes back as it was written', () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes('\n')),
      (text) => {
        assert.equal(format([`2026-01-01T00:00:00Z stdout F ${text}`]), `${text}\n`);
      },
    ),
  );
});
