import type { ProxyContext } from './context.ts';
import type { ClientFacts } from './headers.ts';
import { type ForwardedElement, parseForwarded } from './forwarded.ts';
import {
  FIELD_FORWARDED,
  FIELD_FORWARDED_FOR,
  FIELD_FORWARDED_PROTO,
  FIELD_OTHER,
  type FieldLines,
} from '../http1/http1-fields.ts';
import type { RequestHead } from '../http1/http1-parse.ts';

/** The first field of that name (lower case). */
export function fieldValue(head: RequestHead, lines: FieldLines, name: string): string | undefined {
  for (let i = 0; i < lines.count; i += 1) {
    const start = lines.lineStarts[i]!;
    if (lines.fields[i] !== FIELD_OTHER || lines.nameEnds[i]! - start !== name.length) continue;
    if (head.text.slice(start, lines.nameEnds[i]).toLowerCase() !== name) continue;
    return head.text.slice(lines.valueStarts[i], lines.valueEnds[i]);
  }
  return undefined;
}

export function joinedField(head: RequestHead, lines: FieldLines, field: number): string {
  let joined = '';
  for (let i = 0; i < lines.count; i += 1) {
    if (lines.fields[i] !== field) continue;
    const value = head.text.slice(lines.valueStarts[i], lines.valueEnds[i]);
    joined = joined === '' ? value : `${joined},${value}`;
  }
  return joined;
}

export function cookieValue(head: RequestHead, lines: FieldLines, name: string): string | undefined {
  const cookies = fieldValue(head, lines, 'cookie');
  return cookies === undefined ? undefined : cookieOf(cookies, name);
}

/** One of those that a Cookie field holds. */
export function cookieOf(cookies: string, name: string): string | undefined {
  for (const item of cookies.split(';')) {
    const equals = item.indexOf('=');
    if (equals !== -1 && item.slice(0, equals).trim() === name) return item.slice(equals + 1).trim();
  }
  return undefined;
}

/**
 * The last address that proxies in front tell which is no proxy of ours, or the one before so many hops; without trusted proxies the
 * peer's. They tell it by X-Forwarded-For, or by Forwarded where that is what they speak.
 */
export function clientAddress(
  head: RequestHead,
  client: ClientFacts,
  context: Pick<ProxyContext, 'requestLines' | 'isTrusted' | 'trustedHops'>,
): string {
  if (!client.trusted) return client.address;
  const list =
    client.believes === 'rfc7239'
      ? forwardedElements(head, context.requestLines).map((element) => element.for)
      : joinedField(head, context.requestLines, FIELD_FORWARDED_FOR).split(',');
  const { trustedHops } = context;
  if (trustedHops > 0) {
    // Fewer than there should be: somebody has come in closer, so the peer is whom we know.
    const address = list.at(-trustedHops)?.trim() ?? '';
    return address === '' ? client.address : address;
  }
  for (const item of list.toReversed()) {
    const address = item.trim();
    if (address !== '' && !context.isTrusted(address)) return address;
  }
  return client.address;
}

/** None where they cannot be read: then it is the peer whom we know. */
function forwardedElements(head: RequestHead, lines: FieldLines): readonly ForwardedElement[] {
  return parseForwarded(joinedField(head, lines, FIELD_FORWARDED)) ?? [];
}

export function schemeOf(head: RequestHead, client: ClientFacts, lines: FieldLines): string {
  if (!client.trusted) return client.scheme;
  const told =
    client.believes === 'rfc7239'
      ? forwardedElements(head, lines).at(-1)?.proto
      : joinedField(head, lines, FIELD_FORWARDED_PROTO).split(',').at(-1)?.trim().toLowerCase();
  return told === undefined || told === '' ? client.scheme : told;
}
