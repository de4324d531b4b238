import ffi from 'node:ffi';
import { isIPv6 } from 'node:net';
import { AF_INET, writeSocketAddress } from '../base/socket-address.ts';
import { hasSockets, openSocket } from '../base/sockets.ts';
import { networkOfWords, peerOfWords } from './client-number.ts';

/** Bounds of batches. */
export const batchLimits = {
  /** Datagrams taken or sent by one system call; more wait in the kernel for the next. */
  datagramsMax: 64,
  /** A longer query is cut, and so is none. */
  queryBytesMax: 2048,
  answerBytesMax: 1232,
} as const;

const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
/** struct mmsghdr, struct iovec on 64-bit Linux. */
const headerSize = 64;
const vectorSize = 16;
const nameSize = 32;

type Libc = {
  readonly recvmmsg: (fd: number, messages: bigint, count: number, flags: number, timeout: bigint) => number;
  readonly sendmmsg: (fd: number, messages: bigint, count: number, flags: number) => number;
};

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  const i32 = 'int32';
  const u64 = 'uint64';
  const { functions } = ffi.dlopen('libc.so.6', {
    recvmmsg: { arguments: [i32, u64, i32, i32, u64], return: i32 },
    sendmmsg: { arguments: [i32, u64, i32, i32], return: i32 },
  });
  libc = functions as unknown as Libc;
  return libc;
}

/**
 * A bound UDP socket as a file descriptor, for `dgram` and for batches. Sockets of a wildcard and of single addresses live
 * side by side. Undefined: this platform has no such functions, or the address no plain form, so that `dgram` has to make
 * the socket. Throws SocketError.
 */
export function openUdpSocket(address: string, port: number): number | undefined {
  if (!hasSockets() || address.includes('%') || (isIPv6(address) && address.includes('.'))) return undefined;
  return openSocket('udp', address, port, { shared: true, nonblocking: true });
}

/**
 * Many datagrams by one system call each way. One for all sockets of a process: nothing in it outlives a call.
 * The memory layout is what recvmmsg(2) and sendmmsg(2) read; names are copied from what came to what goes.
 */
export class UdpBatch {
  /** Queries, one every `queryBytesMax` bytes. */
  readonly input = Buffer.alloc(batchLimits.datagramsMax * batchLimits.queryBytesMax);
  /** Answers, one every `answerBytesMax` bytes. */
  readonly output = Buffer.alloc(batchLimits.datagramsMax * batchLimits.answerBytesMax);
  readonly #functions = load();
  readonly #received: Vectors;
  readonly #sent: Vectors;
  #answers = 0;

  /** 'connected': for sockets with one peer, whose name is neither read nor written. */
  constructor(sockets: 'bound' | 'connected' = 'bound') {
    const named = sockets === 'bound';
    this.#received = new Vectors(this.input, batchLimits.queryBytesMax, named);
    this.#sent = new Vectors(this.output, batchLimits.answerBytesMax, named);
  }

  /** Takes what waits at the socket, without waiting. */
  receive(fd: number): number {
    const { headers } = this.#received;
    const count = this.#functions.recvmmsg(fd, headers, batchLimits.datagramsMax, MSG_DONTWAIT, 0n);
    return Math.max(0, count);
  }

  /** Length of the query of a slot; 0 for one that was too long. */
  length(slot: number): number {
    const { header32 } = this.#received;
    const at = (slot * headerSize) / 4;
    return ((header32[at + 12] ?? 0) & MSG_TRUNC) === 0 ? (header32[at + 14] ?? 0) : 0;
  }

  /** The sender of a slot as the number that limits go by, see `clientOf`. */
  network(slot: number): number {
    const { name32 } = this.#received;
    const at = (slot * nameSize) / 4;
    if (((name32[at] ?? 0) & 0xffff) === AF_INET) return name32[at + 1] ?? 0;
    return networkOfWords(name32[at + 2] ?? 0, name32[at + 3] ?? 0);
  }

  /** The sender of a slot as the number that Pods go by. */
  peer(slot: number): number {
    const { name32 } = this.#received;
    const at = (slot * nameSize) / 4;
    if (((name32[at] ?? 0) & 0xffff) === AF_INET) return name32[at + 1] ?? 0;
    return peerOfWords(name32[at + 2] ?? 0, name32[at + 3] ?? 0, name32[at + 4] ?? 0, name32[at + 5] ?? 0);
  }

