import { randomBytes } from 'node:crypto';
import { reasonPhrase } from '../proxy/answers.ts';
import type { HeaderList } from './hpack-decode.ts';
import type { HeaderField } from './hpack-table.ts';
import { CHAR_TARGET, CHAR_TOKEN, CHAR_VALUE, charClass } from '../http1/http1-chars.ts';
import {
  FIELD_CONNECTION,
  FIELD_CONTENT_LENGTH,
  FIELD_EXPECT,
  FIELD_HOP_BY_HOP,
  FIELD_HOST,
  FIELD_OTHER,
  FIELD_TRANSFER_ENCODING,
  FIELD_UPGRADE,
  type FieldLines,
  fieldOf,
} from '../http1/http1-fields.ts';
import {
  parseLength,
  type ParseFailure,
  type RequestHead,
  type ResponseHead,
  requestFrom,
} from '../http1/http1-parse.ts';

/**
 * Heads of HTTP/2 become heads in the text form of HTTP/1.1, which routing, policies and both kinds of backends work on.
 * All that could mean something else in that form is refused here (RFC 9113 §8.2, §10.3).
 */

/** The head or trailers break the rules of HTTP/2: the stream ends with PROTOCOL_ERROR. */
export type Malformed = { readonly kind: 'malformed'; readonly reason: string };

// What `HeaderField.memo` holds once a field was looked at.
const BAD = 1;
const METHOD = 2;
const SCHEME = 3;
const AUTHORITY = 4;
const PATH = 5;
const PROTOCOL = 6;
const STATUS = 7;
const TE = 8;
const COOKIE = 9;
const GRPC_CONTENT = 10;
const GRPC_TIMEOUT = 11;
/** Plus FIELD_…: an ordinary field. */
const REGULAR = 16;

const pseudoFields: ReadonlyMap<string, number> = new Map([
  [':method', METHOD],
  [':scheme', SCHEME],
  [':authority', AUTHORITY],
  [':path', PATH],
  [':protocol', PROTOCOL],
  [':status', STATUS],
]);

const nameBytesMax = 256;
const nameScratch = Buffer.alloc(nameBytesMax);

/** Fields that are in a table are looked at once in their life. */
function kindOf(field: HeaderField): number {
  if (field.memo === 0) field.memo = classify(field);
  return field.memo;
}

function classify({ name, value }: HeaderField): number {
  if (!isValue(value)) return BAD;
  if (name.charCodeAt(0) === 0x3a) return pseudoFields.get(name) ?? BAD;
  if (name === '' || name.length > nameBytesMax) return BAD;
  for (let i = 0; i < name.length; i += 1) {
    const code = name.charCodeAt(i);
    if ((charClass[code]! & CHAR_TOKEN) === 0 || (code >= 0x41 && code <= 0x5a)) return BAD;
  }
  nameScratch.write(name, 0, 'latin1');
  const id = fieldOf(nameScratch, 0, name.length);
  if (id === FIELD_CONNECTION || id === FIELD_TRANSFER_ENCODING || id === FIELD_UPGRADE) return BAD;
  if (id === FIELD_HOP_BY_HOP) {
    if (name === 'te') return value.toLowerCase() === 'trailers' ? TE : BAD;
    if (name === 'keep-alive' || name === 'proxy-connection') return BAD; // RFC 9113 §8.2.2
  }
  if (name === 'cookie') return COOKIE;
  if (name === 'grpc-timeout') return GRPC_TIMEOUT;
  return name === 'content-type' && /^application\/grpc($|[+;])/i.test(value) ? GRPC_CONTENT : REGULAR + id;
}

/** No CR, LF, NUL or other control byte, no space at either end (RFC 9113 §8.2.1). */
function isValue(value: string): boolean {
  const last = value.length - 1;
  if (last === -1) return true;
  if (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(last))) return false;
  for (let i = 0; i <= last; i += 1) {
    if ((charClass[value.charCodeAt(i)]! & CHAR_VALUE) === 0) return false;
  }
  return true;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function malformed(reason: string): Malformed {
  return { kind: 'malformed', reason };
}

/** The text of a head as it grows, with its lines noted for those who read them by FieldLines. */
class HeadText {
  text: string;
  readonly #lines: FieldLines;
  /** More fields came than FieldLines can hold. */
  full = false;

  constructor(startLine: string, lines: FieldLines) {
    this.text = startLine;
    this.#lines = lines;
    lines.count = 0;
  }

