import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readElements, readOid, readOnly } from './der.ts';

const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);

test('der: elements one after the other, with long lengths', () => {
  const long = bytes(0x04, 0x82, 0x01, 0x00, ...new Array<number>(256).fill(7));
  const elements = readElements(bytes(0x30, 0x02, 0x05, 0x00, ...long));
  assert.deepEqual(
    elements.map(({ tag, content }) => [tag, content.length]),
    [
      [0x30, 2],
      [0x04, 256],
    ],
  );
  assert.deepEqual(elements[0]?.bytes, bytes(0x30, 0x02, 0x05, 0x00));
});

for (const [what, hostile] of [
  ['cut off', bytes(0x30, 0x05, 0x00)],
  ['without a length', bytes(0x30)],
  ['an indefinite length', bytes(0x30, 0x80, 0x00, 0x00)],
  ['a length of more than four bytes', bytes(0x30, 0x85, 0, 0, 0, 0, 1, 0)],
  ['a tag of several bytes', bytes(0x1f, 0x81, 0x01, 0x00)],
] as const) {
  test(`der: ${what} is refused`, () => assert.throws(() => readElements(hostile), RangeError));
}

test('der: one element and nothing behind it', () => {
  assert.equal(readOnly(bytes(0x02, 0x01, 0x09), 0x02).content[0], 9);
  assert.throws(() => readOnly(bytes(0x02, 0x01, 0x09), 0x30), RangeError);
  assert.throws(() => readOnly(bytes(0x02, 0x01, 0x09, 0x05, 0x00), 0x02), RangeError);
});

test('der: object identifiers', () => {
  assert.equal(readOid(bytes(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d)), '1.2.840.113549');
  assert.equal(readOid(bytes(0x55, 0x1d, 0x11)), '2.5.29.17');
});

test('der: any bytes are read or refused, nothing else happens', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (input) => {
      try {
        readElements(input);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
});
