import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { dataFrame, frameBytesMax, pingFrame, type SpdyFrame, spdyReader, synStreamWriter } from './spdy.ts';

const frames: readonly { readonly name: string; readonly hex: string; readonly want: SpdyFrame }[] = [
  {
    name: 'data',
    hex: '00000005 00000003 616263',
    want: { kind: 'data', streamId: 5, fin: false, data: Buffer.from('abc') },
  },
  {
    name: 'data that ends its stream',
    hex: '00000001 01000000',
    want: { kind: 'data', streamId: 1, fin: true, data: Buffer.of() },
  },
  {
    name: 'RST_STREAM',
    hex: '80030003 00000008 00000003 00000005',
    want: { kind: 'reset', streamId: 3, status: 5 },
  },
  { name: 'PING', hex: '80030006 00000004 0000000a', want: { kind: 'ping', id: 10 } },
  { name: 'GOAWAY', hex: '80030007 00000008 00000000 00000000', want: { kind: 'goaway' } },
  { name: 'SYN_REPLY', hex: '80030002 00000004 00000001', want: { kind: 'other', type: 2 } },
  { name: 'SETTINGS', hex: '80030004 00000004 00000000', want: { kind: 'other', type: 4 } },
  { name: 'WINDOW_UPDATE', hex: '80030009 00000008 0000000100000010', want: { kind: 'other', type: 9 } },
];

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

for (const { name, hex, want } of frames) {
  test(`spdy: reads ${name}`, () => {
    assert.deepEqual(spdyReader().push(bytes(hex)), [want]);
  });
}

const refused: readonly { readonly name: string; readonly hex: string; readonly why: RegExp }[] = [
  { name: 'another version', hex: '80020001 00000000', why: /SPDY version 2/ },
  {
    name: 'a frame that is too large',
    hex: '00000001 00ffffff',
    why: new RegExp(`at most ${frameBytesMax}`),
  },
  { name: 'a reset that is cut off', hex: '80030003 00000004 00000001', why: /cut off/ },
];

for (const { name, hex, why } of refused) {
  test(`spdy: refuses ${name}`, () => {
    assert.throws(() => spdyReader().push(bytes(hex)), why);
  });
}

test('spdy: however the bytes are cut, the frames are the same', () => {
  const all = bytes(frames.map(({ hex }) => hex).join(''));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 40 }), (sizes) => {
      const reader = spdyReader();
      const got: SpdyFrame[] = [];
      let at = 0;
      for (const size of [...sizes, all.length]) {
        got.push(...reader.push(all.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(
        got,
        frames.map(({ want }) => want),
      );
    }),
  );
});

test('spdy: what is written is read back', () => {
  assert.deepEqual(spdyReader().push(dataFrame(7, Buffer.from('x'), true)), [
    { kind: 'data', streamId: 7, fin: true, data: Buffer.from('x') },
  ]);
  assert.deepEqual(spdyReader().push(pingFrame(3)), [{ kind: 'ping', id: 3 }]);
});

test('spdy: header blocks of one connection are one zlib stream, readable frame by frame', () => {
  const write = synStreamWriter();
  const [first, second] = [write(1, { streamType: 'error' }), write(3, { streamType: 'stdin', other: 'ä' })];
  assert.equal(first.subarray(0, 4).toString('hex'), '80030001');
  assert.equal(second.readUInt32BE(8), 3);
  const inflate = (...blocks: readonly Buffer[]): string =>
    inflateSync(Buffer.concat(blocks), { finishFlush: constants.Z_SYNC_FLUSH }).toString('latin1');
  const block = (frame: Buffer): Buffer => frame.subarray(18);
  const one = '\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error';
  assert.equal(inflate(block(first)), one);
  assert.equal(
    inflate(block(first), block(second)),
    `${one}\0\0\0\x02\0\0\0\x0astreamtype\0\0\0\x05stdin\0\0\0\x05other\0\0\0\x02${Buffer.from('ä').toString('latin1')}`,
  );
});

test('spdy: whatever the bytes, frames or a RangeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
      try {
        spdyReader().push(Buffer.from(input));
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
});
