import { type IpFamily, formatIp, ipFromBytes, ipToBytes, parseIp } from '../base/ip.ts';

/** Numbers of IANA's list. */
export const protocols = { icmp: 1, udp: 17, icmpv6: 58 } as const;

const ipv6Fragment = 44;
const headerBytes = { 4: 20, 6: 40 } as const;
const hopsMax = 64;

/** The node network's links, which are veths as the kernel makes them. */
const linkMtu = 1500;

/** How much of a packet an error about it quotes: what the sender needs to find its socket (RFC 792), and more than it. */
const quotedBytesMax = 128;

export type Packet = {
  readonly family: IpFamily;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** What IP carries: a header of the protocol and what follows. */
  readonly payload: Buffer;
  /** The beginning of the whole packet, to be quoted by an error. */
  readonly quote: Buffer;
};

/** Reads a packet; undefined for what is none, is cut, or is a fragment (the kernel joins them before they come here). */
export function parsePacket(bytes: Buffer): Packet | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  const quote = Buffer.from(bytes.subarray(0, quotedBytesMax));
  if (version === 4 && bytes.length >= headerBytes[4]) {
    const start = ((bytes[0] ?? 0) & 15) * 4;
    const end = bytes.readUInt16BE(2);
    const isFragment = (bytes.readUInt16BE(6) & 0x3fff) !== 0;
    if (start < headerBytes[4] || end < start || end > bytes.length || isFragment) return undefined;
    return {
      family: 4,
      source: addressAt(bytes, 12, 4),
      destination: addressAt(bytes, 16, 4),
      protocol: bytes[9] ?? 0,
      payload: bytes.subarray(start, end),
      quote,
    };
  }
  if (version === 6 && bytes.length >= headerBytes[6]) {
    const end = headerBytes[6] + bytes.readUInt16BE(4);
    if (end > bytes.length) return undefined;
    return {
      family: 6,
      source: addressAt(bytes, 8, 16),
      destination: addressAt(bytes, 24, 16),
      protocol: bytes[6] ?? 0,
      payload: bytes.subarray(headerBytes[6], end),
      quote,
    };
  }
  return undefined;
}

function addressAt(bytes: Buffer, at: number, length: number): string {
  return formatIp(ipFromBytes(bytes.subarray(at, at + length)));
}

export type UdpDatagram = {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Buffer;
};

/** Reads the payload of a packet of UDP; undefined for one that is cut. Checksums are the kernel's business. */
export function parseUdp(payload: Buffer): UdpDatagram | undefined {
  if (payload.length < 8) return undefined;
  const length = payload.readUInt16BE(4);
  if (length < 8 || length > payload.length) return undefined;
  return {
    sourcePort: payload.readUInt16BE(0),
    destinationPort: payload.readUInt16BE(2),
    data: payload.subarray(8, length),
  };
}

/** Between which addresses packets are made. */
export type Route = { readonly source: string; readonly destination: string };

/** The packets that carry a datagram: one, or for IPv6 its fragments, since nobody on the way may cut them. */
export function udpPackets(
  route: Route,
  { sourcePort, destinationPort, data }: UdpDatagram,
  id: number,
): readonly Buffer[] {
  const payload = Buffer.allocUnsafe(8 + data.length);
  payload.writeUInt16BE(sourcePort, 0);
  payload.writeUInt16BE(destinationPort, 2);
  payload.writeUInt16BE(payload.length, 4);
  payload.writeUInt16BE(0, 6);
  payload.set(data, 8);
  // A sum of zero would say that there is none (RFC 768).
  payload.writeUInt16BE(transportChecksum(route, protocols.udp, payload) || 0xffff, 6);
  return ipPackets(route, protocols.udp, payload, id);
}

/** Packets with a message of ICMP in the family of the addresses; the message's checksum is set in place. */
export function icmpPackets(route: Route, message: Buffer, id: number): readonly Buffer[] {
  const isV6 = route.destination.includes(':');
  message.writeUInt16BE(0, 2);
  const sum = isV6 ? transportChecksum(route, protocols.icmpv6, message) : checksum([message]);
  message.writeUInt16BE(sum, 2);
  return ipPackets(route, isV6 ? protocols.icmpv6 : protocols.icmp, message, id);
}

