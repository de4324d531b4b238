import {
  dynamicIndexMin,
  entryOverheadBytes,
  staticNames,
  staticTable,
  tableBytesDefault,
} from './hpack-table.ts';
import type { OutputBuffer } from './http2-frame.ts';
import { huffmanEncode, huffmanLength } from './huffman.ts';

/** Values that must never be guessed from the size of a compressed block (RFC 7541 §7.1). */
const sensitiveNames: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'x-auth-token',
]);

/** Names whose values hardly ever come twice: an entry for each would only push out those that do. */
const varyingNames: ReadonlySet<string> = new Set([
  ':path',
  'content-length',
  'etag',
  'if-none-match',
  'if-modified-since',
  'last-modified',
  'traceparent',
  'x-request-id',
]);

/** So many lines that were sent once are remembered, as hashes: the last ones. */
const seenMax = 64;
/** A longer line is never put into the table. */
const indexedLineBytesMax = 512;

const staticLines: ReadonlyMap<string, number> = new Map(
  staticTable.flatMap(({ name, value }, index) =>
    value === '' ? [] : [[`${name}: ${value}`, index] as const],
  ),
);

/** A longer block is written anew each time. */
const keptBytesMax = 1024;

/** The block that was written last of its kind; `bytes` once it has come twice in a row. */
class KeptBlock {
  text = '';
  mark = 0;
  bytes: Buffer | undefined;
  version = -1;
  isRepeated = false;
}

/** Heads and trailers come in turn, so each is remembered by itself. */
export type BlockKind = 'head' | 'trailers';

/**
 * Writes header blocks (RFC 7541). A line that is sent a second time goes into the table, so that what comes only once
 * costs neither side an entry; one that is in the table is found by the line itself, with no cut and no copy.
 */
