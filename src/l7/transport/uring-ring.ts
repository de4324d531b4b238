import type { Kernel } from './uring-kernel.ts';

/** How many entries the ring has for each direction; powers of two. */
export type RingSize = {
  /** When all are taken, they are handed to the kernel at once. */
  readonly submissions: number;
  /** The kernel keeps more aside until these are read. */
  readonly completions: number;
};
export const ordinarySize: RingSize = { submissions: 4096, completions: 16_384 };
/** Buffers that reads land in, shared by all connections. With none left a connection's reading starts anew a moment later. */
export const readBuffers = 1024;
/** So many of them are in use at first, and so many more each time that there are none left: few stay in the processor's cache. */
const readBuffersStep = 64;
/** Bytes of each: what one read may bring. */
export const readBufferBytes = 16_384;

const OP_POLL_ADD = 6;
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
const REGISTER_PBUF_RING = 22n;
/** What the ring relies on, as the kernel's answer to io_uring_setup tells it; kernels from 6.1 on have it all. */
const featureBits = {
  IORING_FEAT_SINGLE_MMAP: 1 << 0,
  IORING_FEAT_NODROP: 1 << 1,
  IORING_FEAT_FAST_POLL: 1 << 5,
  IORING_FEAT_EXT_ARG: 1 << 8,
  IORING_FEAT_CQE_SKIP: 1 << 11,
} as const;
/** In the submission ring's flags: completions wait outside of the ring, for it was full. */
const SQ_CQ_OVERFLOW = 2;
const ENTER_GETEVENTS = 1;
const ENTER_EXT_ARG = 8;
const SQE_BUFFER_SELECT = 1 << 5;
/** No completion if it succeeds. */
const SQE_QUIET = 1 << 6;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_WAITALL = 0x100;
const MSG_MORE = 0x8000;
const POLLIN = 1;
const SOCK_CLOEXEC = 0x80000;

/** What a completion belongs to; the upper half of its user data. */
export const KIND_ACCEPT = 1;
export const KIND_RECV = 2;
export const KIND_SEND = 3;
export const KIND_CONNECT = 4;
export const KIND_CANCEL = 5;
export const KIND_CLOSE = 6;
export const KIND_POLL = 7;
/** Of requests whose end nobody waits for. */
const nobody = -1;

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
export const EAGAIN = 11;
const EBUSY = 16;

export type CompletionHandler = (user: number, kind: number, result: number, flags: number) => void;

/**
 * One io_uring with its buffers for reads: its rings are memory shared with the kernel, and the only system call is
 * `enter`. For one thread. Throws when it cannot be made, with the kernel's reason.
 */
export class Ring {
  readonly fd: number;
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
  readonly #sqFlags: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqes: number;
  readonly #addresses: Uint8Array;
  readonly #addressesAt: bigint;
  readonly #buffers32: Uint32Array;
  readonly #buffers16: Uint16Array;
  readonly #buffersAt: number;
  readonly #waitArgument: bigint;
  /** Seconds and nanoseconds of the longest wait, each a word with an empty one behind it. */
  readonly #waitTime: Uint32Array;
  #tail: number;
  #bufferTail = 0;
  #buffersUsed = 0;
  #stalled = 0;
  #tellsAll = true;

  constructor(kernel: Kernel, { submissions, completions }: RingSize = ordinarySize) {
    this.#kernel = kernel;
    const parameters = kernel.map(4096);
    const view = new DataView(parameters.memory);
    const flags =
      SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
    view.setUint32(4, completions, true);
    view.setUint32(8, flags, true);
    this.fd = kernel.setup(submissions, parameters.address);
    if (this.fd < 0) throw kernel.failed('io_uring_setup');
    const offset = (at: number): number => view.getUint32(at, true);
    const lacking = missingFeature(offset(20));
    if (lacking !== undefined) {
      kernel.libc.close(this.fd);
      throw new Error(`the kernel's io_uring has no ${lacking}`);
    }
    const array = offset(64);
    const ringBytes = Math.max(array + submissions * 4, offset(100) + completions * 16);
    const ring = kernel.map(pages(ringBytes), { fd: this.fd, offset: 0n });
    const entries = kernel.map(pages(submissions * 64), { fd: this.fd, offset: 0x1000_0000n });
    this.#ring32 = new Int32Array(ring.memory);
    this.#entries8 = new Uint8Array(entries.memory);
    this.#entries16 = new Uint16Array(entries.memory);
    this.#entries32 = new Int32Array(entries.memory);
    this.#sqHead = offset(40) >> 2;
    this.#sqTail = offset(44) >> 2;
    this.#sqMask = this.#ring32[offset(48) >> 2]!;
    this.#sqFlags = offset(56) >> 2;
    this.#cqHead = offset(80) >> 2;
    this.#cqTail = offset(84) >> 2;
    this.#cqMask = this.#ring32[offset(88) >> 2]!;
    this.#cqes = offset(100) >> 2;
    for (let i = 0; i < submissions; i += 1) this.#ring32[(array >> 2) + i] = i;
    this.#tail = this.#ring32[this.#sqTail]!;
    const addresses = kernel.map(pages(submissions * 32));
    this.#addresses = new Uint8Array(addresses.memory);
    this.#addressesAt = addresses.address;
    // struct io_uring_getevents_arg at 2048, the struct __kernel_timespec that it points to at 2080.
    view.setBigUint64(2048 + 16, parameters.address + 2080n, true);
    this.#waitTime = new Uint32Array(parameters.memory, 2080, 4);
    this.#waitArgument = parameters.address + 2048n;
    const buffers = kernel.map(readBuffers * readBufferBytes);
    const list = kernel.map(pages(readBuffers * 16));
    this.readMemory = Buffer.from(buffers.memory);
    this.#buffersAt = Number(buffers.address); // below 2^48, so exact
    this.#buffers32 = new Uint32Array(list.memory);
    this.#buffers16 = new Uint16Array(list.memory);
    view.setBigUint64(1024, list.address, true); // struct io_uring_buf_reg; group 0
    view.setUint32(1032, readBuffers, true);
    this.#register(REGISTER_PBUF_RING, parameters.address + 1024n);
    this.addBuffers();
  }