  add(name: string, value: string, field: number): void {
    const lines = this.#lines;
    const { count } = lines;
    if (count === lines.countMax) {
      this.full = true;
      return;
    }
    const start = this.text.length;
    lines.fields[count] = field;
    lines.lineStarts[count] = start;
    lines.nameEnds[count] = start + name.length;
    lines.valueStarts[count] = start + name.length + 2;
    lines.valueEnds[count] = start + name.length + 2 + value.length;
    lines.count = count + 1;
    this.text += `${name}: ${value}\r\n`;
  }

  end(): string {
    this.#lines.linesEnd = this.text.length;
    return `${this.text}\r\n`;
  }
}

type Pseudo = {
  method: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
  path: string | undefined;
  protocol: string | undefined;
};

/**
 * The request head that `fields` say, as if it had come by HTTP/1.1; `lines` is filled. A body whose length is not told is
 * shown as chunked. Extended CONNECT for WebSocket (RFC 8441) becomes GET with Upgrade.
 * @param ended no body follows
 */
export function requestOf(
  fields: HeaderList,
  ended: boolean,
  lines: FieldLines,
): RequestHead | ParseFailure | Malformed {
  const pseudo: Pseudo = {
    method: undefined,
    scheme: undefined,
    authority: undefined,
    path: undefined,
    protocol: undefined,
  };
  const first = readPseudo(fields, pseudo);
  if (typeof first !== 'number') return first;
  if (fields.tooLarge) return failure(431, 'the request head is too large'); // what is missing may be among the rest
  const { method, path, scheme, protocol } = pseudo;
  const problem = checkPseudo(pseudo);
  if (problem !== undefined) return malformed(problem);
  if (method === undefined || path === undefined || scheme === undefined) {
    return failure(405, 'CONNECT is not served');
  }
  const isUpgrade = protocol !== undefined;
  if (isUpgrade && protocol.toLowerCase() !== 'websocket') {
    return failure(501, 'of extended CONNECT only the protocol websocket is known');
  }
  return readFields(fields, first, pseudo, ended, lines);
}

function failure(status: ParseFailure['status'], reason: string): ParseFailure {
  return { kind: 'failure', status, reason };
}

/** Returns the index of the first field that is none. */
function readPseudo({ fields, count }: HeaderList, pseudo: Pseudo): number | Malformed {
  let at = 0;
  for (; at < count; at += 1) {
    const { value } = fields[at]!;
    switch (kindOf(fields[at]!)) {
      case METHOD:
        if (pseudo.method !== undefined) return malformed('two :method fields');
        pseudo.method = value;
        break;
      case SCHEME:
        if (pseudo.scheme !== undefined) return malformed('two :scheme fields');
        pseudo.scheme = value;
        break;
      case AUTHORITY:
        if (pseudo.authority !== undefined) return malformed('two :authority fields');
        pseudo.authority = value;
        break;
      case PATH:
        if (pseudo.path !== undefined) return malformed('two :path fields');
        pseudo.path = value;
        break;
      case PROTOCOL:
        if (pseudo.protocol !== undefined) return malformed('two :protocol fields');
        pseudo.protocol = value;
        break;
      case STATUS:
      case BAD:
        return malformed('a field that a request cannot have');
      default:
        return at;
    }
  }
  return at;
}

/** RFC 9113 §8.3.1, §8.5; RFC 8441 §4. */
function checkPseudo({ method, scheme, authority, path, protocol }: Pseudo): string | undefined {
  if (method === undefined || !isMethod(method)) return 'no :method';
  if (method === 'CONNECT' && protocol === undefined) {
    if (scheme !== undefined || path !== undefined || authority === undefined) return 'CONNECT with a path';
    return undefined;
  }
  if (protocol !== undefined && method !== 'CONNECT') return ':protocol without CONNECT';
  if (scheme !== 'http' && scheme !== 'https') return 'no :scheme that is known';
  if (path === undefined || !isPath(path, method)) return 'no :path';
  if (authority?.includes('@') === true) return ':authority with user information';
  return undefined;
}

function isMethod(method: string): boolean {
  if (method.length === 0 || method.length > 32) return false;
  for (let i = 0; i < method.length; i += 1) {
    if ((charClass[method.charCodeAt(i)]! & CHAR_TOKEN) === 0) return false;
  }
  return true;
}

function isPath(path: string, method: string): boolean {
  if (path === '*') return method === 'OPTIONS';
  if (path.charCodeAt(0) !== 0x2f) return false;
  for (let i = 1; i < path.length; i += 1) {
    const code = path.charCodeAt(i);
    if ((charClass[code]! & CHAR_TARGET) === 0 || code === 0x23 /* # */) return false;
  }
  return true;
}

type Told = {
  host: string | undefined;
  hosts: number;
  contentLength: number; // -1: none; -2: invalid
  expect: string | undefined;
  cookie: string | undefined;
  trailersWanted: boolean;
  neverIndexed: Set<string> | undefined;
  grpc: boolean;
  grpcTimeout: string;
};

