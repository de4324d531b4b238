import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { autoscalingKinds } from './autoscaling.ts';

const scaleTargetRef = { kind: 'Deployment', name: 'web', apiVersion: 'apps/v1' };

function errorsOf(version: string, spec: JsonObject): readonly string[] {
  const kind = autoscalingKinds.find((one) => one.version === version);
  const metadata = { name: 'web', namespace: 'default' };
  const object: JsonObject = { metadata, spec: { scaleTargetRef, maxReplicas: 3, ...spec } };
  kind?.setDefaults?.(object);
  return (kind?.validate?.(object) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

const at = 'spec.metrics[0]';
const metric = (type: string, source: JsonObject): JsonObject => ({
  metrics: [{ type, [type.charAt(0).toLowerCase() + type.slice(1)]: source }],
});
const half = { type: 'Utilization', averageUtilization: 50 };
const scaleUp = (rules: JsonObject): JsonObject => ({ behavior: { scaleUp: rules } });

for (const { name, version = 'v2', spec, want } of [
  { name: 'defaults', spec: {}, want: [] },
  {
    name: 'every type of metric',
    spec: {
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: half } },
        { type: 'ContainerResource', containerResource: { name: 'cpu', container: 'a', target: half } },
        {
          type: 'Pods',
          pods: { metric: { name: 'a' }, target: { type: 'AverageValue', averageValue: '5' } },
        },
        {
          type: 'Object',
          object: {
            describedObject: scaleTargetRef,
            metric: { name: 'a' },
            target: { type: 'Value', value: '5' },
          },
        },
        { type: 'External', external: { metric: { name: 'a' }, target: { type: 'Value', value: '5' } } },
      ],
    },
    want: [],
  },
  {
    name: 'counts',
    spec: { minReplicas: 0, maxReplicas: 0 },
    want: [
      'spec.minReplicas: Invalid value: 0: must be greater than or equal to 1',
      'spec.maxReplicas: Invalid value: 0: must be greater than 0',
    ],
  },
  {
    name: 'a target without a name',
    spec: { scaleTargetRef: { kind: 'a/b' } },
    want: [
      'spec.scaleTargetRef.kind: Invalid value: "a/b": may not contain \'/\'',
      'spec.scaleTargetRef.name: Required value',
    ],
  },
  {
    name: 'a metric without a type',
    spec: { metrics: [{}] },
    want: [`${at}.type: Required value: must specify a metric source type`],
  },
  {
    name: 'a metric of an unknown type',
    spec: { metrics: [{ type: 'Moon' }] },
    want: [
      `${at}.type: Unsupported value: "Moon": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"`,
    ],
  },
  {
    name: 'another source than its type says',
    spec: { metrics: [{ type: 'Resource', pods: {} }] },
    want: [
      `${at}.resource: Required value: must populate information for the given metric source`,
      `${at}.pods: Forbidden: must populate the given metric source only`,
    ],
  },
  {
    name: 'a resource without anything',
    spec: metric('Resource', {}),
    want: [
      `${at}.resource.name: Required value: must specify a resource name`,
      `${at}.resource.target.type: Required value: must specify a metric target type`,
      `${at}.resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization`,
    ],
  },
  {
    name: 'two targets of a resource',
    spec: metric('Resource', { name: 'cpu', target: { ...half, averageValue: '1' } }),
    want: [
      `${at}.resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization`,
    ],
  },
  {
    name: 'amounts below zero',
    spec: metric('ContainerResource', { name: 'cpu', target: { type: 'Much', averageValue: '-1' } }),
    want: [
      `${at}.containerResource.container: Required value: must specify a container`,
      `${at}.containerResource.target.type: Invalid value: "Much": must be either Utilization, Value, or AverageValue`,
      `${at}.containerResource.target.averageValue: Invalid value: "-1": must be positive`,
    ],
  },
  {
    name: 'Pods without an average',
    spec: metric('Pods', { metric: {}, target: { type: 'AverageValue' } }),
    want: [
      `${at}.pods.metric.name: Required value: must specify a metric name`,
      `${at}.pods.target.averageValue: Required value: must specify a positive target averageValue`,
    ],
  },
  {
    name: 'two targets of something external',
    spec: metric('External', {
      metric: { name: 'a' },
      target: { type: 'Value', value: '1', averageValue: '1' },
    }),
    want: [
      `${at}.external.target.value: Forbidden: may not set both a target value for metric and a per-pod target`,
    ],
  },
  {
    name: 'an object without a target',
    spec: metric('Object', {
      describedObject: scaleTargetRef,
      metric: { name: 'a' },
      target: { type: 'Value' },
    }),
    want: [
      `${at}.object.target.averageValue: Required value: must set either a target value for metric or a per-pod target`,
    ],
  },
  {
    name: 'behavior',
    spec: scaleUp({
      stabilizationWindowSeconds: 3601,
      selectPolicy: 'Some',
      policies: [{ type: 'Nodes', value: 0, periodSeconds: 1801 }],
    }),
    want: [
      'spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600',
      'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Some": supported values: "Disabled", "Max", "Min"',
      'spec.behavior.scaleUp.policies[0].type: Unsupported value: "Nodes": supported values: "Percent", "Pods"',
      'spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero',
      'spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800',
    ],
  },
  { name: 'no change by behavior', spec: scaleUp({ selectPolicy: 'Disabled' }), want: [] },
  {
    name: 'behavior without a policy',
    spec: scaleUp({ policies: [] }),
    want: ['spec.behavior.scaleUp.policies: Required value: must specify at least one Policy'],
  },
  {
    name: 'v1 with a target below one',
    version: 'v1',
    spec: { targetCPUUtilizationPercentage: 0 },
    want: [`${at}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0`],
  },
]) {
  test(`autoscaler: ${name}`, () => assert.deepEqual(errorsOf(version, spec), want));
}

