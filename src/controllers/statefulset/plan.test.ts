import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatefulSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { planStatefulSet, podOfOrdinal } from './plan.ts';

function setOf(spec: Partial<NonNullable<StatefulSet['spec']>>): StatefulSet {
  return {
    metadata: { name: 'db', namespace: 'a', uid: 'u' },
    spec: { replicas: 3, selector: {}, serviceName: 'db', template: { spec: { containers: [] } }, ...spec },
  };
}

/** "0 new ready", "1 old", "2 new gone": ordinal, revision and state of a Pod. */
function podOf(text: string): Pod {
  const [ordinal = '0', revision = 'new', state = ''] = text.split(' ');
  const pod = podOfOrdinal(setOf({}), Number(ordinal), revision);
  const conditions = state === 'ready' ? [{ type: 'Ready', status: 'True' }] : [];
  const deletion = state === 'gone' ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {};
  return {
    ...pod,
    metadata: { ...pod.metadata, ...deletion },
    status: { phase: state === 'failed' ? 'Failed' : 'Running', conditions },
  };
}

const partition = (at: number) => ({
  updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: at } },
});

const cases: readonly {
  readonly name: string;
  readonly spec?: Partial<NonNullable<StatefulSet['spec']>>;
  readonly pods: readonly string[];
  readonly create?: readonly string[];
  readonly remove?: readonly string[];
}[] = [
  { name: 'the first comes alone', pods: [], create: ['0 new'] },
  { name: 'the next waits for the one before', pods: ['0 new'] },
  { name: 'the next follows a ready one', pods: ['0 new ready'], create: ['1 new'] },
  {
    name: 'Parallel makes all at once',
    spec: { podManagementPolicy: 'Parallel' },
    pods: [],
    create: ['0 new', '1 new', '2 new'],
  },
  {
    name: 'the highest goes first',
    spec: { replicas: 1 },
    pods: ['0 new ready', '1 new ready', '2 new ready'],
    remove: ['db-2'],
  },
  { name: 'one leaves at a time', spec: { replicas: 1 }, pods: ['0 new ready', '1 new ready', '2 new gone'] },
  {
    name: 'a rollout begins at the top',
    pods: ['0 old ready', '1 old ready', '2 old ready'],
    remove: ['db-2'],
  },
  { name: 'a rollout waits for the new one', pods: ['0 old ready', '1 old ready', '2 new'] },
  {
    name: 'a partition keeps the old',
    spec: partition(2),
    pods: ['0 old ready', '1 old ready', '2 new ready'],
  },
  {
    name: 'below the partition the old is made',
    spec: partition(2),
    pods: ['1 old ready', '2 new ready'],
    create: ['0 old'],
  },
  {
    name: 'OnDelete waits for somebody',
    spec: { updateStrategy: { type: 'OnDelete' } },
    pods: ['0 old ready', '1 old ready', '2 old ready'],
  },
  { name: 'a failed one is replaced', pods: ['0 new failed'], remove: ['db-0'] },
  { name: 'ordinals may start elsewhere', spec: { ordinals: { start: 5 } }, pods: [], create: ['5 new'] },
];

for (const { name, spec = {}, pods, create = [], remove = [] } of cases) {
  test(`statefulset: ${name}`, () => {
    const plan = planStatefulSet(setOf(spec), pods.map(podOf), { current: 'old', update: 'new' }, 0);
    assert.deepEqual(
      plan.create.map(({ ordinal, revision }) => `${ordinal} ${revision}`),
      create,
    );
    assert.deepEqual(
      plan.remove.map(({ metadata }) => metadata?.name),
      remove,
    );
  });
}

test('statefulset: a complete rollout makes the new revision the current one', () => {
  const pods = ['0 new ready', '1 new ready', '2 new ready'].map(podOf);
  const { status } = planStatefulSet(setOf({}), pods, { current: 'old', update: 'new' }, 0);
  assert.deepEqual([status.currentRevision, status.updatedReplicas, status.readyReplicas], ['new', 3, 3]);
});
