import { DynamicTable, dynamicIndexMin, HeaderField, staticTable, tableBytesDefault } from './hpack-table.ts';
import { huffmanDecode, huffmanDecodedMax } from './huffman.ts';

/** The fields of one decoded block. Reused from block to block, so it is valid only until the next one is decoded. */
export class HeaderList {
  readonly fields: HeaderField[] = [];
  count = 0;
  /** As SETTINGS_MAX_HEADER_LIST_SIZE counts. */
  bytes = 0;
  /** Beyond a bound: `fields` is not whole. Decoding went on for the sake of the table, keeping nothing. */
  tooLarge = false;
  readonly #bytesMax: number;
  readonly #countMax: number;

  constructor(bytesMax: number, countMax: number) {
    this.#bytesMax = bytesMax;
    this.#countMax = countMax;
  }

  clear(): void {
    this.fields.length = 0;
    this.count = 0;
    this.bytes = 0;
    this.tooLarge = false;
  }

  add(field: HeaderField): void {
    this.bytes += field.bytes;
    if (this.bytes > this.#bytesMax || this.count === this.#countMax) {
      this.tooLarge = true;
      return;
    }
    this.fields.push(field);
    this.count += 1;
  }
}

/** Of the string that is being decoded, on whatever connection. At most four times the largest header block. */
let scratch: Buffer = Buffer.allocUnsafe(512);

/** What an integer too large for us, or one that ends too early, is read as. */
const BAD = -1;

/** Reads header blocks (RFC 7541). One for a connection's direction: the table lives from block to block. */
export class HpackDecoder {
  readonly #table = new DynamicTable(tableBytesDefault);
  /** What we have announced; a peer may not use more. */
  readonly #tableBytesMax: number;
  #data: Buffer = empty;
  #at = 0;
  #end = 0;

  constructor(tableBytesMax = tableBytesDefault) {
    this.#tableBytesMax = tableBytesMax;
  }

  get tableBytes(): number {
    return this.#table.bytes;
  }

  get tableCount(): number {
    return this.#table.count;
  }

  /**
   * Decodes the whole block data[start, end) into `list`. False: the block is not HPACK, the table cannot be trusted
   * any more and the connection must end with COMPRESSION_ERROR (RFC 9113 §4.3).
   */
  decode(data: Buffer, start: number, end: number, list: HeaderList): boolean {
    this.#data = data;
    this.#at = start;
    this.#end = end;
    list.clear();
    let begun = false; // size updates stand in front only (RFC 7541 §4.2)
    while (this.#at < end) {
      const first = data[this.#at]!;
      if ((first & 0x80) !== 0) {
        const field = this.#entry(this.#integer(7));
        if (field === undefined) return false;
        list.add(field);
        begun = true;
      } else if ((first & 0xe0) === 0x20) {
        const bytes = this.#integer(5);
        if (begun || bytes === BAD || bytes > this.#tableBytesMax) return false;
        this.#table.resize(bytes);
      } else {
        if (!this.#literal(first, list)) return false;
        begun = true;
      }
    }
    this.#data = empty;
    return true;
  }

  #literal(first: number, list: HeaderList): boolean {
    const indexed = (first & 0xc0) === 0x40;
    const index = this.#integer(indexed ? 6 : 4);
    const name = index === 0 ? this.#string() : this.#entry(index)?.name;
    if (name === undefined) return false;
    const value = this.#string();
    if (value === undefined) return false;
    const field = new HeaderField(name, value, (first & 0xf0) === 0x10);
    if (indexed) this.#table.add(field);
    list.add(field);
    return true;
  }

  #entry(index: number): HeaderField | undefined {
    if (index <= 0) return undefined;
    return index < dynamicIndexMin ? staticTable[index] : this.#table.at(index - dynamicIndexMin);
  }

  /** An integer whose first byte holds `prefixBits` of it (RFC 7541 §5.1). At most 28 bits more: none of ours is larger. */
  #integer(prefixBits: number): number {
    const data = this.#data;
    if (this.#at >= this.#end) return BAD;
    const mask = (1 << prefixBits) - 1;
    let value = data[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) return BAD;
      const byte = data[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    return BAD;
  }

  /** As Latin-1: bytes beyond ASCII pass through unread. */
  #string(): string | undefined {
    if (this.#at >= this.#end) return undefined;
    const coded = (this.#data[this.#at]! & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    if (length === BAD || length > this.#end - start) return undefined;
    this.#at = start + length;
    if (!coded) return this.#data.toString('latin1', start, start + length);
    const most = huffmanDecodedMax(length);
    if (scratch.length < most) scratch = Buffer.allocUnsafe(2 * most);
    const decoded = huffmanDecode(this.#data, start, start + length, scratch);
    return decoded === -1 ? undefined : scratch.toString('latin1', 0, decoded);
  }
}

const empty = Buffer.alloc(0);
