import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOfLog } from './runtime-view.ts';

const cases: readonly (readonly [string, string, string])[] = [
  [
    'lines keep their ends',
    '2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n',
    'one\ntwo\n',
  ],
  ['an end without a newline gets none', '2026-01-01T00:00:00Z stdout P DONE\n', 'DONE'],
  [
    'a line that was cut off at its start is left out',
    '00:00Z stdou\n2026-01-01T00:00:01Z stdout F b\n',
    'b\n',
  ],
  ['nothing', '', ''],
];

for (const [title, log, message] of cases) {
  test(`a log as termination message: ${title}`, () => assert.equal(endOfLog(log), message));
}