function readFields(
  list: HeaderList,
  first: number,
  pseudo: Pseudo,
  ended: boolean,
  lines: FieldLines,
): RequestHead | ParseFailure | Malformed {
  const isUpgrade = pseudo.protocol !== undefined;
  const method = isUpgrade ? 'GET' : pseudo.method!;
  const path = pseudo.path!;
  const told = emptyTold();
  const authority = pseudo.authority ?? hostField(list, first);
  const head = new HeadText(`${method} ${path} HTTP/1.1\r\n`, lines);
  if (authority !== undefined) head.add('Host', authority, FIELD_HOST);
  for (let i = first; i < list.count; i += 1) {
    const field = list.fields[i]!;
    const kind = kindOf(field);
    if (kind < TE) return malformed('a field that a request cannot have there');
    if (field.neverIndexed) (told.neverIndexed ??= new Set()).add(field.name);
    remember(told, field, kind);
    if (kind >= REGULAR && kind !== REGULAR + FIELD_HOST) head.add(field.name, field.value, kind - REGULAR);
    else if (kind >= GRPC_CONTENT && kind < REGULAR) head.add(field.name, field.value, FIELD_OTHER);
  }
  if (told.hosts > 1) return malformed('two host fields');
  if (told.host !== undefined && told.host.toLowerCase() !== authority?.toLowerCase()) {
    return malformed('host differs from :authority'); // RFC 9113 §8.3.1
  }
  if (told.cookie !== undefined) head.add('cookie', told.cookie, FIELD_OTHER);
  addFraming(head, method, ended || isUpgrade, isUpgrade, told.contentLength);
  if (head.full) return failure(431, `more than ${lines.countMax} header fields`);
  const chunked = !ended && !isUpgrade && told.contentLength === -1;
  return requestFrom(
    head.end(),
    method,
    path,
    1,
    {
      host: authority,
      hostCount: authority === undefined ? 0 : 1,
      contentLength: told.contentLength,
      transferEncoding: chunked ? 'chunked' : undefined,
      connection: isUpgrade ? 'Upgrade' : '',
      upgrade: isUpgrade ? 'websocket' : undefined,
      expect: told.expect,
    },
    {
      trailersWanted: told.trailersWanted,
      neverIndexed: told.neverIndexed,
      grpc: told.grpc ? { timeoutMs: grpcTimeoutMs(told.grpcTimeout) } : undefined,
    },
  );
}

function emptyTold(): Told {
  return {
    host: undefined,
    hosts: 0,
    contentLength: -1,
    expect: undefined,
    cookie: undefined,
    trailersWanted: false,
    neverIndexed: undefined,
    grpc: false,
    grpcTimeout: '',
  };
}

const grpcUnitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** "100m": at most 8 digits and a unit (gRPC over HTTP/2, "Requests"). Anything else tells no deadline. */
function grpcTimeoutMs(text: string): number | undefined {
  const [, digits, unit] = /^([0-9]{1,8})([HMSmun])$/.exec(text) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * grpcUnitsMs[unit]!;
}

function remember(told: Told, { value }: HeaderField, kind: number): void {
  switch (kind) {
    case REGULAR + FIELD_HOST:
      told.host = value;
      told.hosts += 1;
      break;
    case REGULAR + FIELD_CONTENT_LENGTH:
      told.contentLength = told.contentLength === -1 ? parseLength(value) : -2;
      break;
    case REGULAR + FIELD_EXPECT:
      told.expect = value;
      break;
    case TE:
      told.trailersWanted = true;
      break;
    case GRPC_CONTENT:
      told.grpc = true;
      break;
    case GRPC_TIMEOUT:
      told.grpcTimeout = value;
      break;
    case COOKIE:
      // Browsers send a field for each cookie; whoever speaks HTTP/1.1 knows but one (RFC 9113 §8.2.3).
      told.cookie = told.cookie === undefined ? value : `${told.cookie}; ${value}`;
      break;
    default:
      break;
  }
}

function hostField(list: HeaderList, first: number): string | undefined {
  for (let i = first; i < list.count; i += 1) {
    if (kindOf(list.fields[i]!) === REGULAR + FIELD_HOST) return list.fields[i]!.value;
  }
  return undefined;
}