  #register(what: bigint, argument: bigint): void {
    if (this.#kernel.register(this.fd, what, argument, 1n) === 0) return;
    const error = this.#kernel.failed(`io_uring_register (${what})`);
    this.#kernel.libc.close(this.fd);
    throw error;
  }

  /** There were too few read buffers: gives the kernel more, if there are any. */
  addBuffers(): void {
    const until = Math.min(this.#buffersUsed + readBuffersStep, readBuffers);
    for (; this.#buffersUsed < until; this.#buffersUsed += 1) this.giveBack(this.#buffersUsed);
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
    while (((this.#tail - Atomics.load(this.#ring32, this.#sqHead)) | 0) > this.#sqMask) this.enter(0);
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

  /**
   * Sends bytes as far as they can go at once. Nothing completes if all of them have gone when the ring has taken the request
   * (see `tellsAll`); else it completes with how many, or EAGAIN for none.
   * @param last the end of our direction follows at once: the last packet waits for it, so that one carries both
   */
  sendNow(fd: number, user: number, address: number, length: number, last: boolean): void {
    const entry = this.#entry(OP_SEND, fd, user, KIND_SEND);
    this.#entries8[entry * 64 + 1] = SQE_QUIET;
    this.#setAddress(this.#entries32, entry * 16 + 4, address);
    this.#entries32[entry * 16 + 6] = length;
    const flags = MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT;
    this.#entries32[entry * 16 + 7] = last ? flags | MSG_MORE : flags;
    this.#tellsAll = false;
  }

  /** Completes once, when there is something to read. */
  poll(fd: number, user: number): void {
    const entry = this.#entry(OP_POLL_ADD, fd, user, KIND_POLL);
    this.#entries32[entry * 16 + 7] = POLLIN;
  }

  /** @param socketAddress a struct sockaddr, at most 32 bytes; copied */
  connect(fd: number, user: number, socketAddress: Uint8Array): void {
    const entry = this.#entry(OP_CONNECT, fd, user, KIND_CONNECT);
    this.#addresses.set(socketAddress, entry * 32);
    this.#setAddress(this.#entries32, entry * 16 + 4, Number(this.#addressesAt) + entry * 32);
    this.#entries32[entry * 16 + 2] = socketAddress.length;
  }

  /** Cancels one request of `user`, which then completes; this request itself does not. */
  cancel(user: number, kind: number): void {
    const entry = this.#entry(OP_ASYNC_CANCEL, -1, nobody, KIND_CANCEL);
    this.#entries8[entry * 64 + 1] = SQE_QUIET;
    this.#entries32[entry * 16 + 4] = user;
    this.#entries32[entry * 16 + 5] = kind;
  }

  /** Closes a descriptor after all that was asked before; nothing completes. */
  close(fd: number): void {
    const entry = this.#entry(OP_CLOSE, fd, nobody, KIND_CLOSE);
    this.#entries8[entry * 64 + 1] = SQE_QUIET;
  }

  /** There are requests that the kernel has not taken. */
  get hasNews(): boolean {
    return this.#tail !== Atomics.load(this.#ring32, this.#sqHead);
  }

  /**
   * The kernel has taken all that was sent, and no completion waits outside of the ring: what `reap` has not brought has not
   * failed.
   */
  get tellsAll(): boolean {
    return this.#tellsAll;
  }

  /**
   * Hands new requests to the kernel and lets it finish what it can.
   * @param waitMs then waits for completions: so long at most, to a microsecond, or, below zero, for ever
   * @param least so many completions, of which fewer may be there when the time is over
   */
  enter(waitMs: number, least = 1): void {
    this.#publishBuffers();
    Atomics.store(this.#ring32, this.#sqTail, this.#tail);
    const submit = (this.#tail - Atomics.load(this.#ring32, this.#sqHead)) >>> 0;
    const { fd } = this;
    let result: number;
    if (waitMs > 0) {
      this.#waitTime[0] = Math.floor(waitMs / 1000);
      this.#waitTime[2] = Math.round((waitMs % 1000) * 1000) * 1000;
      const flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
      result = this.#kernel.enter(fd, submit, least, flags, this.#waitArgument, 24n);
    } else {
      result = this.#kernel.enter(fd, submit, waitMs === 0 ? 0 : 1, ENTER_GETEVENTS, 0n, 0n);
    }
    const overflown = (Atomics.load(this.#ring32, this.#sqFlags) & SQ_CQ_OVERFLOW) !== 0;
    this.#tellsAll = !this.hasNews && !overflown;
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
  }
}

/** The first that is not among `bits`; undefined: all are. */
export function missingFeature(bits: number): string | undefined {
  return Object.entries(featureBits).find(([, bit]) => (bits & bit) === 0)?.[0];
}

function pages(bytes: number): number {
  return (bytes + 4095) & ~4095;
}
