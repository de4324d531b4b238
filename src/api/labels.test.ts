import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatSelector, matchesLabels, parseLabelSelector, selectorOf, selectorOfMap } from './labels.ts';
import { StatusError } from './status.ts';

const labels = { app: 'web', tier: 'front', 'example.com/rev': '7' };

const cases: readonly { readonly selector: string; readonly matches: boolean; readonly text?: string }[] = [
  { selector: '', matches: true },
  { selector: 'app=web', matches: true },
  { selector: 'app==web', matches: true, text: 'app=web' },
  { selector: 'app = web , tier!=back', matches: true, text: 'app=web,tier!=back' },
  { selector: 'app!=web', matches: false },
  { selector: 'missing!=web', matches: true },
  { selector: 'app in (db, web)', matches: true, text: 'app in (db,web)' },
  { selector: 'app in (db)', matches: false, text: 'app=db' },
  { selector: 'app notin (db,web)', matches: false },
  { selector: 'missing notin (db)', matches: true, text: 'missing!=db' },
  { selector: 'app', matches: true },
  { selector: '!app', matches: false },
  { selector: '!missing', matches: true },
  { selector: 'missing', matches: false },
  { selector: 'example.com/rev>6', matches: true },
  { selector: 'example.com/rev<7', matches: false },
  { selector: 'app>6', matches: false },
  { selector: 'app=', matches: false },
  { selector: 'app in (,web)', matches: true, text: 'app in (,web)' },
];

for (const { selector, matches, text = selector } of cases) {
  test(`label selector: ${JSON.stringify(selector)}`, () => {
    const parsed = parseLabelSelector(selector);
    assert.equal(matchesLabels(parsed, labels), matches);
    assert.equal(formatSelector(parsed), text);
  });
}

for (const selector of [
  'app in web',
  'app=web,',
  '=web',
  'a b',
  'app in (web',
  '-bad=1',
  'a=-bad',
  'a>x',
  'app in ((',
]) {
  test(`label selector: ${JSON.stringify(selector)} is a bad request`, () => {
    assert.throws(
      () => parseLabelSelector(selector),
      (error) => error instanceof StatusError && error.status.code === 400,
    );
  });
}

test('label selector: any text either parses or is refused, and its canonical text parses to the same', () => {
  const piece = fc.constantFrom(
    'a',
    'b/c',
    'in',
    'notin',
    '(',
    ')',
    ',',
    '=',
    '!=',
    '==',
    '!',
    '>',
    '<',
    ' ',
    '1',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      try {
        const parsed = parseLabelSelector(pieces.join(''));
        assert.deepEqual(formatSelector(parseLabelSelector(formatSelector(parsed))), formatSelector(parsed));
      } catch (error) {
        assert.ok(error instanceof StatusError);
      }
    }),
  );
});

test('label selector: objects and maps', () => {
  const selector = selectorOf({
    matchLabels: { app: 'web' },
    matchExpressions: [
      { key: 'tier', operator: 'In', values: ['front'] },
      { key: 'gone', operator: 'DoesNotExist' },
    ],
  });
  assert.ok(selector !== undefined);
  assert.equal(matchesLabels(selector, labels), true);
  assert.equal(matchesLabels(selector, undefined), false);
  assert.equal(selectorOf(undefined), undefined);
  assert.equal(matchesLabels(selectorOfMap({ app: 'db' }), labels), false);
});
