import { CHAR_HOST, CHAR_TARGET, CHAR_TOKEN, CR, charClass, LF, SPACE } from './http1-chars.ts';
import {
  FIELD_CONNECTION,
  FIELD_CONTENT_LENGTH,
  FIELD_EXPECT,
  FIELD_HOST,
  FIELD_TRANSFER_ENCODING,
  FIELD_UPGRADE,
  type FieldLines,
  listHasToken,
  scanFields,
} from './http1-fields.ts';

/** How a message's body ends. `close`: with the connection; responses only. */
export type BodyKind = 'none' | 'length' | 'chunked' | 'close';

/** A head that must not be passed on; `status` is what a client is told. */
export type ParseFailure = {
  readonly kind: 'failure';
  readonly status: 400 | 405 | 413 | 417 | 431 | 501 | 505;
  readonly reason: string;
};

export type RequestHead = {
  readonly kind: 'request';
  /** The whole head as Latin-1, to the empty line. */
  readonly text: string;
  readonly method: string;
  /** What goes behind the method upstream: origin-form, or `*`. */
  readonly target: string;
  /** `target` without its query. */
  readonly path: string;
  /** The target was in absolute-form, so the Host field must be replaced by `authority` (RFC 9112 §3.2.2). */
  readonly absolute: boolean;
  /** Host with its port, as the client wrote it; '' only for HTTP/1.0 without Host. */
  readonly authority: string;
  /** Lower case, without port and without a trailing dot: the key of the route table. */
  readonly host: string;
  readonly minorVersion: 0 | 1;
  readonly body: 'none' | 'length' | 'chunked';
  /** Bytes; 0 unless `body` is `length`. */
  readonly contentLength: number;
  /** The client wants to use the connection again. */
  readonly keepAlive: boolean;
  readonly expectContinue: boolean;
  /** The protocol asked for by Upgrade, as written, if the request may be upgraded. */
  readonly upgrade: string | undefined;
  /** All Connection values joined by commas; they name fields that end here. */
  readonly connectionTokens: string;
  /** undefined: it came by HTTP/1. */
  readonly http2: Http2Facts | undefined;
};

/** What the text form of a request cannot say. */
export type Http2Facts = {
  /** `te: trailers`: gRPC insists on it. */
  readonly trailersWanted: boolean;
  /** Names of fields that must never be put into a table of HPACK; undefined: none. */
  readonly neverIndexed: ReadonlySet<string> | undefined;
  /** It is a gRPC call, whose client waits for so long; undefined: for ever. */
  readonly grpc: { readonly timeoutMs: number | undefined } | undefined;
};

export type ResponseHead = {
  readonly kind: 'response';
  readonly text: string;
  readonly status: number;
  readonly minorVersion: 0 | 1;
  readonly body: BodyKind;
  readonly contentLength: number;
  readonly keepAlive: boolean;
  /** The protocol named by Upgrade: set with status 101. */
  readonly upgrade: string | undefined;
  readonly connectionTokens: string;
};

function fail(status: ParseFailure['status'], reason: string): ParseFailure {
  return { kind: 'failure', status, reason };
}

/** Index just behind the empty line that ends a head, or -1. `from` may skip what an earlier call has searched. */
export function findHeadEnd(data: Buffer, from: number, end: number): number {
  let at = from + 3; // of the four bytes CR LF CR LF this could be the last one
  while (at < end) {
    const byte = data[at]!;
    if (byte === LF) {
      if (data[at - 1] === CR && data[at - 2] === LF && data[at - 3] === CR) return at + 1;
      at += 2; // it could be the second one
    } else at += byte === CR ? 1 : 4;
  }
  return -1;
}

/**
 * What is already wrong in a head that has not ended: a client that ends lines with a bare LF would else only time out. The head begins at
 * `start`; `from` may skip what an earlier call has seen.
 */
export function checkPartialHead(
  data: Buffer,
  start: number,
  from: number,
  end: number,
): ParseFailure | undefined {
  for (let i = from; i < end; i += 1) {
    const byte = data[i]!;
    if (byte === 0) return fail(400, 'NUL in the head');
    if (byte === LF && (i === start || data[i - 1] !== CR)) return fail(400, 'line ended by a bare LF');
  }
  return undefined;
}

/** What the framing fields of a head say, gathered in one walk over its lines. */
export type HeadFacts = {
  host: string | undefined;
  hostCount: number;
  contentLength: number; // -1: none, -2: invalid
  transferEncoding: string | undefined;
  connection: string;
  upgrade: string | undefined;
  expect: string | undefined;
};

