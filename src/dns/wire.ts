/**
 * The DNS message format: names, records, queries and answers as bytes. Pure.
 * Specs: RFC 1035 (format), RFC 6891 (EDNS0), RFC 3597 (unknown types), RFC 2782 (SRV), RFC 4343 (case).
 */

export const rrTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  DNAME: 39,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

/** Codes of extended errors (RFC 8914) that we tell. */
export const extendedErrors = {
  other: 0,
  staleAnswer: 3,
  notReady: 14,
  notAuthoritative: 20,
  noReachableAuthority: 22,
} as const;

export const classIn = 1;
export const headerBytes = 12;
/** Bounds of RFC 1035, section 2.3.4, and of the length field before a message on TCP. */
export const wireLimits = {
  nameBytesMax: 255,
  labelBytesMax: 63,
  messageBytesMax: 65_535,
  /** What every UDP client takes. */
  udpBytesDefault: 512,
  /** The most that we send or ask for on UDP, so that no answer is fragmented (dnsflagday.net/2020). */
  udpBytesMax: 1232,
  /** Jumps that one compressed name may make; a name has at most 127 labels. */
  pointersMax: 127,
} as const;

/** Bits of the second 16-bit word of the header. */
export const flags = {
  response: 0x8000,
  opcodeMask: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
  rcodeMask: 0x000f,
} as const;

/** A message that breaks the format. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

export type Edns = {
  /** The largest UDP answer that the sender takes, bytes. */
  readonly udpBytes: number;
  readonly version: number;
  /** DO: the sender wants DNSSEC records. */
  readonly dnssecOk: boolean;
};

/** The data of a record. Names are text as `readName` gives it. */
export type RecordData =
  | { readonly type: 'A' | 'AAAA'; readonly address: Uint8Array }
  | { readonly type: 'NS' | 'CNAME' | 'PTR' | 'DNAME'; readonly target: string }
  | { readonly type: 'MX'; readonly preference: number; readonly exchange: string }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | {
      readonly type: 'SOA';
      readonly primary: string;
      readonly mailbox: string;
      readonly serial: number;
      readonly refreshSeconds: number;
      readonly retrySeconds: number;
      readonly expireSeconds: number;
      /** How long the absence of a name may be remembered (RFC 2308). */
      readonly minimumSeconds: number;
    }
  | { readonly type: 'TXT'; readonly texts: readonly Uint8Array[] }
  | { readonly type: 'other'; readonly code: number; readonly data: Uint8Array };

/** A record of class IN. */
export type ResourceRecord = {
  readonly name: string;
  readonly ttlSeconds: number;
  readonly data: RecordData;
};

export function typeCode(data: RecordData): number {
  return data.type === 'other' ? data.code : rrTypes[data.type];
}

type NameAt = { readonly name: string; readonly end: number };

/**
 * Reads a possibly compressed name: labels joined by dots without a final one, the root is ''. A dot or backslash inside a
 * label is written with a backslash before it, a byte that is no printable ASCII as \DDD. `end` is behind the name's own
 * bytes. Throws WireError on loops and overruns.
 */
export function readName(message: Uint8Array, offset: number): NameAt {
  let name = '';
  let bytes = 1;
  let at = offset;
  let end = -1;
  for (let jumps = 0; ; ) {
    const length = message[at];
    if (length === undefined) throw new WireError(`name at byte ${offset} is cut off`);
    if (length === 0) return { name, end: end === -1 ? at + 1 : end };
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) throw new WireError(`name at byte ${offset} is cut off`);
      if (end === -1) end = at + 2;
      const target = ((length & 0x3f) << 8) | low;
      jumps += 1;
      // A pointer only goes back, to a name that stands before it (RFC 1035, 4.1.4).
      if (target >= at || jumps > wireLimits.pointersMax) throw new WireError(`name at byte ${offset} loops`);
      at = target;
      continue;
    }
    if (length > wireLimits.labelBytesMax) throw new WireError(`label at byte ${at} has an unknown form`);
    bytes += length + 1;
    if (bytes > wireLimits.nameBytesMax) throw new WireError(`name at byte ${offset} is too long`);
    const stop = at + 1 + length;
    if (stop > message.length) throw new WireError(`name at byte ${offset} is cut off`);
    if (name !== '') name += '.';
    for (let index = at + 1; index < stop; index++) name += characterText[message[index] ?? 0] ?? '';
    at = stop;
  }
}

/** How each byte of a label is written. */
const characterText: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  if (character === '.' || character === '\\') return `\\${character}`;
  return byte > 0x20 && byte < 0x7f ? character : `\\${String(byte).padStart(3, '0')}`;
});

