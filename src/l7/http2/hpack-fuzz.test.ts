/**
 * HPACK with blocks that nobody meant: a corpus and its mutations, read by the decoder and by one that is written as RFC 7541 is, with no
 * thought of speed. FUZZ_RUNS sets how many.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeaderList, HpackDecoder } from './hpack-decode.ts';
import { HpackEncoder } from './hpack-encode.ts';
import { staticTable } from './hpack-table.ts';
import { OutputBuffer } from './http2-frame.ts';
import { huffmanDecode } from './huffman.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 500);
const tableBytesMax = 4096;

const corpus = readFileSync(join(import.meta.dirname, '../../../test/corpus/hpack/blocks.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name = '', ...blocks] = line.split('\t');
    return { name, blocks: blocks.map((hex) => Buffer.from(hex, 'hex')) };
  });

type Pair = readonly [name: string, value: string];

/** undefined: the block is not HPACK. */
class PlainDecoder {
  table: Pair[] = [];
  #bytesMax = tableBytesMax;

  get bytes(): number {
    return this.table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  }

  decode(block: Buffer): readonly Pair[] | undefined {
    const rest = [...block];
    const fields: Pair[] = [];
    while (rest.length > 0) {
      const first = rest[0]!;
      if (first >= 0x80) {
        const entry = this.#entry(integer(rest, 7));
        if (entry === undefined) return undefined;
        fields.push(entry);
      } else if (first >= 0x40 || first < 0x20) {
        const index = integer(rest, first >= 0x40 ? 6 : 4);
        const name = index === 0 ? text(rest) : this.#entry(index)?.[0];
        const value = name === undefined ? undefined : text(rest);
        if (name === undefined || value === undefined) return undefined;
        fields.push([name, value]);
        if (first >= 0x40) this.table.unshift([name, value]);
        this.#evict();
      } else {
        const bytes = integer(rest, 5);
        if (bytes === undefined || bytes > tableBytesMax || fields.length > 0) return undefined;
        this.#bytesMax = bytes;
        this.#evict();
      }
    }
    return fields;
  }

  #entry(index: number | undefined): Pair | undefined {
    if (index === undefined || index === 0) return undefined;
    const fixed = staticTable[index];
    return fixed === undefined ? this.table[index - staticTable.length] : [fixed.name, fixed.value];
  }

  #evict(): void {
    while (this.bytes > this.#bytesMax) this.table.pop();
  }
}

/** Of at most 4 bytes behind the first: ours need no more. */
function integer(rest: number[], prefixBits: number): number | undefined {
  const mask = 2 ** prefixBits - 1;
  const first = rest.shift();
  if (first === undefined) return undefined;
  let value = first & mask;
  if (value < mask) return value;
  for (let power = 0; power < 4; power += 1) {
    const byte = rest.shift();
    if (byte === undefined) return undefined;
    value += (byte % 128) * 128 ** power;
    if (byte < 128) return value;
  }
  return undefined;
}

function text(rest: number[]): string | undefined {
  const isCoded = (rest[0] ?? 0) >= 0x80;
  const length = integer(rest, 7);
  if (length === undefined || length > rest.length) return undefined;
  const bytes = Buffer.from(rest.splice(0, length));
  if (!isCoded) return bytes.toString('latin1');
  const decoded = Buffer.alloc(2 * length + 8);
  const count = huffmanDecode(bytes, 0, length, decoded);
  return count === -1 ? undefined : decoded.toString('latin1', 0, count);
}

/** Reads the blocks of one connection by both, up to the first that is none. Returns what was read. */
function readAlike(blocks: readonly Buffer[]): (readonly Pair[])[] {
  const ours = new HpackDecoder();
  const plain = new PlainDecoder();
  const list = new HeaderList(1 << 20, 1000);
  const read: (readonly Pair[])[] = [];
  for (const block of blocks) {
    const isRead = ours.decode(block, 0, block.length, list);
    const fields = plain.decode(block);
    assert.equal(isRead, fields !== undefined, block.toString('hex'));
    if (fields === undefined) break;
    assert.deepEqual(
      list.fields.map(({ name, value }) => [name, value]),
      fields,
    );
    assert.deepEqual([ours.tableBytes, ours.tableCount], [plain.bytes, plain.table.length]);
    assert.ok(ours.tableBytes <= tableBytesMax);
    read.push(fields);
  }
  return read;
}

for (const { name, blocks } of corpus) {
  test(`hpack fuzz: ${name}`, () => {
    readAlike(blocks);
    for (const block of blocks)
      for (let end = 0; end < block.length; end += 1) readAlike([block.subarray(0, end)]);
  });
}

test('hpack fuzz: mutations of the corpus, and blocks of several connections on one', () => {
  const change = fc.record({
    at: fc.nat(200),
    byte: fc.nat(255),
    kind: fc.constantFrom('set', 'cut', 'add'),
  });
  const block = fc
    .tuple(fc.constantFrom(...corpus.flatMap(({ blocks }) => blocks)), fc.array(change, { maxLength: 4 }))
    .map(([bytes, changes]) => changes.reduce<Buffer>((mutated, one) => mutate(mutated, one), bytes));
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 6 }), (blocks) => {
      readAlike(blocks);
    }),
    { numRuns },
  );
});

function mutate(
  bytes: Buffer,
  { at, byte, kind }: { readonly at: number; readonly byte: number; readonly kind: string },
): Buffer {
  const place = bytes.length === 0 ? 0 : at % bytes.length;
  const behind = kind === 'add' ? place : place + 1;
  const put = kind === 'cut' ? [] : [byte];
  return Buffer.concat([bytes.subarray(0, place), Buffer.from(put), bytes.subarray(behind)]);
}

test('hpack fuzz: what the encoder writes both decoders read as it was meant, however tables change', () => {
  const line = fc.constantFrom(
    'x-a: 1',
    'x-a: 2',
    'accept: */*',
    `x-long: ${'y'.repeat(300)}`,
    'cookie: a=b',
    ':status: 200',
  );
  const step = fc.oneof<fc.Arbitrary<number | readonly string[]>[]>(
    fc.array(line, { maxLength: 8 }),
    fc.constantFrom(['x-a: 1', 'accept: */*'], ['x-a: 1', 'cookie: a=b']),
    fc.constantFrom(0, 40, 200, 4096),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, huffman) => {
      const encoder = new HpackEncoder(huffman);
      const blocks: Buffer[] = [];
      const meant: (readonly string[])[] = [];
      for (const one of steps) {
        if (typeof one === 'number') encoder.setTableBytesMax(one);
        else {
          const out = new OutputBuffer();
          encoder.begin(out);
          const text = one.join();
          // Blocks of one kind that repeat each other are written from memory.
          if (!encoder.again(out, 'head', text, 0)) {
            for (const field of one) encoder.line(out, field);
            encoder.keep(out, 'head');
          }
          blocks.push(Buffer.from(out.take() ?? []));
          meant.push(one);
        }
      }
      const read = readAlike(blocks).map((fields) => fields.map(([name, value]) => `${name}: ${value}`));
      assert.deepEqual(read, meant);
    }),
    { numRuns },
  );
});
