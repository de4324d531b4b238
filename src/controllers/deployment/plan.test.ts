import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Deployment, DeploymentSpec, ReplicaSet } from '../../api/gen/apps-v1.ts';
import { planDeployment } from './plan.ts';
import { rollingBounds } from './scale.ts';
import { planDeploymentStatus } from './status.ts';

const nowMs = Date.UTC(2026, 0, 31, 12);

function deployment(image: string, spec: Partial<DeploymentSpec> = {}): Deployment {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'd', generation: 1 },
    spec: {
      replicas: 10,
      selector: { matchLabels: { app: 'web' } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image }] } },
      ...spec,
    },
  };
}

/** A ReplicaSet as our own controller makes it: `revision` also orders them by age. */
function set(image: string, revision: number, replicas: number, available: number, max = 13): ReplicaSet {
  const labels = { app: 'web', 'pod-template-hash': `h${revision}` };
  return {
    metadata: {
      name: `web-h${revision}`,
      uid: `rs${revision}`,
      generation: 1,
      creationTimestamp: `2026-01-31T10:00:0${revision}Z`,
      annotations: {
        'deployment.kubernetes.io/revision': String(revision),
        'deployment.kubernetes.io/desired-replicas': '10',
        'deployment.kubernetes.io/max-replicas': String(max),
      },
    },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image }] } },
    },
    status: { replicas, availableReplicas: available, readyReplicas: available, observedGeneration: 1 },
  };
}

function steps(object: Deployment, sets: readonly ReplicaSet[]): string[] {
  return planDeployment(object, sets, () => []).actions.map((action) => {
    const revision = action.set.metadata?.annotations?.['deployment.kubernetes.io/revision'];
    switch (action.kind) {
      case 'create':
        return `create ${revision} with ${action.set.spec?.replicas}`;
      case 'scale':
        return `scale ${revision} to ${action.replicas}`;
      case 'annotate':
        return `annotate ${revision}`;
      case 'remove':
        return `remove ${revision}`;
    }
  });
}

const cases: readonly {
  name: string;
  deployment: Deployment;
  sets: readonly ReplicaSet[];
  want: readonly string[];
}[] = [
  {
    name: 'the first ReplicaSet has all replicas',
    deployment: deployment('a'),
    sets: [],
    want: ['create 1 with 10'],
  },
  {
    name: 'a new template starts with the surge',
    deployment: deployment('b'),
    sets: [set('a', 1, 10, 10)],
    want: ['create 2 with 3'],
  },
  {
    name: 'old Pods go as far as enough stay available',
    deployment: deployment('b'),
    sets: [set('a', 1, 10, 10), set('b', 2, 3, 0)],
    want: ['scale 1 to 8'],
  },
  {
    name: 'nothing moves while the new Pods are not available and the floor is reached',
    deployment: deployment('b'),
    sets: [set('a', 1, 8, 8), set('b', 2, 5, 0)],
    want: [],
  },
  {
    name: 'available new Pods let old ones go',
    deployment: deployment('b'),
    sets: [set('a', 1, 8, 8), set('b', 2, 5, 5)],
    want: ['scale 1 to 3'],
  },
  {
    name: 'unhealthy old Pods go before healthy ones',
    deployment: deployment('c'),
    sets: [set('a', 1, 8, 8), set('b', 2, 2, 0), set('c', 3, 3, 3)],
    want: ['scale 1 to 5', 'scale 2 to 0'],
  },
  {
    name: 'scaling up in the middle of a rollout is shared by size',
    deployment: deployment('b', {
      replicas: 20,
      strategy: { rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } },
    }),
    sets: [set('a', 1, 8, 8), set('b', 2, 5, 5)],
    want: ['scale 1 to 14', 'scale 2 to 9'],
  },
  {
    name: 'scaling to zero takes all',
    deployment: deployment('b', { replicas: 0 }),
    sets: [set('a', 1, 8, 8), set('b', 2, 5, 5)],
    want: ['scale 1 to 0', 'scale 2 to 0'],
  },
  {
    name: 'a paused Deployment scales but does not roll',
    deployment: deployment('b', { paused: true, replicas: 12 }),
    sets: [set('a', 1, 10, 10)],
    want: ['scale 1 to 12'],
  },
  {
    name: 'a paused Deployment makes no ReplicaSet',
    deployment: deployment('b', { paused: true }),
    sets: [set('a', 1, 10, 10)],
    want: [],
  },
  {
    name: 'Recreate stops the old ones first',
    deployment: deployment('b', { strategy: { type: 'Recreate' } }),
    sets: [set('a', 1, 10, 10, 10)],
    want: ['scale 1 to 0'],
  },
  {
    name: 'Recreate then starts all new ones',
    deployment: deployment('b', { strategy: { type: 'Recreate' } }),
    sets: [set('a', 1, 0, 0, 10)],
    want: ['create 2 with 10'],
  },
  {
    name: 'going back to an old template gives it the next revision',
    deployment: deployment('a'),
    sets: [set('a', 1, 0, 0), set('b', 2, 10, 10)],
    want: ['scale 1 to 3'],
  },
  {
    name: 'the oldest beyond the history limit are removed once the rollout is through',
    deployment: deployment('c', { revisionHistoryLimit: 1 }),
    sets: [set('a', 1, 0, 0), set('b', 2, 0, 0), set('c', 3, 10, 10)],
    want: ['remove 1'],
  },
  { name: 'a finished rollout rests', deployment: deployment('a'), sets: [set('a', 1, 10, 10)], want: [] },
];

