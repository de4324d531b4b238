/**
 * The two packets that open an SCTP association, by raw IPv4 sockets, so that no SCTP in the kernel is needed: what is tested are rules
 * on packets. `serve PORT TAG` answers each INIT to the port with an INIT ACK of that tag; `ask ADDRESS PORT` sends an INIT and prints
 * `SOURCE TAG` of the answer, or `no answer`. Formats: RFC 9260, section 3.
 */
import ffi from 'node:ffi';

const afInet = 2;
const sockRaw = 3;
const protocolSctp = 132;
const solSocket = 1;
const receiveTimeout = 20;
/** No packet of a test needs longer on one machine. */
const timeoutSeconds = 2n;
const bytesMax = 2048;
const chunkInit = 1;
const chunkInitAck = 2;

const { functions: calls } = ffi.dlopen('libc.so.6', {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
  sendto: { arguments: ['int32', 'buffer', 'uint64', 'int32', 'buffer', 'uint32'], return: 'int64' },
  recv: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
});

type Packet = {
  readonly source: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly chunk: number;
  readonly initiateTag: number;
};

/** CRC32c, bit by bit: two packets a test. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
  }
  return ~crc >>> 0;
}

/** Common header and one INIT or INIT ACK chunk without parameters but the State Cookie that an INIT ACK must have. */
function write(packet: Omit<Packet, 'source'>, verificationTag: number): Buffer {
  const cookie = packet.chunk === chunkInitAck ? Buffer.from([0, 7, 0, 8, 1, 2, 3, 4]) : Buffer.alloc(0);
  const bytes = Buffer.alloc(32 + cookie.length);
  bytes.writeUInt16BE(packet.fromPort, 0);
  bytes.writeUInt16BE(packet.toPort, 2);
  bytes.writeUInt32BE(verificationTag, 4);
  bytes[12] = packet.chunk;
  bytes.writeUInt16BE(20 + cookie.length, 14);
  bytes.writeUInt32BE(packet.initiateTag, 16);
  bytes.writeUInt32BE(65_536, 20); // receiver window
  bytes.writeUInt16BE(1, 24); // streams out and in
  bytes.writeUInt16BE(1, 26);
  bytes.writeUInt32BE(1, 28); // first TSN
  cookie.copy(bytes, 32);
  bytes.writeUInt32LE(crc32c(bytes), 8);
  return bytes;
}

function read(bytes: Buffer): Packet {
  const header = ((bytes[0] ?? 0) & 15) * 4;
  return {
    source: [...bytes.subarray(12, 16)].join('.'),
    fromPort: bytes.readUInt16BE(header),
    toPort: bytes.readUInt16BE(header + 2),
    chunk: bytes[header + 12] ?? 0,
    initiateTag: bytes.readUInt32BE(header + 16),
  };
}

function send(socket: number, host: string, bytes: Buffer): void {
  const to = Buffer.alloc(16);
  to.writeUInt16LE(afInet, 0);
  for (const [index, part] of host.split('.').entries()) to[4 + index] = Number(part);
  calls.sendto(socket, bytes, BigInt(bytes.length), 0, to, 16);
}

/** undefined: nothing came in time. */
function receive(socket: number): Packet | undefined {
  const bytes = Buffer.alloc(bytesMax);
  const count = Number(calls.recv(socket, bytes, BigInt(bytesMax), 0));
  return count < 0 ? undefined : read(bytes.subarray(0, count));
}

function serve(socket: number, port: number, tag: number): never {
  process.stdout.write('ready\n');
  for (;;) {
    const packet = receive(socket);
    if (packet === undefined || packet.toPort !== port || packet.chunk !== chunkInit) continue;
    const answer = { fromPort: port, toPort: packet.fromPort, chunk: chunkInitAck, initiateTag: tag };
    send(socket, packet.source, write(answer, packet.initiateTag));
  }
}

function ask(socket: number, host: string, port: number): string {
  const fromPort = 20_000 + (process.pid % 10_000);
  send(socket, host, write({ fromPort, toPort: port, chunk: chunkInit, initiateTag: fromPort }, 0));
  for (;;) {
    const packet = receive(socket);
    if (packet === undefined) return 'no answer';
    if (packet.toPort === fromPort && packet.chunk === chunkInitAck) {
      return `${packet.source} ${packet.initiateTag}`;
    }
  }
}

if (import.meta.main) {
  const [, , verb = '', first = '', second = ''] = process.argv;
  const socket = calls.socket(afInet, sockRaw, protocolSctp);
  if (socket < 0) throw new Error('needs the right to raw sockets');
  if (verb === 'serve') serve(socket, Number(first), Number(second));
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(timeoutSeconds, 0);
  calls.setsockopt(socket, solSocket, receiveTimeout, timeout, 16);
  process.stdout.write(`${ask(socket, first, Number(second))}\n`);
}
