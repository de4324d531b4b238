import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonSet } from '../../api/gen/apps-v1.ts';
import type { Node, Pod } from '../../api/gen/core-v1.ts';
import { planDaemonSet, podOfNode } from './plan.ts';

type Rolling = { readonly maxUnavailable: number; readonly maxSurge: number };

function setOf(rolling: Rolling | 'OnDelete', nodeSelector?: Readonly<Record<string, string>>): DaemonSet {
  const updateStrategy =
    rolling === 'OnDelete' ? { type: 'OnDelete' } : { type: 'RollingUpdate', rollingUpdate: rolling };
  const spec = { containers: [], ...(nodeSelector === undefined ? {} : { nodeSelector }) };
  return { metadata: { name: 'd', uid: 'u' }, spec: { selector: {}, template: { spec }, updateStrategy } };
}

/** "n0", "n0 gpu" (a taint): name and taint of a node. */
function nodeOf(text: string): Node {
  const [name = '', taint] = text.split(' ');
  const taints = taint === undefined ? [] : [{ key: taint, effect: 'NoSchedule' }];
  return { metadata: { name, labels: {} }, spec: { taints } };
}

/** "n0 old ready": node, revision and state of a Pod. */
function podOf(text: string): Pod {
  const [node = '', revision = '', state = ''] = text.split(' ');
  const pod = podOfNode(setOf('OnDelete'), node, revision);
  const conditions = [{ type: 'Ready', status: state === 'ready' ? 'True' : 'False' }];
  return { ...pod, metadata: { ...pod.metadata, name: text }, status: { phase: 'Running', conditions } };
}

const one: Rolling = { maxUnavailable: 1, maxSurge: 0 };
const surge: Rolling = { maxUnavailable: 0, maxSurge: 1 };

const cases: readonly {
  readonly name: string;
  readonly set?: DaemonSet;
  readonly nodes: readonly string[];
  readonly pods: readonly string[];
  readonly create?: readonly string[];
  readonly remove?: readonly string[];
}[] = [
  { name: 'every node gets one', nodes: ['n0', 'n1'], pods: [], create: ['n0', 'n1'] },
  { name: 'a taint keeps it away', nodes: ['n0 gpu'], pods: [] },
  {
    name: 'a cordoned node has its daemons',
    nodes: ['n0 node.kubernetes.io/unschedulable'],
    pods: [],
    create: ['n0'],
  },
  {
    name: 'a selector that fits no node',
    set: setOf(one, { disk: 'ssd' }),
    nodes: ['n0'],
    pods: ['n0 new ready'],
    remove: ['n0 new ready'],
  },
  { name: 'a node that is gone', nodes: [], pods: ['n0 new ready'], remove: ['n0 new ready'] },
  {
    name: 'one old Pod at a time',
    nodes: ['n0', 'n1'],
    pods: ['n0 old ready', 'n1 old ready'],
    remove: ['n0 old ready'],
  },
  { name: 'the next waits', nodes: ['n0', 'n1'], pods: ['n0 new', 'n1 old ready'] },
  {
    name: 'one that serves nobody goes at once',
    nodes: ['n0', 'n1'],
    pods: ['n0 new', 'n1 old'],
    remove: ['n1 old'],
  },
  {
    name: 'a surge makes the new one first',
    set: setOf(surge),
    nodes: ['n0'],
    pods: ['n0 old ready'],
    create: ['n0'],
  },
  {
    name: 'then the old one goes',
    set: setOf(surge),
    nodes: ['n0'],
    pods: ['n0 old ready', 'n0 new ready'],
    remove: ['n0 old ready'],
  },
  { name: 'OnDelete leaves them', set: setOf('OnDelete'), nodes: ['n0'], pods: ['n0 old ready'] },
];

for (const { name, set = setOf(one), nodes, pods, create = [], remove = [] } of cases) {
  test(`daemonset: ${name}`, () => {
    const plan = planDaemonSet(set, nodes.map(nodeOf), pods.map(podOf), 'new', 0);
    assert.deepEqual(plan.create, create);
    assert.deepEqual(
      plan.remove.map(({ metadata }) => metadata?.name),
      remove,
    );
  });
}
