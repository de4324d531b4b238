import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { takeBlock } from './byte-blocks.ts';
import { InputBuffer } from './input-buffer.ts';

test('l7 input: bytes come out as they went in, though each read is overwritten afterwards', () => {
  const read = fc.record({ bytes: fc.uint8Array({ maxLength: 3000 }), taken: fc.nat({ max: 4000 }) });
  fc.assert(
    fc.property(fc.array(read, { maxLength: 20 }), fc.boolean(), (reads, gives) => {
      const input = new InputBuffer(gives);
      const out: Buffer[] = [];
      for (const { bytes, taken } of reads) {
        const chunk = Buffer.from(bytes);
        input.offer(chunk);
        const end = input.start + Math.min(taken, input.length);
        out.push(Buffer.from(input.data.subarray(input.start, end)));
        input.start = end;
        input.retain();
        chunk.fill(0xee); // the transport uses its buffer again
      }
      out.push(Buffer.from(input.data.subarray(input.start, input.end)));
      assert.deepEqual(Buffer.concat(out), Buffer.concat(reads.map(({ bytes }) => bytes)));
    }),
  );
});

test('l7 input: memory of its own serves others once it is empty, unless it was lent', () => {
  for (const lent of [false, true]) {
    const input = new InputBuffer(true);
    input.offer(Buffer.alloc(700));
    input.retain();
    const { data } = input;
    if (lent) input.lend();
    input.start = input.end;
    input.retain();
    assert.equal(input.data.length, 0);
    assert.equal(takeBlock(700) === data, !lent);
  }
});
