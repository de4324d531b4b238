import assert from 'node:assert/strict';
import { test } from 'node:test';
import { schemaTable } from './gen/schema.ts';
import type { Json } from './object.ts';
import { checkStructure, type FieldType, parseField, typeNode } from './schema.ts';

test('schema: every field of the table parses, and every type that it names is there', () => {
  for (const name of Object.keys(schemaTable)) {
    for (const [field, { type }] of typeNode(name)?.fields ?? []) checkNamed(type, `${name}.${field}`);
  }
});

function checkNamed(type: FieldType, where: string): void {
  if (type.kind === 'type') assert.notEqual(typeNode(type.name), undefined, `${where} names ${type.name}`);
  else if (type.kind !== 'scalar') checkNamed(type.of, where);
}

const grammar: readonly { readonly text: string; readonly want: unknown }[] = [
  { text: 'string', want: { type: { kind: 'scalar', scalar: 'string' }, required: false } },
  {
    text: '[int32]!',
    want: { type: { kind: 'list', of: { kind: 'scalar', scalar: 'int32' } }, required: true },
  },
  {
    text: '{core/v1.Container}',
    want: { type: { kind: 'map', of: { kind: 'type', name: 'core/v1.Container' } }, required: false },
  },
];

for (const { text, want } of grammar) {
  test(`schema: the grammar reads ${text}`, () => assert.deepEqual(parseField(text), want));
}

type Case = {
  readonly name: string;
  readonly type: string;
  readonly value: Json;
  readonly errors?: readonly string[];
  readonly unknown?: readonly string[];
  readonly pruned?: Json;
};

const cases: readonly Case[] = [
  {
    name: 'a good Service passes unchanged',
    type: 'core/v1.Service',
    value: { spec: { ports: [{ port: 80, targetPort: 'http' }], selector: { app: 'web' } } },
    pruned: { spec: { ports: [{ port: 80, targetPort: 'http' }], selector: { app: 'web' } } },
  },
  {
    name: 'unknown fields are named by path and dropped',
    type: 'core/v1.Service',
    value: { spec: { prots: [], ports: [{ port: 80, protcol: 'TCP' }] } },
    unknown: ['spec.prots', 'spec.ports[0].protcol'],
    pruned: { spec: { ports: [{ port: 80 }] } },
  },
  {
    name: 'a text where a number belongs is told in Go’s words',
    type: 'core/v1.Service',
    value: { spec: { ports: [{ port: '80' }] } },
    errors: ['json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32'],
  },
  {
    name: 'an object where a list belongs',
    type: 'core/v1.Service',
    value: { spec: { ports: { port: 80 } } },
    errors: [
      'json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort',
    ],
  },
  {
    name: 'a number where a label value belongs',
    type: 'core/v1.Service',
    value: { metadata: { labels: { tier: 1 } } },
    errors: ['json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string'],
  },
  {
    name: 'nulls are unset fields',
    type: 'core/v1.Service',
    value: { metadata: { creationTimestamp: null, name: 'a' }, spec: null },
    pruned: { metadata: { name: 'a' } },
  },
  {
    name: 'a number that does not fit 32 bits',
    type: 'core/v1.ServicePort',
    value: { port: 4294967296 },
    errors: ['json: cannot unmarshal number 4294967296 into Go struct field ServicePort.port of type int32'],
  },
  {
    name: 'quantities become canonical, numbers too',
    type: 'core/v1.ResourceRequirements',
    value: { limits: { cpu: 2, memory: '1024Mi' }, requests: { cpu: '0.5' } },
    pruned: { limits: { cpu: '2', memory: '1Gi' }, requests: { cpu: '500m' } },
  },
  {
    name: 'a bad quantity',
    type: 'core/v1.ResourceRequirements',
    value: { limits: { cpu: 'lots' } },
    errors: ["quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"],
  },
  {
    name: 'bad base64 says where',
    type: 'core/v1.Secret',
    value: { data: { key: 'a*b=' } },
    errors: ['illegal base64 data at input byte 1'],
  },
  {
    name: 'free-form values are left alone',
    type: 'meta/v1.ManagedFieldsEntry',
    value: { fieldsV1: { 'f:spec': { 'f:x': {} } } },
    pruned: { fieldsV1: { 'f:spec': { 'f:x': {} } } },
  },
];

for (const { name, type, value, errors = [], unknown = [], pruned } of cases) {
  test(`schema: ${name}`, () => {
    const structure = checkStructure(type, value);
    assert.deepEqual(structure.typeErrors, errors);
    assert.deepEqual(structure.unknownFields, unknown);
    if (pruned !== undefined) assert.deepEqual(structure.pruned, pruned);
  });
}
