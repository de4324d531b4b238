import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod, PodSpec } from '../../api/gen/core-v1.ts';
import type { PodDisruptionBudget } from '../../api/gen/policy-v1.ts';
import { keyOf } from '../../api/object.ts';
import { ClusterState } from './cluster.ts';
import { type PlacementContext, placePod } from './plan.ts';
import { planPreemption } from './preemption.ts';

function node(name: string, cpu = '4', spec: object = {}): Node {
  return { metadata: { name, labels: { name } }, spec, status: { allocatable: { cpu, pods: '10' } } };
}

const priorities = { low: 10, mid: 20, high: 30, top: 40 } as const;

type Extra = {
  readonly startTime?: string;
  readonly leaving?: boolean;
  readonly spec?: Partial<PodSpec>;
};

/** A Pod named `low-2` or, on a node, `low-2-a`: its rank, its cores, its node. */
function pod(rank: keyof typeof priorities, cpu: number, on?: string, extra: Extra = {}): Pod {
  const { startTime, leaving, spec } = extra;
  const name = `${rank}-${cpu}${on === undefined ? '' : `-${on}`}`;
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      labels: { rank },
      ...(leaving === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      priority: priorities[rank],
      ...(on === undefined ? {} : { nodeName: on }),
      containers: [{ name: 'c', resources: { requests: { cpu: String(cpu) } } }],
      ...spec,
    },
    ...(startTime === undefined ? {} : { status: { startTime: `2026-01-01T00:00:${startTime}Z` } }),
  };
}

const context: PlacementContext = {
  namespaceOf: () => undefined,
  siblings: () => false,
  claims: {
    claim: () => undefined,
    volume: () => undefined,
    volumes: () => [],
    storageClass: () => undefined,
    promised: () => undefined,
  },
};

type Case = {
  readonly name: string;
  readonly pod: Pod;
  readonly nodes: readonly Node[];
  readonly placed: readonly Pod[];
  readonly budgets?: readonly PodDisruptionBudget[];
  readonly nominated?: readonly { readonly pod: Pod; readonly nodeName: string }[];
  readonly want: string;
};

const budgetOf = (rank: string, disruptionsAllowed: number, status: object = {}): PodDisruptionBudget => ({
  metadata: { name: rank, namespace: 'default' },
  spec: { selector: { matchLabels: { rank } } },
  status: { disruptionsAllowed, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0, ...status },
});
const apart = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'name', labelSelector: { matchLabels: { rank: 'low' } } },
      ],
    },
  },
};

