import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetricSpec } from '../../api/gen/autoscaling-v2.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { type ApiClient, ApiError } from '../../client/client.ts';
import { emptyHistory } from './behavior.ts';
import { planByMetrics, planWithoutMetrics, statusOf } from './plan.ts';
import { type MetricOutcome, recommend } from './recommend.ts';

const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' };
const scaler = { metadata: { name: 'web' }, spec: { scaleTargetRef, minReplicas: 2, maxReplicas: 9 } };
const nowMs = Date.parse('2026-01-01T01:00:00Z');
const timestamp = '2026-01-01T00:59:50Z';

/** Answers GETs of these paths; others are not there. */
function server(answers: Readonly<Record<string, object>>): Pick<ApiClient, 'raw'> {
  return {
    raw(path) {
      const answer = answers[path];
      if (answer === undefined) return Promise.reject(new ApiError('NotFound', `no ${path}`));
      return Promise.resolve(JSON.stringify(answer));
    },
  };
}

const pod = (name: string): Pod => ({
  metadata: { name, namespace: 'default' },
  spec: { containers: [{ name: 'a', resources: { requests: { cpu: '100m' } } }, { name: 'b' }] },
  status: {
    phase: 'Running',
    startTime: '2026-01-01T00:00:00Z',
    conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:01Z' }],
  },
});
const usageOf = (name: string, a: string) => ({
  metadata: { name },
  timestamp,
  window: '15.02s',
  containers: [
    { name: 'a', usage: { cpu: a, memory: '100Mi' } },
    { name: 'b', usage: { cpu: '1m', memory: '28Mi' } },
  ],
});

const custom = '/apis/custom.metrics.k8s.io';
const web = '/namespaces/default';
const answers = {
  '/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb': {
    items: [usageOf('p0', '190000001n'), usageOf('p1', '210m')],
  },
  [custom]: { preferredVersion: { groupVersion: 'custom.metrics.k8s.io/v1beta2' } },
  [`${custom}/v1beta2${web}/pods/*/requests?labelSelector=app%3Dweb`]: {
    items: ['p0', 'p1'].map((name) => ({
      describedObject: { name },
      timestamp,
      windowSeconds: 60,
      value: '1500m',
    })),
  },
  '/apis/apps/v1': {
    resources: [
      { name: 'deployments', kind: 'Deployment', namespaced: true, verbs: ['list', 'watch', 'delete'] },
    ],
  },
  [`${custom}/v1beta2${web}/deployments.apps/web/queue?metricLabelSelector=kind%3Dfast`]: {
    items: [{ timestamp, value: '12' }],
  },
  [`/apis/external.metrics.k8s.io/v1beta1${web}/messages`]: { items: [{ value: '3' }, { value: '4500m' }] },
};

const percent = (averageUtilization: number) => ({ type: 'Utilization', averageUtilization });
const average = (averageValue: string) => ({ type: 'AverageValue', averageValue });

const cases: readonly {
  readonly name: string;
  readonly metric: MetricSpec;
  readonly want: readonly unknown[];
}[] = [
  {
    name: 'one container of each Pod',
    metric: {
      type: 'ContainerResource',
      containerResource: { name: 'cpu', container: 'a', target: percent(80) },
    },
    want: [
      5,
      'cpu resource utilization (percentage of request)',
      { name: 'cpu', container: 'a', current: { averageUtilization: 200, averageValue: '200m' } },
    ],
  },
  {
    name: 'a container that asks for nothing',
    metric: { type: 'Resource', resource: { name: 'cpu', target: percent(80) } },
    want: [
      'FailedGetResourceMetric',
      'failed to get cpu utilization: missing request for cpu in container b of Pod p0',
    ],
  },
  {
    name: 'a container that is not there',
    metric: {
      type: 'ContainerResource',
      containerResource: { name: 'cpu', container: 'c', target: percent(80) },
    },
    want: [
      'FailedGetContainerResourceMetric',
      'failed to get cpu utilization: unable to get metrics for resource cpu: container c not present in metrics for pod default/p0',
    ],
  },
  {
    name: 'what Pods use on average',
    metric: { type: 'Resource', resource: { name: 'memory', target: average('64Mi') } },
    want: [4, 'memory resource', { name: 'memory', current: { averageValue: '134217728' } }],
  },
  {
    name: 'a resource that nobody measures',
    metric: { type: 'Resource', resource: { name: 'example.com/gpu', target: average('1') } },
    want: [
      'FailedGetResourceMetric',
      'failed to get example.com/gpu usage: did not receive metrics for targeted pods (pods might be unready)',
    ],
  },
  {
    name: "Pods' own metric",
    metric: { type: 'Pods', pods: { metric: { name: 'requests' }, target: average('1') } },
    want: [3, 'pods metric requests', { metric: { name: 'requests' }, current: { averageValue: '1500m' } }],
  },
  {
    name: 'a metric of an object',
    metric: {
      type: 'Object',
      object: {
        describedObject: scaleTargetRef,
        metric: { name: 'queue', selector: { matchLabels: { kind: 'fast' } } },
        target: { type: 'Value', value: '4' },
      },
    },
    want: [
      6,
      'Deployment metric queue',
      {
        describedObject: scaleTargetRef,
        metric: { name: 'queue', selector: { matchLabels: { kind: 'fast' } } },
        current: { value: '12' },
      },
    ],
  },
  {
    name: 'a metric from elsewhere',
    metric: { type: 'External', external: { metric: { name: 'messages' }, target: average('2500m') } },
    want: [
      3,
      'external metric messages',
      { metric: { name: 'messages' }, current: { averageValue: '3750m' } },
    ],
  },
];

