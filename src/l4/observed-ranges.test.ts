import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coveringRanges } from './observed-ranges.ts';

for (const { name, given, want } of [
  { name: 'nothing', given: [], want: [] },
  { name: 'one range', given: ['10.42.3.0/24'], want: ['10.42.3.0/24'] },
  { name: 'neighbours', given: ['10.42.2.0/24', '10.42.3.0/24'], want: ['10.42.2.0/23'] },
  { name: 'a range within another', given: ['10.42.0.0/16', '10.42.3.0/24'], want: ['10.42.0.0/16'] },
  { name: 'nothing in common', given: ['10.0.0.0/8', '192.168.0.0/16'], want: ['0.0.0.0/0'] },
  {
    name: 'both families, and a text that is none',
    given: ['fd00:0:0:4203::/64', '10.42.0.0/24', '', 'fd00:0:0:4200::/64', '10.42.1.0/24'],
    want: ['10.42.0.0/23', 'fd00:0:0:4200::/62'],
  },
]) {
  test(`ranges that cover ${name}`, () => assert.deepEqual(coveringRanges(given), want));
}