test('autoscaler: a behavior says what it leaves open', () => {
  const kind = autoscalingKinds.find((one) => one.version === 'v2');
  const policies = [{ type: 'Pods', value: 1, periodSeconds: 60 }];
  const object: JsonObject = {
    spec: { scaleTargetRef, maxReplicas: 3, behavior: { scaleDown: { policies } } },
  };
  kind?.setDefaults?.(object);
  const once = structuredClone(object);
  kind?.setDefaults?.(object);
  assert.deepEqual(object, once);
  assert.partialDeepStrictEqual(object['spec'], {
    behavior: {
      scaleUp: {
        stabilizationWindowSeconds: 0,
        selectPolicy: 'Max',
        policies: [
          { type: 'Pods', value: 4, periodSeconds: 15 },
          { type: 'Percent', value: 100, periodSeconds: 15 },
        ],
      },
      scaleDown: { selectPolicy: 'Max', policies },
    },
  });
});

test('autoscaling: a table shows what there is and what there should be, of two metrics', () => {
  const pods = { metric: { name: 'requests' }, target: { type: 'AverageValue', averageValue: '5' } };
  const external = { metric: { name: 'queue' }, target: { type: 'AverageValue', averageValue: '9' } };
  const resource = { name: 'cpu', target: half };
  const current = { averageUtilization: 12, averageValue: '120m' };
  const status = {
    currentMetrics: [
      { type: 'External', external: { metric: { name: 'queue' }, current: { averageValue: '7' } } },
      { type: 'Resource', resource: { name: 'memory', current: { averageUtilization: 90 } } },
      { type: 'Resource', resource: { name: 'cpu', current } },
    ],
  };
  const metrics: JsonObject[] = [
    { type: 'Resource', resource },
    { type: 'Pods', pods },
    { type: 'External', external },
  ];
  const [v2, v1] = autoscalingKinds;
  const shown = (...listed: JsonObject[]) =>
    v2?.columns
      .find(({ name }) => name === 'Targets')
      ?.cell({ metadata: {}, spec: { scaleTargetRef, metrics: listed }, status }, 0);
  assert.equal(shown(...metrics), 'cpu: 12%/50%, <unknown>/5 + 1 more...');
  assert.equal(shown(...metrics.slice(2)), '7/9 (avg)');
  const asV1 = v1?.stored?.fromStored?.({ metadata: {}, spec: { scaleTargetRef, metrics }, status });
  assert.deepEqual(asV1?.['status'], { currentCPUUtilizationPercentage: 12 });
});
