import { parseForwarded } from './forwarded.ts';
import { type Peer, renderProxyHeader } from '../transport/proxy-protocol.ts';
import type { AcceptedTls, ClientCertificate, Connection } from '../transport/transport.ts';
import {
  FIELD_CONNECTION,
  FIELD_CONTENT_LENGTH,
  FIELD_DATE,
  FIELD_FORWARDED,
  FIELD_FORWARDED_FOR,
  FIELD_FORWARDED_HOST,
  FIELD_FORWARDED_OTHER,
  FIELD_FORWARDED_PORT,
  FIELD_FORWARDED_PROTO,
  FIELD_HOP_BY_HOP,
  FIELD_HOST,
  FIELD_OTHER,
  FIELD_REAL_IP,
  FIELD_TRANSFER_ENCODING,
  FIELD_UPGRADE,
  type FieldLines,
  listHasToken,
} from '../http1/http1-fields.ts';
import type { RequestHead, ResponseHead } from '../http1/http1-parse.ts';

/** Where a request came from; one a connection. */
export type ClientFacts = {
  readonly address: string;
  readonly scheme: 'http' | 'https';
  /** The peer is a proxy whose X-Forwarded-… are believed. */
  readonly trusted: boolean;
  /** Tells the client's port and which of our addresses it has connected to. */
  readonly connection?: Pick<Connection, 'ends'> | undefined;
  /** undefined: the client was not asked for one. */
  readonly certificate?: ClientCertificate | undefined;
  /** undefined: TLS, if there is any, does not end here. */
  readonly tls?: AcceptedTls | undefined;
  /** Default: `x`. */
  readonly forwarded?: ForwardedStyle;
  /** What a trusted peer is believed by; what it passes on of the other one may be its client's. Default: `x`. */
  readonly believes?: BelievedFields;
  /** How endpoints were told of it last. */
  told?: ToldLines | undefined;
};

/** The same for all requests of a client that name one authority, as nearly all do. */
type ToldLines = { readonly authority: string; readonly lines: string };

/** `x`: X-Forwarded-…; `rfc7239`: Forwarded. */
export type BelievedFields = 'x' | 'rfc7239';

/** `x`: X-Forwarded-… and X-Real-IP; `rfc7239`: Forwarded (RFC 7239). */
export type ForwardedStyle = 'x' | 'rfc7239' | 'both';

/**
 * The head to send upstream. Hop-by-hop fields end here (RFC 9110 §7.6.1). X-Forwarded-For, -Proto, -Host, -Port and
 * X-Real-IP are ours: what an untrusted client sent of that family is dropped; a trusted proxy's are kept, with its
 * own address joined to X-Forwarded-For. Forwarded is treated alike, and written if the worker is to. An HTTP/1.0 request goes on as HTTP/1.0 on a
 * connection of its own, so that the answer is one that its client can read.
 */
export function renderUpstreamRequest(head: RequestHead, lines: FieldLines, client: ClientFacts): string {
  const { text } = head;
  const dropped = dropsNamedFields(head.connectionTokens);
  const firstLine = lines.count === 0 ? lines.linesEnd : lines.lineStarts[0]!;
  let out = '';
  let runStart = 0;
  if (head.absolute) {
    out = `${head.method} ${head.target} HTTP/1.${head.minorVersion}\r\nHost: ${head.authority}\r\n`;
    runStart = firstLine;
  }
  const theirs = client.trusted ? { ...nothingTold } : nothingTold;
  for (let i = 0; i < lines.count; i += 1) {
    const field = lines.fields[i]!;
    if (requestFieldPasses(field, head, client)) {
      if (!dropped || field !== FIELD_OTHER || !namesLine(head.connectionTokens, text, lines, i)) continue;
    } else if (client.trusted && field >= FIELD_FORWARDED_FOR && believes(client, field)) {
      remember(theirs, field, text.slice(lines.valueStarts[i], lines.valueEnds[i]));
    }
    const lineStart = lines.lineStarts[i]!;
    if (lineStart > runStart) out += text.slice(runStart, lineStart);
    runStart = i + 1 < lines.count ? lines.lineStarts[i + 1]! : lines.linesEnd;
  }
  if (lines.linesEnd > runStart) out += text.slice(runStart, lines.linesEnd);
  if (head.upgrade !== undefined) out += 'Connection: Upgrade\r\n';
  else if (head.minorVersion === 0) out += 'Connection: close\r\n';
  return (
    out + (client.trusted ? renderTold(theirs, head.authority, client) : linesAbout(client, head.authority))
  );
}