export class HpackEncoder {
  /** By line: the count of entries ever added when this one was, so its index follows from the count now. */
  readonly #entries = new Map<string, number>();
  /** Lines in the table, the oldest first, from `#oldest` on. */
  #lines: string[] = [];
  #sizes: number[] = [];
  #oldest = 0;
  #added = 0;
  #bytes = 0;
  #bytesMax = tableBytesDefault;
  #updates: number[] = [];
  /** Grows as lines come: most connections that rest have had few. */
  readonly #seen: number[] = [];
  #seenNext = 0;
  readonly #huffman: boolean;
  /** Changes with all that the bytes of a block depend on besides what it says. */
  #version = 0;
  #begunVersion = 0;
  #begunAt = 0;
  readonly #kept: Readonly<Record<BlockKind, KeptBlock>> = {
    head: new KeptBlock(),
    trailers: new KeptBlock(),
  };

  /** @param huffman false: saves work where bytes cost little, as within a cluster */
  constructor(huffman = true) {
    this.#huffman = huffman;
  }

  get tableBytes(): number {
    return this.#bytes;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The next block tells what we make of it. */
  setTableBytesMax(announced: number): void {
    const bytes = Math.min(announced, tableBytesDefault);
    if (bytes === this.#bytesMax && this.#updates.length === 0) return;
    const smallest = Math.min(bytes, ...this.#updates);
    this.#updates = smallest < bytes ? [smallest, bytes] : [bytes]; // RFC 7541 §4.2
    this.#bytesMax = bytes;
    this.#version += 1;
    this.#evict(smallest);
  }

  /**
   * Behind `begin`: writes what was written last for that text and mark, if it would come out alike: calls and their answers often
   * repeat each other. False: it is to be written, then `keep` is called. What stands in no text must be in `mark`.
   */
  again(out: OutputBuffer, kind: BlockKind, text: string, mark: number): boolean {
    const kept = this.#kept[kind];
    this.#begunVersion = this.#version;
    this.#begunAt = out.at;
    kept.isRepeated = kept.text === text && kept.mark === mark;
    if (!kept.isRepeated) {
      kept.text = text;
      kept.mark = mark;
      kept.bytes = undefined;
    } else if (kept.bytes !== undefined && kept.version === this.#version) {
      out.bytes(kept.bytes, 0, kept.bytes.length);
      return true;
    }
    return false;
  }

  /** The block of the last `again` is written. */
  keep(out: OutputBuffer, kind: BlockKind): void {
    const kept = this.#kept[kind];
    const bytes = out.at - this.#begunAt;
    if (!kept.isRepeated || this.#version !== this.#begunVersion || bytes > keptBytesMax) return;
    kept.bytes = Buffer.from(out.data.subarray(this.#begunAt, out.at));
    kept.version = this.#version;
  }

  /** To be called in front of each block. */
  begin(out: OutputBuffer): void {
    if (this.#updates.length === 0) return;
    for (const bytes of this.#updates) writeInteger(out, 0x20, 5, bytes);
    this.#updates = [];
  }

  /** An entry of the static table as a whole field. */
  indexed(out: OutputBuffer, index: number): void {
    out.byte(0x80 | index);
  }

  /**
   * One field as "name: value", Latin-1, the name in any case. Space around the value is dropped.
   * @param neverIndexed whoever sent it to us has asked that nobody puts it into a table
   */
  line(out: OutputBuffer, line: string, neverIndexed = false): void {
    const known = neverIndexed ? undefined : this.#entries.get(line);
    if (known !== undefined) {
      writeInteger(out, 0x80, 7, dynamicIndexMin + this.#added - 1 - known);
      return;
    }
    const fixed = staticLines.get(line);
    if (fixed !== undefined) {
      out.byte(0x80 | fixed);
      return;
    }
    const colon = line.indexOf(':', 1);
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (neverIndexed || sensitiveNames.has(name)) this.#literal(out, 0x10, 4, name, value);
    else if (this.#isRepeated(line, name)) {
      this.#literal(out, 0x40, 6, name, value);
      this.#add(line, name.length + value.length + entryOverheadBytes);
    } else this.#literal(out, 0, 4, name, value);
  }

  #isRepeated(line: string, name: string): boolean {
    if (line.length > indexedLineBytesMax || varyingNames.has(name)) return false;
    const hash = hashOf(line);
    if (this.#seen.includes(hash)) return true;
    this.#seen[this.#seenNext] = hash;
    this.#seenNext = (this.#seenNext + 1) % seenMax;
    this.#version += 1;
    return false;
  }

  #add(line: string, bytes: number): void {
    this.#version += 1;
    this.#evict(this.#bytesMax - bytes);
    if (bytes > this.#bytesMax) return;
    // A slice would keep the whole head alive that it was cut from.
    const kept = Buffer.from(line, 'latin1').toString('latin1');
    this.#entries.set(kept, this.#added);
    this.#lines.push(kept);
    this.#sizes.push(bytes);
    this.#added += 1;
    this.#bytes += bytes;
  }

  #evict(bytes: number): void {
    while (this.#bytes > bytes && this.#oldest < this.#lines.length) {
      const line = this.#lines[this.#oldest]!;
      this.#entries.delete(line);
      this.#bytes -= this.#sizes[this.#oldest]!;
      this.#oldest += 1;
    }
    if (this.#oldest < 256) return;
    this.#lines = this.#lines.slice(this.#oldest);
    this.#sizes = this.#sizes.slice(this.#oldest);
    this.#oldest = 0;
  }

  #literal(out: OutputBuffer, pattern: number, prefixBits: number, name: string, value: string): void {
    const index = staticNames.get(name) ?? 0;
    writeInteger(out, pattern, prefixBits, index);
    if (index === 0) this.#string(out, name);
    this.#string(out, value);
  }

  #string(out: OutputBuffer, text: string): void {
    const coded = this.#huffman ? huffmanLength(text) : text.length;
    if (coded < text.length) {
      writeInteger(out, 0x80, 7, coded);
      out.reserve(coded);
      out.at = huffmanEncode(text, out.data, out.at);
      return;
    }
    writeInteger(out, 0, 7, text.length);
    out.reserve(text.length);
    out.at += out.data.write(text, out.at, 'latin1');
  }
}

/** FNV-1a. A collision only puts a line into the table that was not seen before. */
function hashOf(line: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < line.length; i += 1) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
  return hash;
}

function writeInteger(out: OutputBuffer, pattern: number, prefixBits: number, value: number): void {
  const mask = (1 << prefixBits) - 1;
  out.reserve(8);
  if (value < mask) {
    out.byte(pattern | value);
    return;
  }
  out.byte(pattern | mask);
  let rest = value - mask;
  while (rest >= 0x80) {
    out.byte((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.byte(rest);
}
