import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '../object.ts';
import { compileRules, ruleProblems } from './rules.ts';

function schemaWith(rule: JsonObject, extra: JsonObject = {}): JsonObject {
  return {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        'x-kubernetes-validations': [rule],
        properties: {
          min: { type: 'integer' },
          max: { type: 'integer' },
          ratio: { type: 'number' },
          namespace: { type: 'string' },
          'a-b': { type: 'string' },
          names: { type: 'array', items: { type: 'string' } },
          ...extra,
        },
      },
    },
  };
}

const cases: readonly {
  readonly name: string;
  readonly rule: JsonObject;
  readonly spec: Json;
  readonly old?: Json;
  readonly want: readonly string[];
}[] = [
  { name: 'integers compare', rule: { rule: 'self.min <= self.max' }, spec: { min: 1, max: 2 }, want: [] },
  {
    name: 'a rule that fails shows its text',
    rule: { rule: 'self.min <= self.max' },
    spec: { min: 3, max: 2 },
    want: ['spec: Invalid value: "object": failed rule: self.min <= self.max'],
  },
  {
    name: 'a message of its own',
    rule: { rule: 'self.min <= self.max', message: 'min is above max' },
    spec: { min: 3, max: 2 },
    want: ['spec: Invalid value: "object": min is above max'],
  },
  {
    name: 'a computed message, reason and place',
    rule: {
      rule: 'self.min + 1 <= self.max',
      messageExpression: '"max must be above " + string(self.min)',
      reason: 'FieldValueForbidden',
      fieldPath: '.max',
    },
    spec: { min: 3, max: 3 },
    want: ['spec.max: Forbidden: max must be above 3'],
  },
  { name: 'has() of an absent field', rule: { rule: '!has(self.min) || self.min > 0' }, spec: {}, want: [] },
  { name: 'doubles', rule: { rule: 'self.ratio < 0.5' }, spec: { ratio: 0.25 }, want: [] },
  {
    name: 'a reserved word',
    rule: { rule: "self.__namespace__ == 'a'" },
    spec: { namespace: 'a' },
    want: [],
  },
  { name: 'a dash', rule: { rule: "self.a__dash__b == 'a'" }, spec: { 'a-b': 'a' }, want: [] },
  {
    name: 'lists',
    rule: { rule: 'self.names.all(name, name.startsWith("x"))' },
    spec: { names: ['xa', 'b'] },
    want: ['spec: Invalid value: "object": failed rule: self.names.all(name, name.startsWith("x"))'],
  },
  { name: 'a transition at creation', rule: { rule: 'self.min == oldSelf.min' }, spec: { min: 1 }, want: [] },
  {
    name: 'a transition that is not allowed',
    rule: { rule: 'self.min == oldSelf.min', message: 'min is immutable' },
    spec: { min: 1 },
    old: { min: 2 },
    want: ['spec: Invalid value: "object": min is immutable'],
  },
  {
    name: 'an old value that may be missing, at creation',
    rule: { rule: 'self.min == oldSelf.orValue(self).min && !oldSelf.hasValue()', optionalOldSelf: true },
    spec: { min: 1 },
    want: [],
  },
  {
    name: 'an old value that may be missing, at an update',
    rule: { rule: 'oldSelf.hasValue() && oldSelf.value().min <= self.min', optionalOldSelf: true },
    spec: { min: 1 },
    old: { min: 2 },
    want: ['spec: Invalid value: "object": failed rule'],
  },
  {
    name: 'what was wrong before and did not change',
    rule: { rule: 'self.min <= self.max' },
    spec: { min: 3, max: 2 },
    old: { min: 3, max: 2 },
    want: [],
  },
  {
    name: 'what was wrong before and changed',
    rule: { rule: 'self.min <= self.max' },
    spec: { min: 4, max: 2 },
    old: { min: 3, max: 2 },
    want: ['spec: Invalid value: "object": failed rule'],
  },
  {
    name: 'an evaluation that fails',
    rule: { rule: 'self.min > 0' },
    spec: {},
    want: ['spec: Invalid value: "object": rule evaluation error'],
  },
  {
    name: 'too much work',
    rule: { rule: 'self.names.all(a, self.names.all(b, self.names.all(c, a + b + c != "")))' },
    spec: { names: Array.from({ length: 500 }, (_, at) => `n${at}`) },
    want: ['spec: Invalid value: "object": validation failed due to running out of cost budget'],
  },
];

for (const { name, rule, spec, old, want } of cases) {
  test(`rules: ${name}`, () => {
    const schema = schemaWith(rule);
    assert.deepEqual(ruleProblems(schema, ''), []);
    const rules = compileRules(schema);
    const errors = [
      ...rules.validate({ spec }, old === undefined ? undefined : { spec: old }),
      ...(old === undefined ? [] : rules.validateTransition({ spec }, { spec: old })),
    ];
    assert.deepEqual(
      errors.map(({ field, message }, at) => `${field}: ${message}`.slice(0, want[at]?.length)),
      want,
    );
  });
}

test('rules: what does not compile is told', () => {
  for (const rule of ['self.', 'nobody.knows', '']) {
    const spec = schemaWith({ rule })['properties'] as { spec: JsonObject };
    const [error] = ruleProblems(spec.spec, 'spec');
    assert.match(`${error?.field}: ${error?.message}`, /^spec.x-kubernetes-validations\[0\].rule: /);
  }
});
