import type { HpackEncoder } from './hpack-encode.ts';
import type { OutputBuffer } from './http2-frame.ts';
import type { Http2Facts } from '../http1/http1-parse.ts';

/** Heads in the text form of HTTP/1.1, written as header blocks. What only frames a message in HTTP/1.1 is left out. */

/** Static indexes of whole fields (RFC 7541 Appendix A). */
const METHOD_GET = 2;
const METHOD_POST = 3;
const PATH_ROOT = 4;
const SCHEME_HTTP = 6;
const SCHEME_HTTPS = 7;

/**
 * @param text a head as renderUpstreamRequest makes it
 * @param facts of a request that came by HTTP/2
 * @param protocol given: it is asked for by extended CONNECT (RFC 8441 §4), whatever method the text has
 */
export function writeRequest(
  encoder: HpackEncoder,
  out: OutputBuffer,
  text: string,
  scheme: 'http' | 'https',
  facts: Http2Facts | undefined,
  protocol?: string,
): void {
  const neverIndexed = facts?.neverIndexed;
  const trailersWanted = facts?.trailersWanted === true;
  // What must not be indexed is asked for field by field, and seldom.
  const mark = trailersWanted ? 1 : 0;
  if (neverIndexed === undefined && encoder.again(out, 'head', text, mark)) return;
  const methodEnd = text.indexOf(' ');
  const lineEnd = text.indexOf('\r\n');
  const method = text.slice(0, methodEnd);
  const path = text.slice(methodEnd + 1, lineEnd - ' HTTP/1.1'.length);
  if (protocol !== undefined) {
    encoder.line(out, ':method: CONNECT');
    encoder.line(out, `:protocol: ${protocol}`);
  } else if (method === 'GET') encoder.indexed(out, METHOD_GET);
  else if (method === 'POST') encoder.indexed(out, METHOD_POST);
  else encoder.line(out, `:method: ${method}`);
  encoder.indexed(out, scheme === 'https' ? SCHEME_HTTPS : SCHEME_HTTP);
  const host = hostOfText(text, lineEnd);
  if (host !== '') encoder.line(out, `:authority: ${host}`);
  if (path === '/') encoder.indexed(out, PATH_ROOT);
  else encoder.line(out, `:path: ${path}`);
  writeFields(encoder, out, text, lineEnd + 2, neverIndexed);
  if (trailersWanted) encoder.line(out, 'te: trailers');
  if (neverIndexed === undefined) encoder.keep(out, 'head');
}

/** `text`: a head as renderClientResponse makes it. */
export function writeResponse(encoder: HpackEncoder, out: OutputBuffer, text: string, status: number): void {
  if (encoder.again(out, 'head', text, status)) return;
  encoder.line(out, `:status: ${status}`);
  writeFields(encoder, out, text, text.indexOf('\r\n') + 2, undefined);
  encoder.keep(out, 'head');
}

function hostOfText(text: string, lineEnd: number): string {
  let at = lineEnd + 2;
  while (at < text.length - 2) {
    const end = text.indexOf('\r\n', at);
    if (text.charCodeAt(at + 4) === 0x3a && text.slice(at, at + 4).toLowerCase() === 'host') {
      return text.slice(at + 5, end).trim();
    }
    at = end + 2;
  }
  return '';
}

function writeFields(
  encoder: HpackEncoder,
  out: OutputBuffer,
  text: string,
  start: number,
  neverIndexed: ReadonlySet<string> | undefined,
): void {
  let at = start;
  while (at < text.length - 2) {
    const end = text.indexOf('\r\n', at);
    const colon = text.indexOf(':', at);
    if (!isFraming(text, at, colon - at)) {
      const never = neverIndexed?.has(text.slice(at, colon).toLowerCase()) === true;
      encoder.line(out, text.slice(at, end), never);
    }
    at = end + 2;
  }
}

/** Host, which is :authority, and what is for one connection of HTTP/1.1 only (RFC 9113 §8.2.2). */
function isFraming(text: string, at: number, length: number): boolean {
  switch (length) {
    case 4:
      return isName(text, at, 'host');
    case 7:
      return isName(text, at, 'upgrade');
    case 10:
      return isName(text, at, 'connection') || isName(text, at, 'keep-alive');
    case 16:
      return isName(text, at, 'proxy-connection');
    case 17:
      return isName(text, at, 'transfer-encoding');
    default:
      return false;
  }
}

function isName(text: string, at: number, name: string): boolean {
  return (
    (text.charCodeAt(at) | 0x20) === name.charCodeAt(0) &&
    text.slice(at, at + name.length).toLowerCase() === name
  );
}