function gather(text: string, lines: FieldLines): HeadFacts {
  const facts: HeadFacts = {
    host: undefined,
    hostCount: 0,
    contentLength: -1,
    transferEncoding: undefined,
    connection: '',
    upgrade: undefined,
    expect: undefined,
  };
  for (let i = 0; i < lines.count; i += 1) {
    const field = lines.fields[i]!;
    if (field === 0 || field > FIELD_EXPECT) continue;
    const value = text.slice(lines.valueStarts[i], lines.valueEnds[i]);
    if (field === FIELD_HOST) {
      facts.host = value;
      facts.hostCount += 1;
    } else if (field === FIELD_CONTENT_LENGTH) {
      const length = parseLength(value);
      // Two Content-Length fields are refused even when equal: a second reader may join them (RFC 9112 §6.3).
      facts.contentLength = facts.contentLength === -1 ? length : -2;
    } else if (field === FIELD_TRANSFER_ENCODING) {
      facts.transferEncoding =
        facts.transferEncoding === undefined ? value : `${facts.transferEncoding},${value}`;
    } else if (field === FIELD_CONNECTION) {
      facts.connection = facts.connection === '' ? value : `${facts.connection},${value}`;
    } else if (field === FIELD_UPGRADE) {
      facts.upgrade = facts.upgrade === undefined ? value : `${facts.upgrade},${value}`;
    } else if (field === FIELD_EXPECT) {
      facts.expect = value;
    }
  }
  return facts;
}

/** Digits only, at most 15 so that the number is exact; -2 otherwise. */
export function parseLength(value: string): number {
  if (value.length === 0 || value.length > 15) return -2;
  let length = 0;
  for (let i = 0; i < value.length; i += 1) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -2;
    length = length * 10 + digit;
  }
  return length;
}

/** Parses "HTTP/1.x" at `at`: 0 or 1; 2 for another HTTP version; -1 if it is none. */
function versionAt(data: Buffer, at: number): 0 | 1 | 2 | -1 {
  const http = data[at] === 0x48 && data[at + 1] === 0x54 && data[at + 2] === 0x54 && data[at + 3] === 0x50;
  if (!http || data[at + 4] !== 0x2f || data[at + 6] !== 0x2e) return -1;
  const major = data[at + 5]! - 0x30;
  const minor = data[at + 7]! - 0x30;
  if (major < 0 || major > 9 || minor < 0 || minor > 9) return -1;
  if (major !== 1) return 2;
  return minor === 0 ? 0 : 1;
}

/** A later minor version than 1 is passed on as 1, which is what we speak (RFC 9110 §2.5). `at`: of the digit. */
function withOurVersion(text: string, at: number): string {
  return text.charCodeAt(at) <= 0x31 ? text : `${text.slice(0, at)}1${text.slice(at + 1)}`;
}

/**
 * Parses the request head in data[start, end), `end` from `findHeadEnd`. Strict where two readers might disagree
 * (RFC 9112 §11.2): each such head is a failure, never repaired. Fills `lines`.
 */
export function parseRequestHead(
  data: Buffer,
  start: number,
  end: number,
  lines: FieldLines,
): RequestHead | ParseFailure {
  let at = start;
  while ((charClass[data[at]!]! & CHAR_TOKEN) !== 0) at += 1;
  const methodEnd = at;
  if (methodEnd === start || methodEnd - start > 32 || data[at] !== SPACE) {
    return fail(400, 'malformed request line');
  }
  at += 1;
  const targetStart = at;
  while ((charClass[data[at]!]! & CHAR_TARGET) !== 0) at += 1;
  const targetEnd = at;
  if (targetEnd === targetStart || data[at] !== SPACE) return fail(400, 'malformed request target');
  const version = versionAt(data, at + 1);
  if (version === -1 || data[at + 9] !== CR || data[at + 10] !== LF)
    return fail(400, 'malformed HTTP version');
  if (version === 2) return fail(505, 'only HTTP/1.0 and HTTP/1.1 are spoken here');
  const failure = scanFields(data, start, at + 11, end, lines);
  if (failure === 'too-many') return fail(431, `more than ${lines.countMax} header fields`);
  if (failure !== undefined) return fail(400, 'malformed header field');
  const text = withOurVersion(data.toString('latin1', start, end), at + 8 - start);
  const method = text.slice(0, methodEnd - start);
  const target = text.slice(targetStart - start, targetEnd - start);
  return requestFrom(text, method, target, version, gather(text, lines));
}

