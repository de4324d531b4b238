/** Fields and tables of HPACK (RFC 7541 §2.3). */

/** One field as HPACK carries it. Shared by all blocks that refer to it, so never changed but for its memo. */
export class HeaderField {
  readonly name: string;
  readonly value: string;
  /** Sent as never to be indexed: it must be passed on in the same way (RFC 7541 §7.1.3). */
  readonly neverIndexed: boolean;
  /** What a reader has found out of it, so that a field that is referred to again need not be checked again; 0: nothing. */
  memo = 0;

  constructor(name: string, value: string, neverIndexed = false) {
    this.name = name;
    this.value = value;
    this.neverIndexed = neverIndexed;
  }

  /** As tables and SETTINGS_MAX_HEADER_LIST_SIZE count it (RFC 7541 §4.1). */
  get bytes(): number {
    return this.name.length + this.value.length + entryOverheadBytes;
  }
}

export const entryOverheadBytes = 32;
/** Bytes of a dynamic table to begin with; neither side of ours uses more. */
export const tableBytesDefault = 4096;

const staticPairs: readonly string[] = [
  ':authority',
  ':method: GET',
  ':method: POST',
  ':path: /',
  ':path: /index.html',
  ':scheme: http',
  ':scheme: https',
  ':status: 200',
  ':status: 204',
  ':status: 206',
  ':status: 304',
  ':status: 400',
  ':status: 404',
  ':status: 500',
  'accept-charset',
  'accept-encoding: gzip, deflate',
  'accept-language',
  'accept-ranges',
  'accept',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'referer',
  'refresh',
  'retry-after',
  'server',
  'set-cookie',
  'strict-transport-security',
  'transfer-encoding',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
];

/** RFC 7541 Appendix A; index 0 is not used. */
export const staticTable: readonly HeaderField[] = [
  new HeaderField('', ''),
  ...staticPairs.map((pair) => {
    const colon = pair.indexOf(': ', 1);
    return colon === -1
      ? new HeaderField(pair, '')
      : new HeaderField(pair.slice(0, colon), pair.slice(colon + 2));
  }),
];

/** The first index of the dynamic table. */
export const dynamicIndexMin = staticTable.length;

/** Index of the first static entry with that name. */
export const staticNames: ReadonlyMap<string, number> = new Map(
  staticTable.map(({ name }, index) => [name, index] as const).toReversed(),
);

/** The dynamic table of a decoder: a ring, newest first. */
export class DynamicTable {
  #entries: (HeaderField | undefined)[] = new Array<HeaderField | undefined>(32);
  #newest = 0; // position of the entry added last
  #count = 0;
  #bytes = 0;
  #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  /** The entry added `age` entries ago, 0 for the last one. */
  at(age: number): HeaderField | undefined {
    if (age >= this.#count) return undefined;
    return this.#entries[(this.#newest - age) & (this.#entries.length - 1)];
  }

  add(field: HeaderField): void {
    this.#evict(this.#bytesMax - field.bytes);
    if (field.bytes > this.#bytesMax) return; // not an error: it empties the table (RFC 7541 §4.4)
    if (this.#count === this.#entries.length) this.#grow();
    this.#newest = (this.#newest + 1) & (this.#entries.length - 1);
    this.#entries[this.#newest] = field;
    this.#count += 1;
    this.#bytes += field.bytes;
  }

  resize(bytesMax: number): void {
    this.#bytesMax = bytesMax;
    this.#evict(bytesMax);
  }

  #evict(bytes: number): void {
    while (this.#count > 0 && this.#bytes > bytes) {
      const oldest = (this.#newest - this.#count + 1) & (this.#entries.length - 1);
      this.#bytes -= this.#entries[oldest]!.bytes;
      this.#entries[oldest] = undefined;
      this.#count -= 1;
    }
  }

  #grow(): void {
    const grown = new Array<HeaderField | undefined>(2 * this.#entries.length);
    for (let age = 0; age < this.#count; age += 1) grown[this.#count - 1 - age] = this.at(age);
    this.#newest = this.#count - 1;
    this.#entries = grown;
  }
}
