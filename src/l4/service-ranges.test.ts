import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceRangesOf } from './service-ranges.ts';

const own = ['10.43.0.0/16', 'fd43::/112'];
const cases: readonly {
  readonly name: string;
  readonly made: readonly (readonly string[])[];
  readonly want: readonly string[];
}[] = [
  { name: 'none made', made: [], want: own },
  { name: 'the own ones again', made: [['10.43.0.0/16', 'fd43::/112']], want: own },
  {
    name: 'more of both families',
    made: [['10.44.0.0/24'], ['fd44:0::/112', '10.45.0.0/24']],
    want: ['10.43.0.0/16', '10.44.0.0/24', '10.45.0.0/24', 'fd43::/112', 'fd44::/112'],
  },
  { name: 'what is no range', made: [['10.44.0.0', '']], want: own },
];

for (const { name, made, want } of cases) {
  test(`l4 service ranges: ${name}`, () => {
    const found = serviceRangesOf(
      own,
      made.map((cidrs) => ({ spec: { cidrs } })),
    );
    assert.deepEqual(found, want);
  });
}
