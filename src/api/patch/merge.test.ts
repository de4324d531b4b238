import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../object.ts';
import { StatusError } from '../status.ts';
import { applyJsonPatch } from './json.ts';
import { applyMergePatch } from './merge.ts';

// The cases of RFC 7386, appendix A.
const merges: readonly (readonly [Json, Json, Json])[] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ a: 'b' }, ['c'], ['c']],
  [{ a: 'foo' }, null, null],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];

for (const [document, patch, want] of merges) {
  test(`merge patch: ${JSON.stringify(document)} with ${JSON.stringify(patch)}`, () => {
    assert.deepEqual(applyMergePatch(document, patch), want);
  });
}

test('JSON patch: operations apply in order to a copy', () => {
  const document: Json = { spec: { replicas: 1, list: [1, 2] } };
  const patch: Json = [
    { op: 'test', path: '/spec/replicas', value: 1 },
    { op: 'replace', path: '/spec/replicas', value: 3 },
    { op: 'add', path: '/spec/list/-', value: 3 },
    { op: 'remove', path: '/spec/list/0' },
    { op: 'copy', from: '/spec/replicas', path: '/spec/copied' },
  ];
  assert.deepEqual(applyJsonPatch(document, patch), { spec: { replicas: 3, list: [2, 3], copied: 3 } });
  assert.deepEqual(document, { spec: { replicas: 1, list: [1, 2] } });
});

const refused: readonly { readonly name: string; readonly patch: Json; readonly code: number }[] = [
  { name: 'a test that fails', patch: [{ op: 'test', path: '/a', value: 2 }], code: 422 },
  { name: 'a path that is not there', patch: [{ op: 'remove', path: '/b/c' }], code: 422 },
  { name: 'no list', patch: { op: 'add' }, code: 400 },
  { name: 'an unknown operation', patch: [{ op: 'explode', path: '/a' }], code: 400 },
  { name: 'no path', patch: [{ op: 'remove' }], code: 400 },
  {
    name: 'too many operations',
    patch: Array.from({ length: 10_001 }, () => ({ op: 'test', path: '/a', value: 1 })),
    code: 413,
  },
];

for (const { name, patch, code } of refused) {
  test(`JSON patch: ${name} is refused with ${code}`, () => {
    assert.throws(
      () => applyJsonPatch({ a: 1 }, patch),
      (error) => error instanceof StatusError && error.status.code === code,
    );
  });
}