const scaled = {
  namespace: 'default',
  selector: 'app=web',
  pods: [pod('p0'), pod('p1')],
  replicas: { wanted: 2, now: 2 },
  tolerance: { up: 0.1, down: 0.1 },
  nowMs,
};
const signal = new AbortController().signal;

for (const { name, metric, want } of cases) {
  test(`autoscaler: ${name}`, async () => {
    const outcome = await recommend(server(answers), metric, scaled, signal);
    if (outcome.kind === 'failed') {
      assert.deepEqual([outcome.reason, outcome.message], want);
    } else {
      const { type, ...status } = outcome.status;
      assert.equal(type, metric.type);
      assert.deepEqual([outcome.replicas, outcome.name, ...Object.values(status)], want);
    }
  });
}

test('autoscaler: who has no server for metrics is told so', async () => {
  const messages = [];
  for (const { metric } of cases) {
    const outcome = await recommend(
      server({ '/apis/apps/v1': answers['/apis/apps/v1'] }),
      metric,
      scaled,
      signal,
    );
    messages.push(outcome.kind === 'failed' ? outcome.message : '');
  }
  const [resource, , , , , pods, object, external] = messages;
  assert.match(
    resource ?? '',
    /^failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: no /,
  );
  assert.equal(
    pods,
    'unable to get metric requests: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered',
  );
  assert.match(object ?? '', /^unable to get metric queue: .* registered$/);
  assert.match(
    external ?? '',
    /^unable to get external metric default\/messages\/nil: unable to fetch metrics from external metrics API: no /,
  );
});

const found = (replicas: number): MetricOutcome => ({
  kind: 'found',
  replicas,
  name: `metric for ${replicas}`,
  status: { type: 'Resource' },
});
const failure: MetricOutcome = {
  kind: 'failed',
  reason: 'FailedGetPodsMetric',
  message: 'it is away',
  what: 'pods',
};

for (const { name, outcomes, want } of [
  {
    name: 'the largest recommendation counts',
    outcomes: [found(3), found(6), found(5)],
    want: '6 metric for 6 above target; ScalingActive=ValidMetricFound AbleToScale=ReadyForNewScale ScalingLimited=DesiredWithinRange;',
  },
  {
    name: 'the others may add replicas while one fails',
    outcomes: [failure, found(6)],
    want: '6 metric for 6 above target; ScalingActive=ValidMetricFound AbleToScale=ReadyForNewScale ScalingLimited=DesiredWithinRange; it is away',
  },
  {
    name: 'but take none away',
    outcomes: [found(2), failure],
    want: '4 ; ScalingActive=FailedGetPodsMetric; it is away, invalid metrics (1 invalid out of 2), first error is: failed to get pods metric value: it is away',
  },
  {
    name: 'the size that is found first holds for the window',
    outcomes: [found(2)],
    want: '4 All metrics below target; ScalingActive=ValidMetricFound AbleToScale=ScaleDownStabilized ScalingLimited=DesiredWithinRange;',
  },
]) {
  test(`autoscaler: ${name}`, () => {
    const plan = planByMetrics(scaler, outcomes, 4, emptyHistory, nowMs);
    const notes = plan.notes.map(({ type, reason }) => `${type}=${reason}`).join(' ');
    const warnings = plan.warnings.map(({ message }) => message).join(', ');
    assert.equal(`${plan.replicas} ${plan.why}; ${notes}; ${warnings}`.trimEnd(), want);
  });
}

test('autoscaler: bounds need no metric, and zero replicas are left alone', () => {
  const planned = [0, 1, 4, 12].map((current) => planWithoutMetrics(scaler, current, emptyHistory)?.replicas);
  assert.deepEqual(planned, [0, 2, undefined, 9]);
});

test('autoscaler: a condition that stays as it was keeps its time', () => {
  const old = { type: 'AbleToScale', status: 'True', reason: 'A', lastTransitionTime: timestamp };
  const status = { desiredReplicas: 1, conditions: [old] };
  const notes = [
    { type: 'AbleToScale', isTrue: true, reason: 'B', message: 'b' },
    { type: 'ScalingActive', isTrue: false, reason: 'C', message: 'c' },
  ];
  const { conditions } = statusOf({ ...scaler, status }, { currentReplicas: 3 }, notes, nowMs);
  assert.deepEqual(
    conditions?.map(({ reason, status: is, lastTransitionTime }) => [reason, is, lastTransitionTime]),
    [
      ['B', 'True', timestamp],
      ['C', 'False', '2026-01-01T01:00:00Z'],
    ],
  );
});