function addFraming(
  head: HeadText,
  method: string,
  bodiless: boolean,
  isUpgrade: boolean,
  contentLength: number,
): void {
  if (isUpgrade) {
    head.add('Upgrade', 'websocket', FIELD_UPGRADE);
    // WebSocket over HTTP/2 needs no key (RFC 8441 §5); the backend asks for one.
    head.add('Sec-WebSocket-Key', randomBytes(16).toString('base64'), FIELD_OTHER);
  } else if (contentLength === -1 && !bodiless) {
    head.add('Transfer-Encoding', 'chunked', FIELD_TRANSFER_ENCODING);
  } else if (contentLength === -1 && (method === 'POST' || method === 'PUT' || method === 'PATCH')) {
    head.add('Content-Length', '0', FIELD_CONTENT_LENGTH); // RFC 9110 §8.6
  }
}

/**
 * The head of an answer, as if it had come by HTTP/1.1; `lines` is filled. A body whose length is not told is shown as
 * chunked, or for an HTTP/1.0 client as one that ends with its connection.
 * @param ended no body follows
 * @param accept given: the request asked for a WebSocket, and its being accepted is shown as 101, with that answer to its key
 */
export function responseOf(
  list: HeaderList,
  ended: boolean,
  request: { readonly method: string; readonly minorVersion: 0 | 1 },
  lines: FieldLines,
  accept?: string,
): ResponseHead | Malformed {
  const first = list.fields[0];
  if (first === undefined || kindOf(first) !== STATUS) return malformed('no :status');
  if (list.tooLarge) return malformed('too many or too large fields');
  const status = /^[1-9][0-9]{2}$/.test(first.value) ? Number(first.value) : 0;
  if (status < 100 || status === 101) return malformed('a :status that there is not in HTTP/2');
  const isTunnel = accept !== undefined && status >= 200 && status < 300;
  const head = isTunnel
    ? new HeadText('HTTP/1.1 101 Switching Protocols\r\n', lines)
    : new HeadText(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`, lines);
  let contentLength = -1;
  for (let i = 1; i < list.count; i += 1) {
    const field = list.fields[i]!;
    const kind = kindOf(field);
    if (kind < TE) return malformed('a field that an answer cannot have there');
    if (kind === REGULAR + FIELD_CONTENT_LENGTH) {
      contentLength = contentLength === -1 ? parseLength(field.value) : -2;
      if (contentLength === -2) return malformed('malformed content-length');
    }
    const framing = kind === TE || (isTunnel && kind === REGULAR + FIELD_CONTENT_LENGTH);
    if (!framing) head.add(field.name, field.value, kind >= REGULAR ? kind - REGULAR : FIELD_OTHER);
  }
  if (isTunnel) return tunnelHead(head, accept);
  const bodiless = request.method === 'HEAD' || status < 200 || status === 204 || status === 304;
  let body: ResponseHead['body'] = 'none';
  if (!bodiless && ended && contentLength > 0) return malformed('less data than content-length');
  if (!bodiless && ended && contentLength === -1) head.add('content-length', '0', FIELD_CONTENT_LENGTH);
  if (!bodiless && !ended) {
    body = contentLength > 0 ? 'length' : contentLength === 0 ? 'none' : 'chunked';
    if (body === 'chunked' && request.minorVersion === 0) body = 'close';
    if (body === 'chunked') head.add('transfer-encoding', 'chunked', FIELD_TRANSFER_ENCODING);
  }
  if (head.full) return malformed('too many fields');
  return {
    kind: 'response',
    text: head.end(),
    status,
    minorVersion: 1,
    body,
    contentLength: body === 'length' ? contentLength : 0,
    keepAlive: body !== 'close',
    upgrade: undefined,
    connectionTokens: '',
  };
}

function tunnelHead(head: HeadText, accept: string): ResponseHead | Malformed {
  head.add('Upgrade', 'websocket', FIELD_UPGRADE);
  if (accept !== '') head.add('Sec-WebSocket-Accept', accept, FIELD_OTHER);
  if (head.full) return malformed('too many fields');
  return {
    kind: 'response',
    text: head.end(),
    status: 101,
    minorVersion: 1,
    body: 'none',
    contentLength: 0,
    keepAlive: true,
    upgrade: 'websocket',
    connectionTokens: 'Upgrade',
  };
}

/** Trailers as lines with CRLF. Fields that frame a message must not be among them (RFC 9110 §6.5.1). */
export function trailersOf(list: HeaderList): string | Malformed {
  if (list.tooLarge) return malformed('too many or too large trailers');
  let text = '';
  for (let i = 0; i < list.count; i += 1) {
    const field = list.fields[i]!;
    const kind = kindOf(field);
    if (kind < COOKIE || kind === REGULAR + FIELD_HOST || kind === REGULAR + FIELD_CONTENT_LENGTH) {
      return malformed('a field that trailers cannot have');
    }
    text += `${field.name}: ${field.value}\r\n`;
  }
  return text;
}
