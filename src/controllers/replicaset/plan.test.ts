import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReplicaSet } from '../../api/gen/apps-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { planReplicaSet, planReplicaSetStatus, rankForDeletion } from './plan.ts';

const nowMs = Date.UTC(2026, 0, 31, 12);

function replicaSet(replicas: number, over: ReplicaSet['metadata'] = {}): ReplicaSet {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'rs', generation: 3, ...over },
    spec: {
      replicas,
      minReadySeconds: 10,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } } },
    },
  };
}

const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs', controller: true };

function pod(
  name: string,
  over: { readonly metadata?: Pod['metadata']; readonly spec?: object; readonly status?: object } = {},
): Pod {
  return {
    metadata: { name, uid: name, labels: { app: 'web' }, ownerReferences: [owner], ...over.metadata },
    spec: { containers: [], nodeName: 'n1', ...over.spec },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }], ...over.status },
  };
}

const goes = { deletionTimestamp: '2026-01-31T11:59:00Z' };
const cases = [
  { name: 'missing Pods are created', replicas: 3, pods: [pod('a')], want: { create: 2, remove: 0 } },
  {
    name: 'surplus Pods go',
    replicas: 1,
    pods: [pod('a'), pod('b'), pod('c')],
    want: { create: 0, remove: 2 },
  },
  {
    name: 'a terminating Pod is replaced at once',
    replicas: 1,
    pods: [pod('a', { metadata: { ...pod('a').metadata, ...goes } })],
    want: { create: 1, remove: 0 },
  },
  {
    name: 'a failed Pod is replaced',
    replicas: 1,
    pods: [pod('a', { status: { phase: 'Failed' } })],
    want: { create: 1, remove: 0 },
  },
  {
    name: 'an orphan that matches counts',
    replicas: 1,
    pods: [pod('a', { metadata: { name: 'a', labels: { app: 'web' } } })],
    want: { create: 0, remove: 0 },
  },
  {
    name: 'a Pod whose labels changed is let go and replaced',
    replicas: 1,
    pods: [pod('a', { metadata: { name: 'a', labels: {}, ownerReferences: [owner] } })],
    want: { create: 1, remove: 0 },
  },
  { name: 'never more than a burst at once', replicas: 800, pods: [], want: { create: 500, remove: 0 } },
] as const;

for (const { name, replicas, pods, want } of cases) {
  test(`replicaset: ${name}`, () => {
    const plan = planReplicaSet(replicaSet(replicas), pods, pods);
    assert.deepEqual({ create: plan.create, remove: plan.remove.length }, want);
  });
}

test('replicaset: one that is being deleted neither adopts nor creates', () => {
  const orphan = pod('a', { metadata: { name: 'a', labels: { app: 'web' } } });
  const plan = planReplicaSet(replicaSet(3, goes), [orphan], []);
  assert.deepEqual([plan.create, plan.claims.adopt], [0, []]);
});

test('replicaset: the most dispensable Pod goes first', () => {
  const ranked = [
    pod('unassigned', { spec: { nodeName: undefined }, status: { phase: 'Pending', conditions: [] } }),
    pod('pending', { status: { phase: 'Pending', conditions: [] } }),
    pod('not-ready', { status: { conditions: [] } }),
    pod('cheap', {
      metadata: { name: 'cheap', annotations: { 'controller.kubernetes.io/pod-deletion-cost': '-5' } },
    }),
    pod('crowded', { spec: { nodeName: 'n2' } }),
    pod('restarted', { status: { containerStatuses: [{ restartCount: 2 }] } }),
    pod('young', { metadata: { name: 'young', creationTimestamp: '2026-01-31T11:00:00Z' } }),
    pod('old', { metadata: { name: 'old', creationTimestamp: '2026-01-31T10:00:00Z' } }),
  ];
  const related = [
    ...ranked,
    pod('x', { spec: { nodeName: 'n2' } }),
    ...Array.from({ length: 8 }, (_, at) => pod(`y${at}`, { spec: { nodeName: 'n2' } })),
  ];
  const names = rankForDeletion(ranked.toReversed(), related).map(({ metadata }) => metadata?.name);
  assert.deepEqual(
    names,
    ranked.map(({ metadata }) => metadata?.name),
  );
});

test('replicaset: status counts, and comes back when the next Pod becomes available', () => {
  const readySince = (time: string) => ({
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: time }],
  });
  const pods = [
    pod('a', { status: readySince('2026-01-31T11:59:00Z') }),
    pod('b', { status: readySince('2026-01-31T11:59:56Z') }),
    pod('c', { status: { conditions: [] } }),
  ];
  const { status, recheckAfterMs } = planReplicaSetStatus(replicaSet(3), pods, nowMs);
  assert.equal(status.replicas, 3);
  assert.equal(status.readyReplicas, 2);
  assert.equal(status.availableReplicas, 1);
  assert.equal(status.observedGeneration, 3);
  assert.equal(recheckAfterMs, 6000);
});