/** The labels of a name's text as bytes. Throws WireError for text that is no name. */
export function labelsOf(name: string): readonly Uint8Array[] {
  if (name === '') return [];
  const labels: Uint8Array[] = [];
  let current: number[] = [];
  for (let index = 0; index <= name.length; index++) {
    const character = name[index];
    if (character === undefined || character === '.') {
      if (current.length === 0 || current.length > wireLimits.labelBytesMax) {
        throw new WireError(`"${name}" has a label of ${current.length} bytes; 1 to 63 are allowed`);
      }
      labels.push(Uint8Array.from(current));
      current = [];
    } else if (character === '\\') {
      const decimal = /^\d{3}/.exec(name.slice(index + 1, index + 4))?.[0];
      current.push(decimal === undefined ? name.charCodeAt(index + 1) & 0xff : Number(decimal) & 0xff);
      index += decimal === undefined ? 1 : 3;
    } else {
      current.push(name.charCodeAt(index) & 0xff);
    }
  }
  const bytes = labels.reduce((sum, label) => sum + label.length + 1, 1);
  if (bytes > wireLimits.nameBytesMax) throw new WireError(`"${name}" is longer than 255 bytes`);
  return labels;
}

export type Question = {
  /** In lower case: names are compared without case (RFC 4343). */
  readonly name: string;
  readonly type: number;
  readonly class: number;
};

export type Query = {
  readonly id: number;
  readonly flags: number;
  readonly question: Question;
  /** The question as it came, to be sent back with its case as it is: clients use it against forged answers. */
  readonly questionBytes: Uint8Array;
  readonly edns: Edns | undefined;
};

/** What came in: a query, one to be refused with `rcode`, or something that gets no answer at all. */
export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'bad'; readonly id: number; readonly flags: number; readonly rcode: number }
  | { readonly kind: 'ignore' };

/** Never throws. Answers and fragments of headers are ignored, so that two servers never talk to each other for ever. */
export function parseQuery(message: Buffer): ParsedQuery {
  if (message.length < headerBytes) return { kind: 'ignore' };
  const id = message.readUInt16BE(0);
  const word = message.readUInt16BE(2);
  if ((word & flags.response) !== 0) return { kind: 'ignore' };
  if ((word & flags.opcodeMask) !== 0) return { kind: 'bad', id, flags: word, rcode: rcodes.NOTIMP };
  if (message.readUInt16BE(4) !== 1) return { kind: 'bad', id, flags: word, rcode: rcodes.FORMERR };
  try {
    const { name, end } = readName(message, headerBytes);
    if (end + 4 > message.length) throw new WireError('question is cut off');
    const question = {
      name: name.toLowerCase(),
      type: message.readUInt16BE(end),
      class: message.readUInt16BE(end + 2),
    };
    const questionBytes = message.subarray(headerBytes, end + 4);
    return {
      kind: 'query',
      query: { id, flags: word, question, questionBytes, edns: findEdns(message, end + 4) },
    };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { kind: 'bad', id, flags: word, rcode: rcodes.FORMERR };
  }
}

function findEdns(message: Buffer, start: number): Edns | undefined {
  const others = message.readUInt16BE(6) + message.readUInt16BE(8);
  const additionals = message.readUInt16BE(10);
  let at = start;
  let found: Edns | undefined;
  for (let index = 0; index < others + additionals; index++) {
    const record = readRecordHead(message, at);
    at = record.end;
    if (record.type !== rrTypes.OPT || index < others) continue;
    if (found !== undefined) throw new WireError('more than one OPT record');
    found = ednsOf(record);
  }
  return found;
}

type RecordHead = {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly dataAt: number;
  readonly end: number;
};

function readRecordHead(message: Buffer, offset: number): RecordHead {
  const { name, end } = readName(message, offset);
  if (end + 10 > message.length) throw new WireError(`record at byte ${offset} is cut off`);
  const dataAt = end + 10;
  const after = dataAt + message.readUInt16BE(end + 8);
  if (after > message.length) throw new WireError(`record at byte ${offset} is cut off`);
  return {
    name,
    type: message.readUInt16BE(end),
    class: message.readUInt16BE(end + 2),
    ttl: message.readUInt32BE(end + 4),
    dataAt,
    end: after,
  };
}

function ednsOf(record: RecordHead): Edns {
  return {
    udpBytes: Math.max(record.class, wireLimits.udpBytesDefault),
    version: (record.ttl >>> 16) & 0xff,
    dnssecOk: (record.ttl & 0x8000) !== 0,
  };
}