/** Why a packet leads nowhere: nobody has the port, no way leads there, or we do not lead there. */
export type Unreachable = 'port' | 'host' | 'prohibited';

const unreachableCodes = {
  4: { type: 3, port: 3, host: 1, prohibited: 13 },
  6: { type: 1, port: 4, host: 3, prohibited: 1 },
} as const;

/** The error for a packet, as its destination or a router before it would send it. */
export function unreachablePackets(
  { family, source, destination, quote }: Omit<Packet, 'payload' | 'protocol'>,
  why: Unreachable,
  id: number,
): readonly Buffer[] {
  const codes = unreachableCodes[family];
  const message = Buffer.concat([Buffer.from([codes.type, codes[why], 0, 0, 0, 0, 0, 0]), quote]);
  return icmpPackets({ source: destination, destination: source }, message, id);
}

function ipPackets(route: Route, protocol: number, payload: Buffer, id: number): readonly Buffer[] {
  if (!route.destination.includes(':')) return [ipv4Packet(route, protocol, payload, id)];
  if (payload.length <= linkMtu - headerBytes[6]) return [ipv6Packet(route, protocol, payload)];
  const pieceBytes = (linkMtu - headerBytes[6] - 8) & ~7;
  const packets: Buffer[] = [];
  for (let at = 0; at < payload.length; at += pieceBytes) {
    const piece = payload.subarray(at, at + pieceBytes);
    const header = Buffer.alloc(8); // RFC 8200, 4.5
    header.writeUInt8(protocol, 0);
    header.writeUInt16BE(at | (at + piece.length < payload.length ? 1 : 0), 2);
    header.writeUInt32BE(id, 4);
    packets.push(ipv6Packet(route, ipv6Fragment, Buffer.concat([header, piece])));
  }
  return packets;
}

/** Without the bit that forbids it: where it is too long for a link the kernel cuts it. */
function ipv4Packet({ source, destination }: Route, protocol: number, payload: Buffer, id: number): Buffer {
  const packet = Buffer.alloc(headerBytes[4] + payload.length);
  packet.writeUInt8(0x45, 0);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(id & 0xffff, 4);
  packet.writeUInt8(hopsMax, 8);
  packet.writeUInt8(protocol, 9);
  packet.set(addressBytes(source), 12);
  packet.set(addressBytes(destination), 16);
  packet.writeUInt16BE(checksum([packet.subarray(0, headerBytes[4])]), 10);
  packet.set(payload, headerBytes[4]);
  return packet;
}

function ipv6Packet({ source, destination }: Route, nextHeader: number, payload: Buffer): Buffer {
  const packet = Buffer.alloc(headerBytes[6] + payload.length);
  packet.writeUInt8(0x60, 0);
  packet.writeUInt16BE(payload.length, 4);
  packet.writeUInt8(nextHeader, 6);
  packet.writeUInt8(hopsMax, 7);
  packet.set(addressBytes(source), 8);
  packet.set(addressBytes(destination), 24);
  packet.set(payload, headerBytes[6]);
  return packet;
}

function addressBytes(address: string): Uint8Array {
  const ip = parseIp(address);
  if (ip === undefined) throw new RangeError(`${address} is not an IP address`);
  return ipToBytes(ip);
}

/** Over the addresses, the protocol and the length, too (RFC 768; RFC 8200, 8.1). */
function transportChecksum({ source, destination }: Route, protocol: number, payload: Buffer): number {
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(payload.length, 0);
  rest.writeUInt32BE(protocol, 4);
  return checksum([addressBytes(source), addressBytes(destination), rest, payload]);
}

/** The Internet checksum (RFC 1071); all parts but the last have an even length. */
export function checksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let index = 0; index < part.length; index += 2) {
      sum += ((part[index] ?? 0) << 8) | (part[index + 1] ?? 0);
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
