import type { Kernel } from './uring-kernel.ts';

/** Submission entries. When all are taken, they are handed to the kernel at once. */
const submissionsMax = 4096;
/** Completions that fit; the kernel keeps more aside until these are read. */
const completionsMax = 16_384;
/** Buffers that reads land in, shared by all connections. With none left a connection's reading starts anew a moment later. */
export const readBuffers = 1024;
/** Bytes of each: what one read may bring. */
export const readBufferBytes = 16_384;

const OP_ACCEPT = 13;
const OP_ASYNC_CANCEL = 14;
const OP_CONNECT = 16;
const OP_CLOSE = 19;
const OP_SEND = 26;
const OP_RECV = 27;

const SETUP_CQSIZE = 1 << 3;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_COOP_TASKRUN = 1 << 8;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const REGISTER_EVENTFD = 4n;
const REGISTER_PBUF_RING = 22n;
const EFD_NONBLOCK_CLOEXEC = 0x80800;
/** In the completion ring's flags: no signals to the event descriptor. */
const CQ_EVENTFD_DISABLED = 1;
const ENTER_GETEVENTS = 1;
const ENTER_EXT_ARG = 8;
const SQE_BUFFER_SELECT = 1 << 5;
const MSG_NOSIGNAL = 0x4000;
const MSG_WAITALL = 0x100;
const SOCK_CLOEXEC = 0x80000;
const CANCEL_ALL = 1;
const CANCEL_FD = 2;

/** What a completion belongs to; the upper half of its user data. */
export const KIND_ACCEPT = 1;
export const KIND_RECV = 2;
export const KIND_SEND = 3;
export const KIND_CONNECT = 4;
export const KIND_CANCEL = 5;
export const KIND_CLOSE = 6;

/** The completion carries a read buffer; its number stands in the upper half of the flags. */
export const COMPLETION_BUFFER = 1;
/** The request goes on: more completions follow. */
export const COMPLETION_MORE = 2;

export const EINTR = 4;
export const ENFILE = 23;
export const EMFILE = 24;
export const ETIME = 62;
export const ENOBUFS = 105;
export const ECANCELED = 125;
const EAGAIN = 11;
const EBUSY = 16;

export type CompletionHandler = (user: number, kind: number, result: number, flags: number) => void;

/**
 * One io_uring with its buffers for reads: its rings are memory shared with the kernel, and the only system call is
 * `enter`. For one thread. Throws when it cannot be made, with the kernel's reason.
 */
export class Ring {
  readonly fd: number;
  /** Becomes readable when something completes between `startSignals` and `stopSignals`. */
  readonly eventFd: number;
  /** All read buffers, one behind the other. */
  readonly readMemory: Buffer;
  readonly #kernel: Kernel;
  readonly #ring32: Int32Array;
  readonly #entries8: Uint8Array;
  readonly #entries16: Uint16Array;
  readonly #entries32: Int32Array;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #sqMask: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqes: number;
  readonly #cqFlags: number;
  readonly #addresses: Uint8Array;
  readonly #addressesAt: bigint;
  readonly #buffers32: Uint32Array;
  readonly #buffers16: Uint16Array;
  readonly #buffersAt: number;
  readonly #waitArgument: bigint;
  readonly #signalAt: bigint;
  #tail: number;
  #bufferTail = 0;
  #stalled = 0;

