import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { protobufFields } from '../api/gen/protobuf-fields.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { kinds } from '../api/registry.ts';
import { type FieldType, typeNode } from '../api/schema.ts';
import { decodeProtobufBody } from './protobuf-body.ts';
import {
  encodeEvent,
  encodeList,
  encodeMetadata,
  encodeMetadataList,
  encodeObject,
  hasProtobuf,
} from './protobuf-encode.ts';

test('protobuf: every built-in kind has its numbers', () => {
  const missing = kinds.filter((kind) => !hasProtobuf(kind.schema)).map((kind) => kind.schema);
  assert.deepEqual(missing, []);
});

const fieldNames = /(?<=\d )[^\s(),:]+/g;

test('protobuf: every field of the table is a field of the schema', () => {
  for (const [typeName, text] of Object.entries(protobufFields)) {
    const fields = typeNode(typeName)?.fields;
    if (fields === undefined) continue;
    for (const [name] of text.matchAll(fieldNames)) {
      assert.ok(fields.has(name), `${typeName}.${name}`);
    }
  }
});

/** Values that protobuf and JSON both can say: no empty lists, and nothing that Go drops. */
function valueOf(type: FieldType, depth: number): fc.Arbitrary<Json> {
  switch (type.kind) {
    case 'list':
      return fc.array(valueOf(type.of, depth), { minLength: 1, maxLength: 2 });
    case 'map':
      return fc
        .array(fc.tuple(fc.constantFrom('a', 'b/c'), valueOf(type.of, depth)), { minLength: 1, maxLength: 2 })
        .map((entries) => Object.fromEntries(entries));
    case 'type':
      return objectOf(type.name, depth - 1);
    case 'scalar':
      switch (type.scalar) {
        case 'string':
          return fc.constantFrom('x', 'grüße');
        case 'bool':
          return fc.constant(true);
        case 'int32':
          return fc.constantFrom(1, -5, 2 ** 31 - 1);
        case 'int64':
          return fc.constantFrom(1, -7, 2 ** 40);
        case 'double':
          return fc.constant(0.5);
        case 'bytes':
          return fc.constant('aGVsbG8=');
        case 'quantity':
          return fc.constantFrom('100m', '1Gi');
        case 'time':
          return fc.constant('2026-01-02T03:04:05Z');
        case 'microTime':
          return fc.constant('2026-01-02T03:04:05.000678Z');
        case 'intOrString':
          return fc.constantFrom<Json>(80, 'http');
        case 'any':
          return fc.constant({ 'f:spec': {} });
      }
  }
}

/** Fields of a schema whose value is one of several shapes. */
const someSchema = { type: 'object', properties: { a: { minLength: 0, enum: [null, 'x'] } } };
const shaped: Readonly<Record<string, fc.Arbitrary<Json>>> = {
  'apiextensions/v1.JSONSchemaProps.items': fc.constantFrom<Json>(someSchema, [
    someSchema,
    { type: 'string' },
  ]),
  'apiextensions/v1.JSONSchemaProps.additionalProperties': fc.constantFrom<Json>(someSchema, true, false),
  'apiextensions/v1.JSONSchemaProps.additionalItems': fc.constantFrom<Json>(someSchema, true, false),
  'apiextensions/v1.JSONSchemaProps.dependencies': fc.constantFrom<Json>({ a: ['b'], c: someSchema }),
  'apiextensions/v1.CustomResourceSubresources.status': fc.constant({}),
};

function objectOf(typeName: string, depth: number): fc.Arbitrary<JsonObject> {
  const numbered = new Set([...(protobufFields[typeName] ?? '').matchAll(fieldNames)].map(([name]) => name));
  const fields = [...(typeNode(typeName)?.fields ?? [])].filter(
    ([name, { type }]) => numbered.has(name) && (depth > 0 || type.kind === 'scalar'),
  );
  return fc
    .record(
      Object.fromEntries(
        fields.map(([name, { type }]) => [name, shaped[`${typeName}.${name}`] ?? valueOf(type, depth)]),
      ),
      {
        requiredKeys: [],
      },
    )
    .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);
}

for (const { schema, kind, group, version } of kinds.filter((entry) => hasProtobuf(entry.schema))) {
  test(`protobuf: ${schema} is read back as it was written`, () => {
    const apiVersion = group === '' ? version : `${group}/${version}`;
    fc.assert(
      fc.property(objectOf(schema, 4), (rest) => {
        const object = { ...rest, apiVersion, kind };
        assert.deepEqual(decodeProtobufBody(encodeObject(schema, object), schema), object);
      }),
      { numRuns: 15 },
    );
  });
}

test('protobuf: a list and an event as bytes', () => {
  const items = [{ metadata: { name: 'a' } }];
  const list = encodeList(
    'core/v1.ConfigMap',
    { apiVersion: 'v1', kind: 'ConfigMapList', metadata: { resourceVersion: '7' } },
    items,
  );
  assert.equal(
    list.toString('hex'),
    // k8s\0, typeMeta {v1, ConfigMapList}, raw {metadata {2: "7"}, items {metadata {1: "a"}}}, two empty texts
    '6b387300' +
      '0a130a02763112' +
      '0d436f6e6669674d61704c697374' +
      '120c0a03120137' +
      '12050a030a0161' +
      '1a002200',
  );
  const event = encodeEvent(
    'ADDED',
    encodeObject('core/v1.ConfigMap', { apiVersion: 'v1', kind: 'ConfigMap' }),
  );
  assert.equal(event.readUInt32BE(0), event.length - 4);
  assert.equal(event.subarray(4, 11).toString('latin1'), '\n\x05ADDED');
});

test('protobuf: metadata alone, and its list in both versions', () => {
  const partial = { apiVersion: 'meta.k8s.io/v1', kind: 'PartialObjectMetadata', metadata: { name: 'a' } };
  const envelope = (kind: string, raw: string): string => {
    const names = `0a0e${hex('meta.k8s.io/v1')}12${byte(kind.length)}${hex(kind)}`;
    return `6b3873000a${byte(names.length / 2)}${names}12${byte(raw.length / 2)}${raw}1a002200`;
  };
  assert.equal(encodeMetadata(partial).toString('hex'), envelope('PartialObjectMetadata', '0a03' + '0a0161'));
  const head = { apiVersion: 'meta.k8s.io/v1', kind: 'PartialObjectMetadataList' };
  const list = { ...head, metadata: { resourceVersion: '7' } };
  const [metadata, item] = ['03120137', '050a030a0161'];
  assert.equal(
    encodeMetadataList('v1', list, [partial]).toString('hex'),
    envelope(list.kind, `0a${metadata}12${item}`),
  );
  assert.equal(
    encodeMetadataList('v1beta1', list, [partial]).toString('hex'),
    envelope(list.kind, `12${metadata}0a${item}`),
  );
});

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

function byte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
