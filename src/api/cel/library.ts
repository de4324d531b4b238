import { type Cidr, cidrContains, cidrCovers, formatIp, type Ip, parseCidr, parseIp } from '../../base/ip.ts';
import { compareQuantities, parseQuantity, type Quantity, quantityToNumber } from '../quantity.ts';

/**
 * What Kubernetes adds to the Common Expression Language: quantities, addresses, URLs, regular expressions, sets and
 * lists. Plain data; expression.ts registers it.
 */

export class CelQuantity {
  readonly quantity: Quantity;
  constructor(quantity: Quantity) {
    this.quantity = quantity;
  }
}

export class CelIp {
  readonly ip: Ip;
  constructor(ip: Ip) {
    this.ip = ip;
  }
}

export class CelCidr {
  readonly cidr: Cidr;
  /** As written: its address may have bits outside the prefix. */
  readonly ip: Ip;
  constructor(cidr: Cidr, ip: Ip) {
    this.cidr = cidr;
    this.ip = ip;
  }
}

export class CelUrl {
  readonly url: URL;
  constructor(url: URL) {
    this.url = url;
  }
}

/** Stands for the name `sets` in `sets.contains(…)`. */
export class CelSets {}

/** Stands for the name `jsonpatch` in `jsonpatch.escapeKey(…)`. */
export class CelJsonPatch {}

/** Types by the name that signatures use. */
export const libraryTypes = {
  'kubernetes.Quantity': CelQuantity,
  'kubernetes.IP': CelIp,
  'kubernetes.CIDR': CelCidr,
  'kubernetes.URL': CelUrl,
  'kubernetes.Sets': CelSets,
  'kubernetes.JSONPatch': CelJsonPatch,
} as const;

/** Signature and handler. Arguments are what the signature says. */
export type LibraryFunction = readonly [signature: string, handler: (...args: never[]) => unknown];

function quantityOf(text: string): CelQuantity {
  const quantity = parseQuantity(text);
  if (quantity === undefined) throw new Error(`quantity ${JSON.stringify(text)} cannot be parsed`);
  return new CelQuantity(quantity);
}

const nano = 1_000_000_000n;

function sum(a: CelQuantity, b: CelQuantity | bigint, sign: bigint): CelQuantity {
  const other = typeof b === 'bigint' ? b * nano : b.quantity.nanos;
  return new CelQuantity({ ...a.quantity, nanos: a.quantity.nanos + sign * other });
}

function integerOf({ quantity }: CelQuantity): bigint {
  if (quantity.nanos % nano !== 0n) throw new Error('cannot convert value to integer');
  return quantity.nanos / nano;
}

const quantities: readonly LibraryFunction[] = [
  ['quantity(string): kubernetes.Quantity', quantityOf],
  ['isQuantity(string): bool', (text: string) => parseQuantity(text) !== undefined],
  [
    'kubernetes.Quantity.sign(): int',
    ({ quantity: { nanos } }: CelQuantity) => BigInt(Math.sign(Number(nanos))),
  ],
  ['kubernetes.Quantity.isInteger(): bool', ({ quantity }: CelQuantity) => quantity.nanos % nano === 0n],
  ['kubernetes.Quantity.asInteger(): int', integerOf],
  [
    'kubernetes.Quantity.asApproximateFloat(): double',
    ({ quantity }: CelQuantity) => quantityToNumber(quantity),
  ],
  [
    'kubernetes.Quantity.add(kubernetes.Quantity): kubernetes.Quantity',
    (a: CelQuantity, b: CelQuantity) => sum(a, b, 1n),
  ],
  ['kubernetes.Quantity.add(int): kubernetes.Quantity', (a: CelQuantity, b: bigint) => sum(a, b, 1n)],
  [
    'kubernetes.Quantity.sub(kubernetes.Quantity): kubernetes.Quantity',
    (a: CelQuantity, b: CelQuantity) => sum(a, b, -1n),
  ],
  ['kubernetes.Quantity.sub(int): kubernetes.Quantity', (a: CelQuantity, b: bigint) => sum(a, b, -1n)],
  [
    'kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => compareQuantities(a.quantity, b.quantity) < 0,
  ],
  [
    'kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool',
    (a: CelQuantity, b: CelQuantity) => compareQuantities(a.quantity, b.quantity) > 0,
  ],
  [
    'kubernetes.Quantity.compareTo(kubernetes.Quantity): int',
    (a: CelQuantity, b: CelQuantity) => BigInt(compareQuantities(a.quantity, b.quantity)),
  ],
];

function ipOf(text: string): CelIp {
  const ip = parseIp(text);
  if (ip === undefined)
    throw new Error(`IP Address ${JSON.stringify(text)} parse error during conversion from string`);
  return new CelIp(ip);
}

