import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { publishedSchema } from './published-schema.ts';

const objectFields = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { $ref: '#/m' } };
const keepsUnknown = { 'x-kubernetes-preserve-unknown-fields': true } as const;
const embedded = { 'x-kubernetes-embedded-resource': true } as const;
const text = { type: 'string' } as const;

type Case = {
  readonly name: string;
  readonly property: JsonObject;
  /** What version 2 shows of it. */
  readonly v2: JsonObject;
  /** What version 3 shows of it; the property itself where it is left out. */
  readonly v3?: JsonObject;
};

const cases: readonly Case[] = [
  { name: 'a plain type', property: text, v2: text },
  {
    name: 'an object with unknown fields shows none, lest kubectl refuse the others',
    property: { type: 'object', ...keepsUnknown, properties: { a: text } },
    v2: keepsUnknown,
  },
  {
    name: 'null is no type of version 2',
    property: { type: 'object', nullable: true, properties: { a: text } },
    v2: {},
  },
  {
    name: 'what may be null is not required',
    property: {
      type: 'object',
      required: ['a', 'b'],
      properties: { a: { ...text, nullable: true }, b: text },
    },
    v2: { type: 'object', required: ['b'], properties: { a: {}, b: text } },
  },
  {
    name: 'a list without a type of its items has no type itself',
    property: { type: 'array', ...keepsUnknown, items: text },
    v2: keepsUnknown,
  },
  {
    name: 'alternatives are left to the server; a field may be named like a keyword',
    property: {
      type: 'object',
      oneOf: [{ required: ['not'] }],
      additionalProperties: { type: 'object', anyOf: [{}], properties: { not: text } },
    },
    v2: { type: 'object', additionalProperties: { type: 'object', properties: { not: text } } },
  },
  {
    name: 'an embedded object has what every object has',
    property: { type: 'object', ...embedded, properties: { spec: { type: 'object' } } },
    v2: {
      type: 'object',
      ...embedded,
      properties: { spec: { type: 'object' }, ...objectFields },
      required: ['kind', 'apiVersion'],
    },
    v3: {
      type: 'object',
      ...embedded,
      properties: { spec: { type: 'object' }, ...objectFields },
      required: ['kind', 'apiVersion'],
    },
  },
];

for (const { name, property, v2, v3 = property } of cases) {
  test(`published schema: ${name}`, () => {
    const schema = { type: 'object', properties: { it: property } };
    const shown = (it: JsonObject): JsonObject => ({ type: 'object', properties: { it, ...objectFields } });
    const before = structuredClone(schema);
    assert.deepEqual(publishedSchema(schema, { version: 2, objectFields }), shown(v2));
    assert.deepEqual(publishedSchema(schema, { version: 3, objectFields }), shown(v3));
    assert.deepEqual(schema, before);
  });
}

test('published schema: a kind with unknown fields has no fields in version 2, not even metadata', () => {
  const schema = { type: 'object', description: 'Free.', ...keepsUnknown, properties: { a: text } };
  assert.deepEqual(publishedSchema(schema, { version: 2, objectFields }), { type: 'object' });
  assert.deepEqual(publishedSchema(schema, { version: 3, objectFields }), {
    ...schema,
    properties: { a: text, ...objectFields },
  });
});
