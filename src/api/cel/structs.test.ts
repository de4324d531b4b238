import assert from 'node:assert/strict';
import { test } from 'node:test';
import { structsAsMaps } from './structs.ts';

const cases: readonly (readonly [string, string])[] = [
  ['Object{spec: Object.spec{replicas: 3}}', '{"spec": {"replicas": 3}}'],
  ['[JSONPatch{op: "add", path: "/a", value: b}]', '[{"op": "add", "path": "/a", "value": b}]'],
  ['Object { a : x ? y : z, b: [1, 2] }', '{ "a" : x ? y : z, "b": [1, 2] }'],
  ['Object{m: {"k": v, w: 1}, n: f(a, b)}', '{"m": {"k": v, w: 1}, "n": f(a, b)}'],
  ['"Object{a: 1}" + object.spec.name', '"Object{a: 1}" + object.spec.name'],
  ['object.spec.all(x, x.a == {})', 'object.spec.all(x, x.a == {})'],
  ['Object{l: object.l.map(c, Object.l{n: c.n})}', '{"l": object.l.map(c, {"n": c.n})}'],
  ['Object{m: {"k": Object.m{a: 1}}}', '{"m": {"k": {"a": 1}}}'],
  ['[JSONPatch{value: Object.spec{a: 1}}]', '[{"value": {"a": 1}}]'],
  ['Object . spec { a: 1 }', '{ "a": 1 }'],
];

for (const [text, want] of cases) {
  test(`structs: ${text}`, () => assert.deepEqual(structsAsMaps(text), { text: want, problem: undefined }));
}

const unexpected = (name: string, expected: string): string =>
  `unexpected type name "${name}", expected "${expected}", which matches field name path from root Object type`;

for (const [text, problem] of [
  ['Object{spec: Object.metadata{a: 1}}', unexpected('Object.metadata', 'Object.spec')],
  ['Object{spec: Object{a: 1}}', unexpected('Object', 'Object.spec')],
  ['Object{a: [Object.a.item{b: 1}]}', unexpected('Object.a.item', 'Object.a')],
  ['Object{a: x ? Object.a{b: Object.a.c{}} : Object.a{}}', unexpected('Object.a.c', 'Object.a.b')],
  ['[JSONPatch{op: "add", pfad: "/a"}]', "undefined field 'pfad'"],
] as const) {
  test(`structs: ${text}: ${problem}`, () => assert.equal(structsAsMaps(text).problem, problem));
}
