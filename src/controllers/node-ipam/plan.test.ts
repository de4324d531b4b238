import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterCidrError, nextPodCidr, parseClusterCidr } from './plan.ts';

test('node-ipam: parts are given out in order and gaps are filled', () => {
  const cluster = parseClusterCidr('10.42.0.0/16');
  assert.equal(nextPodCidr(cluster, new Set()), '10.42.0.0/24');
  assert.equal(nextPodCidr(cluster, new Set(['10.42.0.0/24', '10.42.2.0/24'])), '10.42.1.0/24');
});

test('node-ipam: a network of one part has no second', () => {
  assert.equal(nextPodCidr(parseClusterCidr('10.9.8.0/24'), new Set(['10.9.8.0/24'])), undefined);
});

for (const text of ['10.42.0.0', '10.42.0.0/25', '300.1.1.1/16', 'fd00::/48']) {
  test(`node-ipam: ${text} is refused`, () => {
    assert.throws(() => parseClusterCidr(text), ClusterCidrError);
  });
}
