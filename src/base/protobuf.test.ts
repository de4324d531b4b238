import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { containerConfig, containerStatus, criMethods } from '../kubelet/cri-messages.ts';
import {
  bool,
  bytes,
  decode,
  encode,
  int32,
  int64,
  map,
  message,
  optional,
  repeated,
  string,
} from './protobuf.ts';

const inner = message({ name: string(1) });
const all = message({
  text: string(1),
  flag: bool(2),
  small: int32(3),
  big: int64(4),
  blob: bytes(5),
  one: optional(6, inner),
  many: repeated(7, inner),
  texts: repeated(8, 'string'),
  numbers: repeated(9, 'int64'),
  labels: map(10),
});

test('protobuf: any message is read as it was written', () => {
  const value = fc.record(
    {
      text: fc.string(),
      flag: fc.boolean(),
      small: fc.integer(),
      big: fc.maxSafeInteger(),
      blob: fc.uint8Array(),
      one: fc.option(fc.record({ name: fc.string() }, { noNullPrototype: true }), { nil: undefined }),
      many: fc.array(fc.record({ name: fc.string() }, { noNullPrototype: true })),
      texts: fc.array(fc.string()),
      numbers: fc.array(fc.maxSafeInteger()),
      labels: fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.string(),
        { noNullPrototype: true },
      ),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(value, (written) => {
      assert.deepEqual(decode(all, encode(all, written)), written);
    }),
  );
});

test('protobuf: bytes as the specification has them', () => {
  const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
  assert.equal(hex(encode(all, { text: 'ab', small: 150 })), '0a0261621896' + '01');
  assert.equal(hex(encode(all, { text: '', small: 0, flag: false })), '');
  assert.equal(hex(encode(all, { one: { name: '' } })), '3200');
  assert.equal(hex(encode(all, { labels: { a: 'b' } })), '52060a0161120162');
});

test('protobuf: numbers may come packed, unknown fields are skipped', () => {
  assert.deepEqual(decode(all, Buffer.from('4a020102', 'hex')).numbers, [1, 2]);
  assert.equal(decode(all, Buffer.from('a2060178' + '0a0161', 'hex')).text, 'a');
});

test('cri: a message declares each field number once', () => {
  for (const type of [
    containerConfig,
    containerStatus,
    ...Object.values(criMethods).flatMap(([, request, response]) => [request, response]),
  ]) {
    const names = [...type.fields.values()].map(({ name }) => name);
    assert.equal(new Set(names).size, type.fields.size);
  }
});