function cidrOf(text: string): CelCidr {
  const cidr = cidrWithHostBits(text);
  if (cidr === undefined) {
    throw new Error(`network address parse error during conversion from string: ${JSON.stringify(text)}`);
  }
  return cidr;
}

function cidrWithHostBits(text: string): CelCidr | undefined {
  const cidr = parseCidr(text);
  const ip = parseIp(text.slice(0, Math.max(0, text.indexOf('/'))));
  return cidr === undefined || ip === undefined ? undefined : new CelCidr(cidr, ip);
}

const loopbacks = ['127.0.0.0/8', '::1/128'].flatMap((text) => parseCidr(text) ?? []);
const linkLocals = ['169.254.0.0/16', 'fe80::/10'].flatMap((text) => parseCidr(text) ?? []);
const multicasts = ['224.0.0.0/4', 'ff00::/8'].flatMap((text) => parseCidr(text) ?? []);

function within(ranges: readonly Cidr[], { ip }: CelIp): boolean {
  return ranges.some((range) => cidrContains(range, ip));
}

function isGlobalUnicast(ip: CelIp): boolean {
  const isBroadcast = ip.ip.family === 4 && ip.ip.value === 0xffff_ffffn;
  const special = within(loopbacks, ip) || within(linkLocals, ip) || within(multicasts, ip);
  return ip.ip.value !== 0n && !isBroadcast && !special;
}

const addresses: readonly LibraryFunction[] = [
  ['ip(string): kubernetes.IP', ipOf],
  ['isIP(string): bool', (text: string) => parseIp(text) !== undefined],
  ['kubernetes.IP.family(): int', ({ ip }: CelIp) => BigInt(ip.family)],
  ['kubernetes.IP.isUnspecified(): bool', ({ ip }: CelIp) => ip.value === 0n],
  ['kubernetes.IP.isLoopback(): bool', (ip: CelIp) => within(loopbacks, ip)],
  ['kubernetes.IP.isLinkLocalUnicast(): bool', (ip: CelIp) => within(linkLocals, ip)],
  ['kubernetes.IP.isGlobalUnicast(): bool', isGlobalUnicast],
  ['string(kubernetes.IP): string', ({ ip }: CelIp) => formatIp(ip)],
  ['cidr(string): kubernetes.CIDR', cidrOf],
  ['isCIDR(string): bool', (text: string) => cidrWithHostBits(text) !== undefined],
  ['kubernetes.CIDR.ip(): kubernetes.IP', ({ ip }: CelCidr) => new CelIp(ip)],
  ['kubernetes.CIDR.prefixLength(): int', ({ cidr }: CelCidr) => BigInt(cidr.prefixBits)],
  [
    'kubernetes.CIDR.masked(): kubernetes.CIDR',
    ({ cidr }: CelCidr) => new CelCidr(cidr, { family: cidr.family, value: cidr.first }),
  ],
  [
    'kubernetes.CIDR.containsIP(kubernetes.IP): bool',
    ({ cidr }: CelCidr, { ip }: CelIp) => cidrContains(cidr, ip),
  ],
  [
    'kubernetes.CIDR.containsIP(string): bool',
    ({ cidr }: CelCidr, text: string) => cidrContains(cidr, ipOf(text).ip),
  ],
  [
    'kubernetes.CIDR.containsCIDR(kubernetes.CIDR): bool',
    (outer: CelCidr, inner: CelCidr) => cidrCovers(outer.cidr, inner.cidr),
  ],
  [
    'kubernetes.CIDR.containsCIDR(string): bool',
    (outer: CelCidr, text: string) => cidrCovers(outer.cidr, cidrOf(text).cidr),
  ],
];

function urlOf(text: string): CelUrl {
  const url = parseUrl(text);
  if (url === undefined)
    throw new Error(`URL parse error during conversion from string: ${JSON.stringify(text)}`);
  return new CelUrl(url);
}

/** Absolute, as Kubernetes asks for. */
function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

function queryOf({ url }: CelUrl): Record<string, string[]> {
  const query: Record<string, string[]> = {};
  for (const key of url.searchParams.keys()) query[key] = url.searchParams.getAll(key);
  return query;
}

const urls: readonly LibraryFunction[] = [
  ['url(string): kubernetes.URL', urlOf],
  ['isURL(string): bool', (text: string) => parseUrl(text) !== undefined],
  ['kubernetes.URL.getScheme(): string', ({ url }: CelUrl) => url.protocol.slice(0, -1)],
  ['kubernetes.URL.getHost(): string', ({ url }: CelUrl) => url.host],
  ['kubernetes.URL.getHostname(): string', ({ url }: CelUrl) => url.hostname.replace(/^\[(.*)\]$/, '$1')],
  ['kubernetes.URL.getPort(): string', ({ url }: CelUrl) => url.port],
  ['kubernetes.URL.getEscapedPath(): string', ({ url }: CelUrl) => url.pathname],
  ['kubernetes.URL.getQuery(): map<string, list<string>>', queryOf],
];

