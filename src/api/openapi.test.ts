import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { stringAt } from './fields.ts';
import { isJsonObject, type Json, type JsonObject } from './object.ts';
import { openApiV2Json, openApiV2Protobuf, openApiV3Document, openApiV3Index } from './openapi.ts';

/** The part of gnostic's OpenAPIv2.proto that we write: field number to JSON name and shape. */
type Shape =
  | 'text'
  | 'texts'
  | 'flag'
  | 'extension'
  | { readonly one: () => Message }
  | { readonly list: () => Message }
  | { readonly map: () => Message }
  | { readonly inline: () => Message };
type Message = Readonly<Record<number, readonly [string, Shape]>>;

const schema: Message = {
  1: ['$ref', 'text'],
  2: ['format', 'text'],
  4: ['description', 'text'],
  19: ['required', 'texts'],
  21: ['additionalProperties', { one: () => ({ 1: ['', { inline: () => schema }] }) }],
  22: ['type', { one: () => ({ 1: ['', 'text'] }) }],
  23: ['items', { one: () => ({ 1: ['', { inline: () => schema }] }) }],
  25: ['properties', { one: () => ({ 1: ['', { map: () => schema }] }) }],
  31: ['', 'extension'],
};
const plainParameter = (type: number, unique: number): Message => ({
  1: ['required', 'flag'],
  2: ['in', 'text'],
  4: ['name', 'text'],
  [type]: ['type', 'text'],
  [unique]: ['uniqueItems', 'flag'],
});
const parameter: Message = {
  1: [
    '',
    {
      inline: () => ({
        2: ['name', 'text'],
        3: ['in', 'text'],
        4: ['required', 'flag'],
        5: ['schema', { one: () => schema }],
      }),
    },
  ],
  2: [
    '',
    {
      inline: () => ({
        3: ['', { inline: () => plainParameter(6, 20) }],
        4: ['', { inline: () => plainParameter(5, 19) }],
      }),
    },
  ],
};
const parameters: Shape = { list: () => ({ 1: ['', { inline: () => parameter }] }) };
const response: Message = {
  1: [
    '',
    {
      inline: () => ({
        1: ['description', 'text'],
        2: ['schema', { one: () => ({ 1: ['', { inline: () => schema }] }) }],
      }),
    },
  ],
};
const operation: Message = {
  5: ['operationId', 'text'],
  6: ['produces', 'texts'],
  7: ['consumes', 'texts'],
  8: ['parameters', parameters],
  9: ['responses', { one: () => ({ 1: ['', { map: () => response }] }) }],
  10: ['schemes', 'texts'],
  13: ['', 'extension'],
};
const pathItem: Message = {
  2: ['get', { one: () => operation }],
  3: ['put', { one: () => operation }],
  4: ['post', { one: () => operation }],
  5: ['delete', { one: () => operation }],
  8: ['patch', { one: () => operation }],
  9: ['parameters', parameters],
};
const document: Message = {
  1: ['swagger', 'text'],
  2: ['info', { one: () => ({ 1: ['title', 'text'], 2: ['version', 'text'] }) }],
  8: ['paths', { one: () => ({ 2: ['', { map: () => pathItem }] }) }],
  9: ['definitions', { one: () => ({ 1: ['', { map: () => schema }] }) }],
};

/** Reads a message into the JSON that it was written from. A member named '' stands for the whole. */
function decode(bytes: Uint8Array, message: Message): Json {
  const reader = new BinaryReader(bytes);
  const result: JsonObject = {};
  let whole: Json | undefined;
  while (reader.pos < reader.len) {
    const [number] = reader.tag();
    const [name, shape] = message[number] ?? assert.fail(`unexpected field ${number}`);
    if (shape === 'flag') {
      result[name] = reader.bool();
      continue;
    }
    const content = reader.bytes();
    if (shape === 'text') {
      const text = new TextDecoder().decode(content);
      if (name === '') whole = text;
      else result[name] = text;
    } else if (shape === 'texts') append(result, name, new TextDecoder().decode(content));
    else if (shape === 'extension') Object.assign(result, decodeExtension(content));
    else if ('one' in shape) result[name] = decode(content, shape.one());
    else if ('inline' in shape) whole = decode(content, shape.inline());
    else if ('list' in shape) append(result, name, decode(content, shape.list()));
    else {
      const pair = decodePair(content);
      result[pair.name] = decode(pair.value, shape.map());
    }
  }
  return whole ?? result;
}

function append(result: JsonObject, name: string, item: Json): void {
  const list = result[name];
  result[name] = Array.isArray(list) ? [...list, item] : [item];
}

function decodePair(bytes: Uint8Array): { readonly name: string; readonly value: Uint8Array } {
  const reader = new BinaryReader(bytes);
  let name = '';
  let value: Uint8Array = new Uint8Array();
  while (reader.pos < reader.len) {
    const [number] = reader.tag();
    if (number === 1) name = reader.string();
    else value = reader.bytes();
  }
  return { name, value };
}

function decodeExtension(bytes: Uint8Array): JsonObject {
  const pair = decodePair(bytes);
  const reader = new BinaryReader(pair.value);
  assert.equal(reader.tag()[0], 2, 'extensions are written as YAML');
  return { [pair.name]: JSON.parse(reader.string()) as Json };
}

function parsed(bytes: Uint8Array | undefined): JsonObject {
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
  assert.ok(isJsonObject(value));
  return value;
}

test('openapi: the protobuf says what the JSON says', () => {
  assert.deepEqual(decode(openApiV2Protobuf(), document), withoutFalse(parsed(openApiV2Json())));
});

/** Protobuf writes neither false nor empty lists. */
function withoutFalse(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutFalse);
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).filter(
    ([, item]) => item !== false && !(Array.isArray(item) && item.length === 0),
  );
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutFalse(item)]));
}

test('openapi: kubectl finds fieldValidation and dryRun on every patch', () => {
  let patches = 0;
  for (const item of Object.values(parsed(openApiV2Json())['paths'] as JsonObject)) {
    const patch = (item as JsonObject)['patch'];
    if (!isJsonObject(patch)) continue;
    patches++;
    const names = (patch['parameters'] as JsonObject[]).map((entry) => entry['name']);
    assert.ok(
      names.includes('fieldValidation') && names.includes('dryRun'),
      JSON.stringify(patch['operationId']),
    );
    assert.ok(isJsonObject(patch['x-kubernetes-group-version-kind']));
  }
  assert.ok(patches > 15);
});

test('openapi: version 3 has a document for each group version, and no reference leads nowhere', () => {
  const index = parsed(openApiV3Index())['paths'] as Record<string, JsonObject>;
  assert.ok('api/v1' in index && 'apis/networking.k8s.io/v1' in index);
  for (const [path, entry] of Object.entries(index)) {
    assert.match(
      stringAt(entry, 'serverRelativeURL'),
      new RegExp(`^/openapi/v3/${path}\\?hash=[0-9A-F]{64}$`),
    );
    const found = parsed(openApiV3Document(path));
    const schemas = (found['components'] as JsonObject)['schemas'] as JsonObject;
    for (const match of JSON.stringify(found).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      assert.ok((match[1] ?? '') in schemas, `${path} refers to ${match[1]}`);
    }
  }
  assert.equal(openApiV3Document('apis/none/v1'), undefined);
});

test('openapi: no reference of version 2 leads nowhere', () => {
  const found = parsed(openApiV2Json());
  const names = found['definitions'] as JsonObject;
  for (const match of JSON.stringify(found).matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g)) {
    assert.ok((match[1] ?? '') in names, match[0]);
  }
});
