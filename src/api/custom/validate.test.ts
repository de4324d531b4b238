import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json, JsonObject } from '../object.ts';
import { validateBySchema } from './validate.ts';

const schema: JsonObject = {
  type: 'object',
  required: ['size'],
  properties: {
    size: { type: 'integer', maximum: 5 },
    names: { type: 'array', items: { type: 'string', maxLength: 3 } },
    ports: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: {
        type: 'object',
        properties: { name: { type: 'string' }, port: { type: 'integer', maximum: 9 } },
      },
    },
  },
};

const cases: readonly {
  readonly name: string;
  readonly value: Json;
  readonly old?: Json;
  readonly want: readonly string[];
}[] = [
  { name: 'a new object is checked whole', value: { size: 9 }, want: ['size'] },
  { name: 'what did not change may stay wrong', value: { size: 9, names: [] }, old: { size: 9 }, want: [] },
  { name: 'what changed may not', value: { size: 8 }, old: { size: 9 }, want: ['size'] },
  { name: 'what is missing is told where its parent changed', value: { names: [] }, old: {}, want: ['size'] },
  {
    name: 'a list without keys is checked whole when it changed',
    value: { size: 1, names: ['long', 'a'] },
    old: { size: 1, names: ['long'] },
    want: ['names[0]'],
  },
  {
    name: 'elements with keys are told apart, in any order',
    value: {
      size: 1,
      ports: [
        { name: 'b', port: 11 },
        { name: 'a', port: 10 },
      ],
    },
    old: { size: 1, ports: [{ name: 'a', port: 10 }] },
    want: ['ports[0].port'],
  },
];

for (const { name, value, old, want } of cases) {
  test(`schema validation: ${name}`, () => {
    assert.deepEqual(
      validateBySchema(schema, value, '', old).map(({ field }) => field),
      want,
    );
  });
}
