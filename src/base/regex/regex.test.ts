import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileRegex, type Regex } from './regex.ts';

function regexOf(pattern: string, options: { ignoreCase?: boolean; fromStart?: boolean } = {}): Regex {
  const compiled = compileRegex(pattern, { ignoreCase: false, fromStart: true, ...options });
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem);
  return compiled.regex;
}

const matches: readonly (readonly [pattern: string, text: string, want: readonly string[] | undefined])[] = [
  ['/api(/|$)(.*)', '/api/users/1', ['/api/users/1', '/', 'users/1']],
  ['/api(/|$)(.*)', '/api', ['/api', '', '']],
  ['/api(/|$)(.*)', '/apis', undefined],
  ['/v(\\d+)/(?<name>\\w+)', '/v12/cart?', ['/v12/cart', '12', 'cart']],
  ['/(a|ab)(c|bcd)', '/abcd', ['/abcd', 'a', 'bcd']],
  ['/a+?', '/aaa', ['/a']],
  ['/a{2,3}', '/aaaa', ['/aaa']],
  ['/[^/.]+\\.(png|jpe?g)$', '/cat.jpg', ['/cat.jpg', 'jpg']],
  ['/[^/.]+\\.(png|jpe?g)$', '/cat.jpgx', undefined],
  ['/(?:x|y)*z', '/xyxz', ['/xyxz']],
  ['/[\\w-]+\\b', '/a-b/c', ['/a-b']],
  ['(?i)/ABC', '/aBc', ['/aBc']],
  ['/(?:a*)*b', '/aab', ['/aab']],
];

for (const [pattern, text, want] of matches) {
  test(`regex ${pattern} on ${text}`, () => {
    assert.deepEqual(regexOf(pattern).match(text), want);
    assert.equal(regexOf(pattern).test(text), want !== undefined);
  });
}

test('regex: without fromStart it is found anywhere', () => {
  assert.deepEqual(regexOf('b+', { fromStart: false }).match('aabbc'), ['bb']);
  assert.equal(regexOf('^b', { fromStart: false }).test('ab'), false);
});

test('regex: ignoreCase holds for classes, and for what they leave out', () => {
  assert.equal(regexOf('/[a-c]+$', { ignoreCase: true }).test('/AbC'), true);
  assert.equal(regexOf('/[^a]', { ignoreCase: true }).test('/A'), false);
});

const refused: readonly (readonly [pattern: string, problem: RegExp])[] = [
  ['/(a)\\1', /back-references/],
  ['/(?=a)', /look-around/],
  ['/(?<!a)b', /look-around/],
  ['/(a', /unclosed \(/],
  ['/a)', /unopened \)/],
  ['/[a', /unclosed \[/],
  ['*', /nothing to repeat/],
  ['/a**', /nothing to repeat/],
  ['/a{1,101}', /beyond 100/],
  ['/((a{1,100}){1,100}){1,100}', /too large/],
  ['/a++', /possessive/],
  ['/[b-a]', /range/],
  [`/${'a'.repeat(2000)}`, /longer than/],
  [`${'('.repeat(40)}${')'.repeat(40)}`, /within each other/],
];

for (const [pattern, problem] of refused) {
  test(`regex ${pattern.slice(0, 40)} is refused`, () => {
    const compiled = compileRegex(pattern, { ignoreCase: false, fromStart: true });
    assert.ok(!compiled.ok);
    assert.match(compiled.problem, problem);
  });
}

test('regex: a pattern that brings others to their knees takes steps in proportion to the text', () => {
  const evil = regexOf('/(a+)+$');
  assert.equal(evil.test(`/${'a'.repeat(16_000)}!`), false); // backtracking would not end before the sun does
});

/** Patterns over a, b and c; without repeats of what can be empty, about whose groups engines disagree. */
const patterns = fc.letrec<{ node: string; atom: string }>((tie) => ({
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom('a', 'b', 'c', '.', '[ab]', '[^a]', '\\w'),
    tie('node').map((inner) => `(${inner})`),
    tie('node').map((inner) => `(?:${inner})`),
  ),
  node: fc
    .array(
      fc.array(
        fc
          .tuple(tie('atom'), fc.constantFrom('', '', '?', '*', '+', '??', '*?', '+?', '{1,2}'))
          .map(([atom, repeat]) => (atom.startsWith('(') ? atom : `${atom}${repeat}`)),
        { minLength: 1, maxLength: 3 },
      ),
      { minLength: 1, maxLength: 2 },
    )
    .map((options) => options.map((items) => items.join('')).join('|')),
})).node;

test('regex: finds what JavaScript finds', () => {
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), maxLength: 8 });
  fc.assert(
    fc.property(patterns, texts, fc.boolean(), (pattern, text, fromStart) => {
      const compiled = compileRegex(pattern, { ignoreCase: false, fromStart });
      fc.pre(compiled.ok);
      const theirs = new RegExp(pattern, fromStart ? 'y' : '').exec(text);
      const ours = compiled.regex.match(text);
      assert.deepEqual(ours, theirs === null ? undefined : [...theirs].map((group) => group ?? ''));
    }),
    { numRuns: 500 },
  );
});
