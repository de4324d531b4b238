import { ipToBytes, parseIp } from '../base/ip.ts';

/**
 * Clients as numbers, so that who asks is known without making an object a query. Addresses are given as little-endian words
 * of 32 bits, as they stand in a struct sockaddr. An IPv4 address is its own number.
 */

/** Of an IPv6 address, for limits: its network of 64 bits, for whoever has one has all of its addresses. */
export function networkOfWords(first: number, second: number): number {
  return Math.imul(first, 0x9e3779b1) ^ second;
}

/**
 * Of a whole IPv6 address, to know a Pod by. 52 bits of it, never in the range of IPv4: two of 10,000 Pods share a number
 * once in a hundred million clusters, and then one's search list is taken for the other's.
 */
export function peerOfWords(first: number, second: number, third: number, fourth: number): number {
  let low = 0x811c9dc5;
  let high = 0x2f0b4c47;
  low = mixed(mixed(mixed(mixed(low, first), second), third), fourth);
  high = mixed(mixed(mixed(mixed(high, fourth), third), second), first);
  return (0x100000 + (high & 0xfffff)) * 0x1_0000_0000 + (low >>> 0);
}

function mixed(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x85ebca6b);
  return Math.imul(product ^ (product >>> 15), 0xc2b2ae35);
}

export type ClientNumbers = { readonly network: number; readonly peer: number };

/** Of the 4 or 16 bytes of an address. */
export function clientOfBytes(bytes: Uint8Array): ClientNumbers {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = (index: number): number => words.getInt32(4 * index, true);
  if (bytes.length === 4) return { network: at(0), peer: at(0) };
  return { network: networkOfWords(at(0), at(1)), peer: peerOfWords(at(0), at(1), at(2), at(3)) };
}

/** Of an address in text form; IPv4 in IPv6 counts as IPv4, what is no address as one client. */
export function clientOf(address: string): ClientNumbers {
  const ip = parseIp(address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address);
  return ip === undefined ? { network: 0, peer: 0 } : clientOfBytes(ipToBytes(ip));
}
