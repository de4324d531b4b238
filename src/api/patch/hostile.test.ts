import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyConfiguration } from '../apply/managed-fields.ts';
import { parseFieldSelector } from '../field-selector.ts';
import { parseLabelSelector } from '../labels.ts';
import type { Json, JsonObject } from '../object.ts';
import { checkStructure } from '../schema.ts';
import { StatusError } from '../status.ts';
import { applyJsonPatch } from './json.ts';
import { applyMergePatch } from './merge.ts';
import { applyStrategicPatch } from './strategic.ts';

/**
 * Whatever a client sends: a result or a StatusError, the document as it was, and no trace on the prototypes. The corpus
 * holds what once broke a server of this kind, or could.
 */

const pod = 'core/v1.Pod';

/** JSON text, because only a parser makes an own property `__proto__`. */
const corpus: readonly string[] = [
  '{"__proto__":{"polluted":true}}',
  '{"metadata":{"labels":{"__proto__":"x","constructor":"y","toString":"z","hasOwnProperty":"w"}}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"metadata":null,"spec":null}',
  '{"spec":{"containers":{"0":{"name":"a"}}}}',
  '{"spec":{"containers":[null,1,"a",[],{}]}}',
  '{"spec":{"containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":80,"protocol":"UDP"}]}]}}',
  '{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}',
  '{"spec":{"containers":[{"name":{"a":1}}]}}',
  '{"spec":{"$patch":"replace"}}',
  '{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}}',
  '{"spec":{"$setElementOrder/containers":"x"}}',
  '{"metadata":{"$deleteFromPrimitiveList/finalizers":["a/b"]}}',
  '{"metadata":{"$retainKeys":["labels"],"labels":{"a":"b"}}}',
  '{"metadata":{"managedFields":[{"fieldsV1":{"f:x":{"f:y":[]}}}]}}',
  '[{"op":"add","path":"/__proto__/polluted","value":true}]',
  '[{"op":"add","path":"/metadata/__proto__/polluted","value":true}]',
  '[{"op":"replace","path":"/constructor/prototype/polluted","value":true}]',
  '[{"op":"copy","from":"","path":"/metadata/labels/a"}]',
  '[{"op":"move","from":"/metadata","path":"/metadata/labels"}]',
  '[{"op":"test","path":"/metadata/name","value":"b"}]',
  '[{"op":"remove","path":"/spec/containers/-"}]',
  '[{"op":"add","path":"/spec/containers/99999999999999999999","value":1}]',
  '[{"op":"add","path":"no-slash","value":1}]',
  '[{"op":"add","path":"/~2/~","value":1}]',
];

function document(): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', labels: { a: 'b' }, finalizers: ['a/b'] },
    spec: { containers: [{ name: 'a', image: 'x', ports: [{ containerPort: 80, protocol: 'TCP' }] }] },
  };
}

type Apply = (patch: Json) => unknown;

const appliers: Readonly<Record<string, Apply>> = {
  'JSON patch': (patch) => applyJsonPatch(frozen, patch),
  'merge patch': (patch) => applyMergePatch(frozen, patch),
  'strategic merge patch': (patch) => applyStrategicPatch(pod, frozen, patch),
  'structure check': (patch) => checkStructure(pod, patch),
  'server-side apply': (patch) => {
    const { pruned } = checkStructure(pod, patch);
    return applyConfiguration(pod, frozen, pruned as JsonObject, {
      manager: { name: 'x', operation: 'Apply', apiVersion: 'v1', subresource: '' },
      force: true,
      time: '',
      allowed: {},
    });
  },
};

const frozen = deepFreeze(document());

function deepFreeze<T extends Json>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}

function survive(apply: Apply, patch: Json): void {
  try {
    apply(patch);
  } catch (error) {
    assert.ok(error instanceof StatusError, `${JSON.stringify(patch)}: ${String(error)}`);
  }
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined, JSON.stringify(patch));
  assert.deepEqual(frozen, document());
}

for (const [name, apply] of Object.entries(appliers)) {
  test(`hostile input: ${name} over the corpus`, () => {
    for (const text of corpus) survive(apply, JSON.parse(text) as Json);
  });

  test(`hostile input: ${name} over random JSON`, () => {
    fc.assert(
      fc.property(jsonLikePatches, (patch) => survive(apply, patch)),
      { numRuns: 300 },
    );
  });
}

/** JSON whose keys and values are often ones that mean something. */
const keys = fc.constantFrom(
  'metadata',
  'labels',
  'finalizers',
  'spec',
  'containers',
  'name',
  'ports',
  'containerPort',
  'env',
  '$patch',
  '$retainKeys',
  '$setElementOrder/containers',
  '$deleteFromPrimitiveList/finalizers',
  '__proto__',
  'constructor',
  'op',
  'path',
  'from',
  'value',
);
const leaves = fc.constantFrom<Json>(
  null,
  true,
  0,
  80,
  'a',
  'delete',
  'merge',
  'replace',
  'add',
  'copy',
  '/spec/containers/0',
  '/__proto__/polluted',
);
const jsonLikePatches: fc.Arbitrary<Json> = fc
  .letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      leaves,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.array(fc.tuple(keys, tie('node')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
    ),
  }))
  .node.map((value) => value as Json);

test('hostile input: selectors are read or refused', () => {
  const pieces = fc.constantFrom(
    'a',
    'b/c',
    '=',
    '==',
    '!=',
    '!',
    ' in ',
    ' notin ',
    '(',
    ')',
    ',',
    ' ',
    '\0',
    'é',
    '\\',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      for (const parse of [parseLabelSelector, parseFieldSelector]) {
        try {
          parse(parts.join(''));
        } catch (error) {
          assert.ok(error instanceof StatusError, parts.join(''));
        }
      }
    }),
  );
});
