import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { deploymentKind } from './deployment.ts';
import { jobKind } from './job.ts';
import { replicaSetKind } from './replicaset.ts';
import { statefulSetKind } from './statefulset.ts';

const template: JsonObject = {
  metadata: { labels: { app: 'web' } },
  spec: { containers: [{ name: 'a', image: 'caddy' }] },
};

function made(kind: Kind, spec: JsonObject): JsonObject {
  const object: JsonObject = {
    metadata: { name: 'web', namespace: 'default' },
    spec: structuredClone({ selector: { matchLabels: { app: 'web' } }, template, ...spec }),
  };
  kind.setDefaults?.(object);
  return object;
}

function texts(errors: readonly FieldError[] | undefined): readonly string[] {
  return (errors ?? []).map((error) => `${error.field}: ${error.message}`);
}

test('deployment: defaults are Kubernetes’ and valid', () => {
  const deployment = made(deploymentKind, {});
  const { template: _template, selector: _selector, ...rest } = deployment['spec'] as JsonObject;
  assert.deepEqual(rest, {
    replicas: 1,
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' } },
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
  });
  assert.deepEqual(texts(deploymentKind.validate?.(deployment)), []);
});

const invalid: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  {
    name: 'a selector that does not match',
    spec: { selector: { matchLabels: { app: 'db' } } },
    want: [
      'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ],
  },
  {
    name: 'an empty selector',
    spec: { selector: {} },
    want: ['spec.selector: Invalid value: {}: empty selector is invalid for deployment'],
  },
  {
    name: 'negative replicas',
    spec: { replicas: -1 },
    want: ['spec.replicas: Invalid value: -1: must be greater than or equal to 0'],
  },
  {
    name: 'a strategy that cannot move',
    spec: { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } } },
    want: ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0'],
  },
  {
    name: 'Recreate with a rolling update',
    spec: { strategy: { type: 'Recreate', rollingUpdate: {} } },
    want: ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
  },
  {
    name: 'a template that may end',
    spec: {
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'x' }] },
      },
    },
    want: ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
  },
];

for (const { name, spec, want } of invalid) {
  test(`deployment: invalid ${name}`, () => {
    assert.deepEqual(texts(deploymentKind.validate?.(made(deploymentKind, spec))), want);
  });
}

for (const { name, spec, want } of [
  { name: 'what is replaced once it failed', spec: { podReplacementPolicy: 'Failed' }, want: [] },
  {
    name: 'a replacement policy that nobody knows',
    spec: { podReplacementPolicy: 'Never' },
    want: [
      'spec.podReplacementPolicy: Unsupported value: "Never": supported values: "Failed", "TerminatingOrFailed"',
    ],
  },
]) {
  test(`job: ${name}`, () => {
    const job = made(jobKind, {
      selector: { matchLabels: { app: 'web' } },
      template: { ...template, spec: { ...(template['spec'] as JsonObject), restartPolicy: 'Never' } },
      ...spec,
    });
    assert.deepEqual(texts(jobKind.validate?.(job)), want);
  });
}

test('deployment: the generation counts changes of the spec only, and status is kept', () => {
  const old = made(deploymentKind, {});
  deploymentKind.prepareForCreate?.(old);
  old['status'] = { replicas: 1 };
  const same = structuredClone(old);
  (same['metadata'] as JsonObject)['labels'] = { a: 'b' };
  same['status'] = { replicas: 9 };
  deploymentKind.prepareForUpdate?.(same, old);
  assert.equal((same['metadata'] as JsonObject)['generation'], 1);
  assert.deepEqual(same['status'], { replicas: 1 });
  const scaled = structuredClone(old);
  (scaled['spec'] as JsonObject)['replicas'] = 3;
  deploymentKind.prepareForUpdate?.(scaled, old);
  assert.equal((scaled['metadata'] as JsonObject)['generation'], 2);
});

test('deployment: the selector is immutable', () => {
  const old = made(deploymentKind, {});
  const other = structuredClone(old);
  (other['spec'] as JsonObject)['selector'] = { matchLabels: { app: 'x' } };
  assert.deepEqual(texts(deploymentKind.validateUpdate?.(other, old)), [
    'spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable',
  ]);
});

test('statefulset: containers may mount what the claims will give, and nothing else', () => {
  const mounting = (name: string) => ({
    ...template,
    spec: { containers: [{ name: 'a', image: 'caddy', volumeMounts: [{ name, mountPath: '/data' }] }] },
  });
  const claim = {
    metadata: { name: 'data' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  };
  const errors = (name: string) =>
    texts(
      statefulSetKind.validate?.(
        made(statefulSetKind, { template: mounting(name), volumeClaimTemplates: [claim] }),
      ),
    );
  assert.deepEqual(errors('data'), []);
  assert.deepEqual(errors('dato'), [
    'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "dato"',
  ]);
});

test('workload columns', () => {
  const deployment = made(deploymentKind, { replicas: 3 });
  deployment['status'] = { readyReplicas: 2, updatedReplicas: 3, availableReplicas: 1 };
  const cells = deploymentKind.columns.map((column) => column.cell(deployment, 0));
  assert.deepEqual(cells, ['web', '2/3', 3, 1, '<unknown>', 'a', 'caddy', 'app=web']);
  const replicaSet = made(replicaSetKind, { replicas: 3 });
  replicaSet['status'] = { replicas: 3, readyReplicas: 2 };
  assert.deepEqual(
    replicaSetKind.columns.map((column) => column.cell(replicaSet, 0)),
    ['web', 3, 3, 2, '<unknown>', 'a', 'caddy', 'app=web'],
  );
});
