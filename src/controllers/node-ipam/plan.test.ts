import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterCidrError, nextPodCidrs, parseClusterCidrs } from './plan.ts';

test('node-ipam: parts are given out in order and gaps are filled', () => {
  const cluster = parseClusterCidrs('10.42.0.0/16');
  assert.deepEqual(nextPodCidrs(cluster, new Set()), ['10.42.0.0/24']);
  assert.deepEqual(nextPodCidrs(cluster, new Set(['10.42.0.0/24', '10.42.2.0/24'])), ['10.42.1.0/24']);
});

test('node-ipam: a part of each family, in the order of the networks', () => {
  const cluster = parseClusterCidrs('fd00:0:0:4200::/56,10.42.0.0/16');
  assert.deepEqual(nextPodCidrs(cluster, new Set(['fd00:0:0:4200::/64'])), [
    'fd00:0:0:4201::/64',
    '10.42.0.0/24',
  ]);
});

test('node-ipam: a network of one part has no second', () => {
  assert.equal(nextPodCidrs(parseClusterCidrs('10.9.8.0/24'), new Set(['10.9.8.0/24'])), undefined);
  const both = parseClusterCidrs('10.42.0.0/16,fd00::/64');
  assert.equal(nextPodCidrs(both, new Set(['fd00::/64'])), undefined, 'half of what it needs is nothing');
});

for (const text of [
  '10.42.0.0',
  '10.42.0.0/25',
  '10.0.0.0/7',
  '300.1.1.1/16',
  'fd00::/47',
  'fd00::/65',
  '10.42.0.0/16,10.44.0.0/16',
  '10.42.0.0/16,fd00::/56,fd01::/56',
  '',
]) {
  test(`node-ipam: "${text}" is refused`, () => {
    assert.throws(() => parseClusterCidrs(text), ClusterCidrError);
  });
}
