import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodStatus } from '../api/gen/core-v1.ts';
import { planStatusPatch } from './status-patch.ts';

const base: PodStatus = {
  phase: 'Pending',
  podIPs: [{ ip: '10.42.0.2' }],
  conditions: [
    { type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'no', lastTransitionTime: 't0' },
    { type: 'other.example/gate', status: 'True' },
  ],
};
const ready: PodStatus = {
  ...base,
  phase: 'Running',
  conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 't1' }],
};

test('status patch: nothing when nothing differs', () => {
  assert.equal(planStatusPatch('u', base, { ...base, conditions: base.conditions?.slice(0, 1) }), undefined);
});

test('status patch: only what differs, and old reasons are taken out', () => {
  assert.deepEqual(planStatusPatch('u', base, ready), {
    metadata: { uid: 'u' },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 't1', reason: null, message: null }],
    },
  });
});

test('status patch: addresses are replaced, not merged', () => {
  assert.deepEqual(planStatusPatch('u', base, { ...base, podIPs: [{ ip: '10.42.0.3' }] })?.['status'], {
    podIPs: [{ ip: '10.42.0.3' }, { $patch: 'replace' }],
  });
});

test('status patch: a new time alone is no change', () => {
  const later = base.conditions?.map((condition) => ({ ...condition, lastTransitionTime: 't9' }));
  assert.equal(planStatusPatch('u', base, { ...base, conditions: later }), undefined);
});

test('status patch: a passing condition is taken out, those of others stay', () => {
  const conditions = [
    ...(base.conditions ?? []),
    { type: 'PodResizeInProgress', status: 'True' },
    { type: 'example.com/gate', status: 'True' },
  ];
  assert.deepEqual(planStatusPatch('u', { ...base, conditions }, base)?.['status'], {
    conditions: [{ type: 'PodResizeInProgress', $patch: 'delete' }],
  });
});