  /** A copy of the sender's name of a slot, for an answer that comes later. */
  senderOf(slot: number): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#received.names, slot * nameSize, (slot + 1) * nameSize);
  }

  /** The name of an address; undefined: it cannot be written as one. */
  sender(address: string, port: number): Uint8Array | undefined {
    const name = Buffer.allocUnsafe(nameSize);
    return writeSocketAddress(name, 0, address, port) === 0 ? undefined : name;
  }

  /** Where the next answer is to be written in `output`. */
  get answerAt(): number {
    return this.#answers * batchLimits.answerBytesMax;
  }

  get full(): boolean {
    return this.#answers === batchLimits.datagramsMax;
  }

  /** The answer at `answerAt` is complete; it goes to who sent the query of the slot. */
  answered(slot: number, bytes: number): void {
    const from = (slot * nameSize) / 4;
    const to = (this.#answers * nameSize) / 4;
    const source = this.#received.name32;
    const target = this.#sent.name32;
    for (let index = 0; index < 7; index++) target[to + index] = source[from + index] ?? 0;
    this.#finish(bytes);
  }

  /** The same, for a name of `sender`. */
  answeredTo(name: Uint8Array, bytes: number): void {
    this.#sent.names.set(name, this.#answers * nameSize);
    this.#finish(bytes);
  }

  /** The same, to the one peer of a connected socket. */
  toPeer(bytes: number): void {
    this.#sent.vector32[(this.#answers++ * vectorSize) / 4 + 2] = bytes;
  }

  #finish(bytes: number): void {
    const index = this.#answers++;
    const { name32, header32, vector32 } = this.#sent;
    const isV4 = ((name32[(index * nameSize) / 4] ?? 0) & 0xffff) === AF_INET;
    header32[(index * headerSize) / 4 + 2] = isV4 ? 16 : 28;
    vector32[(index * vectorSize) / 4 + 2] = bytes;
  }

  /** Sends all answers; returns how many the kernel refused, which are gone like any lost datagram. */
  send(fd: number): number {
    let at = 0;
    let refused = 0;
    while (at < this.#answers) {
      const headers = this.#sent.headers + BigInt(at * headerSize);
      const count = this.#functions.sendmmsg(fd, headers, this.#answers - at, MSG_DONTWAIT);
      if (count <= 0) refused += 1; // the first of them: the rest may still go
      at += Math.max(1, count);
    }
    this.#answers = 0;
    return refused;
  }
}

/** Undefined: this platform has no such functions. */
export function createUdpBatch(sockets: 'bound' | 'connected' = 'bound'): UdpBatch | undefined {
  try {
    return new UdpBatch(sockets);
  } catch {
    return undefined;
  }
}

/** Headers that point at slots of `data`. */
class Vectors {
  readonly names = Buffer.alloc(batchLimits.datagramsMax * nameSize);
  readonly name32 = new Int32Array(this.names.buffer, this.names.byteOffset, this.names.length / 4);
  readonly header32 = new Int32Array((batchLimits.datagramsMax * headerSize) / 4);
  readonly vector32 = new Int32Array((batchLimits.datagramsMax * vectorSize) / 4);
  readonly headers = ffi.getRawPointer(this.header32);

  constructor(data: Buffer, bytesEach: number, named: boolean) {
    const header64 = new BigUint64Array(this.header32.buffer);
    const vector64 = new BigUint64Array(this.vector32.buffer);
    const names = ffi.getRawPointer(this.names);
    const vectors = ffi.getRawPointer(this.vector32);
    const bytes = ffi.getRawPointer(data);
    for (let slot = 0; slot < batchLimits.datagramsMax; slot++) {
      const word = (slot * headerSize) / 8;
      if (named) {
        header64[word] = names + BigInt(slot * nameSize);
        header64[word + 1] = BigInt(28); // the kernel writes the true length, and for one family always the same
      }
      header64[word + 2] = vectors + BigInt(slot * vectorSize);
      header64[word + 3] = 1n;
      vector64[slot * 2] = bytes + BigInt(slot * bytesEach);
      vector64[slot * 2 + 1] = BigInt(bytesEach);
    }
  }
}