/** The rules that hold for a request's head in whichever version of HTTP it came. `text`: as HTTP/1 writes it. */
export function requestFrom(
  text: string,
  method: string,
  target: string,
  minorVersion: 0 | 1,
  facts: HeadFacts,
  http2?: Http2Facts,
): RequestHead | ParseFailure {
  if (facts.hostCount > 1) return fail(400, 'more than one Host field');
  if (facts.host === undefined && minorVersion === 1) return fail(400, 'HTTP/1.1 request without Host');
  // TRACE would show a script all that its browser sends with a request.
  if (method === 'CONNECT' || method === 'TRACE') return fail(405, `${method} is not served`);
  const form = targetForm(target, method, facts.host ?? '');
  if (form === undefined) return fail(400, 'malformed request target');
  const host = hostOf(form.authority);
  // The target's authority goes before Host, but who reads Host first must not find something else there (RFC 9112 §3.2).
  const isHostBad = form.absolute && facts.host !== undefined && hostOf(facts.host) === undefined;
  if (host === undefined || isHostBad) return fail(400, 'malformed Host');
  if (facts.contentLength === -2) return fail(400, 'malformed Content-Length');
  let body: RequestHead['body'] = 'none';
  if (facts.transferEncoding !== undefined) {
    if (facts.contentLength !== -1) return fail(400, 'both Content-Length and Transfer-Encoding');
    if (minorVersion === 0) return fail(400, 'Transfer-Encoding in HTTP/1.0');
    if (facts.transferEncoding.toLowerCase() !== 'chunked')
      return fail(501, 'only Transfer-Encoding: chunked is known');
    body = 'chunked';
  } else if (facts.contentLength > 0) {
    body = 'length';
  }
  if (facts.expect !== undefined && facts.expect.toLowerCase() !== '100-continue') {
    return fail(417, 'only Expect: 100-continue is known');
  }
  const query = form.target.indexOf('?');
  return {
    kind: 'request',
    text,
    method,
    target: form.target,
    path: query === -1 ? form.target : form.target.slice(0, query),
    absolute: form.absolute,
    authority: form.authority,
    host,
    minorVersion,
    body,
    contentLength: Math.max(facts.contentLength, 0),
    keepAlive: wantsKeepAlive(minorVersion, facts.connection),
    expectContinue: facts.expect !== undefined && minorVersion === 1,
    upgrade: upgradeOf(minorVersion, body, facts),
    connectionTokens: facts.connection,
    http2,
  };
}

/**
 * The protocol to ask for upstream. h2c is left out: a connection that turns into HTTP/2 behind the proxy carries
 * requests which nobody routed. A request with a body is not upgraded.
 */
function upgradeOf(minorVersion: 0 | 1, body: RequestHead['body'], facts: HeadFacts): string | undefined {
  if (facts.upgrade === undefined || minorVersion === 0 || body !== 'none') return undefined;
  if (!listHasToken(facts.connection, 'upgrade') || facts.upgrade === '') return undefined;
  return facts.upgrade.toLowerCase().includes('h2c') ? undefined : facts.upgrade;
}

function wantsKeepAlive(minorVersion: 0 | 1, connection: string): boolean {
  if (connection === '') return minorVersion === 1;
  if (listHasToken(connection, 'close')) return false;
  return minorVersion === 1 || listHasToken(connection, 'keep-alive');
}

type TargetForm = { readonly target: string; readonly authority: string; readonly absolute: boolean };

/** Origin-form, asterisk-form for OPTIONS, or absolute-form with http or https (RFC 9112 §3.2). */
function targetForm(target: string, method: string, host: string): TargetForm | undefined {
  if (target.charCodeAt(0) === 0x2f) {
    return target.includes('#') ? undefined : { target, authority: host, absolute: false };
  }
  if (target === '*') return method === 'OPTIONS' ? { target, authority: host, absolute: false } : undefined;
  const lower = target.slice(0, 8).toLowerCase();
  const schemeLength = lower.startsWith('http://') ? 7 : lower === 'https://' ? 8 : 0;
  if (schemeLength === 0 || target.includes('#')) return undefined;
  let authorityEnd = schemeLength;
  while (authorityEnd < target.length && target[authorityEnd] !== '/' && target[authorityEnd] !== '?')
    authorityEnd += 1;
  const authority = target.slice(schemeLength, authorityEnd);
  if (authority === '' || authority.includes('@')) return undefined;
  const rest = target.slice(authorityEnd);
  const origin = rest.charCodeAt(0) === 0x2f ? rest : method === 'OPTIONS' && rest === '' ? '*' : `/${rest}`;
  return { target: origin, authority, absolute: true };
}

