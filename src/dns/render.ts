import {
  classIn,
  type Edns,
  flags,
  headerBytes,
  labelsOf,
  type RecordData,
  type ResourceRecord,
  rrTypes,
  typeCode,
  wireLimits,
} from './wire.ts';

/** An answer before it is bytes. */
export type Response = {
  readonly id: number;
  /** AA, RA, RD and CD as they shall be; QR, TC and the code are set here. */
  readonly flags: number;
  readonly rcode: number;
  /** The question as the client sent it; empty if it could not be read. */
  readonly questionBytes: Uint8Array;
  /** The question's name in lower case: records of that name point at it, and so carry its case. */
  readonly questionName: string;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** Present if the client sent EDNS: it then gets an OPT record. */
  readonly edns: Edns | undefined;
  /** Why it is as it is, for a client that sent EDNS and where there is room (RFC 8914). */
  readonly note?: Note | undefined;
};

/** An extended error. The text is for people, ASCII. */
export type Note = { readonly code: number; readonly text: string };

/** More text is cut. */
export const noteTextBytesMax = 160;

const optBytes = 11;
/** Room for one record more than fits, whose end shows that it does not. */
const scratch = Buffer.allocUnsafe(2 * wireLimits.messageBytesMax + headerBytes);

/**
 * The answer as bytes, at most `bytesMax`. Where the answers or authorities do not fit, as many whole records as do are sent
 * and TC is set: the client asks again on TCP. Additional records that do not fit are left out silently (RFC 2181, 9).
 * The result is a copy that belongs to the caller.
 */
export function renderResponse(response: Response, bytesMax: number): Buffer {
  const writer = new Writer(scratch);
  const limit = bytesMax - (response.edns === undefined ? 0 : optBytes);
  scratch.set(response.questionBytes, headerBytes);
  writer.at = headerBytes + response.questionBytes.length;
  if (response.questionBytes.length > 0) writer.remember(response.questionName, headerBytes);
  const answers = writer.section(response.answers, limit);
  const whole = answers === response.answers.length;
  const authorities = whole ? writer.section(response.authorities, limit) : 0;
  const truncated = !whole || authorities < response.authorities.length;
  let additionals = truncated ? 0 : writer.section(response.additionals, limit);
  if (response.edns !== undefined) {
    const note = writer.at + optBytes + noteBytes(response.note) <= bytesMax ? response.note : undefined;
    writer.opt(response.rcode, response.edns.dnssecOk, note);
    additionals += 1;
  }
  const word =
    (response.flags & ~(flags.rcodeMask | flags.opcodeMask)) |
    flags.response |
    (truncated ? flags.truncated : 0) |
    (response.rcode & flags.rcodeMask);
  scratch.writeUInt16BE(response.id, 0);
  scratch.writeUInt16BE(word, 2);
  scratch.writeUInt16BE(response.questionBytes.length > 0 ? 1 : 0, 4);
  scratch.writeUInt16BE(answers, 6);
  scratch.writeUInt16BE(authorities, 8);
  scratch.writeUInt16BE(additionals, 10);
  return Buffer.from(scratch.subarray(0, writer.at));
}

const extendedErrorOption = 15;
const optionHeadBytes = 4;
const codeBytes = 2;

/** What a note adds to an OPT record. */
export function noteBytes(note: Note | undefined): number {
  return note === undefined ? 0 : optionHeadBytes + codeBytes + Math.min(note.text.length, noteTextBytesMax);
}

/** Writes the data of an OPT record with its length before it: the note or nothing. Returns how many bytes. */
export function writeNote(buffer: Buffer, at: number, note: Note | undefined): number {
  const bytes = noteBytes(note);
  buffer.writeUInt16BE(bytes, at);
  if (note === undefined) return 2;
  buffer.writeUInt16BE(extendedErrorOption, at + 2);
  buffer.writeUInt16BE(bytes - optionHeadBytes, at + 4);
  buffer.writeUInt16BE(note.code, at + 6);
  buffer.write(note.text.slice(0, noteTextBytesMax), at + 8, 'latin1');
  return 2 + bytes;
}

/** A query for another server, with EDNS. Throws WireError where `name` is none. */
export function renderQuery(
  id: number,
  question: { readonly name: string; readonly type: number },
  options: { readonly dnssecOk: boolean; readonly checkingDisabled: boolean },
): Buffer {
  const writer = new Writer(scratch);
  writer.at = headerBytes;
  writer.name(question.name);
  writer.uint16(question.type);
  writer.uint16(classIn);
  writer.opt(0, options.dnssecOk);
  const word = flags.recursionDesired | (options.checkingDisabled ? flags.checkingDisabled : 0);
  for (const [index, value] of [id, word, 1, 0, 0, 1].entries()) scratch.writeUInt16BE(value, index * 2);
  return Buffer.from(scratch.subarray(0, writer.at));
}

