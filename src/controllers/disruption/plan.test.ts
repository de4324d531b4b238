import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../api/gen/core-v1.ts';
import { planBudget } from './plan.ts';

function podOf(name: string, ready: boolean): Pod {
  return {
    metadata: {
      name,
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'a', uid: 'u', controller: true }],
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

const cases = [
  { name: 'a count that must stay', spec: { minAvailable: 2 }, ready: 3, unready: 0, scale: 3, want: 1 },
  { name: 'none to spare', spec: { minAvailable: 2 }, ready: 2, unready: 1, scale: 3, want: 0 },
  {
    name: 'a share that must stay, rounded up',
    spec: { minAvailable: '50%' },
    ready: 3,
    unready: 0,
    scale: 3,
    want: 1,
  },
  {
    name: 'a count that may be missing',
    spec: { maxUnavailable: 1 },
    ready: 3,
    unready: 0,
    scale: 3,
    want: 1,
  },
  { name: 'one is missing already', spec: { maxUnavailable: 1 }, ready: 2, unready: 0, scale: 3, want: 0 },
  { name: 'no Pods', spec: { minAvailable: 0 }, ready: 0, unready: 0, scale: 0, want: 0 },
];

for (const { name, spec, ready, unready, scale, want } of cases) {
  test(`disruption: ${name}`, () => {
    const pods = [
      ...Array.from({ length: ready }, (_, at) => podOf(`r${at}`, true)),
      ...Array.from({ length: unready }, (_, at) => podOf(`u${at}`, false)),
    ];
    assert.equal(planBudget({ spec }, pods, () => scale, 0).status.disruptionsAllowed, want);
  });
}

test('disruption: an eviction that is under way counts until its Pod is gone or two minutes are over', () => {
  const status = { disruptedPods: { r0: '2026-01-01T00:00:00Z' } };
  const pods = [podOf('r0', true), podOf('r1', true)];
  const at = Date.parse('2026-01-01T00:01:00Z');
  const plan = planBudget({ spec: { minAvailable: 1 }, status }, pods, () => 2, at);
  assert.equal(plan.status.disruptionsAllowed, 0);
  assert.equal(plan.recheckAfterMs, 60_000);
  const later = planBudget({ spec: { minAvailable: 1 }, status }, pods, () => 2, at + 60_000);
  assert.equal(later.status.disruptionsAllowed, 1);
});
