import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HorizontalPodAutoscalerBehavior, HPAScalingRules } from '../../api/gen/autoscaling-v2.ts';
import { afterChange, boundReplicas, emptyHistory, type History } from './behavior.ts';

const spec = { scaleTargetRef: { kind: 'Deployment', name: 'web' }, minReplicas: 2, maxReplicas: 20 };
const doubling: HPAScalingRules = {
  stabilizationWindowSeconds: 0,
  selectPolicy: 'Max',
  policies: [
    { type: 'Pods', value: 4, periodSeconds: 15 },
    { type: 'Percent', value: 100, periodSeconds: 15 },
  ],
};
const falling: HPAScalingRules = {
  selectPolicy: 'Max',
  policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
};
const rules = (over: { readonly up?: HPAScalingRules; readonly down?: HPAScalingRules }) => ({
  scaleUp: { ...doubling, ...over.up },
  scaleDown: { ...falling, ...over.down },
});

const nowMs = 1_000_000;
const ago = (seconds: number, replicas: number) => ({ atMs: nowMs - seconds * 1000, replicas });
const changed = (seconds: number, count: number) => ({ atMs: nowMs - seconds * 1000, count });

type Case = {
  readonly name: string;
  readonly recommended: number;
  readonly current: number;
  readonly behavior?: HorizontalPodAutoscalerBehavior;
  readonly history?: Partial<History>;
  /** Replicas and the reasons of AbleToScale and ScalingLimited. */
  readonly want: string;
};

const cases: readonly Case[] = [
  { name: 'in bounds', recommended: 5, current: 4, want: '5 ReadyForNewScale DesiredWithinRange' },
  { name: 'too many', recommended: 30, current: 15, want: '20 ReadyForNewScale TooManyReplicas' },
  { name: 'too few', recommended: 1, current: 3, want: '2 ReadyForNewScale TooFewReplicas' },
  {
    name: 'at most twice as many at once',
    recommended: 15,
    current: 3,
    want: '6 ReadyForNewScale ScaleUpLimit',
  },
  { name: 'or four', recommended: 15, current: 1, want: '4 ReadyForNewScale ScaleUpLimit' },
  {
    name: 'less only when nothing of five minutes was more',
    recommended: 3,
    current: 6,
    history: { recommended: [ago(299, 5), ago(301, 9)] },
    want: '5 ScaleDownStabilized DesiredWithinRange',
  },
  {
    name: 'a behavior of defaults grows by four or doubles',
    recommended: 15,
    current: 3,
    behavior: rules({}),
    want: '7 ReadyForNewScale ScaleUpLimit',
  },
  {
    name: 'what came in the period counts',
    recommended: 15,
    current: 7,
    behavior: rules({}),
    history: { ups: [changed(10, 4), changed(16, 2)] },
    want: '7 ReadyForNewScale ScaleUpLimit',
  },
  {
    name: 'the smaller of two policies',
    recommended: 15,
    current: 3,
    behavior: rules({ up: { selectPolicy: 'Min' } }),
    want: '6 ReadyForNewScale ScaleUpLimit',
  },
  {
    name: 'up is switched off',
    recommended: 15,
    current: 3,
    behavior: rules({ up: { selectPolicy: 'Disabled' } }),
    want: '3 ReadyForNewScale ScaleUpLimit',
  },
  {
    name: 'down is switched off',
    recommended: 3,
    current: 8,
    behavior: rules({ down: { selectPolicy: 'Disabled', stabilizationWindowSeconds: 0 } }),
    want: '8 ReadyForNewScale ScaleDownLimit',
  },
  {
    name: 'no faster down than a policy says',
    recommended: 2,
    current: 10,
    behavior: rules({
      down: { stabilizationWindowSeconds: 0, policies: [{ type: 'Percent', value: 15, periodSeconds: 60 }] },
    }),
    history: { downs: [changed(30, 1)] },
    want: '9 ReadyForNewScale ScaleDownLimit',
  },
  {
    name: 'down by the policy that takes more',
    recommended: 2,
    current: 10,
    behavior: rules({
      down: {
        stabilizationWindowSeconds: 0,
        policies: [
          { type: 'Percent', value: 10, periodSeconds: 60 },
          { type: 'Pods', value: 3, periodSeconds: 60 },
        ],
      },
    }),
    want: '7 ReadyForNewScale ScaleDownLimit',
  },
  {
    name: 'up only as far as all of a window agreed on',
    recommended: 8,
    current: 5,
    behavior: rules({ up: { stabilizationWindowSeconds: 60 } }),
    history: { recommended: [ago(30, 6), ago(61, 2)] },
    want: '6 ScaleUpStabilized DesiredWithinRange',
  },
  {
    name: 'a window of its own for the way down',
    recommended: 3,
    current: 8,
    behavior: rules({ down: { stabilizationWindowSeconds: 60 } }),
    history: { recommended: [ago(59, 6), ago(61, 8)] },
    want: '6 ScaleDownStabilized DesiredWithinRange',
  },
];

for (const { name, recommended, current, behavior, history, want } of cases) {
  test(`autoscaler: ${name}`, () => {
    const bounded = boundReplicas(
      recommended,
      current,
      { ...spec, behavior },
      { ...emptyHistory, ...history },
      nowMs,
    );
    assert.equal(`${bounded.replicas} ${bounded.able.reason} ${bounded.limited.reason}`, want);
    assert.equal(bounded.limited.isLimited, bounded.limited.reason !== 'DesiredWithinRange');
  });
}

test('autoscaler: nothing is remembered for longer than it is asked for', () => {
  const behavior = rules({ down: { stabilizationWindowSeconds: 60 } });
  let history: History = { recommended: [ago(61, 1)], ups: [changed(20, 1)], downs: [changed(20, 1)] };
  history = boundReplicas(5, 5, { ...spec, behavior }, history, nowMs).history;
  assert.deepEqual(history.recommended, [ago(0, 5)]);
  history = afterChange(history, 5, 7, { ...spec, behavior }, nowMs);
  assert.deepEqual([history.ups, history.downs], [[changed(0, 2)], []]);
  assert.deepEqual(afterChange(emptyHistory, 5, 7, spec, nowMs), emptyHistory);
});
