import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../api/gen/core-v1.ts';
import { type PodTarget, recommendByPods, recommendByValue } from './replicas.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
const secondsAgo = (seconds: number): string => new Date(nowMs - seconds * 1000).toISOString();

type State = 'ready' | 'pending' | 'failed' | 'leaving' | 'starting' | 'young' | 'neverReady' | 'unready';

/** Started an hour ago, unless the state says else. */
function pod(name: string, state: State): Pod {
  const isReady = state === 'ready' || state === 'young';
  const startedSeconds = state === 'starting' || state === 'young' ? 20 : 3600;
  const sinceSeconds = { starting: 20, young: 10, neverReady: 3590, unready: 60 }[state as 'young'] ?? 3500;
  return {
    metadata: {
      name,
      ...(state === 'leaving' ? { deletionTimestamp: secondsAgo(1) } : {}),
    },
    status: {
      phase: state === 'pending' ? 'Pending' : state === 'failed' ? 'Failed' : 'Running',
      startTime: secondsAgo(startedSeconds),
      conditions: [
        {
          type: 'Ready',
          status: isReady ? 'True' : 'False',
          lastTransitionTime: secondsAgo(sinceSeconds),
        },
      ],
    },
  };
}

type Case = {
  readonly name: string;
  readonly resource?: string;
  /** State and usage of each Pod; undefined: it has no number. */
  readonly pods: readonly (readonly [State, number | undefined])[];
  /** Percent of a request of 1000. */
  readonly percent?: number;
  readonly average?: number;
  readonly tolerance?: { readonly down: number; readonly up: number };
  readonly current?: number;
  readonly want: number | string;
};

const cases: readonly Case[] = [
  {
    name: 'more than aimed at',
    pods: [
      ['ready', 600],
      ['ready', 900],
    ],
    percent: 50,
    want: 3,
  },
  {
    name: 'less than aimed at',
    pods: [
      ['ready', 100],
      ['ready', 300],
      ['ready', 200],
    ],
    percent: 60,
    want: 1,
  },
  {
    name: 'near enough',
    pods: [
      ['ready', 540],
      ['ready', 540],
    ],
    percent: 50,
    want: 2,
  },
  {
    name: 'near enough in one direction only',
    pods: [
      ['ready', 540],
      ['ready', 540],
    ],
    percent: 50,
    tolerance: { up: 0.05, down: 0.5 },
    want: 3,
  },
  {
    name: 'an average',
    resource: 'memory',
    pods: [
      ['ready', 300],
      ['ready', 100],
    ],
    average: 100,
    want: 4,
  },
  {
    name: 'a Pod without a number is taken to use nothing before more come',
    pods: [
      ['ready', 1000],
      ['ready', undefined],
    ],
    percent: 50,
    want: 2,
  },
  {
    name: 'and all that it asked for before fewer are left',
    pods: [
      ['ready', 100],
      ['ready', 100],
      ['ready', undefined],
    ],
    percent: 60,
    want: 2,
  },
  {
    name: 'and its share of an average',
    resource: 'memory',
    pods: [
      ['ready', 10],
      ['ready', 10],
      ['ready', undefined],
    ],
    average: 100,
    want: 2,
  },
  {
    name: 'a number that turns the decision around changes nothing',
    pods: [
      ['ready', 400],
      ['ready', undefined],
      ['ready', undefined],
    ],
    percent: 50,
    want: 3,
  },
  {
    name: 'Pods that start do not drive the number up',
    pods: [
      ['ready', 900],
      ['starting', 900],
      ['pending', undefined],
    ],
    percent: 50,
    want: 3,
  },
  {
    name: 'nor down',
    pods: [
      ['ready', 300],
      ['starting', 0],
    ],
    percent: 60,
    want: 1,
  },
  {
    name: 'of memory a start says as much as any time',
    resource: 'memory',
    pods: [['starting', 300]],
    average: 100,
    want: 3,
  },
  {
    name: 'what is failed or leaving does not count',
    pods: [
      ['ready', 900],
      ['failed', 900],
      ['leaving', 900],
    ],
    percent: 30,
    want: 3,
  },
  {
    name: 'a number that began before the Pod was ready does not count',
    pods: [['young', 900]],
    percent: 50,
    want: 'did not receive metrics for targeted pods (pods might be unready)',
  },
  {
    name: 'who was never ready does not count, who is unready for a while does',
    pods: [
      ['neverReady', 900],
      ['unready', 900],
    ],
    percent: 90,
    current: 2,
    want: 2,
  },
  {
    name: 'no Pods',
    pods: [],
    percent: 50,
    want: 'no pods returned by selector while calculating replica count',
  },
];

for (const { name, resource = 'cpu', pods: states, percent, average, tolerance, current, want } of cases) {
  test(`autoscaler: ${name}`, () => {
    const pods = states.map(([state], at) => pod(`p${at}`, state));
    const samples = new Map(
      states.flatMap(([, amount], at) =>
        amount === undefined ? [] : [[`p${at}`, { amount, timestampMs: nowMs, windowMs: 15_000 }] as const],
      ),
    );
    const target: PodTarget =
      percent === undefined
        ? { kind: 'average', amount: average ?? 0 }
        : {
            kind: 'utilization',
            percent,
            requests: new Map(pods.map((one) => [one.metadata?.name ?? '', 1000])),
          };
    const input = { pods, samples, resource, nowMs, current: current ?? pods.length };
    const result = recommendByPods({ ...input, tolerance: tolerance ?? { up: 0.1, down: 0.1 } }, target);
    assert.equal('failure' in result ? result.failure : result.replicas, want);
  });
}

const tolerance = { up: 0.1, down: 0.1 };

test('autoscaler: a value for all is shared by those that are ready', () => {
  const pods = [pod('a', 'ready'), pod('b', 'ready'), pod('c', 'unready')];
  const value = { kind: 'value', amount: 100 } as const;
  assert.deepEqual(recommendByValue(250, value, { pods, current: 3, tolerance }), {
    replicas: 5,
    amount: 250,
  });
  assert.equal(recommendByValue(105, value, { pods, current: 3, tolerance }).replicas, 3);
  assert.equal(recommendByValue(250, value, { pods: [], current: 0, tolerance }).replicas, 3);
});

test('autoscaler: a value for each replica needs no Pods', () => {
  const average = { kind: 'average', amount: 100 } as const;
  const input = { pods: [], current: 2, tolerance };
  assert.deepEqual(recommendByValue(450, average, input), { replicas: 5, amount: 225 });
  assert.deepEqual(recommendByValue(210, average, input), { replicas: 2, amount: 105 });
});
