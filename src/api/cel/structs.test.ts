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
  ['Object{l: object.l.map(c, Object.l.item{n: c.n})}', '{"l": object.l.map(c, {"n": c.n})}'],
];

for (const [text, want] of cases) {
  test(`structs: ${text}`, () => assert.equal(structsAsMaps(text), want));
}
