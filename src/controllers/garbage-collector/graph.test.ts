import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pods } from '../../api/resource.ts';
import { itemOf, judge, OwnerGraph, type OwnerState } from './graph.ts';

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
  hasDependents: boolean;
  want: object;
}[] = [
  { name: 'its owner is there', states: { a: 'present' }, hasDependents: false, want: { kind: 'keep' } },
  {
    name: 'its only owner is gone',
    states: { a: 'absent' },
    hasDependents: false,
    want: { kind: 'delete', policy: 'Background' },
  },
  {
    name: 'one of two owners is gone',
    states: { a: 'absent', b: 'present' },
    hasDependents: false,
    want: { kind: 'dropReferences', uids: ['a'] },
  },
  {
    name: 'an owner that nobody knows may be there',
    states: { a: 'unknown' },
    hasDependents: false,
    want: { kind: 'keep' },
  },
  {
    name: 'its owner waits for it',
    states: { a: 'awaitsDependents' },
    hasDependents: false,
    want: { kind: 'delete', policy: 'Background' },
  },
  {
    name: 'its owner waits and it has dependents',
    states: { a: 'awaitsDependents' },
    hasDependents: true,
    want: { kind: 'delete', policy: 'Foreground' },
  },
];

for (const { name, states, hasDependents, want } of cases) {
  test(`garbage collector: ${name}`, () => {
    const item = pod('x', Object.keys(states));
    assert.deepEqual(
      judge(item, ({ uid }) => states[uid] ?? 'unknown', hasDependents),
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
