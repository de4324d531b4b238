import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readServiceCidrs } from './apiserver.ts';

const cases: readonly { readonly text: string; readonly want: readonly string[] | RegExp }[] = [
  { text: '10.43.0.0/16', want: ['10.43.0.0/16'] },
  { text: 'fd43::/112', want: ['fd43::/112'] },
  { text: '10.43.0.0/16,fd43::/112', want: ['10.43.0.0/16', 'fd43::/112'] },
  { text: 'fd43:0::1/112, 10.43.0.1/16', want: ['fd43::/112', '10.43.0.0/16'] },
  { text: 'fd43::/64', want: ['fd43::/64'] },
  { text: '', want: /use ranges such as/ },
  { text: '10.43.0.0', want: /use ranges such as/ },
  { text: '10.43.0.0/16,', want: /use ranges such as/ },
  { text: '10.43.0.0/16,10.44.0.0/16', want: /must be of different IP families/ },
  { text: '10.43.0.0/16,fd43::/112,fd44::/112', want: /at most two ranges/ },
  { text: 'fd43::/48', want: /^fd43::\/48 must have a prefix from \/64 to \/126$/ },
  { text: '10.43.0.0/31', want: /^10.43.0.0\/31 must have a prefix from \/8 to \/30$/ },
];

for (const { text, want } of cases) {
  test(`--service-cidr ${JSON.stringify(text)}`, () => {
    if (want instanceof RegExp) assert.throws(() => readServiceCidrs(text), { message: want });
    else assert.deepEqual(readServiceCidrs(text), want);
  });
}