  /** @param waitUs how long `enter` waits for a completion at most, µs */
  constructor(kernel: Kernel, waitUs: number) {
    this.#kernel = kernel;
    const parameters = kernel.map(4096);
    const view = new DataView(parameters.memory);
    const flags =
      SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
    view.setUint32(4, completionsMax, true);
    view.setUint32(8, flags, true);
    this.fd = kernel.setup(submissionsMax, parameters.address);
    if (this.fd < 0) throw kernel.failed('io_uring_setup');
    const offset = (at: number): number => view.getUint32(at, true);
    const array = offset(64);
    const ringBytes = Math.max(array + submissionsMax * 4, offset(100) + completionsMax * 16);
    const ring = kernel.map(pages(ringBytes), { fd: this.fd, offset: 0n });
    const entries = kernel.map(submissionsMax * 64, { fd: this.fd, offset: 0x1000_0000n });
    this.#ring32 = new Int32Array(ring.memory);
    this.#entries8 = new Uint8Array(entries.memory);
    this.#entries16 = new Uint16Array(entries.memory);
    this.#entries32 = new Int32Array(entries.memory);
    this.#sqHead = offset(40) >> 2;
    this.#sqTail = offset(44) >> 2;
    this.#sqMask = this.#ring32[offset(48) >> 2]!;
    this.#cqHead = offset(80) >> 2;
    this.#cqTail = offset(84) >> 2;
    this.#cqMask = this.#ring32[offset(88) >> 2]!;
    this.#cqes = offset(100) >> 2;
    this.#cqFlags = offset(104) >> 2;
    for (let i = 0; i < submissionsMax; i += 1) this.#ring32[(array >> 2) + i] = i;
    this.#tail = this.#ring32[this.#sqTail]!;
    const addresses = kernel.map(submissionsMax * 32);
    this.#addresses = new Uint8Array(addresses.memory);
    this.#addressesAt = addresses.address;
    // struct io_uring_getevents_arg at 2048, the struct __kernel_timespec that it points to at 2080.
    view.setBigUint64(2048 + 16, parameters.address + 2080n, true);
    view.setBigInt64(2080, BigInt(Math.floor(waitUs / 1e6)), true);
    view.setBigInt64(2088, BigInt((waitUs % 1e6) * 1000), true);
    this.#waitArgument = parameters.address + 2048n;
    this.#signalAt = parameters.address + 3072n;
    const buffers = kernel.map(readBuffers * readBufferBytes);
    const list = kernel.map(pages(readBuffers * 16));
    this.readMemory = Buffer.from(buffers.memory);
    this.#buffersAt = Number(buffers.address); // below 2^48, so exact
    this.#buffers32 = new Uint32Array(list.memory);
    this.#buffers16 = new Uint16Array(list.memory);
    view.setBigUint64(1024, list.address, true); // struct io_uring_buf_reg; group 0
    view.setUint32(1032, readBuffers, true);
    this.#register(REGISTER_PBUF_RING, parameters.address + 1024n);
    this.eventFd = kernel.libc.eventfd(0, EFD_NONBLOCK_CLOEXEC);
    view.setInt32(1536, this.eventFd, true);
    this.#register(REGISTER_EVENTFD, parameters.address + 1536n);
    this.stopSignals();
    for (let buffer = 0; buffer < readBuffers; buffer += 1) this.giveBack(buffer);
    this.#publishBuffers();
  }

  #register(what: bigint, argument: bigint): void {
    if (this.#kernel.register(this.fd, what, argument, 1n) === 0) return;
    const error = this.#kernel.failed(`io_uring_register (${what})`);
    this.#kernel.libc.close(this.fd);
    throw error;
  }

