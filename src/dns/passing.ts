import type { ForwardAnswer } from './question.ts';
import { type Note, noteBytes, writeNote } from './render.ts';
import {
  classIn,
  flags,
  headerBytes,
  type Message,
  parseMessage,
  type ResourceRecord,
  rrTypes,
  wireLimits,
} from './wire.ts';

/**
 * Answers of other servers that can be passed on as bytes: their names are not read but only walked over, and but for the
 * header, the question's spelling, the times to live and the OPT record nothing in them is written anew. Pure.
 */
export type Passable = {
  /** Without what may stand behind the last record that is passed on. */
  readonly bytes: Uint8Array;
  /** Where the records begin. */
  readonly questionEnd: number;
  readonly rcode: number;
  readonly authenticData: boolean;
  /** Records by section, the OPT record left out. */
  readonly counts: readonly [answers: number, authorities: number, additionals: number];
  /** Where the times to live stand. */
  readonly ttlsAt: Uint16Array;
  /** The shortest, seconds; 0 where there is no record. */
  readonly leastTtlSeconds: number;
  /** How long absence holds by the SOA among the authorities; 0 without one. */
  readonly absenceSeconds: number;
};

const optRecordBytes = 11;
const recordsMax = 4096;
/** Reused from call to call. */
const foundAt = new Uint16Array(recordsMax);

/**
 * Undefined: not of that plain form, though perhaps a good answer all the same, which `parseMessage` tells. `query` is what
 * was asked: its question must come back byte by byte.
 */
export function passableOf(message: Buffer, query: Uint8Array, questionEnd: number): Passable | undefined {
  if (message.length < questionEnd || message.length > wireLimits.messageBytesMax) return undefined;
  if (message.readUInt16BE(4) !== 1) return undefined;
  for (let at = headerBytes; at < questionEnd; at++) if (message[at] !== query[at]) return undefined;
  const word = message.readUInt16BE(2);
  if ((word & flags.truncated) !== 0) return undefined;
  const answers = message.readUInt16BE(6);
  const authorities = message.readUInt16BE(8);
  const additionals = message.readUInt16BE(10);
  const all = answers + authorities + additionals;
  if (all > recordsMax) return undefined;
  let at = questionEnd;
  let least = Number.POSITIVE_INFINITY;
  let absenceSeconds = 0;
  let found = 0;
  for (let index = 0; index < all; index++) {
    const head = nameEnd(message, at);
    if (head < 0 || head + 10 > message.length) return undefined;
    const type = message.readUInt16BE(head);
    const dataAt = head + 10;
    const end = dataAt + message.readUInt16BE(head + 8);
    if (end > message.length) return undefined;
    if (type === rrTypes.OPT) {
      // Only the last of all records, of which nothing is needed: no code beyond 15, no option that would get lost.
      const isPlain = end === at + optRecordBytes && message.readUInt16BE(head + 4) === 0;
      if (index !== all - 1 || additionals === 0 || !isPlain) return undefined;
      break;
    }
    if (message.readUInt16BE(head + 2) !== classIn || !isSound(message, type, dataAt, end)) return undefined;
    const ttl = message.readUInt32BE(head + 4);
    if (ttl > 0x7fffffff) return undefined; // counts as zero (RFC 2181, section 8)
    if (ttl < least) least = ttl;
    if (type === rrTypes.SOA && absenceSeconds === 0 && index >= answers && index < answers + authorities) {
      absenceSeconds = Math.min(ttl, message.readUInt32BE(end - 4));
    }
    foundAt[found++] = head + 4;
    at = end;
  }
  return {
    bytes: message.subarray(0, at),
    questionEnd,
    rcode: word & flags.rcodeMask,
    authenticData: (word & flags.authenticData) !== 0,
    counts: [answers, authorities, found - answers - authorities],
    ttlsAt: foundAt.slice(0, found),
    leastTtlSeconds: found === 0 ? 0 : least,
    absenceSeconds,
  };
}

/** Behind the name at `offset`, or -1 for one that breaks the format: the bounds are those of `readName`. */
function nameEnd(message: Uint8Array, offset: number): number {
  let bytes = 1;
  let at = offset;
  let end = -1;
  for (let jumps = 0; ; ) {
    const length = message[at];
    if (length === undefined) return -1;
    if (length === 0) return end === -1 ? at + 1 : end;
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return -1;
      if (end === -1) end = at + 2;
      const target = ((length & 0x3f) << 8) | low;
      jumps += 1;
      // Not into the header, which is written anew.
      if (target >= at || target < headerBytes || jumps > wireLimits.pointersMax) return -1;
      at = target;
      continue;
    }
    bytes += length + 1;
    if (length > wireLimits.labelBytesMax || bytes > wireLimits.nameBytesMax) return -1;
    at += 1 + length;
    if (at > message.length) return -1;
  }
}

