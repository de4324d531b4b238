import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeaderList, HpackDecoder } from './hpack-decode.ts';
import { HpackEncoder } from './hpack-encode.ts';
import { OutputBuffer } from './http2-frame.ts';
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');

function decodeWith(decoder: HpackDecoder, block: Buffer): string[] | undefined {
  const list = new HeaderList(1 << 20, 1000);
  if (!decoder.decode(block, 0, block.length, list)) return undefined;
  return list.fields.map(({ name, value }) => `${name}: ${value}`);
}

/** The examples of RFC 7541 Appendix C: blocks of one connection, what they say, the table's size after each. */
const examples: readonly {
  readonly name: string;
  readonly tableBytesMax?: number;
  readonly blocks: readonly {
    readonly hex: string;
    readonly fields: readonly string[];
    readonly tableBytes: number;
  }[];
}[] = [
  {
    name: 'C.2.1 literal with indexing',
    blocks: [
      {
        hex: '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
        fields: ['custom-key: custom-header'],
        tableBytes: 55,
      },
    ],
  },
  {
    name: 'C.2.2 literal without indexing',
    blocks: [{ hex: '040c 2f73 616d 706c 652f 7061 7468', fields: [':path: /sample/path'], tableBytes: 0 }],
  },
  {
    name: 'C.2.3 literal never indexed',
    blocks: [
      { hex: '1008 7061 7373 776f 7264 0673 6563 7265 74', fields: ['password: secret'], tableBytes: 0 },
    ],
  },
  { name: 'C.2.4 indexed', blocks: [{ hex: '82', fields: [':method: GET'], tableBytes: 0 }] },
  {
    name: 'C.3 requests without Huffman',
    blocks: [
      {
        hex: '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        fields: [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
        tableBytes: 57,
      },
      {
        hex: '8286 84be 5808 6e6f 2d63 6163 6865',
        fields: [
          ':method: GET',
          ':scheme: http',
          ':path: /',
          ':authority: www.example.com',
          'cache-control: no-cache',
        ],
        tableBytes: 110,
      },
      {
        hex: '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
        fields: [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
        tableBytes: 164,
      },
    ],
  },
  {
    name: 'C.4 requests with Huffman',
    blocks: [
      {
        hex: '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        fields: [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
        tableBytes: 57,
      },
      {
        hex: '8286 84be 5886 a8eb 1064 9cbf',
        fields: [
          ':method: GET',
          ':scheme: http',
          ':path: /',
          ':authority: www.example.com',
          'cache-control: no-cache',
        ],
        tableBytes: 110,
      },
      {
        hex: '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
        fields: [
          ':method: GET',
          ':scheme: https',
          ':path: /index.html',
          ':authority: www.example.com',
          'custom-key: custom-value',
        ],
        tableBytes: 164,
      },
    ],
  },
  {
    name: 'C.5 answers without Huffman, with eviction',
    tableBytesMax: 256,
    blocks: [
      {
        hex: '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        fields: [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        tableBytes: 222,
      },
      {
        hex: '4803 3330 37c1 c0bf',
        fields: [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        tableBytes: 222,
      },
      {
        hex: '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
        fields: [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
        tableBytes: 215,
      },
    ],
  },
  {
    name: 'C.6 answers with Huffman and eviction',
    tableBytesMax: 256,
    blocks: [
      {
        hex: '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        fields: [
          ':status: 302',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        tableBytes: 222,
      },
      {
        hex: '4883 640e ffc1 c0bf',
        fields: [
          ':status: 307',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:21 GMT',
          'location: https://www.example.com',
        ],
        tableBytes: 222,
      },
      {
        hex: '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
        fields: [
          ':status: 200',
          'cache-control: private',
          'date: Mon, 21 Oct 2013 20:13:22 GMT',
          'location: https://www.example.com',
          'content-encoding: gzip',
          'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        ],
        tableBytes: 215,
      },
    ],
  },
];

for (const { name, blocks, tableBytesMax } of examples) {
  test(`hpack: RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder();
    if (tableBytesMax !== undefined) assert.deepEqual(decodeWith(decoder, bytes('3fe101')), []); // 256
    for (const { hex, fields, tableBytes } of blocks) {
      assert.deepEqual(decodeWith(decoder, bytes(hex)), fields);
      assert.equal(decoder.tableBytes, tableBytes);
    }
  });
}

const broken: readonly { readonly name: string; readonly hex: string }[] = [
  { name: 'index 0', hex: '80' },
  { name: 'an index beyond both tables', hex: 'be' },
  { name: 'a literal whose name is beyond both tables', hex: '7f00 0161' },
  { name: 'an integer that does not end', hex: 'ff' },
  { name: 'an integer that is too large', hex: 'ff ff ff ff ff ff 7f' },
  { name: 'a string that ends too early', hex: '0005 6162' },
  { name: 'a value that is missing', hex: '0001 61' },
  { name: 'a size update behind a field', hex: '82 20' },
  { name: 'a size update beyond what was announced', hex: '3fe2 1f' },
  { name: 'Huffman with EOS', hex: '0001 6184 ffff ffff' },
  { name: 'Huffman padded with a whole byte', hex: '0001 6182 1fff' },
  { name: 'Huffman padded with zeros', hex: '0001 6181 18' },
];

for (const { name, hex } of broken) {
  test(`hpack: refuses ${name}`, () => {
    assert.equal(decodeWith(new HpackDecoder(), bytes(hex)), undefined);
  });
}

test('hpack: the Huffman code leaves no gap and decodes what it encodes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(255)), (chars) => {
      const text = String.fromCharCode(...chars);
      const coded = Buffer.alloc(huffmanLength(text));
      assert.equal(huffmanEncode(text, coded, 0), coded.length);
      const out = Buffer.alloc(2 * coded.length);
      const length = huffmanDecode(coded, 0, coded.length, out);
      assert.equal(out.toString('latin1', 0, length), text);
    }),
  );
});

test('hpack: decoding any bytes ends, and its table keeps to its bound', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder();
      for (const block of blocks) {
        if (decodeWith(decoder, Buffer.from(block)) === undefined) break;
        assert.ok(decoder.tableBytes <= 4096);
      }
    }),
  );
});

test('hpack: decoder and encoder agree, whatever fields come and however tables are resized', () => {
  const name = fc.constantFrom('x-a', 'x-b', 'accept', 'cookie', 'content-type', ':path', 'user-agent');
  const value = fc.oneof(
    fc.constantFrom('', '/', 'a', 'text/html'),
    fc.string({ unit: 'binary-ascii', maxLength: 600 }),
  );
  const blockOf = fc.record({
    fields: fc.array(fc.tuple(name, value, fc.boolean()), { maxLength: 12 }),
    resize: fc.option(fc.integer({ min: 0, max: 5000 })),
  });
  fc.assert(
    fc.property(fc.array(blockOf, { maxLength: 12 }), fc.boolean(), (blocks, huffman) => {
      const encoder = new HpackEncoder(huffman);
      const decoder = new HpackDecoder();
      for (const { fields, resize } of blocks) {
        if (resize !== null) encoder.setTableBytesMax(resize);
        const out = new OutputBuffer();
        encoder.begin(out);
        for (const [field, text, never] of fields) encoder.line(out, `${field}: ${text}`, never);
        const expected = fields.map(([field, text]) => `${field}: ${text.trim()}`);
        const block = out.take() ?? Buffer.alloc(0);
        assert.deepEqual(decodeWith(decoder, block), expected);
        assert.equal(encoder.tableBytes, decoder.tableBytes);
      }
    }),
  );
});

test('hpack: what must never be guessed is never put into a table', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder();
  for (let round = 0; round < 3; round += 1) {
    const out = new OutputBuffer();
    encoder.begin(out);
    for (const line of ['Authorization: Basic YTpi', 'cookie: a=b', 'set-cookie: c=d'])
      encoder.line(out, line);
    encoder.line(out, 'x-secret: told to be kept', true);
    const block = out.take()!;
    const list = new HeaderList(10_000, 100);
    assert.ok(decoder.decode(block, 0, block.length, list));
    assert.ok(list.fields.every(({ neverIndexed }) => neverIndexed));
  }
  assert.equal(decoder.tableCount, 0);
});

test('hpack: a list beyond its bounds is dropped, and the table follows still', () => {
  const decoder = new HpackDecoder();
  const list = new HeaderList(5000, 100);
  const first = bytes('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572');
  const bomb = Buffer.concat([first, Buffer.alloc(10_000, 0xbe)]);
  assert.ok(decoder.decode(bomb, 0, bomb.length, list));
  assert.equal(list.tooLarge, true);
  assert.ok(list.fields.length <= 100);
  assert.deepEqual(decodeWith(decoder, bytes('be')), ['custom-key: custom-header']);
});

test('hpack: a block that comes again is written from memory, until the table has changed', () => {
  const encoder = new HpackEncoder(false);
  const decoder = new HpackDecoder();
  const write = (
    text: string,
    mark = 0,
  ): { readonly again: boolean; readonly fields: readonly string[] | undefined } => {
    const out = new OutputBuffer();
    encoder.begin(out);
    const again = encoder.again(out, 'head', text, mark);
    if (!again) {
      for (const line of text.split('|')) encoder.line(out, line);
      if (mark > 0) encoder.line(out, `x-mark: ${mark}`);
      encoder.keep(out, 'head');
    }
    return { again, fields: decodeWith(decoder, Buffer.from(out.take() ?? [])) };
  };
  const text = 'x-a: 1|authorization: secret|content-length: 7';
  const fields = text.split('|');
  // Seen; put into the table; written by index and kept; from memory.
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => write(text)),
    [false, false, false, true, true].map((again) => ({ again, fields })),
  );
  assert.deepEqual(write('x-b: 2'), { again: false, fields: ['x-b: 2'] });
  assert.deepEqual(write(text), { again: false, fields });
  assert.deepEqual(write(text), { again: false, fields });
  assert.deepEqual(write(text), { again: true, fields });
  assert.deepEqual(write(text, 1).fields, [...fields, 'x-mark: 1']);
  write(text);
  write(text);
  assert.deepEqual(write(text), { again: true, fields });
  encoder.setTableBytesMax(0);
  assert.deepEqual(write(text), { again: false, fields });
});