/** Of a client that nobody else has told of. */
function linesAbout(client: ClientFacts, authority: string): string {
  const { told } = client;
  if (told?.authority === authority) return told.lines;
  const lines = renderTold(nothingTold, authority, client);
  client.told = { authority, lines };
  return lines;
}

/** Who asked whom for what, with the empty line that ends a head. */
function renderTold(theirs: Forwarded, authority: string, client: ClientFacts): string {
  if (theirs.forwarded !== '' && client.believes === 'rfc7239') tellByX(theirs);
  const style = client.forwarded ?? 'x';
  const forwarded = style === 'x' ? '' : forwardedLine(theirs, authority, client);
  if (style === 'rfc7239') return `${forwarded}\r\n`;
  const forwardedFor = theirs.for === '' ? client.address : `${theirs.for}, ${client.address}`;
  const realIp = theirs.realIp === '' ? client.address : theirs.realIp;
  const proto = theirs.proto === '' ? client.scheme : theirs.proto;
  const port = theirs.port === '' ? portOf(authority, client.scheme) : theirs.port;
  const host = theirs.host === '' ? authority : theirs.host;
  return `${forwarded}X-Forwarded-For: ${forwardedFor}\r\nX-Forwarded-Host: ${host}\r\nX-Forwarded-Port: ${port}\r\nX-Forwarded-Proto: ${proto}\r\nX-Real-IP: ${realIp}\r\n\r\n`;
}

function requestFieldPasses(field: number, head: RequestHead, client: ClientFacts): boolean {
  switch (field) {
    case FIELD_CONNECTION:
    case FIELD_HOP_BY_HOP:
    case FIELD_FORWARDED_FOR:
    case FIELD_FORWARDED_PROTO:
    case FIELD_FORWARDED_HOST:
    case FIELD_FORWARDED_PORT:
    case FIELD_REAL_IP:
      return false;
    case FIELD_FORWARDED_OTHER:
      return client.trusted && client.believes !== 'rfc7239';
    case FIELD_FORWARDED:
      // What is believed by Forwarded is told in the worker's own style, whole or not at all.
      return client.trusted && (client.forwarded ?? 'x') === 'x' && client.believes !== 'rfc7239';
    case FIELD_UPGRADE:
      return head.upgrade !== undefined;
    case FIELD_HOST:
      return !head.absolute;
    default:
      return true;
  }
}

function believes({ believes: style }: ClientFacts, field: number): boolean {
  return style !== 'rfc7239' || field === FIELD_FORWARDED;
}

/**
 * What proxies have said by Forwarded, as X-Forwarded-… says it. One that cannot be read says nothing. But for the chain it is the
 * word of the last one, whom we know: what stands before may be its client's.
 */
function tellByX(theirs: Forwarded): void {
  const elements = parseForwarded(theirs.forwarded);
  if (elements === undefined) {
    theirs.forwarded = '';
    return;
  }
  const known = elements.filter((element) => element.for !== '');
  theirs.for = known.map((element) => element.for).join(', ');
  const last = elements.at(-1);
  theirs.realIp = last?.for ?? '';
  theirs.proto = last?.proto ?? '';
  theirs.host = last?.host ?? '';
  if (theirs.host !== '') theirs.port = portOf(theirs.host, theirs.proto === 'https' ? 'https' : 'http');
}

type Forwarded = {
  for: string;
  proto: string;
  host: string;
  port: string;
  realIp: string;
  forwarded: string;
};

const nothingTold: Forwarded = Object.freeze({
  for: '',
  proto: '',
  host: '',
  port: '',
  realIp: '',
  forwarded: '',
});

/** RFC 7239 §4. Each proxy adds its own element, so what trusted ones have said stays in front. */
function forwardedLine(theirs: Forwarded, authority: string, client: ClientFacts): string {
  const { address, scheme } = client;
  const node = address.includes(':') ? `"[${address}]"` : address;
  const host = authority === '' ? '' : `;host=${/^[\w.-]+$/.test(authority) ? authority : `"${authority}"`}`;
  const before = theirs.forwarded === '' ? '' : `${theirs.forwarded}, `;
  return `Forwarded: ${before}for=${node}${host};proto=${scheme}\r\n`;
}