/** Appends to a buffer that has room enough; knows where each name stands, to point back at it. */
class Writer {
  at = 0;
  readonly #buffer: Buffer;
  readonly #names = new Map<string, number>();

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** A name that stands at `offset` already. Only as a whole: most answers point at nothing else. */
  remember(name: string, offset: number): void {
    if (name !== '') this.#names.set(name, offset);
  }

  uint16(value: number): void {
    this.at = this.#buffer.writeUInt16BE(value & 0xffff, this.at);
  }

  uint32(value: number): void {
    this.at = this.#buffer.writeUInt32BE(value >>> 0, this.at);
  }

  bytes(data: Uint8Array): void {
    this.#buffer.set(data, this.at);
    this.at += data.length;
  }

  /** Compressed: points at the longest end of the name that has been written (RFC 1035, 4.1.4). */
  name(name: string): void {
    const known = this.#names.get(name.toLowerCase());
    if (known !== undefined) {
      this.uint16(0xc000 | known);
      return;
    }
    const lower = name.toLowerCase();
    const labels = labelsOf(name);
    let rest = lower;
    for (const label of labels) {
      const offset = this.#names.get(rest);
      if (offset !== undefined) {
        this.uint16(0xc000 | offset);
        return;
      }
      if (this.at < 0x4000) this.#names.set(rest, this.at); // a pointer has 14 bits
      this.#buffer[this.at++] = label.length;
      this.bytes(label);
      rest = afterFirstLabel(rest);
    }
    this.#buffer[this.at++] = 0;
  }

  /** Writes whole records while they end within `limit`; returns how many did. */
  section(records: readonly ResourceRecord[], limit: number): number {
    for (const [index, record] of records.entries()) {
      const start = this.at;
      this.record(record);
      if (this.at > limit) {
        this.at = start;
        for (const [name, offset] of this.#names) if (offset >= start) this.#names.delete(name);
        return index;
      }
    }
    return records.length;
  }

  record(record: ResourceRecord): void {
    this.name(record.name);
    this.uint16(typeCode(record.data));
    this.uint16(classIn);
    this.uint32(record.ttlSeconds);
    const lengthAt = this.at;
    this.at += 2;
    this.data(record.data);
    this.#buffer.writeUInt16BE(this.at - lengthAt - 2, lengthAt);
  }

  data(data: RecordData): void {
    switch (data.type) {
      case 'A':
      case 'AAAA':
        this.bytes(data.address);
        return;
      case 'NS':
      case 'CNAME':
      case 'PTR':
        this.name(data.target);
        return;
      case 'DNAME':
        this.plainName(data.target);
        return;
      case 'MX':
        this.uint16(data.preference);
        this.name(data.exchange);
        return;
      case 'SRV':
        this.uint16(data.priority);
        this.uint16(data.weight);
        this.uint16(data.port);
        this.plainName(data.target); // RFC 2782: not compressed
        return;
      case 'SOA':
        this.name(data.primary);
        this.name(data.mailbox);
        this.uint32(data.serial);
        this.uint32(data.refreshSeconds);
        this.uint32(data.retrySeconds);
        this.uint32(data.expireSeconds);
        this.uint32(data.minimumSeconds);
        return;
      case 'TXT':
        for (const text of data.texts) {
          this.#buffer[this.at++] = text.length;
          this.bytes(text);
        }
        return;
      case 'other':
        this.bytes(data.data);
    }
  }

  plainName(name: string): void {
    for (const label of labelsOf(name)) {
      this.#buffer[this.at++] = label.length;
      this.bytes(label);
    }
    this.#buffer[this.at++] = 0;
  }

  opt(rcode: number, dnssecOk: boolean, note?: Note): void {
    this.#buffer[this.at++] = 0;
    this.uint16(rrTypes.OPT);
    this.uint16(wireLimits.udpBytesMax);
    this.uint32((((rcode >>> 4) & 0xff) << 24) | (dnssecOk ? 0x8000 : 0));
    this.at += writeNote(this.#buffer, this.at, note);
  }
}

/** "a.b.c" → "b.c"; a dot behind a backslash is part of its label. */
function afterFirstLabel(name: string): string {
  for (let index = 0; index < name.length; index++) {
    if (name[index] === '\\') index += 1;
    else if (name[index] === '.') return name.slice(index + 1);
  }
  return '';
}