  /**
   * What completes from now on is signalled; look for what has completed before, after this call. The ring's own
   * descriptor would not do: with DEFER_TASKRUN nobody who polls it is woken.
   */
  startSignals(): void {
    Atomics.store(this.#ring32, this.#cqFlags, 0);
  }

  /** Makes the event descriptor silent until the next signal. */
  takeSignal(): void {
    this.#kernel.byAddress.read(this.eventFd, this.#signalAt, 8n);
  }

  /** A signal costs more than a look at the ring, so there are none while somebody looks anyway. */
  stopSignals(): void {
    Atomics.store(this.#ring32, this.#cqFlags, CQ_EVENTFD_DISABLED);
  }

  /** The kernel may read into this buffer again. Takes effect with the next `enter`. */
  giveBack(buffer: number): void {
    const at = this.#bufferTail & (readBuffers - 1);
    this.#setAddress(this.#buffers32, at * 4, this.#buffersAt + buffer * readBufferBytes);
    this.#buffers32[at * 4 + 2] = readBufferBytes;
    this.#buffers16[at * 8 + 6] = buffer;
    this.#bufferTail = (this.#bufferTail + 1) & 0xffff;
  }

  #setAddress(words: Uint32Array | Int32Array, at: number, address: number): void {
    words[at] = address >>> 0;
    words[at + 1] = Math.floor(address / 0x1_0000_0000);
  }

  /** The list's tail lies in the unused half-word of its first entry. */
  #publishBuffers(): void {
    Atomics.store(this.#buffers16, 7, this.#bufferTail);
  }

  /** Takes the next entry; its index in 64-byte units. Everything in it that is not set is zero. */
  #entry(operation: number, fd: number, user: number, kind: number): number {
    while (((this.#tail - Atomics.load(this.#ring32, this.#sqHead)) | 0) >= submissionsMax) this.enter(false);
    const index = this.#tail & this.#sqMask;
    const words = this.#entries32;
    const at = index * 16;
    words[at] = operation;
    words[at + 1] = fd;
    for (let i = at + 2; i < at + 8; i += 1) words[i] = 0;
    words[at + 8] = user;
    words[at + 9] = kind;
    for (let i = at + 10; i < at + 16; i += 1) words[i] = 0;
    this.#tail = (this.#tail + 1) | 0;
    return index;
  }

  /** Accepts connections until cancelled or failed. */
  accept(fd: number, user: number): void {
    const entry = this.#entry(OP_ACCEPT, fd, user, KIND_ACCEPT);
    this.#entries16[entry * 32 + 1] = 1; // IORING_ACCEPT_MULTISHOT
    this.#entries32[entry * 16 + 7] = SOCK_CLOEXEC;
  }

  /** Reads into buffers of the ring until the end, cancelled, failed or out of buffers. */
  receive(fd: number, user: number): void {
    const entry = this.#entry(OP_RECV, fd, user, KIND_RECV);
    this.#entries8[entry * 64 + 1] = SQE_BUFFER_SELECT;
    this.#entries16[entry * 32 + 1] = 2; // IORING_RECV_MULTISHOT
  }

  /** Sends bytes that must stay as they are until the completion. */
  send(fd: number, user: number, address: number, length: number): void {
    const entry = this.#entry(OP_SEND, fd, user, KIND_SEND);
    this.#setAddress(this.#entries32, entry * 16 + 4, address);
    this.#entries32[entry * 16 + 6] = length;
    this.#entries32[entry * 16 + 7] = MSG_NOSIGNAL | MSG_WAITALL;
  }

  /** @param socketAddress a struct sockaddr, at most 32 bytes; copied */
  connect(fd: number, user: number, socketAddress: Uint8Array): void {
    const entry = this.#entry(OP_CONNECT, fd, user, KIND_CONNECT);
    this.#addresses.set(socketAddress, entry * 32);
    this.#setAddress(this.#entries32, entry * 16 + 4, Number(this.#addressesAt) + entry * 32);
    this.#entries32[entry * 16 + 2] = socketAddress.length;
  }

  /** Cancels what is under way on a descriptor. */
  cancelAll(fd: number, user: number): void {
    const entry = this.#entry(OP_ASYNC_CANCEL, fd, user, KIND_CANCEL);
    this.#entries32[entry * 16 + 7] = CANCEL_ALL | CANCEL_FD;
  }

  /** Cancels one request of `user`. */
  cancel(user: number, kind: number): void {
    const entry = this.#entry(OP_ASYNC_CANCEL, -1, user, KIND_CANCEL);
    this.#entries32[entry * 16 + 4] = user;
    this.#entries32[entry * 16 + 5] = kind;
  }

  close(fd: number, user: number): void {
    this.#entry(OP_CLOSE, fd, user, KIND_CLOSE);
  }

  /** Hands new requests to the kernel and lets it finish what it can; `wait`: until something completes, or `waitUs`. */
  enter(wait: boolean): void {
    this.#publishBuffers();
    Atomics.store(this.#ring32, this.#sqTail, this.#tail);
    const submit = (this.#tail - Atomics.load(this.#ring32, this.#sqHead)) >>> 0;
    const result = wait
      ? this.#kernel.enter(this.fd, submit, 1, ENTER_GETEVENTS | ENTER_EXT_ARG, this.#waitArgument, 24n)
      : this.#kernel.enter(this.fd, submit, 0, ENTER_GETEVENTS, 0n, 0n);
    if (result >= 0) this.#stalled = 0;
    else this.#checkStalled();
  }

  /** A wait that ran out or was interrupted is no failure; a ring that takes nothing any more is. */
  #checkStalled(): void {
    const errno = this.#kernel.lastError();
    if (errno === ETIME || errno === EINTR) return;
    this.#stalled += 1;
    if (this.#stalled > 1000 || (errno !== EAGAIN && errno !== EBUSY))
      throw this.#kernel.failed('io_uring_enter');
  }

  /** Hands out all completions that are there; how many there were. */
  reap(handler: CompletionHandler): number {
    const words = this.#ring32;
    let head = words[this.#cqHead]!;
    const tail = Atomics.load(words, this.#cqTail);
    const count = (tail - head) >>> 0;
    while (head !== tail) {
      const at = this.#cqes + (head & this.#cqMask) * 4;
      const user = words[at]!;
      const kind = words[at + 1]!;
      const result = words[at + 2]!;
      const flags = words[at + 3]!;
      head = (head + 1) | 0;
      Atomics.store(words, this.#cqHead, head);
      handler(user, kind, result, flags);
    }
    return count;
  }

  /** Ends the ring. Everything that it was asked for must have completed. */
  end(): void {
    this.#kernel.libc.close(this.fd);
    this.#kernel.libc.close(this.eventFd);
  }
}

function pages(bytes: number): number {
  return (bytes + 4095) & ~4095;
}
