import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindNamed } from '../registry.ts';
import type { JsonObject } from '../object.ts';
import {
  mandatoryFlowSchemas,
  mandatoryPriorityLevels,
  suggestedFlowSchemas,
  suggestedPriorityLevels,
} from './flowcontrol-objects.ts';

const group = 'flowcontrol.apiserver.k8s.io';
const schemaKind = kindNamed(group, 'v1', 'FlowSchema') ?? assert.fail('served');
const levelKind = kindNamed(group, 'v1', 'PriorityLevelConfiguration') ?? assert.fail('served');

function told(kind: typeof schemaKind, name: string, spec: JsonObject): readonly string[] {
  const object: JsonObject = { metadata: { name }, spec: structuredClone(spec) };
  kind.setDefaults?.(object);
  return (kind.validate?.(object) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

const rule = {
  subjects: [{ kind: 'User', user: { name: 'jane' } }],
  nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['/healthz', '/api/*'] }],
};
const schema = { priorityLevelConfiguration: { name: 'system' }, rules: [rule] };
const withRule = (part: JsonObject): JsonObject => ({ ...schema, rules: [{ ...rule, ...part }] });
const resourceRule = { verbs: ['get'], apiGroups: [''], resources: ['pods'], namespaces: ['*'] };
const queue = (queuing: JsonObject): JsonObject => ({
  type: 'Limited',
  limited: { limitResponse: { type: 'Queue', queuing } },
});

type Case = {
  readonly name: string;
  readonly kind?: typeof schemaKind;
  readonly of?: string;
  readonly spec: JsonObject;
  readonly want: readonly RegExp[];
};

const cases: readonly Case[] = [
  { name: 'a flow schema without precedence', spec: schema, want: [] },
  { name: 'too late', spec: { ...schema, matchingPrecedence: 10_001 }, want: [/not be greater than 10000/] },
  {
    name: 'the first place',
    spec: { ...schema, matchingPrecedence: 1 },
    want: [/only the schema named 'exempt'/],
  },
  {
    name: 'no level',
    spec: { rules: [rule] },
    want: [/name: Required value: must reference a priority level/],
  },
  {
    name: 'a method that is not known',
    spec: { ...schema, distinguisherMethod: { type: 'ByMoon' } },
    want: [/supported values: "ByNamespace", "ByUser"/],
  },
  { name: 'nobody', spec: withRule({ subjects: [] }), want: [/rules\[0\].subjects: Required value/] },
  {
    name: 'a subject of two kinds',
    spec: withRule({ subjects: [{ kind: 'User', user: { name: 'a' }, group: { name: 'b' } }] }),
    want: [/subjects\[0\].group: Forbidden: group is forbidden when subject kind is not 'Group'/],
  },
  {
    name: 'a service account of no namespace',
    spec: withRule({ subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: '*' } }] }),
    want: [/serviceAccount.namespace: Required value: must specify namespace/],
  },
  {
    name: 'nothing',
    spec: withRule({ nonResourceRules: [] }),
    want: [/rules\[0\]: Required value: at least one of/],
  },
  {
    name: 'all verbs and more, a star inside a path',
    spec: withRule({ nonResourceRules: [{ verbs: ['*', 'get'], nonResourceURLs: ['/a*/b'] }] }),
    want: [/must not specify other verbs/, /nonResourceURLs\[0\].*wildcard can only do suffix matching/],
  },
  {
    name: 'a resource rule of no namespace',
    spec: withRule({ resourceRules: [resourceRule, { ...resourceRule, namespaces: [] }] }),
    want: [/resourceRules\[1\].namespaces: Required value/],
  },
  {
    name: 'what is fixed',
    of: 'catch-all',
    spec: schema,
    want: [/spec of 'catch-all' must equal the fixed value/],
  },
  { name: 'a level with queues', kind: levelKind, spec: queue({}), want: [] },
  {
    name: 'a hand too large',
    kind: levelKind,
    spec: queue({ handSize: 9, queues: 8 }),
    want: [/greater than queues \(8\)/],
  },
  {
    name: 'a deal too large',
    kind: levelKind,
    spec: queue({ handSize: 11 }),
    want: [/required entropy bits of deckSize 64/],
  },
  {
    name: 'queues of what is rejected',
    kind: levelKind,
    spec: {
      type: 'Limited',
      limited: { lendablePercent: 101, limitResponse: { type: 'Reject', queuing: {} } },
    },
    want: [/lendablePercent: .*between 0 and 100/, /queuing: Forbidden/],
  },
  {
    name: 'another exempt level',
    kind: levelKind,
    spec: { type: 'Exempt' },
    want: [/must be 'Exempt' if and only if `name` is 'exempt'/],
  },
  {
    name: 'shares of the exempt level may be chosen',
    kind: levelKind,
    of: 'exempt',
    spec: { type: 'Exempt', exempt: { nominalConcurrencyShares: 5 } },
    want: [],
  },
];

for (const { name, kind = schemaKind, of = 'mine', spec, want } of cases) {
  test(`flow control: ${name}`, () => {
    const errors = told(kind, of, spec);
    assert.equal(errors.length, want.length, errors.join('; '));
    for (const [at, pattern] of want.entries()) assert.match(errors[at] ?? '', pattern);
  });
}

test('flow control: what every cluster has is whole and valid, and its levels are there', () => {
  const levels = [...mandatoryPriorityLevels, ...suggestedPriorityLevels];
  for (const { name, spec } of levels) assert.deepEqual(told(levelKind, name, spec), [], name);
  for (const { name, spec } of [...mandatoryFlowSchemas, ...suggestedFlowSchemas]) {
    assert.deepEqual(told(schemaKind, name, spec), [], name);
    const { name: level } = spec['priorityLevelConfiguration'] as { readonly name: string };
    assert.ok(
      levels.some((one) => one.name === level),
      level,
    );
    const filled: JsonObject = { spec: structuredClone(spec) };
    schemaKind.setDefaults?.(filled);
    assert.deepEqual(filled['spec'], spec);
  }
});

test('flow control: a warning says that nothing acts on what is stored', () => {
  const warnings = schemaKind.warnings?.({ kind: 'FlowSchema', metadata: { name: 'mine' } });
  assert.match(warnings?.[0] ?? '', /^FlowSchema mine is stored but NOT acted on/);
});
