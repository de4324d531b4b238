import { parseIp } from '../../base/ip.ts';
import { decodeSocketAddress, encodeSocketAddress } from '../../base/socket-address.ts';

/** One end of a TCP connection. */
export type Peer = { readonly address: string; readonly port: number };

/** What a connection that comes through a proxy begins with, by HAProxy's "The PROXY protocol", versions 1 and 2. */
export type ProxyHeader =
  /** So far it may become one. */
  | { readonly kind: 'more' }
  | { readonly kind: 'failure'; readonly reason: string }
  /** `length`: its bytes. `source`: who connected to the proxy; undefined: the proxy speaks for itself, or does not say. */
  | { readonly kind: 'header'; readonly length: number; readonly source: Peer | undefined };

/** With CRLF, by the specification. */
const version1BytesMax = 107;
/** Of a version 2 header, its extensions among them. The specification asks for 536 at least. */
export const version2BytesMax = 4096;

const signature1 = Buffer.from('PROXY ');
const signature2 = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const fixedBytes = 16;
const TCP4 = 0x11;
const TCP6 = 0x21;
const UNIX_STREAM = 0x31;

const more: ProxyHeader = { kind: 'more' };

/** Reads the header at the beginning of `bytes`. What could be understood in two ways is a failure. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (begins(bytes, signature1)) return bytes.length < signature1.length ? more : parseVersion1(bytes);
  if (begins(bytes, signature2)) return bytes.length < fixedBytes ? more : parseVersion2(bytes);
  return failure('it does not begin with a PROXY header');
}

/** As far as there are bytes. */
function begins(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}

function failure(reason: string): ProxyHeader {
  return { kind: 'failure', reason };
}

function parseVersion1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, version1BytesMax).indexOf('\r\n');
  if (end === -1) return bytes.length < version1BytesMax ? more : failure('its line is too long');
  const line = bytes.toString('latin1', 0, end);
  const length = end + 2;
  if (/[^\x20-\x7e]/.test(line)) return failure('its line has characters that are not allowed');
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) {
    return { kind: 'header', length, source: undefined };
  }
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = ''] =
    /^PROXY TCP([46]) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
  const addresses = [source, destination].map(parseIp);
  const ports = [sourcePort, destinationPort].map(portOf);
  if (
    family === undefined ||
    addresses.some((ip) => ip?.family !== Number(family)) ||
    ports.includes(undefined)
  ) {
    return failure('its line names no two addresses and ports');
  }
  return { kind: 'header', length, source: { address: source, port: ports[0] ?? 0 } };
}

function portOf(text: string): number | undefined {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

function parseVersion2(bytes: Buffer): ProxyHeader {
  const versionAndCommand = bytes[12] ?? 0;
  const family = bytes[13] ?? 0;
  const rest = bytes.readUInt16BE(14);
  const length = fixedBytes + rest;
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21)
    return failure('its version or command is unknown');
  if (length > version2BytesMax) return failure('its header is too long');
  const addressBytes = family === TCP4 ? 12 : family === TCP6 ? 36 : family === UNIX_STREAM ? 216 : 0;
  const isLocal = versionAndCommand === 0x20;
  if (!isLocal && family !== 0 && addressBytes === 0) return failure('its address family is not of TCP');
  if (!isLocal && rest < addressBytes) return failure('its addresses are cut short');
  if (bytes.length < length) return more;
  if (isLocal) return { kind: 'header', length, source: undefined };
  const extensions = bytes.subarray(fixedBytes + addressBytes, length);
  if (family !== 0 && !areExtensions(extensions)) return failure('its extensions are malformed');
  if (family !== TCP4 && family !== TCP6) return { kind: 'header', length, source: undefined };
  return { kind: 'header', length, source: sourceOf(bytes, family) };
}

/** Type, two bytes of length, value; as often as there is room, and nothing left over. */
function areExtensions(bytes: Buffer): boolean {
  let at = 0;
  while (at + 3 <= bytes.length) at += 3 + bytes.readUInt16BE(at + 1);
  return at === bytes.length;
}

function sourceOf(bytes: Buffer, family: number): Peer {
  const four = family === TCP4;
  const address = Buffer.alloc(four ? 16 : 28);
  address.writeUInt16LE(four ? 2 : 10, 0);
  bytes.copy(address, 2, four ? 24 : 48, four ? 26 : 50);
  bytes.copy(address, four ? 4 : 8, fixedBytes, fixedBytes + (four ? 4 : 16));
  const { host, port } = decodeSocketAddress(address);
  return { address: host, port };
}

/** The header that tells a backend of a client. Ends of different families, or unknown ones, are told as unknown. */
export function renderProxyHeader(version: 1 | 2, source: Peer, destination: Peer): Buffer {
  const family = parseIp(source.address)?.family;
  const known = family !== undefined && parseIp(destination.address)?.family === family;
  if (version === 1) {
    const ends = `${source.address} ${destination.address} ${source.port} ${destination.port}`;
    return Buffer.from(known ? `PROXY TCP${family} ${ends}\r\n` : 'PROXY UNKNOWN\r\n', 'latin1');
  }
  const addressBytes = family === 4 ? 4 : 16;
  const rest = known ? 2 * addressBytes + 4 : 0;
  const bytes = Buffer.alloc(fixedBytes + rest);
  signature2.copy(bytes);
  bytes[12] = 0x21;
  bytes[13] = known ? (family === 4 ? TCP4 : TCP6) : 0;
  bytes.writeUInt16BE(rest, 14);
  if (!known) return bytes;
  [source, destination].forEach(({ address, port }, index) => {
    const encoded = encodeSocketAddress(address, port);
    const from = family === 4 ? 4 : 8;
    encoded.copy(bytes, fixedBytes + index * addressBytes, from, from + addressBytes);
    bytes.writeUInt16BE(port, fixedBytes + 2 * addressBytes + 2 * index);
  });
  return bytes;
}