/** Whether the data of a record that we know is as it must be. */
function isSound(message: Buffer, type: number, dataAt: number, end: number): boolean {
  switch (type) {
    case rrTypes.A:
      return end - dataAt === 4;
    case rrTypes.AAAA:
      return end - dataAt === 16;
    case rrTypes.NS:
    case rrTypes.CNAME:
    case rrTypes.PTR:
    case rrTypes.DNAME:
      return nameEnd(message, dataAt) === end;
    case rrTypes.MX:
      return nameEnd(message, dataAt + 2) === end;
    case rrTypes.SRV:
      return nameEnd(message, dataAt + 6) === end;
    case rrTypes.SOA: {
      const mailbox = nameEnd(message, dataAt);
      return mailbox > 0 && nameEnd(message, mailbox) + 20 === end;
    }
    case rrTypes.TXT: {
      let at = dataAt;
      while (at < end) at += 1 + (message[at] ?? 0);
      return at === end;
    }
    default:
      return true;
  }
}

/** How an answer is passed on. */
export type PassOptions = {
  readonly id: number;
  /** RD, CD and RA as they shall be. */
  readonly flags: number;
  /** As the client spelt it; as long as that which was asked. */
  readonly questionBytes: Uint8Array;
  /** Present: the client gets an OPT record with this DO. */
  readonly edns: { readonly dnssecOk: boolean } | undefined;
  /** What the times to live have lost since, seconds. */
  readonly ageSeconds: number;
  /** Instead of all times to live. */
  readonly ttlSeconds?: number | undefined;
  /** Goes into the OPT record. */
  readonly note?: Note | undefined;
};

/** The length of the answer that `pass` makes. */
export function passedBytes({ bytes }: Passable, edns: PassOptions['edns'], note?: Note): number {
  return bytes.length + (edns === undefined ? 0 : optRecordBytes + noteBytes(note));
}

/** The answer for a client, a new buffer. */
export function pass(passable: Passable, options: PassOptions): Buffer {
  const { bytes, counts, ttlsAt } = passable;
  const { questionBytes, edns, ageSeconds, ttlSeconds, note } = options;
  const output = Buffer.allocUnsafe(passedBytes(passable, edns, note));
  output.set(bytes);
  const word =
    options.flags | flags.response | (passable.authenticData ? flags.authenticData : 0) | passable.rcode;
  output.writeUInt16BE(options.id, 0);
  output.writeUInt16BE(word, 2);
  output.writeUInt16BE(counts[2] + (edns === undefined ? 0 : 1), 10);
  output.set(questionBytes, headerBytes);
  if (ageSeconds > 0 || ttlSeconds !== undefined) {
    for (const at of ttlsAt) {
      const left = ttlSeconds ?? Math.max(0, output.readUInt32BE(at) - ageSeconds);
      output.writeUInt32BE(left, at);
    }
  }
  if (edns !== undefined) {
    let at = bytes.length;
    output[at++] = 0;
    at = output.writeUInt16BE(rrTypes.OPT, at);
    at = output.writeUInt16BE(wireLimits.udpBytesMax, at);
    at = output.writeUInt32BE(edns.dnssecOk ? 0x8000 : 0, at);
    writeNote(output, at, note);
  }
  return output;
}

/** The bytes of each of several records that are nothing but addresses of the asked name, which may be shuffled; else 0. */
export function addressBytesOf({ bytes, questionEnd, counts, ttlsAt }: Passable, type: number): number {
  const size = addressRecordBytes(type);
  if (size === 0 || counts[0] < 2) return 0;
  for (let index = 0; index < counts[0]; index++) {
    const at = questionEnd + index * size;
    const isOfName = bytes[at] === 0xc0 && bytes[at + 1] === headerBytes;
    if (!isOfName || bytes[at + 3] !== type || ttlsAt[index] !== at + 6) return 0;
  }
  return size;
}

/** Of the first record; there must be one. */
export function firstTypeOf({ bytes, ttlsAt }: Passable): number {
  const at = (ttlsAt[0] ?? 4) - 4;
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** An answer that is passed on as bytes, or read by who needs its records. */
export class PassableAnswer implements ForwardAnswer {
  readonly passable: Passable;
  readonly ageSeconds: number;
  readonly ttlSeconds: number | undefined;
  readonly sameForMs: number | undefined;
  #message: Message | undefined;

  constructor(passable: Passable, ageSeconds: number = 0, ttlSeconds?: number, sameForMs?: number) {
    this.passable = passable;
    this.ageSeconds = ageSeconds;
    this.ttlSeconds = ttlSeconds;
    this.sameForMs = sameForMs;
  }

  get rcode(): number {
    return this.passable.rcode;
  }

  get isStale(): boolean {
    return this.ttlSeconds !== undefined;
  }

  get authenticData(): boolean {
    return this.passable.authenticData;
  }

  get answers(): readonly ResourceRecord[] {
    return this.#read().answers;
  }

  get authorities(): readonly ResourceRecord[] {
    return this.#read().authorities;
  }

  get additionals(): readonly ResourceRecord[] {
    return this.#read().additionals;
  }

  #read(): Message {
    if (this.#message !== undefined) return this.#message;
    const { passable, ageSeconds, ttlSeconds } = this;
    const questionBytes = passable.bytes.subarray(headerBytes, passable.questionEnd);
    const options = { id: 0, flags: 0, questionBytes, edns: undefined, ageSeconds, ttlSeconds };
    return (this.#message = parseMessage(pass(passable, options)));
  }
}

/** Bytes of an address record whose name points at the question, as `renderResponse` writes it. */
export function addressRecordBytes(type: number): number {
  if (type === rrTypes.A) return 12 + 4;
  return type === rrTypes.AAAA ? 12 + 16 : 0;
}