const cases: readonly Case[] = [
  {
    name: 'one that is less important leaves, and no more than needed',
    pod: pod('high', 3),
    nodes: [node('a')],
    placed: [pod('low', 1, 'a'), pod('low', 2, 'a'), pod('mid', 1, 'a')],
    want: 'a: low-1-a, low-2-a',
  },
  {
    name: 'of equals the one that has run for longer stays',
    pod: pod('high', 2),
    nodes: [node('a')],
    placed: [
      pod('low', 2, 'a', { startTime: '01' }),
      { ...pod('low', 2, 'a', { startTime: '02' }), metadata: { name: 'young', namespace: 'default' } },
    ],
    want: 'a: young',
  },
  {
    name: 'equals never leave for each other',
    pod: pod('low', 3),
    nodes: [node('a')],
    placed: [pod('low', 2, 'a')],
    want: '0/1 nodes are available: 1 No preemption victims found for incoming pod.',
  },
  {
    name: 'what nobody can give is not asked for',
    pod: pod('high', 5),
    nodes: [node('a'), node('b', '8', { unschedulable: true })],
    placed: [pod('low', 2, 'a'), pod('low', 2, 'b')],
    want: '0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
  },
  {
    name: 'those that stay are in the way',
    pod: pod('high', 3),
    nodes: [node('a'), node('b', '2')],
    placed: [pod('low', 2, 'a'), pod('top', 2, 'a')],
    want: '0/2 nodes are available: 1 Insufficient cpu, 1 Preemption is not helpful for scheduling.',
  },
  {
    name: 'a Pod whose policy is Never waits',
    pod: pod('high', 3, undefined, { spec: { preemptionPolicy: 'Never' } }),
    nodes: [node('a')],
    placed: [pod('low', 2, 'a')],
    want: 'not eligible due to preemptionPolicy=Never.',
  },
  {
    name: 'the node with fewer broken budgets',
    pod: pod('high', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('low', 2, 'a'), pod('mid', 2, 'b')],
    budgets: [budgetOf('low', 0)],
    want: 'b: mid-2-b',
  },
  {
    name: 'a budget that allows one disruption is broken by the second, the more important one is saved',
    pod: pod('high', 2),
    nodes: [node('a')],
    placed: [pod('mid', 2, 'a'), pod('low', 2, 'a')],
    budgets: [budgetOf('low', 1), budgetOf('mid', 0)],
    want: 'a: low-2-a',
  },
  {
    name: 'what the API server has granted already does not count against the budget again',
    pod: pod('high', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('low', 2, 'a'), pod('mid', 2, 'b')],
    budgets: [budgetOf('low', 0, { disruptedPods: { 'low-2-a': '2026-01-01T00:00:00Z' } })],
    want: 'a: low-2-a',
  },
  {
    name: 'the node whose most important victim is the least',
    pod: pod('high', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('mid', 1, 'a'), pod('low', 1, 'b'), pod('low', 2, 'b')],
    want: 'b: low-1-b, low-2-b',
  },
  {
    name: 'then the lower sum, which is also the smaller number',
    pod: pod('top', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('high', 1, 'a'), pod('low', 2, 'a'), pod('high', 2, 'b')],
    want: 'b: high-2-b',
  },
  {
    name: 'then the one whose victims started last',
    pod: pod('top', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('low', 2, 'a', { startTime: '10' }), pod('low', 2, 'b', { startTime: '20' })],
    want: 'b: low-2-b',
  },
  {
    name: 'who keeps it away leaves',
    pod: pod('high', 1, undefined, { spec: apart }),
    nodes: [node('a')],
    placed: [pod('low', 1, 'a'), pod('mid', 1, 'a')],
    want: 'a: low-1-a',
  },
  {
    name: 'room that was made is awaited',
    pod: pod('high', 4),
    nodes: [node('a'), node('b')],
    placed: [pod('low', 2, 'a', { leaving: true }), pod('low', 2, 'b')],
    nominated: [{ pod: pod('high', 4), nodeName: 'a' }],
    want: 'not eligible due to a terminating pod on the nominated node.',
  },
  {
    name: 'room that was made for another is not there',
    pod: pod('mid', 2),
    nodes: [node('a')],
    placed: [pod('low', 2, 'a')],
    nominated: [{ pod: pod('high', 3), nodeName: 'a' }],
    want: '0/1 nodes are available: 1 Insufficient cpu.',
  },
  {
    name: 'room that was made for a lesser one is taken',
    pod: pod('high', 3),
    nodes: [node('a')],
    placed: [pod('low', 2, 'a')],
    nominated: [{ pod: pod('mid', 2), nodeName: 'a' }],
    want: 'a: low-2-a',
  },
];

for (const { name, pod: wanted, nodes, placed, budgets = [], nominated = [], want } of cases) {
  test(`preemption: ${name}`, () => {
    const cluster = new ClusterState();
    for (const entry of nodes) cluster.setNode(entry);
    for (const entry of placed) cluster.setPod(keyOf(entry), entry);
    for (const entry of nominated) cluster.nominate(keyOf(entry.pod), entry);
    const placement = placePod(wanted, cluster, context);
    assert.ok(placement.kind === 'unschedulable' && placement.cure !== undefined);
    const plan = planPreemption(wanted, cluster, placement.cure, {
      budgets,
      isLeaving: ({ metadata }) => metadata?.deletionTimestamp !== undefined,
    });
    assert.equal(
      plan.kind === 'preempt'
        ? `${plan.nodeName}: ${plan.victims.map(({ metadata }) => metadata?.name).join(', ')}`
        : plan.message,
      want,
    );
    assert.deepEqual([...cluster.placedPods].map(keyOf).toSorted(), placed.map(keyOf).toSorted());
  });
}

test('preemption: a Pod goes where room was made for it, others do not', () => {
  const cluster = new ClusterState();
  for (const name of ['a', 'b']) cluster.setNode(node(name));
  const held = pod('low', 1, 'b');
  cluster.setPod(keyOf(held), held);
  const [waiting, later] = [pod('high', 3), pod('mid', 4)];
  cluster.nominate(keyOf(waiting), { pod: waiting, nodeName: 'b' });
  assert.deepEqual(placePod(waiting, cluster, context), { kind: 'bind', nodeName: 'b' });
  assert.deepEqual(placePod(later, cluster, context), { kind: 'bind', nodeName: 'a' });
  cluster.nominate(keyOf(waiting), { pod: waiting, nodeName: 'a' });
  assert.equal(placePod(later, cluster, context).kind, 'unschedulable');
});
