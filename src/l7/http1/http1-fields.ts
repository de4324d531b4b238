import { CHAR_TOKEN, CHAR_VALUE, COLON, CR, charClass, LF, SPACE, TAB } from './http1-chars.ts';

/** Fields that the proxy acts on; every other one is passed on unread. */
export const FIELD_OTHER = 0;
export const FIELD_HOST = 1;
export const FIELD_CONTENT_LENGTH = 2;
export const FIELD_TRANSFER_ENCODING = 3;
export const FIELD_CONNECTION = 4;
/** Keep-Alive, Proxy-Connection, TE: always for one hop only. HTTP2-Settings and Proxy are dropped with them. */
export const FIELD_HOP_BY_HOP = 5;
export const FIELD_UPGRADE = 6;
export const FIELD_EXPECT = 7;
/** X-Forwarded-For. */
export const FIELD_FORWARDED_FOR = 8;
/** X-Forwarded-Proto. */
export const FIELD_FORWARDED_PROTO = 9;
/** X-Forwarded-Host. */
export const FIELD_FORWARDED_HOST = 10;
/** X-Forwarded-Port. */
export const FIELD_FORWARDED_PORT = 11;
/** X-Real-IP. */
export const FIELD_REAL_IP = 12;
/** Any other X-Forwarded-…, such as -Prefix or -Server: believed from trusted proxies only. */
export const FIELD_FORWARDED_OTHER = 13;
/** Forwarded (RFC 7239). */
export const FIELD_FORWARDED = 14;
export const FIELD_DATE = 15;

/**
 * The field lines of one parsed head, as offsets from the head's first byte. Filled by `scanFields` and reused by the
 * next head, so it is valid only until then.
 */
export class FieldLines {
  count = 0;
  readonly fields: Uint8Array;
  readonly lineStarts: Int32Array;
  readonly nameEnds: Int32Array;
  readonly valueStarts: Int32Array;
  readonly valueEnds: Int32Array;
  /** Offset just behind the last field line. */
  linesEnd = 0;

  constructor(countMax: number) {
    this.fields = new Uint8Array(countMax);
    this.lineStarts = new Int32Array(countMax);
    this.nameEnds = new Int32Array(countMax);
    this.valueStarts = new Int32Array(countMax);
    this.valueEnds = new Int32Array(countMax);
  }

  get countMax(): number {
    return this.fields.length;
  }
}

export type FieldsFailure = 'malformed' | 'too-many';

/**
 * Reads field lines from `position` up to the empty line that ends at `end`. The bytes before `end` must be CRLF CRLF.
 * Refuses folded lines, a space before the colon, bare CR or LF, NUL and other control bytes (RFC 9112 §2.2, §5).
 */
export function scanFields(
  data: Buffer,
  headStart: number,
  position: number,
  end: number,
  lines: FieldLines,
): FieldsFailure | undefined {
  const countMax = lines.countMax;
  let count = 0;
  let at = position;
  for (;;) {
    if (data[at] === CR) {
      if (data[at + 1] !== LF || at + 2 !== end) return 'malformed';
      break;
    }
    if (count === countMax) return 'too-many';
    const nameStart = at;
    while ((charClass[data[at]!]! & CHAR_TOKEN) !== 0) at += 1;
    if (at === nameStart || data[at] !== COLON) return 'malformed';
    const nameEnd = at;
    at += 1;
    while (data[at] === SPACE || data[at] === TAB) at += 1;
    const valueStart = at;
    while ((charClass[data[at]!]! & CHAR_VALUE) !== 0) at += 1;
    if (data[at] !== CR || data[at + 1] !== LF) return 'malformed';
    let valueEnd = at;
    while (valueEnd > valueStart && (data[valueEnd - 1] === SPACE || data[valueEnd - 1] === TAB))
      valueEnd -= 1;
    at += 2;
    lines.fields[count] = fieldOf(data, nameStart, nameEnd - nameStart);
    lines.lineStarts[count] = nameStart - headStart;
    lines.nameEnds[count] = nameEnd - headStart;
    lines.valueStarts[count] = valueStart - headStart;
    lines.valueEnds[count] = valueEnd - headStart;
    count += 1;
  }
  lines.count = count;
  lines.linesEnd = at - headStart;
  return undefined;
}

/** Which field a name is, ignoring case. `_` counts as `-` in the X-Forwarded family: many servers fold the two. */
export function fieldOf(data: Buffer, start: number, length: number): number {
  switch (length) {
    case 2:
      return isName(data, start, 'te') ? FIELD_HOP_BY_HOP : FIELD_OTHER;
    case 4:
      if (isName(data, start, 'host')) return FIELD_HOST;
      return isName(data, start, 'date') ? FIELD_DATE : FIELD_OTHER;
    case 5:
      return isName(data, start, 'proxy') ? FIELD_HOP_BY_HOP : FIELD_OTHER;
    case 6:
      return isName(data, start, 'expect') ? FIELD_EXPECT : FIELD_OTHER;
    case 7:
      return isName(data, start, 'upgrade') ? FIELD_UPGRADE : FIELD_OTHER;
    case 9:
      if (isName(data, start, 'forwarded')) return FIELD_FORWARDED;
      return isName(data, start, 'x-real-ip') ? FIELD_REAL_IP : FIELD_OTHER;
    case 10:
      if (isName(data, start, 'connection')) return FIELD_CONNECTION;
      return isName(data, start, 'keep-alive') ? FIELD_HOP_BY_HOP : FIELD_OTHER;
    case 14:
      if (isName(data, start, 'content-length')) return FIELD_CONTENT_LENGTH;
      if (isName(data, start, 'http2-settings')) return FIELD_HOP_BY_HOP;
      break;
    case 15:
      if (isName(data, start, 'x-forwarded-for')) return FIELD_FORWARDED_FOR;
      break;
    case 16:
      if (isName(data, start, 'proxy-connection')) return FIELD_HOP_BY_HOP;
      if (isName(data, start, 'x-forwarded-host')) return FIELD_FORWARDED_HOST;
      if (isName(data, start, 'x-forwarded-port')) return FIELD_FORWARDED_PORT;
      break;
    case 17:
      if (isName(data, start, 'transfer-encoding')) return FIELD_TRANSFER_ENCODING;
      if (isName(data, start, 'x-forwarded-proto')) return FIELD_FORWARDED_PROTO;
      break;
    default:
      break;
  }
  return length > 12 && isName(data, start, 'x-forwarded-') ? FIELD_FORWARDED_OTHER : FIELD_OTHER;
}

const UNDERSCORE = 0x5f;
const DASH = 0x2d;

function isName(data: Buffer, start: number, lower: string): boolean {
  for (let i = 0; i < lower.length; i += 1) {
    let byte = data[start + i]!;
    if (byte >= 0x41 && byte <= 0x5a) byte += 0x20;
    else if (byte === UNDERSCORE && lower.charCodeAt(0) === 0x78) byte = DASH;
    if (byte !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * Whether a comma-separated list holds `token` (lower case), ignoring case and space around elements. Parameters are
 * not looked into.
 */
export function listHasToken(list: string, token: string): boolean {
  const length = list.length;
  let at = 0;
  while (at < length) {
    let comma = list.indexOf(',', at);
    if (comma === -1) comma = length;
    const element = list.slice(at, comma).trim();
    if (element.length === token.length && element.toLowerCase() === token) return true;
    at = comma + 1;
  }
  return false;
}
