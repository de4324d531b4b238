import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../api/gen/core-v1.ts';
import { claimsInUse, wantedFinalizers } from './plan.ts';

const held = 'kubernetes.io/pvc-protection';
const deletionTimestamp = '2026-01-01T00:00:00Z';

for (const { name, metadata, inUse, want } of [
  { name: 'a new one is held', metadata: {}, inUse: false, want: [held] },
  { name: 'one that is held stays so', metadata: { finalizers: [held] }, inUse: false, want: undefined },
  {
    name: 'one that goes and is used stays held',
    metadata: { finalizers: [held], deletionTimestamp },
    inUse: true,
    want: undefined,
  },
  {
    name: 'one that goes and is not used is let go, others keep their hold',
    metadata: { finalizers: ['a/b', held], deletionTimestamp },
    inUse: false,
    want: ['a/b'],
  },
  { name: 'one that goes is not held anew', metadata: { deletionTimestamp }, inUse: true, want: undefined },
]) {
  test(`volume protection: ${name}`, () =>
    assert.deepEqual(wantedFinalizers({ metadata }, held, inUse), want));
}

test('volume protection: a Pod uses its claims once it has a node', () => {
  const volumes = [
    { name: 'a', persistentVolumeClaim: { claimName: 'data' } },
    { name: 'b', emptyDir: {} },
  ];
  const pod = (nodeName: string): Pod => ({
    metadata: { name: 'p', namespace: 'shop' },
    spec: { containers: [], volumes, nodeName },
  });
  assert.deepEqual(claimsInUse(pod('n1')), ['shop/data']);
  assert.deepEqual(claimsInUse(pod('')), []);
});
