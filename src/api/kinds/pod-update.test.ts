import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { podKind } from './pod.ts';

const needs = 'requiredDuringSchedulingIgnoredDuringExecution';

function terms(...keys: readonly (readonly string[])[]): JsonObject {
  const nodeSelectorTerms = keys.map((list) => ({
    matchExpressions: list.map((key) => ({ key, operator: 'Exists' })),
  }));
  return { nodeAffinity: { [needs]: { nodeSelectorTerms } } };
}

const gates = [{ name: 'example.com/a' }, { name: 'example.com/b' }];
const fixed = 'spec: Forbidden: pod updates may not change fields other than';
const toleration = { key: 'a', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 };

type Case = {
  readonly name: string;
  readonly before?: JsonObject;
  readonly after: JsonObject;
  /** How each error begins. */
  readonly want: readonly string[];
};

const cases: readonly Case[] = [
  { name: 'an image changes', after: { containers: [{ name: 'a', image: 'y' }] }, want: [] },
  {
    name: 'a command does not',
    after: { containers: [{ name: 'a', image: 'x', command: ['b'] }] },
    want: [fixed],
  },
  {
    name: 'no container comes or goes',
    after: {
      containers: [
        { name: 'a', image: 'x' },
        { name: 'b', image: 'x' },
      ],
    },
    want: ['spec.containers: Forbidden: pod updates may not add or remove containers'],
  },
  { name: 'a deadline is set', after: { activeDeadlineSeconds: 5 }, want: [] },
  {
    name: 'a deadline is not put off',
    before: { activeDeadlineSeconds: 5 },
    after: { activeDeadlineSeconds: 6 },
    want: ['spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value'],
  },
  {
    name: 'a deadline is not taken back',
    before: { activeDeadlineSeconds: 5 },
    after: {},
    want: ['spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil'],
  },
  { name: 'a toleration is added', after: { tolerations: [toleration] }, want: [] },
  {
    name: 'the seconds of a toleration change',
    before: { tolerations: [toleration] },
    after: { tolerations: [{ ...toleration, tolerationSeconds: 9 }] },
    want: [],
  },
  {
    name: 'a toleration stays what it is',
    before: { tolerations: [toleration] },
    after: { tolerations: [{ ...toleration, key: 'b' }] },
    want: [
      'spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
    ],
  },
  {
    name: 'a gate opens',
    before: { schedulingGates: gates },
    after: { schedulingGates: gates.slice(1) },
    want: [],
  },
  { name: 'the last gate opens', before: { schedulingGates: gates }, after: {}, want: [] },
  {
    name: 'no gate is closed',
    after: { schedulingGates: gates.slice(1) },
    want: [
      "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'example.com/b'",
    ],
  },
  {
    name: 'a gated Pod’s nodes are narrowed down',
    before: { schedulingGates: gates, nodeSelector: { a: '1' }, affinity: terms(['a']) },
    after: { schedulingGates: gates, nodeSelector: { a: '1', b: '2' }, affinity: terms(['a', 'b']) },
    want: [],
  },
  {
    name: 'a gated Pod gets an affinity',
    before: { schedulingGates: gates },
    after: { schedulingGates: gates, affinity: terms(['a']) },
    want: [],
  },
  {
    name: 'a gated Pod’s nodes are never widened',
    before: { schedulingGates: gates, nodeSelector: { a: '1' }, affinity: terms(['a'], ['b']) },
    after: { schedulingGates: gates, nodeSelector: { a: '2' }, affinity: terms(['a'], ['c']) },
    want: [
      'spec.nodeSelector: Invalid value: {"a":"2"}: only additions to spec.nodeSelector are allowed',
      `spec.affinity.nodeAffinity.${needs}.nodeSelectorTerms[1]: Invalid value: {"matchExpressions":[{"key":"c","operator":"Exists"}]}: only additions are allowed (no mutations or deletions)`,
    ],
  },
  {
    name: 'a gated Pod gets no alternative',
    before: { schedulingGates: gates, affinity: terms(['a']) },
    after: { schedulingGates: gates, affinity: terms(['a'], ['b']) },
    want: [`spec.affinity.nodeAffinity.${needs}.nodeSelectorTerms: Invalid value: [`],
  },
  {
    name: 'a Pod without a gate keeps its nodes',
    before: { nodeSelector: { a: '1' } },
    after: { nodeSelector: { a: '1', b: '2' } },
    want: [fixed],
  },
  {
    name: 'a negative grace becomes one second',
    before: { terminationGracePeriodSeconds: -5 },
    after: { terminationGracePeriodSeconds: 1 },
    want: [],
  },
  {
    name: 'a grace is fixed',
    before: { terminationGracePeriodSeconds: 5 },
    after: { terminationGracePeriodSeconds: 1 },
    want: [fixed],
  },
];

function pod(spec: JsonObject): JsonObject {
  const made: JsonObject = {
    metadata: { name: 'p', namespace: 'default' },
    spec: { containers: [{ name: 'a', image: 'x' }], ...structuredClone(spec) },
  };
  podKind.setDefaults?.(made);
  return made;
}

for (const { name, before = {}, after, want } of cases) {
  test(`pod, updates: ${name}`, () => {
    const old = pod(before);
    const now = pod(after);
    const errors = [...(podKind.validate?.(now, old) ?? []), ...(podKind.validateUpdate?.(now, old) ?? [])];
    const texts = errors.map(({ field, message }) => `${field}: ${message}`);
    assert.equal(texts.length, want.length, texts.join('\n'));
    texts.forEach((text, position) => assert.ok(text.startsWith(want[position] ?? '?'), text));
  });
}

test('pod, updates: what was accepted once is not validated with every status', () => {
  const old = pod({ hostname: 'Not.valid' });
  assert.deepEqual(podKind.validate?.({ ...old, status: { phase: 'Running' } }, old), []);
});