/** Host without port, lower case, no trailing dot; undefined if it is not a host with an optional port. */
export function hostOf(authority: string): string | undefined {
  const length = authority.length;
  if (length > 255 + 6) return undefined;
  let upper = false;
  let colon = -1;
  for (let i = 0; i < length; i += 1) {
    const code = authority.charCodeAt(i);
    if (code > 0x7f || (charClass[code]! & CHAR_HOST) === 0) return undefined;
    if (code >= 0x41 && code <= 0x5a) upper = true;
    if (code === 0x3a && colon === -1) colon = i;
  }
  let hostEnd = colon === -1 ? length : colon;
  if (authority.charCodeAt(0) === 0x5b) {
    const bracket = authority.indexOf(']');
    if (bracket === -1) return undefined;
    hostEnd = bracket + 1;
    if (hostEnd < length && authority[hostEnd] !== ':') return undefined;
  } else if (authority.includes('[') || authority.includes(']')) {
    return undefined;
  }
  for (let i = hostEnd + 1; i < length; i += 1) {
    const digit = authority.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
  }
  if (hostEnd === 0 && length > 0) return undefined;
  if (hostEnd > 1 && authority[hostEnd - 1] === '.') hostEnd -= 1;
  const host = hostEnd === length ? authority : authority.slice(0, hostEnd);
  return upper ? host.toLowerCase() : host;
}

/**
 * Parses the response head in data[start, end). `method` is the request's: it decides whether there is a body
 * (RFC 9112 §6.3). A failure means that the backend's answer cannot be passed on: 502.
 */
export function parseResponseHead(
  data: Buffer,
  start: number,
  end: number,
  method: string,
  lines: FieldLines,
): ResponseHead | ParseFailure {
  const version = versionAt(data, start);
  if (version === -1 || version === 2 || data[start + 8] !== SPACE) return fail(400, 'malformed status line');
  let status = 0;
  for (let i = 9; i < 12; i += 1) {
    const digit = data[start + i]! - 0x30;
    if (digit < 0 || digit > 9) return fail(400, 'malformed status code');
    status = status * 10 + digit;
  }
  if (status < 100) return fail(400, 'malformed status code');
  let at = start + 12;
  if (data[at] !== SPACE && data[at] !== CR) return fail(400, 'malformed status line');
  while ((charClass[data[at]!]! & 2) !== 0) at += 1;
  if (data[at] !== CR || data[at + 1] !== LF) return fail(400, 'malformed reason phrase');
  const failure = scanFields(data, start, at + 2, end, lines);
  if (failure !== undefined) return fail(431, 'malformed or too many header fields');
  const text = withOurVersion(data.toString('latin1', start, end), 7);
  const facts = gather(text, lines);
  const framing = responseFraming(status, version, method, facts);
  if (typeof framing === 'string') return fail(400, framing);
  return {
    kind: 'response',
    text,
    status,
    minorVersion: version,
    body: framing.body,
    contentLength: framing.contentLength,
    keepAlive: framing.body !== 'close' && wantsKeepAlive(version, facts.connection),
    upgrade: facts.upgrade,
    connectionTokens: facts.connection,
  };
}

type Framing = { readonly body: BodyKind; readonly contentLength: number };

function responseFraming(status: number, version: 0 | 1, method: string, facts: HeadFacts): Framing | string {
  if (facts.contentLength === -2) return 'malformed Content-Length';
  if (facts.transferEncoding !== undefined) {
    if (facts.contentLength !== -1) return 'both Content-Length and Transfer-Encoding';
    if (version === 0) return 'Transfer-Encoding in HTTP/1.0';
    if (facts.transferEncoding.toLowerCase() !== 'chunked') return 'unknown Transfer-Encoding';
  }
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304)
    return { body: 'none', contentLength: 0 };
  if (facts.transferEncoding !== undefined) return { body: 'chunked', contentLength: 0 };
  if (facts.contentLength === 0) return { body: 'none', contentLength: 0 };
  if (facts.contentLength > 0) return { body: 'length', contentLength: facts.contentLength };
  return { body: 'close', contentLength: 0 };
}
