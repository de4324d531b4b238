import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBody, decodeObject, duplicateFieldsOf } from './decode.ts';
import { kindNamed } from './registry.ts';
import { StatusError } from './status.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

async function warningsOf(text: string, contentType = 'application/json'): Promise<readonly string[]> {
  const bytes = encode(text);
  return (await duplicateFieldsOf(bytes, contentType, await decodeBody(bytes, contentType))).warnings;
}

const cases = [
  { name: 'none', text: '{"a":{"b":1},"c":[{"b":1},{"b":2}]}', want: [] },
  { name: 'at the top', text: '{"a":1,"b":2,"a":3}', want: ['duplicate field "a"'] },
  {
    name: 'in a list, told once however often',
    text: '{"spec":{"containers":[{"name":"x"},{"image":"a","image":"b","image":"c"}]}}',
    want: ['duplicate field "spec.containers[1].image"'],
  },
  {
    name: 'in a map',
    text: '{"metadata":{"labels":{"a":"1","a":"2"}}}',
    want: ['duplicate field "metadata.labels.a"'],
  },
  { name: 'an escape is the same key', text: '{"ab":1,"\\u0061b":2}', want: ['duplicate field "ab"'] },
  { name: 'texts that look like keys are none', text: '{"a":"\\"b\\":1","b":"{\\"b\\": 2}"}', want: [] },
  {
    name: 'objects within what is overwritten',
    text: '{"a":{"x":1,"x":2},"a":{}}',
    want: ['duplicate field "a.x"', 'duplicate field "a"'],
  },
] as const;

for (const { name, text, want } of cases) {
  test(`duplicate fields: ${name}`, async () => {
    assert.deepEqual(await warningsOf(text), want);
  });
}

test('duplicate fields: YAML names the line, and the last one counts', async () => {
  const text = 'a: 1\nspec:\n  "b": 1\n  b: 2\n  c: 3\na: 4\n';
  assert.deepEqual(await warningsOf(text, 'application/yaml'), [
    'line 4: key "b" already set in map',
    'line 6: key "a" already set in map',
  ]);
  assert.deepEqual(await decodeBody(encode(text), 'application/yaml'), { a: 4, spec: { b: 2, c: 3 } });
});

test('duplicate fields: strict decoding refuses them in Kubernetes’ words', async () => {
  const kind = kindNamed('', 'v1', 'ConfigMap') ?? assert.fail('served');
  const refusal = async (text: string, contentType: string): Promise<string> => {
    const bytes = encode(text);
    const body = await decodeBody(bytes, contentType);
    const duplicates = await duplicateFieldsOf(bytes, contentType, body);
    try {
      decodeObject(kind, body, 'Strict', duplicates);
      return 'taken';
    } catch (error) {
      assert.ok(error instanceof StatusError);
      return error.status.message ?? '';
    }
  };
  const head = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: ';
  assert.equal(
    await refusal('{"data":{"a":"1","a":"2"},"x":1}', 'application/json'),
    `${head}duplicate field "data.a", unknown field "x"`,
  );
  assert.equal(
    await refusal('{"x":{"y":1,"y":2},"data":{"a":"1","a":"2"},"z":[],"z":1}', 'application/json'),
    `${head}unknown field "x", duplicate field "data.a", unknown field "z"`,
    'in the order of the text; what is unknown is not looked into',
  );
  assert.equal(
    await refusal('data:\n  a: "1"\n  a: "2"\n', 'application/yaml'),
    `${head}yaml: unmarshal errors:\n  line 3: key "a" already set in map`,
  );
});

test('duplicate fields: what a serializer writes has none', () => {
  fc.assert(
    fc.asyncProperty(fc.json({ maxDepth: 4 }), async (text) => {
      fc.pre(!text.includes('__proto__')); // refused before anybody counts
      assert.deepEqual(await warningsOf(text), []);
    }),
  );
});
