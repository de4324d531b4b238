import { cidrContains, ipFromBytes, parseCidr } from '../base/ip.ts';

/** The address of "4.3.2.1.in-addr.arpa" or of 32 nibbles under "ip6.arpa"; undefined for any other name. */
export function addressOfReverseName(name: string): Uint8Array | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const parts = name.slice(0, -'.in-addr.arpa'.length).split('.');
    if (parts.length !== 4 || !parts.every(isOctet)) return undefined;
    return Uint8Array.from(parts.toReversed(), Number);
  }
  if (name.endsWith('.ip6.arpa')) {
    const parts = name.slice(0, -'.ip6.arpa'.length).split('.');
    if (parts.length !== 32 || !parts.every((part) => /^[0-9a-f]$/.test(part))) return undefined;
    const digits = parts.toReversed().join('');
    return Uint8Array.from({ length: 16 }, (_, index) =>
      Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16),
    );
  }
  return undefined;
}

/** RFC 1035, 3.5: decimal without leading zeros. */
function isOctet(part: string): boolean {
  return /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255;
}

/** Ranges that mean something else in every place (RFC 6303). */
const localRanges = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::/127',
  'fc00::/7',
  'fe80::/10',
].flatMap((text) => parseCidr(text) ?? []);

export function isLocalAddress(bytes: Uint8Array): boolean {
  const ip = ipFromBytes(bytes);
  return localRanges.some((range) => cidrContains(range, ip));
}
