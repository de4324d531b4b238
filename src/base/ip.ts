import { assert } from './assert.ts';

export type IpFamily = 4 | 6;

/** An address as a number: 32 bits wide for family 4, 128 for family 6. */
export type Ip = {
  readonly family: IpFamily;
  readonly value: bigint;
};

/** A range of addresses. `first` has no bit set outside the prefix. */
export type Cidr = {
  readonly family: IpFamily;
  readonly first: bigint;
  readonly prefixBits: number;
};

const ipv4Text = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
const hexGroup = /^[0-9a-fA-F]{1,4}$/;

export function familyBits(family: IpFamily): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/**
 * Reads an address in the usual text forms; undefined when `text` is none. Leading zeros in IPv4 are refused, because
 * some readers take them as octal. Zones (`fe80::1%eth0`) are refused. `::ffff:1.2.3.4` stays an IPv6 address.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.includes(':')) return parseIpv6(text);
  const value = parseIpv4(text);
  return value === undefined ? undefined : { family: 4, value: BigInt(value) };
}

function parseIpv4(text: string): number | undefined {
  const match = ipv4Text.exec(text);
  if (match === null) return undefined;
  let value = 0;
  for (let index = 1; index <= 4; index++) {
    const part = match[index] ?? '';
    const octet = Number(part);
    if (octet > 255 || (part.length > 1 && part.startsWith('0'))) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

function parseIpv6(text: string): Ip | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<number>(missing).fill(0), ...tail]) {
    value = (value << 16n) | BigInt(group);
  }
  return { family: 6, value };
}

/** Groups of 16 bits; a dotted IPv4 address may stand for the last two where `last`. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const dotted = parseIpv4(part);
      if (dotted === undefined) return undefined;
      groups.push(Math.floor(dotted / 65536), dotted % 65536);
    } else if (hexGroup.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups.length > 8 ? undefined : groups;
}

/** The canonical text: dotted quad, or RFC 5952 (lower case, longest run of zero groups as `::`). */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) {
    const value = Number(ip.value);
    return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
  }
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((ip.value >> shift) & 0xffffn));
  // RFC 5952 section 5: addresses of a known IPv4-carrying prefix end in dotted form.
  if (ip.value >> 32n === 0xffffn) {
    return `::ffff:${formatIp({ family: 4, value: ip.value & 0xffffffffn })}`;
  }
  const run = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (run.length < 2) return hex.join(':');
  return `${hex.slice(0, run.start).join(':')}::${hex.slice(run.start + run.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = -1;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = -1;
    else if (start === -1) start = index;
    if (start !== -1 && index - start + 1 > best.length) best = { start, length: index - start + 1 };
  }
  return best;
}

/** The canonical text of an address given as text; undefined when it is none. */
export function canonicalIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
}

/** "10.41.0.2:80", "[fd00::2]:80": as URLs and most options want it. */
export function formatHostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

export function familyOf(text: string): IpFamily | undefined {
  return parseIp(text)?.family;
}

/** The address in network byte order: 4 or 16 bytes. */
export function ipToBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(familyBits(ip.family) / 8);
  let rest = ip.value;
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

/** The inverse of ipToBytes. `bytes` must be 4 or 16 long. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  assert(bytes.length === 4 || bytes.length === 16, `an address has 4 or 16 bytes, not ${bytes.length}`);
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

/** Reads `10.0.0.0/8`; bits behind the prefix are cleared, as in `10.1.2.3/8`. Undefined when `text` is none. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash === -1) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const prefix = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9]\d{0,2})$/.test(prefix)) return undefined;
  const prefixBits = Number(prefix);
  if (prefixBits > familyBits(ip.family)) return undefined;
  return cidrAround(ip, prefixBits);
}

/** The range of `prefixBits` that holds `ip`. */
export function cidrAround(ip: Ip, prefixBits: number): Cidr {
  const hostBits = BigInt(familyBits(ip.family) - prefixBits);
  return { family: ip.family, first: (ip.value >> hostBits) << hostBits, prefixBits };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp({ family: cidr.family, value: cidr.first })}/${cidr.prefixBits}`;
}

export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  if (cidr.family !== ip.family) return false;
  const hostBits = BigInt(familyBits(cidr.family) - cidr.prefixBits);
  return ip.value >> hostBits === cidr.first >> hostBits;
}

/** True when every address of `inner` is in `outer`. */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.prefixBits <= inner.prefixBits && cidrContains(outer, { family: inner.family, value: inner.first })
  );
}

/** How many addresses the range has. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(familyBits(cidr.family) - cidr.prefixBits);
}

/** The address `offset` behind the first; undefined outside the range. */
export function cidrAddress(cidr: Cidr, offset: bigint): Ip | undefined {
  if (offset < 0n || offset >= cidrSize(cidr)) return undefined;
  return { family: cidr.family, value: cidr.first + offset };
}

/** The `index`th (from 0) part of the range when it is cut into ranges of `prefixBits`; undefined when there is none. */
export function cidrSubnet(cidr: Cidr, prefixBits: number, index: number): Cidr | undefined {
  if (prefixBits < cidr.prefixBits || prefixBits > familyBits(cidr.family) || index < 0) return undefined;
  if (BigInt(index) >= 1n << BigInt(prefixBits - cidr.prefixBits)) return undefined;
  const size = 1n << BigInt(familyBits(cidr.family) - prefixBits);
  return { family: cidr.family, first: cidr.first + size * BigInt(index), prefixBits };
}

/** Ascending by family, then by number. */
export function compareIp(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}
