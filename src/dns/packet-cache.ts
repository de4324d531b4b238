import { nextRandom } from '../base/random.ts';
import type { Searcher } from './pods.ts';
import { headerBytes } from './wire.ts';

/** Bounds of the cache of finished answers. At `entriesMax` or a full slab the older generation is forgotten. */
export const packetCacheLimits = {
  /** Answers of one generation; two are kept. */
  entriesMax: 16_384,
  /** Keys and answers of one generation, bytes; the memory is used only as it fills. */
  slabBytes: 4 << 20,
  /** Bigger answers are made anew each time. */
  packetBytesMax: 1232,
  /** Longer queries are not looked for. */
  queryBytesMax: 300,
} as const;

/** How an answer is kept. */
export type KeepOptions = {
  /** The state of the records that it was made from; it holds while that stays. */
  readonly epoch: number;
  /** On the caller's clock, ms. */
  readonly validUntilMs: number;
  /** Given back by `tag`. */
  readonly tag: number;
  /** Records behind the question that are shuffled at each use; 0 or 1: none. */
  readonly shuffledRecords: number;
  /** Bytes of each of those. */
  readonly recordBytes: number;
  /** Not 0: other answers are due to searchers of this scope, each kept after `select`. */
  readonly scope: number;
};

const optBytes = 11;
const slotsMask = 2 * packetCacheLimits.entriesMax - 1;
const prime = 0x01000193;
const scopedSeed = 0x5bd1e995;

/** Answers under their queries. Arrays of numbers instead of objects: a hit allocates nothing and nothing is to be collected. */
class Generation {
  count = 0;
  used = 0;
  readonly slab = Buffer.alloc(packetCacheLimits.slabBytes);
  /** Entry number + 1 by hash, open addressing; 0: free. At most half are taken. */
  readonly slots = new Int32Array(slotsMask + 1);
  readonly hashes = new Int32Array(packetCacheLimits.entriesMax);
  readonly at = new Int32Array(packetCacheLimits.entriesMax);
  readonly keyBytes = new Uint16Array(packetCacheLimits.entriesMax);
  readonly packetBytes = new Uint16Array(packetCacheLimits.entriesMax);
  readonly epochs = new Float64Array(packetCacheLimits.entriesMax);
  readonly validUntilMs = new Float64Array(packetCacheLimits.entriesMax);
  readonly tags = new Int32Array(packetCacheLimits.entriesMax);
  readonly scopes = new Int32Array(packetCacheLimits.entriesMax);
  readonly shuffled = new Uint16Array(packetCacheLimits.entriesMax);
  readonly recordBytes = new Uint8Array(packetCacheLimits.entriesMax);
}

/**
 * Finished answers as bytes, found by the bytes of their queries. Names are compared without case, everything else
 * exactly, so whatever a query may ask for is part of its key. Use: `find`, and where that fails answer the long way
 * and `keep` what came out.
 */
export class PacketCache {
  #young = new Generation();
  #old: Generation | undefined;
  /** Where the last look-up found its entry. */
  #found = this.#young;
  readonly #key = new Uint8Array(packetCacheLimits.queryBytesMax);
  #keyBytes = 0;
  #questionBytes = 0;
  /** Of the key but for whom it is. */
  #plainHash = 0;
  #hash = 0;
  #random = 0x2545f491;
  /** Of the answer that `find` found. */
  tag = 0;

  get size(): number {
    return this.#young.count + (this.#old?.count ?? 0);
  }

