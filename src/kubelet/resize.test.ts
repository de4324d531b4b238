import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod } from '../api/gen/core-v1.ts';
import {
  adoptedAllocation,
  decideResize,
  reportedResources,
  requestsOf,
  reservedBy,
  withAllocation,
} from './resize.ts';

const gi = 2 ** 30;
const capacity = { cpu: 4, memory: 8 * gi };
const none = { cpu: 0, memory: 0 };

function pod(cpu: string, memory = '1Gi', status: Pod['status'] = {}): Pod {
  const main: Container = { name: 'main', image: 'x', resources: { requests: { cpu, memory } } };
  return { metadata: { name: 'p', uid: 'u' }, spec: { containers: [main] }, status };
}

const given = adoptedAllocation(pod('1'));

const cases = [
  { name: 'more of what is there', wish: pod('2'), others: none, want: 'granted' },
  { name: 'less, however full the node', wish: pod('500m'), others: capacity, want: 'granted' },
  {
    name: 'more than the node has',
    wish: pod('5'),
    others: none,
    want: "Infeasible: Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000",
  },
  {
    name: 'more than is left',
    wish: pod('2'),
    others: { cpu: 3, memory: 0 },
    want: "Deferred: Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000",
  },
  {
    name: 'memory beyond the node, in bytes',
    wish: pod('1', '9Gi'),
    others: none,
    want: `Infeasible: Node didn't have enough capacity: memory, requested: ${9 * gi}, capacity: ${8 * gi}`,
  },
] as const;

for (const { name, wish, others, want } of cases) {
  test(`resize: ${name}`, () => {
    const { allocation, pending } = decideResize(wish, given, { capacity, others });
    assert.equal(pending === undefined ? 'granted' : `${pending.reason}: ${pending.message}`, want);
    const expected =
      pending === undefined ? wish.spec?.containers[0]?.resources?.requests : { cpu: '1', memory: '1Gi' };
    assert.deepEqual(withAllocation(wish, allocation).spec?.containers[0]?.resources?.requests, expected);
  });
}

test('resize: a node agent that starts again keeps what the status says was given', () => {
  const resources = { requests: { cpu: '1', memory: '1Gi' } };
  const status = {
    containerStatuses: [
      {
        name: 'main',
        containerID: 'containerd://c0',
        image: 'x',
        imageID: '',
        ready: true,
        restartCount: 0,
        resources,
      },
    ],
  };
  const wished = pod('3', '1Gi', status);
  assert.equal(requestsOf(withAllocation(wished, adoptedAllocation(wished))).cpu, 1);
  assert.deepEqual([...reportedResources(wished)], [['c0', '{"requests":{"cpu":"1","memory":"1Gi"}}']]);
});

test('resize: what other Pods have is what they were given, and Pods that are over have nothing', () => {
  const over: Pod = { ...pod('2', '1Gi', { phase: 'Failed' }), metadata: { uid: 'over' } };
  const other: Pod = { ...pod('1'), metadata: { uid: 'other' } };
  assert.deepEqual(reservedBy([pod('3'), over, other], 'u'), { cpu: 1, memory: gi });
});

test('resize: init containers count where they ask for more, sidecars always', () => {
  const of = (name: string, cpu: string, restartPolicy?: string): Container => ({
    name,
    image: 'x',
    resources: { requests: { cpu } },
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  });
  const spec = { containers: [of('a', '1')], initContainers: [of('s', '1', 'Always'), of('i', '3')] };
  assert.equal(requestsOf({ spec }).cpu, 4);
  assert.equal(requestsOf({ spec: { ...spec, initContainers: [of('s', '1', 'Always')] } }).cpu, 2);
});