for (const { name, deployment: object, sets, want } of cases) {
  test(`deployment: ${name}`, () => {
    assert.deepEqual(steps(object, sets), want);
  });
}

test('deployment: an old template that comes back keeps its history', () => {
  const plan = planDeployment(deployment('a'), [set('a', 1, 0, 0), set('b', 2, 10, 10)], () => []);
  const [action] = plan.actions;
  assert.ok(action?.kind === 'scale');
  assert.equal(action.annotations['deployment.kubernetes.io/revision'], '3');
  assert.equal(action.annotations['deployment.kubernetes.io/revision-history'], '1');
});

const boundCases = [
  {
    name: 'percentages round up for surge and down for unavailable',
    surge: '25%',
    unavailable: '25%',
    replicas: 10,
    want: [3, 2],
  },
  { name: 'both zero lets one be missing', surge: 0, unavailable: '5%', replicas: 10, want: [0, 1] },
  { name: 'no more can be missing than there are', surge: 0, unavailable: 5, replicas: 2, want: [0, 2] },
] as const;

for (const { name, surge, unavailable, replicas, want } of boundCases) {
  test(`deployment: ${name}`, () => {
    const rollingUpdate = { maxSurge: surge, maxUnavailable: unavailable };
    const bounds = rollingBounds(deployment('a', { replicas, strategy: { rollingUpdate } }));
    assert.deepEqual([bounds.maxSurge, bounds.maxUnavailable], want);
  });
}

function progressing(object: Deployment, newSet: ReplicaSet, atMs: number) {
  const input = {
    deployment: object,
    newSet,
    oldSets: [],
    progress: { kind: 'none' },
    collisionCount: undefined,
    nowMs: atMs,
  } as const;
  return planDeploymentStatus(input);
}

test('deployment: Progressing goes from updated over timed out to available', () => {
  const object = deployment('a', { progressDeadlineSeconds: 60 });
  const first = progressing(object, set('a', 1, 10, 4), nowMs);
  const reasonOf = (status: typeof first.status) =>
    status.conditions?.find(({ type }) => type === 'Progressing')?.reason;
  assert.equal(reasonOf(first.status), 'ReplicaSetUpdated');
  assert.equal(first.recheckAfterMs, 60_000);
  const late = progressing({ ...object, status: first.status }, set('a', 1, 10, 4), nowMs + 61_000);
  assert.equal(reasonOf(late.status), 'ProgressDeadlineExceeded');
  const finished = progressing({ ...object, status: late.status }, set('a', 1, 10, 10), nowMs + 90_000);
  assert.equal(reasonOf(finished.status), 'NewReplicaSetAvailable');
  const available = finished.status.conditions?.find(({ type }) => type === 'Available');
  assert.equal(available?.message, 'Deployment has minimum availability.');
});

test('deployment: a revision beyond what a number holds goes up by one', () => {
  const far = set('a', 1, 10, 10);
  const annotations = {
    ...far.metadata?.annotations,
    'deployment.kubernetes.io/revision': '3546343826724305832',
  };
  const plan = planDeployment(
    deployment('b'),
    [{ ...far, metadata: { ...far.metadata, annotations } }],
    () => [],
  );
  const made = plan.actions.find((action) => action.kind === 'create');
  assert.equal(made?.set.metadata?.annotations?.['deployment.kubernetes.io/revision'], '3546343826724305833');
});
