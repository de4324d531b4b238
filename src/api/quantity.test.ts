import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  parseQuantity,
  quantityToMillis,
  quantityToNumber,
} from './quantity.ts';

// The examples of Kubernetes' own documentation of resource.Quantity, and its edges.
const canonical: readonly (readonly [string, string])[] = [
  ['0', '0'],
  ['1', '1'],
  ['1000m', '1'],
  ['1500m', '1500m'],
  ['0.5', '500m'],
  ['1.5', '1500m'],
  ['.5', '500m'],
  ['5.', '5'],
  ['1000', '1k'],
  ['1024', '1024'],
  ['1024Ki', '1Mi'],
  ['1536Mi', '1536Mi'],
  ['1.5Gi', '1536Mi'],
  ['0.5Ki', '512'],
  ['-1Gi', '-1Gi'],
  ['1e3', '1e3'],
  ['12E', '12E'],
  ['100u', '100u'],
  ['0.0000000001', '1n'],
  ['+2', '2'],
];

for (const [text, want] of canonical) {
  test(`quantity: ${text} is ${want}`, () => {
    assert.equal(canonicalQuantity(text), want);
    assert.equal(canonicalQuantity(want), want);
  });
}

for (const text of ['', '.', 'x', '1KiB', '1 Gi', '1e', '--1', '1e999']) {
  test(`quantity: ${JSON.stringify(text)} is none`, () => assert.equal(parseQuantity(text), undefined));
}

test('quantity: order, sums and numbers', () => {
  const read = (text: string): NonNullable<ReturnType<typeof parseQuantity>> => {
    const quantity = parseQuantity(text);
    assert.ok(quantity !== undefined);
    return quantity;
  };
  assert.equal(compareQuantities(read('1Gi'), read('1G')), 1);
  assert.equal(compareQuantities(read('1000m'), read('1')), 0);
  assert.equal(quantityToNumber(addQuantities(read('1Ki'), read('1k'))), 2024);
  assert.equal(quantityToMillis(read('0.25')), 250);
  assert.equal(quantityToMillis(read('1u')), 1);
});

test('quantity: the canonical form is a fixed point of the same value', () => {
  const text = fc
    .tuple(
      fc.integer({ min: -1e9, max: 1e9 }),
      fc.constantFrom('', 'm', 'k', 'M', 'Ki', 'Mi', 'Gi', 'n', 'u'),
    )
    .map(([number, suffix]) => `${number}${suffix}`);
  fc.assert(
    fc.property(text, (given) => {
      const once = canonicalQuantity(given);
      assert.equal(canonicalQuantity(once), once);
      assert.equal(parseQuantity(once)?.nanos, parseQuantity(given)?.nanos);
    }),
  );
});