function remember(theirs: Forwarded, field: number, value: string): void {
  if (value === '') return;
  if (field === FIELD_FORWARDED_FOR) theirs.for = theirs.for === '' ? value : `${theirs.for}, ${value}`;
  else if (field === FIELD_FORWARDED_PROTO) theirs.proto = value;
  else if (field === FIELD_FORWARDED_HOST) theirs.host = value;
  else if (field === FIELD_FORWARDED_PORT) theirs.port = value;
  else if (field === FIELD_REAL_IP) theirs.realIp = value;
  else if (field === FIELD_FORWARDED)
    theirs.forwarded = theirs.forwarded === '' ? value : `${theirs.forwarded}, ${value}`;
}

/** The port in the Host field, else the scheme's own: what the client believes to talk to, whatever we listen on. */
function portOf(authority: string, scheme: 'http' | 'https'): string {
  const colon = authority.lastIndexOf(':');
  const port = colon > authority.lastIndexOf(']') ? authority.slice(colon + 1) : '';
  return port === '' ? (scheme === 'https' ? '443' : '80') : port;
}

/** True if Connection names fields beyond the usual options, so that lines have to be compared with it. */
function dropsNamedFields(tokens: string): boolean {
  if (tokens === '' || tokens === 'keep-alive' || tokens === 'close' || tokens === 'Upgrade') return false;
  const lower = tokens.toLowerCase();
  return (
    lower !== 'keep-alive' && lower !== 'close' && lower !== 'upgrade' && lower !== 'keep-alive, upgrade'
  );
}

function namesLine(tokens: string, text: string, lines: FieldLines, index: number): boolean {
  return listHasToken(tokens, text.slice(lines.lineStarts[index], lines.nameEnds[index]).toLowerCase());
}

export type ConnectionAfter = 'keep-alive' | 'close' | 'upgrade';

/**
 * The head to send to the client. `after` says what becomes of the client's connection; `minorVersion` is the
 * client's: HTTP/1.0 must be told that the connection stays. `date` tells now: a final answer without Date gets it (RFC 9110 §6.6.1).
 */
export function renderClientResponse(
  head: ResponseHead,
  lines: FieldLines,
  after: ConnectionAfter,
  minorVersion: 0 | 1,
  date: () => string,
): string {
  const { text } = head;
  const dropped = dropsNamedFields(head.connectionTokens);
  let dated = head.status < 200;
  const bodiless = head.status < 200 || head.status === 204;
  let out = '';
  let runStart = 0;
  if (head.minorVersion === 0) {
    out = 'HTTP/1.1';
    runStart = 8;
  }
  for (let i = 0; i < lines.count; i += 1) {
    const field = lines.fields[i]!;
    if (field === FIELD_DATE) dated = true;
    if (responseFieldPasses(field, after, bodiless)) {
      if (!dropped || field !== FIELD_OTHER || !namesLine(head.connectionTokens, text, lines, i)) continue;
    }
    const lineStart = lines.lineStarts[i]!;
    if (lineStart > runStart) out += text.slice(runStart, lineStart);
    runStart = i + 1 < lines.count ? lines.lineStarts[i + 1]! : lines.linesEnd;
  }
  if (lines.linesEnd > runStart) out += text.slice(runStart, lines.linesEnd);
  if (!dated) out += `Date: ${date()}\r\n`;
  if (after === 'upgrade') return `${out}Connection: Upgrade\r\n\r\n`;
  if (after === 'close') return `${out}Connection: close\r\n\r\n`;
  return minorVersion === 0 ? `${out}Connection: keep-alive\r\n\r\n` : `${out}\r\n`;
}

function responseFieldPasses(field: number, after: ConnectionAfter, bodiless: boolean): boolean {
  switch (field) {
    case FIELD_CONNECTION:
    case FIELD_HOP_BY_HOP:
      return false;
    case FIELD_UPGRADE:
      return after === 'upgrade';
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONTENT_LENGTH:
      return !bodiless; // a 1xx or 204 has no body, so a length could only mislead (RFC 9112 §6.3)
    default:
      return true;
  }
}

const unknownPeer: Peer = { address: '', port: 0 };

/** The PROXY header that tells an endpoint who the client is; behind trusted proxies, the peer that has connected to us. */
export function proxyHeader(version: 1 | 2, { connection }: ClientFacts): Buffer {
  const { remote, local } = connection?.ends?.() ?? { remote: unknownPeer, local: unknownPeer };
  return renderProxyHeader(version, remote, local);
}
