import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFieldSelector, matchesFields, parseFieldSelector } from './field-selector.ts';
import { StatusError } from './status.ts';

const fields = { 'metadata.name': 'web', 'spec.nodeName': '', 'status.phase': 'Running' };

const cases: readonly { readonly selector: string; readonly matches: boolean }[] = [
  { selector: '', matches: true },
  { selector: 'metadata.name=web', matches: true },
  { selector: 'metadata.name==web,status.phase!=Failed', matches: true },
  { selector: 'status.phase=Failed', matches: false },
  { selector: 'spec.nodeName=', matches: true },
  { selector: 'spec.nodeName!=', matches: false },
  { selector: String.raw`metadata.name=a\,b`, matches: false },
];

for (const { selector, matches } of cases) {
  test(`field selector: ${JSON.stringify(selector)}`, () => {
    assert.equal(matchesFields(parseFieldSelector(selector), fields), matches);
  });
}

test('field selector: escapes', () => {
  assert.deepEqual(parseFieldSelector(String.raw`a=x\,y\=z\\`), [
    { field: 'a', value: String.raw`x,y=z${'\\'}`, equal: true },
  ]);
});

test('field selector: bad texts and unknown fields are refused', () => {
  const is400 = (error: unknown): boolean => error instanceof StatusError && error.status.code === 400;
  for (const text of ['name', '=x', String.raw`a=\x`])
    assert.throws(() => parseFieldSelector(text), is400, text);
  assert.throws(() => checkFieldSelector(parseFieldSelector('spec.foo=1'), ['spec.bar']), {
    message: 'field label not supported: spec.foo',
  });
  checkFieldSelector(parseFieldSelector('spec.bar=1,metadata.name=2'), ['spec.bar']);
});
