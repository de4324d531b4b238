import { isIPv4, isIPv6, SocketAddress } from 'node:net';

const AF_INET = 2;
const AF_INET6 = 10;

/** Bytes of the longest address that is read or written here. */
export const socketAddressBytesMax = 28;

/**
 * A struct sockaddr_in or sockaddr_in6.
 * @param host an IP; a zone ("%eth0") is not understood
 */
export function encodeSocketAddress(host: string, port: number): Buffer {
  if (isIPv4(host)) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(AF_INET, 0);
    bytes.writeUInt16BE(port, 2);
    host.split('.').forEach((part, index) => bytes.writeUInt8(Number(part), 4 + index));
    return bytes;
  }
  if (!isIPv6(host) || host.includes('%')) throw new RangeError(`${host} is not an IP address`);
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  groupsOf(host).forEach((group, index) => bytes.writeUInt16BE(group, 8 + 2 * index));
  return bytes;
}

/** The eight groups of an IPv6 address. */
function groupsOf(host: string): readonly number[] {
  const dot = host.lastIndexOf('.');
  const colon = host.lastIndexOf(':');
  let text = host;
  if (dot !== -1) {
    const [a = 0, b = 0, c = 0, d = 0] = host
      .slice(colon + 1)
      .split('.')
      .map(Number);
    text = `${host.slice(0, colon + 1)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  }
  const [left = '', right] = text.split('::');
  const parse = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = parse(left);
  if (right === undefined) return before;
  const after = parse(right);
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
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
  const text = groups.map((group) => group.toString(16)).join(':');
  return { host: new SocketAddress({ family: 'ipv6', address: text }).address, port };
}
