import { formatIp, ipFromBytes, ipToBytes, parseIp } from './ip.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;

/** Bytes of the longest address that is read or written here. */
export const socketAddressBytesMax = 28;

/**
 * A struct sockaddr_in or sockaddr_in6.
 * @param host an IP; a zone ("%eth0") is not understood
 */
export function encodeSocketAddress(host: string, port: number): Buffer {
  const ip = parseIp(host);
  if (ip === undefined) throw new RangeError(`${host} is not an IP address`);
  const bytes = Buffer.alloc(ip.family === 4 ? 16 : socketAddressBytesMax);
  bytes.writeUInt16LE(ip.family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipToBytes(ip), ip.family === 4 ? 4 : 8);
  return bytes;
}

/**
 * Writes the kernel's form of an address; returns its length. 0: an IPv6 address with a zone or with an IPv4 part, which has
 * no plain form. The order of the family's bytes is the host's; both of our architectures are little-endian.
 */
export function writeSocketAddress(into: Buffer, at: number, address: string, port: number): number {
  if (!address.includes(':')) {
    into.writeUInt16LE(AF_INET, at);
    into.writeUInt16BE(port, at + 2);
    let write = at + 4;
    let value = 0;
    for (let index = 0; index < address.length; index++) {
      const code = address.charCodeAt(index);
      if (code === 0x2e) {
        into[write++] = value;
        value = 0;
      } else {
        value = value * 10 + code - 0x30;
      }
    }
    into[write] = value;
    return 16;
  }
  if (address.includes('%') || address.includes('.')) return 0;
  into.fill(0, at, at + socketAddressBytesMax);
  into.writeUInt16LE(AF_INET6, at);
  into.writeUInt16BE(port, at + 2);
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined): readonly string[] =>
    text === undefined || text === '' ? [] : text.split(':');
  const last = groups(tail);
  groups(head).forEach((group, index) => into.writeUInt16BE(Number.parseInt(group, 16), at + 8 + 2 * index));
  last.forEach((group, index) =>
    into.writeUInt16BE(Number.parseInt(group, 16), at + 8 + 2 * (8 - last.length + index)),
  );
  return socketAddressBytesMax;
}

/** Reads what the kernel wrote. An IPv4 peer of a dual-stack socket is shown as IPv4. */
export function decodeSocketAddress(bytes: Buffer): { readonly host: string; readonly port: number } {
  const family = bytes.readUInt16LE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { host: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port };
  if (family !== AF_INET6) return { host: '', port: 0 };
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(8 + 2 * index));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return { host: bytes.subarray(20, 24).join('.'), port };
  }
  return { host: formatIp(ipFromBytes(bytes.subarray(8, 24))), port };
}
