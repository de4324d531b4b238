import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pods } from '../../api/resource.ts';
import { type Item, itemOf, judge, OwnerGraph, type OwnerState } from './graph.ts';

function pod(name: string, owners: readonly string[]) {
  const ownerReferences = owners.map((uid) => ({
    apiVersion: 'v1',
    kind: 'X',
    name: uid,
    uid,
    blockOwnerDeletion: true,
  }));
  return itemOf(pods, { metadata: { name, namespace: 'default', uid: name, ownerReferences } });
}

const cases: readonly {
  name: string;
  states: Readonly<Record<string, OwnerState>>;
  dependents: readonly Item[];
  want: object;
}[] = [
  { name: 'its owner is there', states: { a: 'present' }, dependents: [], want: { kind: 'keep' } },
  {
    name: 'its only owner is gone',
    states: { a: 'absent' },
    dependents: [],
    want: { kind: 'delete', policy: 'Background', unblocks: false },
  },
  {
    name: 'one of two owners is gone',
    states: { a: 'absent', b: 'present' },
    dependents: [],
    want: { kind: 'dropReferences', uids: ['a'] },
  },
  {
    name: 'an owner that nobody knows may be there',
    states: { a: 'unknown' },
    dependents: [],
    want: { kind: 'keep' },
  },
  {
    name: 'its owner waits for it',
    states: { a: 'awaitsDependents' },
    dependents: [],
    want: { kind: 'delete', policy: 'Background', unblocks: false },
  },
  {
    name: 'its owner waits and it has dependents',
    states: { a: 'awaitsDependents' },
    dependents: [pod('y', ['x'])],
    want: { kind: 'delete', policy: 'Foreground', unblocks: false },
  },
  {
    name: 'its owner waits and its dependent waits too: they may wait for each other in a circle',
    states: { a: 'awaitsDependents' },
    dependents: [{ ...pod('a', ['x']), deletion: 'foreground' }],
    want: { kind: 'delete', policy: 'Foreground', unblocks: true },
  },
];

for (const { name, states, dependents, want } of cases) {
  test(`garbage collector: ${name}`, () => {
    const item = pod('x', Object.keys(states));
    assert.deepEqual(
      judge(item, ({ uid }) => states[uid] ?? 'unknown', dependents),
      want,
    );
  });
}

test('garbage collector: the graph follows changes of owners', () => {
  const graph = new OwnerGraph();
  graph.set(pod('x', ['a']));
  graph.set(pod('y', ['a', 'b']));
  graph.set(pod('x', ['b']));
  assert.deepEqual(
    graph.dependentsOf('a').map(({ name }) => name),
    ['y'],
  );
  graph.remove('y');
  assert.deepEqual(
    graph.dependentsOf('b').map(({ name }) => name),
    ['x'],
  );
});
