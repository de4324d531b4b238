import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { findKind } from '../registry.ts';
import { podKind } from './pod.ts';

const spec = {
  containers: [{ name: 'a', image: 'x', env: [{ name: 'a=b' }] }],
  topologySpreadConstraints: [{ maxSkew: 0, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' }],
  schedulingGates: [{ name: 'a b' }],
};
const template = { metadata: { labels: { app: 'a' } }, spec };
const selector = { matchLabels: { app: 'a' } };

/** Every kind with a template, and where the template lies. */
const cases: readonly (readonly [string, string, string, JsonObject])[] = [
  ['apps', 'deployments', 'spec.template.spec', { spec: { selector, template } }],
  ['apps', 'replicasets', 'spec.template.spec', { spec: { selector, template } }],
  ['apps', 'daemonsets', 'spec.template.spec', { spec: { selector, template } }],
  ['apps', 'statefulsets', 'spec.template.spec', { spec: { selector, template, serviceName: 's' } }],
  ['', 'replicationcontrollers', 'spec.template.spec', { spec: { selector: { app: 'a' }, template } }],
  [
    'batch',
    'jobs',
    'spec.template.spec',
    { spec: { template: { ...template, spec: { ...spec, restartPolicy: 'Never' } } } },
  ],
  [
    'batch',
    'cronjobs',
    'spec.jobTemplate.spec.template.spec',
    {
      spec: {
        schedule: '* * * * *',
        jobTemplate: { spec: { template: { ...template, spec: { ...spec, restartPolicy: 'Never' } } } },
      },
    },
  ],
  ['', 'podtemplates', 'template.spec', { template }],
];

for (const [group, plural, path, object] of cases) {
  test(`pod templates: ${plural} tell of them under ${path}`, () => {
    const kind = findKind(group, 'v1', plural);
    const made = structuredClone({ metadata: { name: 'n', namespace: 'default', uid: 'u' }, ...object });
    kind?.setDefaults?.(made);
    kind?.prepareForCreate?.(made);
    const errors = kind?.validate?.(made) ?? [];
    const fields = errors.map(({ field }) => field).filter((field) => field.startsWith(path));
    assert.deepEqual(fields, [
      `${path}.containers[0].env[0].name`,
      `${path}.schedulingGates[0]`,
      `${path}.topologySpreadConstraints[0].maxSkew`,
    ]);
  });
}

test('pod templates: what a Pod gets only when it is made is not asked of its template', () => {
  const kind = findKind('', 'v1', 'podtemplates');
  const containers = [{ name: 'a', image: ' x', ports: [{ containerPort: 80 }] }];
  const made = {
    metadata: { name: 'n', namespace: 'default' },
    template: { spec: { containers, hostNetwork: true } },
  };
  kind?.setDefaults?.(made);
  assert.deepEqual(kind?.validate?.(made), []);
});

test('pod: label keys are written into the selectors beside them, once', () => {
  const labelSelector = { matchLabels: { app: 'a' } };
  const pod: JsonObject = {
    metadata: { name: 'p', namespace: 'default', labels: { app: 'a', tier: 't', rev: '1' } },
    spec: {
      containers: [{ name: 'a', image: 'x' }],
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            {
              topologyKey: 'zone',
              labelSelector: structuredClone(labelSelector),
              matchLabelKeys: ['tier', 'absent'],
              mismatchLabelKeys: ['rev'],
            },
          ],
        },
      },
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'zone',
          whenUnsatisfiable: 'DoNotSchedule',
          labelSelector: structuredClone(labelSelector),
          matchLabelKeys: ['rev'],
        },
      ],
    },
  };
  for (let round = 0; round < 2; round++) {
    podKind.setDefaults?.(pod);
    podKind.prepareForCreate?.(pod);
  }
  assert.deepEqual(podKind.validate?.(pod), []);
  const text = JSON.stringify(pod);
  assert.match(text, /"key":"tier","operator":"In","values":\["t"\]/);
  assert.match(text, /"key":"rev","operator":"NotIn","values":\["1"\]/);
  assert.match(text, /"key":"rev","operator":"In","values":\["1"\]/);
  assert.equal(text.match(/"operator":/g)?.length, 3 + 2, 'with the two default tolerations');
});