export type Message = {
  readonly id: number;
  readonly flags: number;
  /** With the upper bits from EDNS. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without the OPT record. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns: Edns | undefined;
};

/** Reads a whole message, query or answer. Records of other classes than IN are left out. Throws WireError. */
export function parseMessage(message: Buffer): Message {
  if (message.length < headerBytes) throw new WireError('message has no whole header');
  const questions: Question[] = [];
  let at = headerBytes;
  for (let index = 0; index < message.readUInt16BE(4); index++) {
    const { name, end } = readName(message, at);
    if (end + 4 > message.length) throw new WireError('question is cut off');
    const type = message.readUInt16BE(end);
    questions.push({ name: name.toLowerCase(), type, class: message.readUInt16BE(end + 2) });
    at = end + 4;
  }
  let opt: RecordHead | undefined;
  const section = (count: number): readonly ResourceRecord[] => {
    const records: ResourceRecord[] = [];
    for (let index = 0; index < count; index++) {
      const head = readRecordHead(message, at);
      at = head.end;
      if (head.type === rrTypes.OPT) opt = head;
      else if (head.class === classIn) records.push(readRecord(message, head));
    }
    return records;
  };
  const answers = section(message.readUInt16BE(6));
  const authorities = section(message.readUInt16BE(8));
  const additionals = section(message.readUInt16BE(10));
  const word = message.readUInt16BE(2);
  const upper = opt === undefined ? 0 : (opt.ttl >>> 24) << 4;
  return {
    id: message.readUInt16BE(0),
    flags: word,
    rcode: upper | (word & flags.rcodeMask),
    questions,
    answers,
    authorities,
    additionals,
    edns: opt && ednsOf(opt),
  };
}

function readRecord(message: Buffer, head: RecordHead): ResourceRecord {
  // A TTL with the top bit set counts as zero (RFC 2181, section 8).
  const ttlSeconds = head.ttl > 0x7fffffff ? 0 : head.ttl;
  return { name: head.name, ttlSeconds, data: readData(message, head) };
}

function readData(message: Buffer, { type, dataAt, end }: RecordHead): RecordData {
  const nameAt = (offset: number): string => {
    const read = readName(message, offset);
    if (read.end !== end) throw new WireError(`record data at byte ${dataAt} has a wrong length`);
    return read.name;
  };
  const need = (bytes: number): void => {
    if (end - dataAt < bytes) throw new WireError(`record data at byte ${dataAt} is too short`);
  };
  const raw = new Uint8Array(message.subarray(dataAt, end)); // a copy: records outlive their message
  switch (type) {
    case rrTypes.A:
    case rrTypes.AAAA:
      if (raw.length !== (type === rrTypes.A ? 4 : 16)) {
        throw new WireError(`address at byte ${dataAt} has ${raw.length} bytes`);
      }
      return { type: type === rrTypes.A ? 'A' : 'AAAA', address: raw };
    case rrTypes.NS:
      return { type: 'NS', target: nameAt(dataAt) };
    case rrTypes.CNAME:
      return { type: 'CNAME', target: nameAt(dataAt) };
    case rrTypes.PTR:
      return { type: 'PTR', target: nameAt(dataAt) };
    case rrTypes.DNAME:
      return { type: 'DNAME', target: nameAt(dataAt) };
    case rrTypes.MX:
      need(3);
      return { type: 'MX', preference: message.readUInt16BE(dataAt), exchange: nameAt(dataAt + 2) };
    case rrTypes.SRV:
      need(7);
      return {
        type: 'SRV',
        priority: message.readUInt16BE(dataAt),
        weight: message.readUInt16BE(dataAt + 2),
        port: message.readUInt16BE(dataAt + 4),
        target: nameAt(dataAt + 6),
      };
    case rrTypes.SOA:
      return readSoa(message, dataAt, end);
    case rrTypes.TXT:
      return { type: 'TXT', texts: readTexts(raw, dataAt) };
    default:
      return { type: 'other', code: type, data: raw };
  }
}

function readSoa(message: Buffer, dataAt: number, end: number): RecordData {
  const primary = readName(message, dataAt);
  const mailbox = readName(message, primary.end);
  const at = mailbox.end;
  if (at + 20 !== end) throw new WireError(`SOA at byte ${dataAt} has a wrong length`);
  return {
    type: 'SOA',
    primary: primary.name,
    mailbox: mailbox.name,
    serial: message.readUInt32BE(at),
    refreshSeconds: message.readUInt32BE(at + 4),
    retrySeconds: message.readUInt32BE(at + 8),
    expireSeconds: message.readUInt32BE(at + 12),
    minimumSeconds: message.readUInt32BE(at + 16),
  };
}

function readTexts(raw: Uint8Array, dataAt: number): readonly Uint8Array[] {
  const texts: Uint8Array[] = [];
  for (let at = 0; at < raw.length; ) {
    const length = raw[at] ?? 0;
    if (at + 1 + length > raw.length) throw new WireError(`TXT at byte ${dataAt} is cut off`);
    texts.push(raw.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
  return texts;
}