function expressionOf(pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'gu');
  } catch (cause) {
    throw new Error(`invalid regular expression ${JSON.stringify(pattern)}`, { cause });
  }
}

function findAll(text: string, pattern: string, limit: bigint): string[] {
  const found: string[] = [];
  for (const [part] of text.matchAll(expressionOf(pattern))) {
    if (limit >= 0n && BigInt(found.length) >= limit) break;
    found.push(part);
  }
  return found;
}

function replace(text: string, old: string, by: string, limit: bigint): string {
  if (limit < 0n) return text.replaceAll(old, () => by);
  let rest = text;
  let done = '';
  for (let count = 0n; count < limit; count++) {
    const at = rest.indexOf(old);
    if (at === -1) break;
    done += `${rest.slice(0, at)}${by}`;
    rest = rest.slice(at + old.length);
  }
  return done + rest;
}

function charAt(text: string, at: bigint): string {
  const characters = Array.from(text);
  if (at < 0n || at > BigInt(characters.length)) throw new Error(`index out of range: ${at}`);
  return characters[Number(at)] ?? '';
}

const texts: readonly LibraryFunction[] = [
  [
    'string.find(string): string',
    (text: string, pattern: string) => expressionOf(pattern).exec(text)?.[0] ?? '',
  ],
  ['string.findAll(string): list<string>', (text: string, pattern: string) => findAll(text, pattern, -1n)],
  ['string.findAll(string, int): list<string>', findAll],
  [
    'string.replace(string, string): string',
    (text: string, old: string, by: string) => replace(text, old, by, -1n),
  ],
  ['string.replace(string, string, int): string', replace],
  ['string.charAt(int): string', charAt],
  [
    'kubernetes.JSONPatch.escapeKey(string): string',
    (_patch: CelJsonPatch, key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1'),
  ],
  ['string.reverse(): string', (text: string) => Array.from(text).toReversed().join('')],
];

type Comparable = bigint | number | string | boolean;

function isLess(a: Comparable, b: Comparable): boolean {
  return a < b;
}

function least(list: readonly Comparable[], isBetter: (a: Comparable, b: Comparable) => boolean): Comparable {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error('min/max called on empty list');
  return rest.reduce((best, item) => (isBetter(item, best) ? item : best), first);
}

function total(list: readonly (bigint | number)[]): bigint | number {
  if (list.every((item) => typeof item === 'bigint')) return list.reduce((sum, item) => sum + item, 0n);
  return list.reduce<number>((sum, item) => sum + Number(item), 0);
}

function same(a: unknown, b: unknown): boolean {
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, at) => same(item, b[at]));
  if (typeof a === 'bigint' && typeof b === 'number') return Number(a) === b;
  if (typeof a === 'number' && typeof b === 'bigint') return a === Number(b);
  return a === b;
}

function holds(list: readonly unknown[], item: unknown): boolean {
  return list.some((other) => same(other, item));
}

const lists: readonly LibraryFunction[] = [
  [
    'list<dyn>.isSorted(): bool',
    (list: readonly Comparable[]) =>
      list.every((item, at) => at === 0 || !isLess(item, list[at - 1] ?? item)),
  ],
  ['list<dyn>.sum(): dyn', total],
  ['list<dyn>.min(): dyn', (list: readonly Comparable[]) => least(list, isLess)],
  ['list<dyn>.max(): dyn', (list: readonly Comparable[]) => least(list, (a, b) => isLess(b, a))],
  [
    'list<dyn>.indexOf(dyn): int',
    (list: readonly unknown[], item: unknown) => BigInt(list.findIndex((other) => same(other, item))),
  ],
  [
    'list<dyn>.lastIndexOf(dyn): int',
    (list: readonly unknown[], item: unknown) => BigInt(list.findLastIndex((other) => same(other, item))),
  ],
  [
    'kubernetes.Sets.contains(list<dyn>, list<dyn>): bool',
    (_sets: CelSets, list: readonly unknown[], part: readonly unknown[]) =>
      part.every((item) => holds(list, item)),
  ],
  [
    'kubernetes.Sets.intersects(list<dyn>, list<dyn>): bool',
    (_sets: CelSets, list: readonly unknown[], other: readonly unknown[]) =>
      other.some((item) => holds(list, item)),
  ],
  [
    'kubernetes.Sets.equivalent(list<dyn>, list<dyn>): bool',
    (_sets: CelSets, list: readonly unknown[], other: readonly unknown[]) =>
      list.every((item) => holds(other, item)) && other.every((item) => holds(list, item)),
  ],
];

export const libraryFunctions: readonly LibraryFunction[] = [
  ...quantities,
  ...addresses,
  ...urls,
  ...texts,
  ...lists,
];