  /**
   * Writes the answer to the query in `input` from `from` to `to` into `output` at `at` and returns its length; 0: there is
   * none. `seed` keeps answers of different ways in apart. `searcherOf` tells who the peer is that asks.
   */
  find(
    input: Uint8Array,
    from: number,
    to: number,
    output: Uint8Array,
    at: number,
    seed: number,
    epoch: number,
    nowMs: number,
    peer: number,
    searcherOf: ((peer: number) => Searcher | undefined) | undefined,
  ): number {
    if (!this.#readKey(input, from, to, seed)) return 0;
    let entry = this.#lookUpBoth(epoch, nowMs);
    if (entry < 0) return 0;
    const scope = this.#found.scopes[entry] ?? 0;
    if (scope !== 0 && searcherOf !== undefined) {
      const searcher = searcherOf(peer);
      if (searcher !== undefined && searcher.scope === scope) {
        this.select(searcher);
        entry = this.#lookUpBoth(epoch, nowMs);
        if (entry < 0) return 0;
      }
    }
    this.tag = this.#found.tags[entry] ?? 0;
    return this.#copyOut(this.#found, entry, input, from, output, at);
  }

  /** Keeps the answer to the query that `find` was last called with, unless that was none to look for. */
  keep(packet: Uint8Array, options: KeepOptions): void {
    const bytes = packet.length;
    if (this.#keyBytes === 0 || bytes > packetCacheLimits.packetBytesMax) return;
    let generation = this.#young;
    let known = this.#lookUp(generation);
    // An entry that no longer holds is written over where the new one has room.
    const reuse = known >= 0 && (generation.packetBytes[known] ?? 0) >= bytes;
    if (
      !reuse &&
      (generation.count === packetCacheLimits.entriesMax ||
        generation.used + this.#keyBytes + bytes > packetCacheLimits.slabBytes)
    ) {
      this.#old = generation;
      generation = this.#young = new Generation();
      known = -1;
    }
    const entry = reuse ? known : this.#add(generation, known, bytes);
    generation.slab.set(packet, (generation.at[entry] ?? 0) + this.#keyBytes);
    generation.packetBytes[entry] = bytes;
    generation.epochs[entry] = options.epoch;
    generation.validUntilMs[entry] = options.validUntilMs;
    generation.tags[entry] = options.tag;
    generation.scopes[entry] = options.scope;
    generation.shuffled[entry] = options.shuffledRecords;
    generation.recordBytes[entry] = options.recordBytes;
  }

  /** After a `find` that failed: whether what is kept next is for all clients or for those with this search list. */
  select(whom: 'all' | Searcher): void {
    const first = whom === 'all' ? 0 : 1 + whom.list;
    this.#hash = this.#plainHash ^ Math.imul(first, scopedSeed);
    this.#key[0] = first;
  }

  /** The entry that holds now, in `#found`, or -1. */
  #lookUpBoth(epoch: number, nowMs: number): number {
    this.#found = this.#young;
    let entry = this.#lookUp(this.#young);
    if (entry < 0 && this.#old !== undefined) {
      this.#found = this.#old;
      entry = this.#lookUp(this.#old);
    }
    if (entry < 0) return -1;
    const holds = this.#found.epochs[entry] === epoch && (this.#found.validUntilMs[entry] ?? 0) > nowMs;
    return holds ? entry : -1;
  }

  #add(generation: Generation, known: number, bytes: number): number {
    const at = generation.used;
    generation.slab.set(this.#key.subarray(0, this.#keyBytes), at);
    generation.used += this.#keyBytes + bytes;
    const entry = known >= 0 ? known : generation.count++;
    generation.at[entry] = at;
    generation.keyBytes[entry] = this.#keyBytes;
    if (entry === known) return entry;
    generation.hashes[entry] = this.#hash;
    let slot = this.#hash & slotsMask;
    while (generation.slots[slot] !== 0) slot = (slot + 1) & slotsMask;
    generation.slots[slot] = entry + 1;
    return entry;
  }

  /**
   * Reads the query into the key: a byte for the scope, the header behind the id, the question in lower case, the OPT
   * record. Only plain queries have a key: one question, and nothing behind it but an OPT record without options.
   */
  #readKey(input: Uint8Array, from: number, to: number, seed: number): boolean {
    this.#keyBytes = 0;
    const length = to - from;
    if (length < headerBytes + 5 || length > packetCacheLimits.queryBytesMax) return false;
    const key = this.#key;
    key[0] = 0;
    let hash = seed;
    let write = 1;
    let read = from + 2;
    for (const end = from + headerBytes; read < end; read++) {
      const byte = input[read] ?? 0;
      key[write++] = byte;
      hash = Math.imul(hash ^ byte, prime);
    }
    for (;;) {
      const label = input[read] ?? 0;
      key[write++] = label;
      hash = Math.imul(hash ^ label, prime);
      read += 1;
      if (label === 0) break;
      const end = read + label;
      if (label > 63 || end >= to) return false;
      for (; read < end; read++) {
        let byte = input[read] ?? 0;
        if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20;
        key[write++] = byte;
        hash = Math.imul(hash ^ byte, prime);
      }
    }
    const questionEnd = read + 4;
    if (to !== questionEnd && !(to === questionEnd + optBytes && input[to - 1] === 0 && input[to - 2] === 0))
      return false;
    for (; read < to; read++) {
      const byte = input[read] ?? 0;
      key[write++] = byte;
      hash = Math.imul(hash ^ byte, prime);
    }
    this.#plainHash = hash ^ (hash >>> 15);
    this.#hash = this.#plainHash;
    this.#questionBytes = questionEnd - from;
    this.#keyBytes = write;
    return true;
  }

  /** The entry of the key, or -1. */
  #lookUp(generation: Generation): number {
    const { slots, hashes } = generation;
    for (let slot = this.#hash & slotsMask; ; slot = (slot + 1) & slotsMask) {
      const entry = (slots[slot] ?? 0) - 1;
      if (entry < 0) return -1;
      if (hashes[entry] === this.#hash && this.#isKey(generation, entry)) return entry;
    }
  }

  #isKey(generation: Generation, entry: number): boolean {
    const bytes = this.#keyBytes;
    if (generation.keyBytes[entry] !== bytes) return false;
    const { slab } = generation;
    const key = this.#key;
    const at = generation.at[entry] ?? 0;
    for (let index = 0; index < bytes; index++) if (slab[at + index] !== key[index]) return false;
    return true;
  }

  /** The answer with the query's own id and spelling of the name, and with its records in an order of chance. */
  #copyOut(
    generation: Generation,
    entry: number,
    input: Uint8Array,
    from: number,
    output: Uint8Array,
    at: number,
  ): number {
    const { slab } = generation;
    const bytes = generation.packetBytes[entry] ?? 0;
    const start = (generation.at[entry] ?? 0) + (generation.keyBytes[entry] ?? 0);
    const question = this.#questionBytes;
    output[at] = input[from] ?? 0;
    output[at + 1] = input[from + 1] ?? 0;
    for (let index = 2; index < headerBytes; index++) output[at + index] = slab[start + index] ?? 0;
    for (let index = headerBytes; index < question; index++) output[at + index] = input[from + index] ?? 0;
    const count = generation.shuffled[entry] ?? 0;
    let read = start + question;
    let write = at + question;
    if (count > 1) {
      const size = generation.recordBytes[entry] ?? 0;
      this.#copyShuffled(slab, read, output, write, count, size);
      read += count * size;
      write += count * size;
    }
    for (const end = start + bytes; read < end; read++) output[write++] = slab[read] ?? 0;
    return bytes;
  }

  /** Fisher and Yates' shuffle, inside out: each record takes the place of one before it, which moves to the end. */
  #copyShuffled(
    slab: Uint8Array,
    read: number,
    output: Uint8Array,
    write: number,
    count: number,
    size: number,
  ): void {
    let random = this.#random;
    for (let record = 0; record < count; record++) {
      random = nextRandom(random);
      const other = write + (random % (record + 1)) * size;
      const last = write + record * size;
      const from = read + record * size;
      for (let index = 0; index < size; index++) {
        output[last + index] = output[other + index] ?? 0;
        output[other + index] = slab[from + index] ?? 0;
      }
    }
    this.#random = random;
  }
}
