import assert from 'node:assert/strict';
import { isIPv6 as nodeIsIPv6, isIPv4 as nodeIsIPv4 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import * as names from './names.ts';

type Check = (text: string) => readonly string[];

const cases: readonly {
  readonly check: Check;
  readonly good: readonly string[];
  readonly bad: readonly string[];
}[] = [
  {
    check: names.dnsLabelProblems,
    good: ['a', '0a', 'a-b'],
    bad: ['', '-a', 'a-', 'A', 'a.b', 'a'.repeat(64)],
  },
  { check: names.dnsSubdomainProblems, good: ['a', 'a.b-c.d', '1.2'], bad: ['', 'a..b', '.a', 'A.b', 'a_b'] },
  { check: names.dns1035LabelProblems, good: ['a', 'a-1'], bad: ['1a', 'a.', ''] },
  { check: names.wildcardSubdomainProblems, good: ['*.a.b', '*.a'], bad: ['*', '*.', 'a.*.b', '**.a', 'a'] },
  {
    check: names.labelKeyProblems,
    good: ['a', 'A.b_c', 'example.com/x'],
    bad: ['', 'a/b/c', '/x', 'Ex/', 'EX/a', '-a', `a/${'x'.repeat(64)}`],
  },
  { check: names.labelValueProblems, good: ['', 'a', 'A.b_c-1'], bad: ['-a', 'a b', 'a/b', 'x'.repeat(64)] },
  {
    check: names.portNameProblems,
    good: ['http', 'a', 'http-2'],
    bad: ['80', 'a--b', '-a', 'a'.repeat(16), 'HTTP', ''],
  },
  { check: names.configKeyProblems, good: ['a.b', '_x', 'A-1'], bad: ['', 'a/b', '.', '..', '..a'] },
  { check: names.envVarNameProblems, good: ['A', 'a.b', 'a b'], bad: ['', 'a=b', 'é'] },
  {
    check: names.ipProblems,
    good: ['10.0.0.1', '::1', '2001:db8::ffff'],
    bad: ['', '10.0.0', '010.0.0.1', '1.2.3.4.', 'fe80::1%eth0'],
  },
  {
    check: names.cidrProblems,
    good: ['10.0.0.0/8', '::/0'],
    bad: ['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/08', '10.0.0.0/'],
  },
  { check: names.pathSegmentProblems, good: ['a:b', 'system:node'], bad: ['.', '..', 'a/b', 'a%b'] },
];

for (const { check, good, bad } of cases) {
  test(`names: ${check.name}`, () => {
    for (const text of good) assert.deepEqual(check(text), [], text);
    for (const text of bad) assert.notDeepEqual(check(text), [], text);
  });
}

test('names: the texts are those of Kubernetes', () => {
  assert.deepEqual(names.portNumberProblems(70_000), ['must be between 1 and 65535, inclusive']);
  assert.deepEqual(names.portNumberProblems(80.5), ['must be between 1 and 65535, inclusive']);
  assert.match(names.dnsLabelProblems('A')[0] ?? '', /^a lowercase RFC 1123 label must consist of/);
});

test('names: addresses are judged as node:net does', () => {
  const part = fc.constantFrom('', '0', '1', '255', '256', 'ffff', '::', ':', '.', '10.1.2.3', 'g');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 9 }), fc.constantFrom('', ':', '.'), (parts, separator) => {
      const text = parts.join(separator);
      assert.equal(names.isIPv4(text), nodeIsIPv4(text), text);
      assert.equal(names.isIPv6(text), nodeIsIPv6(text), text);
    }),
    { numRuns: 2000 },
  );
});
