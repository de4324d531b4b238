import ffi from 'node:ffi';
import { formatIp, ipFromBytes, ipToBytes, parseIp } from '../../base/ip.ts';
import { AF_INET, AF_INET6, socketAddressBytesMax } from '../../base/socket-address.ts';

export const EAGAIN = 11;
export const ENFILE = 23;
export const EMFILE = 24;
export const EINPROGRESS = 115;
export const EPOLLIN = 1;
/** Urgent data: one recv(2) stops before it. */
export const EPOLLPRI = 2;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
/** Told once a change, not as long as it is so. */
export const EPOLLET = 0x8000_0000 | 0;

const SOCK_STREAM = 1;
const SOCK_NONBLOCK_CLOEXEC = 0x80800;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SHUT_WR = 1;
const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const EPOLL_CTL_ADD = 1;
const backlog = 4096;
const eventsMax = 512;
/** struct epoll_event is packed on x86-64 only. */
const eventWords = process.arch === 'x64' ? 3 : 4;
const dataWord = eventWords === 3 ? 1 : 2;

const signatures = {
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  bind: { arguments: ['int32', 'pointer', 'uint32'], return: 'int32' },
  listen: { arguments: ['int32', 'int32'], return: 'int32' },
  accept4: { arguments: ['int32', 'pointer', 'pointer', 'int32'], return: 'int32' },
  connect: { arguments: ['int32', 'pointer', 'uint32'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'], return: 'int32' },
  getsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'], return: 'int32' },
  // What they return fits into 32 bits, as the lengths do: a number instead of a bigint.
  recv: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int32' },
  send: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int32' },
  shutdown: { arguments: ['int32', 'int32'], return: 'int32' },
  close: { arguments: ['int32'], return: 'int32' },
  epoll_create1: { arguments: ['int32'], return: 'int32' },
  epoll_ctl: { arguments: ['int32', 'int32', 'int32', 'pointer'], return: 'int32' },
  epoll_wait: { arguments: ['int32', 'pointer', 'int32', 'int32'], return: 'int32' },
  __errno_location: { arguments: [], return: 'pointer' },
} as const;

/** Memory that a system call reads or writes, and where it is. */
function shared<T extends NodeJS.ArrayBufferView>(memory: T): { readonly memory: T; readonly at: bigint } {
  return { memory, at: ffi.getRawPointer(memory) };
}

/**
 * System calls on sockets, through FFI, for one thread that waits in epoll. A result below 0 is the negated error number. Throws
 * where this process cannot call native functions.
 */
export class RelayKernel {
  readonly #libc = ffi.dlopen('libc.so.6', signatures).functions;
  readonly #errnoAt = this.#libc.__errno_location();
  readonly #chunk: { readonly memory: Buffer; readonly at: bigint };
  readonly #chunkLength: bigint;
  readonly #address = shared(Buffer.alloc(socketAddressBytesMax));
  readonly #words = shared(new Int32Array(4)); // an option's value; its length
  readonly #events = shared(new Int32Array(eventsMax * eventWords));
  readonly #event = shared(new Int32Array(eventWords));

  /** @param chunkBytes what one `receive` may bring */
  constructor(chunkBytes: number) {
    this.#chunk = shared(Buffer.alloc(chunkBytes));
    this.#chunkLength = BigInt(chunkBytes);
  }

  /** Where `receive` puts bytes. */
  get chunk(): Buffer {
    return this.#chunk.memory;
  }

  /** A socket, listening. */
  listenAt(host: string, port: number): number {
    const bytes = this.#writeAddress(host, port);
    const socket = this.#socketFor(bytes);
    if (socket < 0) return socket;
    this.#setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1); // accepted sockets inherit the other one
    if (bytes === socketAddressBytesMax) this.#setOption(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    const bound = this.#result(this.#libc.bind(socket, this.#address.at, bytes));
    const listening = bound < 0 ? bound : this.#result(this.#libc.listen(socket, backlog));
    if (listening >= 0) return socket;
    this.#libc.close(socket);
    return listening;
  }

  /** A socket on its way to there. */
  connectTo(host: string, port: number): number {
    const bytes = this.#writeAddress(host, port);
    const socket = this.#socketFor(bytes);
    if (socket < 0) return socket;
    const connected = this.#result(this.#libc.connect(socket, this.#address.at, bytes));
    if (connected === 0 || connected === -EINPROGRESS) return socket;
    this.#libc.close(socket);
    return connected;
  }

  accept(listener: number): number {
    const { memory, at } = this.#words;
    memory[0] = socketAddressBytesMax;
    return this.#result(this.#libc.accept4(listener, this.#address.at, at, SOCK_NONBLOCK_CLOEXEC));
  }

  /** Of whom `accept` brought last. */
  acceptedHost(): string {
    const { memory } = this.#address;
    const isV4 = memory.readUInt16LE(0) === AF_INET;
    return formatIp(ipFromBytes(memory.subarray(isV4 ? 4 : 8, isV4 ? 8 : 24)));
  }

  /** 0: connected. Else the error number. */
  connectError(socket: number): number {
    const { memory, at } = this.#words;
    memory[0] = 0;
    memory[1] = 4;
    const failed = this.#result(this.#libc.getsockopt(socket, SOL_SOCKET, SO_ERROR, at, at + 4n));
    return failed < 0 ? -failed : (memory[0] ?? 0);
  }

  receive(socket: number): number {
    return this.#result(this.#libc.recv(socket, this.#chunk.at, this.#chunkLength, MSG_DONTWAIT_NOSIGNAL));
  }

  /** Sends the first bytes of `chunk`. */
  sendChunk(socket: number, bytes: number): number {
    return this.#result(this.#libc.send(socket, this.#chunk.at, BigInt(bytes), MSG_DONTWAIT_NOSIGNAL));
  }

  send(socket: number, data: Buffer): number {
    const at = ffi.getRawPointer(data);
    return this.#result(this.#libc.send(socket, at, BigInt(data.length), MSG_DONTWAIT_NOSIGNAL));
  }

  endWriting(socket: number): void {
    this.#libc.shutdown(socket, SHUT_WR);
  }

  close(descriptor: number): void {
    this.#libc.close(descriptor);
  }

  /** Closes with a reset. */
  reset(socket: number): void {
    this.#setOption(socket, SOL_SOCKET, SO_LINGER, 1, 0);
    this.#libc.close(socket);
  }

  createPoll(): number {
    return this.#result(this.#libc.epoll_create1(0));
  }

  /** Watches until the descriptor is closed. */
  watch(poll: number, descriptor: number, flags: number): number {
    const { memory, at } = this.#event;
    memory[0] = flags;
    memory[dataWord] = descriptor;
    return this.#result(this.#libc.epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, at));
  }

  /** Calls `each` for what happened, a descriptor once at most; waits at most so long, ms. */
  wait(poll: number, timeoutMs: number, each: (descriptor: number, events: number) => void): void {
    const { memory, at } = this.#events;
    const count = this.#result(this.#libc.epoll_wait(poll, at, eventsMax, timeoutMs));
    for (let index = 0; index < count; index++) {
      const word = index * eventWords;
      each(memory[word + dataWord] ?? -1, memory[word] ?? 0);
    }
  }

  #result(value: number): number {
    return value < 0 ? -ffi.getInt32(this.#errnoAt) : value;
  }

  #setOption(socket: number, level: number, name: number, ...values: readonly number[]): void {
    const { memory, at } = this.#words;
    memory.set(values);
    this.#libc.setsockopt(socket, level, name, at, 4 * values.length);
  }

  #socketFor(addressBytes: number): number {
    const family = addressBytes === socketAddressBytesMax ? AF_INET6 : AF_INET;
    const socket = this.#result(this.#libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0));
    if (socket >= 0) this.#setOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    return socket;
  }

  /** The struct's length; 0 when `host` is no address. */
  #writeAddress(host: string, port: number): number {
    const { memory } = this.#address;
    const ip = parseIp(host);
    if (ip === undefined) return 0;
    memory.fill(0);
    memory.writeUInt16LE(ip.family === 4 ? AF_INET : AF_INET6, 0);
    memory.writeUInt16BE(port, 2);
    memory.set(ipToBytes(ip), ip.family === 4 ? 4 : 8);
    return ip.family === 4 ? 16 : socketAddressBytesMax;
  }
}
