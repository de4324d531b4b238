import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { markDisrupted } from './disruption.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');

test('eviction: a Pod says that it was evicted, so that its Job need not count it', () => {
  const ready = { type: 'Ready', status: 'True' };
  const pod = markDisrupted({ status: { phase: 'Running', conditions: [ready] } }, nowMs);
  assert.deepEqual(pod['status'], {
    phase: 'Running',
    conditions: [
      ready,
      {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ],
  });
});

for (const [name, pod] of [
  ['is over', { status: { phase: 'Failed' } }],
  ['goes already', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' }, status: { phase: 'Running' } }],
] as const) {
  test(`eviction: a Pod that ${name} is not marked`, () =>
    assert.equal(markDisrupted(pod as JsonObject, nowMs), pod));
}
