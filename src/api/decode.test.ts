import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyBytesMax, bodyDepthMax, decodeBody, decodeObject } from './decode.ts';
import type { Json } from './object.ts';
import { kindNamed } from './registry.ts';
import { StatusError } from './status.ts';

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function refusal(code: number, message: RegExp | string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.status.code, code);
    if (typeof message === 'string') assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  };
}

const bodies: readonly {
  readonly name: string;
  readonly type: string;
  readonly text: string;
  readonly want: Json;
}[] = [
  { name: 'JSON', type: 'application/json', text: '{"a":1}', want: { a: 1 } },
  { name: 'JSON with a charset', type: 'application/json; charset=utf-8', text: '[1]', want: [1] },
  { name: 'a patch type', type: 'application/merge-patch+json', text: '{"a":null}', want: { a: null } },
  {
    name: 'YAML 1.1: yes is true, 012 is ten',
    type: 'application/yaml',
    text: 'a: yes\nb: 012\n',
    want: { a: true, b: 10 },
  },
  {
    name: 'YAML dates and port pairs stay texts, as in Go',
    type: 'application/yaml',
    text: 'a: 2001-01-01\nb: 80:80\n',
    want: { a: '2001-01-01', b: '80:80' },
  },
];

for (const { name, type, text, want } of bodies) {
  test(`decode: ${name}`, async () => assert.deepEqual(await decodeBody(bytes(text), type), want));
}

const refused: readonly {
  readonly name: string;
  readonly type: string;
  readonly text: string;
  readonly code: number;
  readonly message: RegExp;
}[] = [
  { name: 'broken JSON', type: 'application/json', text: '{', code: 400, message: /json parse error/ },
  { name: 'broken YAML', type: 'application/yaml', text: 'a: [', code: 400, message: /^yaml: / },
  {
    name: 'protobuf',
    type: 'application/vnd.kubernetes.protobuf',
    text: 'k8s',
    code: 415,
    message: /accepted media types include: application\/json, application\/yaml/,
  },
  {
    name: 'nesting beyond the bound',
    type: 'application/json',
    text: '['.repeat(bodyDepthMax + 2) + ']'.repeat(bodyDepthMax + 2),
    code: 400,
    message: /nested deeper/,
  },
  {
    name: 'a field that would change a prototype',
    type: 'application/json',
    text: '{"__proto__":{"a":1}}',
    code: 400,
    message: /__proto__/,
  },
  {
    name: 'a body beyond the bound',
    type: 'application/json',
    text: ' '.repeat(bodyBytesMax + 1),
    code: 413,
    message: /limit is 3145728/,
  },
];

for (const { name, type, text, code, message } of refused) {
  test(`decode: ${name} is refused`, async () => {
    await assert.rejects(decodeBody(bytes(text), type), refusal(code, message));
  });
}

const service = kindNamed('', 'v1', 'Service');
assert.ok(service !== undefined);

test('decode: strict validation names every unknown field', () => {
  const body: Json = { apiVersion: 'v1', kind: 'Service', spec: { foo: 1 }, bar: 2 };
  assert.throws(
    () => decodeObject(service, body, 'Strict'),
    refusal(
      400,
      'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.foo", unknown field "bar"',
    ),
  );
  assert.deepEqual(decodeObject(service, body, 'Warn').warnings, [
    'unknown field "spec.foo"',
    'unknown field "bar"',
  ]);
  assert.deepEqual(decodeObject(service, body, 'Ignore').warnings, []);
});

test('decode: another kind or version is refused, absent ones are filled in', () => {
  assert.throws(
    () => decodeObject(service, { apiVersion: 'v2', kind: 'Service' }, 'Warn'),
    refusal(400, 'the API version in the data (v2) does not match the expected API version (v1)'),
  );
  assert.throws(() => decodeObject(service, { apiVersion: 'v1', kind: 'Pod' }, 'Warn'), refusal(400, /Pod/));
  assert.deepEqual(decodeObject(service, { metadata: { name: 'a' } }, 'Warn').object, {
    metadata: { name: 'a' },
    apiVersion: 'v1',
    kind: 'Service',
  });
});

test('decode: a type error is a bad request in the words of Kubernetes', () => {
  assert.throws(
    () => decodeObject(service, { spec: { ports: [{ port: 'x' }] } }, 'Ignore'),
    refusal(
      400,
      'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32',
    ),
  );
});
