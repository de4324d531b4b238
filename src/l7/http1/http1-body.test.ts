import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BodyFramer, chunkLineBytesMax, trailerBytesMax } from './http1-body.ts';

/** Feeds the text in pieces of the given sizes; how much of it was taken, and what came of it. */
function feed(framer: BodyFramer, text: string, sizes: readonly number[] = []): number {
  const data = Buffer.from(text, 'latin1');
  let at = 0;
  let turn = 0;
  while (at < data.length && !framer.done && framer.failure === undefined) {
    const size = sizes.length === 0 ? data.length : sizes[turn % sizes.length]!;
    turn += 1;
    const end = Math.min(data.length, at + size);
    const taken = framer.consume(data, at, end);
    at = taken;
    if (taken < end) break;
  }
  return at;
}

function chunked(): BodyFramer {
  const framer = new BodyFramer();
  framer.begin('chunked', 0);
  return framer;
}

test('l7 body: a length ends exactly where it says', () => {
  const framer = new BodyFramer();
  framer.begin('length', 5);
  assert.equal(feed(framer, 'helloGET', [2]), 5);
  assert.ok(framer.done);
});

test('l7 body: none is done at once, close ends with the connection', () => {
  const framer = new BodyFramer();
  framer.begin('none', 0);
  assert.ok(framer.done);
  framer.begin('close', 0);
  assert.equal(feed(framer, 'abc'), 3);
  assert.ok(!framer.done);
  assert.ok(framer.finish());
});

test('l7 body: a length cut short is not whole', () => {
  const framer = new BodyFramer();
  framer.begin('length', 5);
  feed(framer, 'abc');
  assert.ok(!framer.finish());
});

const good = [
  '0\r\n\r\n',
  '3\r\nabc\r\n0\r\n\r\n',
  'A;name=value;q="x"\r\n0123456789\r\n00\r\n\r\n',
  '1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n',
];
for (const text of good) {
  test(`l7 body: ${JSON.stringify(text)} ends before what follows`, () => {
    const framer = chunked();
    assert.equal(feed(framer, `${text}GET / HTTP/1.1`), text.length);
    assert.ok(framer.done);
  });
}

const bad = [
  '\r\n',
  'g\r\n',
  '-1\r\n',
  '0x1\r\n',
  ' 1\r\n',
  '1 \r\n',
  '1\n',
  '1\r\nab',
  '1\r\na\n',
  '1\r\na\r\r',
  `${'0'.repeat(13)}\r\n`,
  `1;${'x'.repeat(chunkLineBytesMax + 1)}`,
  '1;\0\r\n',
  '1;a\nb\r\n',
  '0\r\n: x\r\n',
  '0\r\nX y: z\r\n',
  '0\r\n folded\r\n',
  '0\r\nA: b\n',
  '0\r\nTransfer-Encoding: chunked\r\n\r\n',
  '0\r\nHOST: x\r\n\r\n',
  '0\r\n\rX',
  `0\r\nA: ${'b'.repeat(trailerBytesMax)}`,
];
for (const text of bad) {
  test(`l7 body: ${JSON.stringify(text.slice(0, 40))} is refused`, () => {
    const framer = chunked();
    feed(framer, text);
    assert.notEqual(framer.failure, undefined);
    assert.ok(!framer.done);
  });
}

test('l7 body: however it is cut, a chunked body ends in the same place', () => {
  const chunk = fc.string({ minLength: 1, maxLength: 300, unit: 'binary-ascii' });
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 }),
      fc.string({ unit: 'binary-ascii' }),
      (chunks, sizes, rest) => {
        const body = `${chunks.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join('')}0\r\n\r\n`;
        const framer = chunked();
        assert.equal(feed(framer, body + rest, sizes), body.length);
        assert.ok(framer.done);
        assert.equal(framer.failure, undefined);
      },
    ),
  );
});

test('l7 body: any bytes in any pieces give the same verdict as in one', () => {
  const piece = fc.constantFrom('0', '1', 'a', 'F', '\r\n', '\r', '\n', ';', 'x', ' ', ':', '5\r\nhello\r\n');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 1, max: 7 }), (pieces, size) => {
      const text = pieces.join('');
      const whole = chunked();
      const cut = chunked();
      const places = [feed(whole, text), feed(cut, text, [size])];
      assert.equal(cut.done, whole.done);
      assert.equal(cut.failure, whole.failure);
      assert.equal(places[1], places[0]);
    }),
    { numRuns: 2000 },
  );
});
