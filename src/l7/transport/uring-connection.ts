import type { Connection, ConnectionEnds, ConnectionHandler } from './transport.ts';
import { errorName } from './uring-kernel.ts';
import {
  COMPLETION_BUFFER,
  COMPLETION_MORE,
  ECANCELED,
  EAGAIN,
  ENOBUFS,
  KIND_CONNECT,
  KIND_RECV,
  KIND_SEND,
  type Ring,
  readBufferBytes,
  readBuffers,
} from './uring-ring.ts';
import { highWaterBytes, type SendMemory, type Slab, slabBytes } from './uring-send-memory.ts';

/** What a connection needs of its transport. */
export type UringHost = {
  readonly ring: Ring;
  readonly sendMemory: SendMemory;
  /** `settle` is called before the ring is entered next. */
  schedule(connection: UringConnection): void;
  /** `confirmSent` is called when the ring has told all that has failed. */
  confirmLater(connection: UringConnection): void;
  /** Read buffers that paused connections keep. */
  buffersHeld: number;
  /** undefined: it is not connected any more. */
  endsOf(fd: number): ConnectionEnds | undefined;
  /** Ends our direction of a socket. */
  shutdown(fd: number): void;
  /** The descriptor is closed and no completion will come any more. */
  forget(connection: UringConnection): void;
};

/** Bytes kept for later. `buffer`: the read buffer that they still lie in, -1 if copied. */
type Held = { readonly bytes: Buffer; readonly buffer: number };

/** As many bytes are tried at once: a small answer nearly always fits into the socket, and then nothing needs to complete. */
const sentAtOnceMax = slabBytes / 2;

/** So many read buffers may be kept; bytes beyond are copied, so that other connections can read on. */
const buffersHeldMax = readBuffers / 2;

/**
 * A TCP connection on the ring. Reads come by one request that stays (multishot); bytes to send are copied into slabs and
 * leave in the order of `write`, one send at a time, all that gathered in a turn together. The descriptor is closed when
 * nothing is under way on it any more, so a late completion never meets another connection.
 */
export class UringConnection implements Connection {
  readonly copies = true;
  readonly keepsNothing = true;
  readonly remoteAddress: string;
  readonly user: number;
  /** Waits for `settle`. */
  scheduled = false;
  readonly #host: UringHost;
  #fd: number;
  #handler: ConnectionHandler | undefined;
  #state: 'connecting' | 'open' | 'destroyed' | 'closed' = 'connecting';
  #error: string | undefined;
  #requests = 0; // under way in the kernel
  #receiving = false;
  #cancelling = false; // the receive
  #paused = false;
  /** What came in while paused, until the kernel heard of it: at most what the ring's read buffers hold. */
  #held: Held[] = [];
  #endHeld = false;
  #readEnded = false;
  readonly #slabs: Slab[] = [];
  #sentTo = 0; // in the first slab
  #filledTo = 0; // in the last slab
  #queuedBytes = 0;
  #sending = false;
  /** Of the send under way: all of them have gone unless it completes. 0: it completes in any case. */
  #unconfirmedBytes = 0;
  #full = false; // the socket: it took less than was to be sent at once
  #drainAwaited = false;
  #ending = false;
  #finished = false;
  #atTurnEnd: (() => void)[] = [];

  constructor(host: UringHost, user: number, fd: number, remoteAddress: string) {
    this.#host = host;
    this.user = user;
    this.#fd = fd;
    this.remoteAddress = remoteAddress;
  }

  // === the core's side

  ends(): ConnectionEnds | undefined {
    return this.#state === 'open' ? this.#host.endsOf(this.#fd) : undefined;
  }

  write(data: Buffer | string): boolean {
    if (this.#ending || this.#isOver) return true;
    if (!this.#copy(data)) {
      this.#fail('ENOBUFS');
      return true;
    }
    this.#schedule();
    if (this.#queuedBytes <= highWaterBytes) return true;
    this.#drainAwaited = true;
    return false;
  }

  atTurnEnd(callback: () => void): void {
    this.#atTurnEnd.push(callback);
    this.#schedule();
  }

  end(): void {
    if (this.#ending || this.#isOver) return;
    this.#ending = true;
    this.#schedule();
  }

  destroy(): void {
    if (this.#isOver) return;
    this.#cancel();
    this.#state = 'destroyed';
    for (const held of this.#held) this.#release(held);
    this.#held = [];
    if (!this.#sending) this.#freeSlabs();
    this.#schedule(); // also brings a turn
  }

  /** What is under way then completes soon. One by one: the kernel finds a descriptor's requests only by looking at all that there are. */
  #cancel(): void {
    if (this.#requests === 0) return;
    const { ring } = this.#host;
    if (this.#receiving && !this.#cancelling) ring.cancel(this.user, KIND_RECV);
    if (this.#sending && this.#unconfirmedBytes === 0) ring.cancel(this.user, KIND_SEND);
    if (this.#state === 'connecting') ring.cancel(this.user, KIND_CONNECT);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#schedule();
  }

  get #isOver(): boolean {
    return this.#state === 'destroyed' || this.#state === 'closed';
  }

  // === the transport's side

  /** Takes over an accepted socket. */
  open(handler: ConnectionHandler): void {
    this.#handler = handler;
    this.#state = 'open';
    this.#schedule();
  }

  /** From now on `handler` hears what becomes of it. */
  belongTo(handler: ConnectionHandler): void {
    this.#handler = handler;
  }

  connect(socketAddress: Uint8Array): void {
    this.#requests += 1;
    this.#host.ring.connect(this.#fd, this.user, socketAddress);
  }

  /** It never came to a socket. `onClose` comes with the next turn. */
  failBeforeOpen(error: string): void {
    this.#fail(error);
  }

  /** A name was looked up meanwhile; false: the connection was given up before. */
  attach(fd: number): boolean {
    if (this.#isOver) return false;
    this.#fd = fd;
    return true;
  }

  /** Does what gathered since the last time. */
  settle(): void {
    this.scheduled = false;
    if (this.#atTurnEnd.length > 0) this.#endTurn();
    if (this.#isOver) {
      this.#closeWhenQuiet();
      return;
    }
    if (this.#state === 'connecting') return;
    if (!this.#paused) this.#deliverHeld();
    if (this.#isOver) {
      this.#closeWhenQuiet();
      return;
    }
    this.#receive();
    this.#send();
    this.#finish();
  }

  #endTurn(): void {
    const callbacks = this.#atTurnEnd;
    this.#atTurnEnd = [];
    this.scheduled = true; // what they write leaves with this call
    for (const callback of callbacks) callback();
    this.scheduled = false;
  }

  complete(kind: number, result: number, flags: number): void {
    if ((flags & COMPLETION_MORE) === 0) this.#requests -= 1;
    if (kind === KIND_RECV) this.#onReceived(result, flags);
    else if (kind === KIND_SEND) this.#onSent(result);
    else if (kind === KIND_CONNECT) this.#onConnected(result);
    if (this.#isOver) this.#closeWhenQuiet();
  }

  #schedule(): void {
    if (!this.scheduled) this.#host.schedule(this);
  }

  #onConnected(result: number): void {
    if (this.#isOver) return;
    if (result < 0) {
      this.#fail(errorName(-result));
      return;
    }
    this.#state = 'open';
    this.#schedule();
    this.#handler?.onConnect('');
  }

  #receive(): void {
    if (this.#receiving || this.#paused || this.#readEnded || this.#isOver) return;
    this.#receiving = true;
    this.#cancelling = false;
    this.#requests += 1;
    this.#host.ring.receive(this.#fd, this.user);
  }

  #onReceived(result: number, flags: number): void {
    const { ring } = this.#host;
    if ((flags & COMPLETION_MORE) === 0) this.#receiving = false;
    if ((flags & COMPLETION_BUFFER) !== 0) {
      const buffer = flags >>> 16;
      const from = buffer * readBufferBytes;
      const bytes = ring.readMemory.subarray(from, from + Math.max(result, 0));
      if (!this.#onBytes(bytes, buffer)) ring.giveBack(buffer);
    }
    if (result === -ENOBUFS) ring.addBuffers();
    if (this.#isOver) return;
    if (result === 0) this.#onEnd();
    else if (result < 0 && result !== -ECANCELED && result !== -ENOBUFS) this.#fail(errorName(-result));
    if (!this.#receiving) this.#schedule();
  }

  /** True: the buffer is kept. */
  #onBytes(bytes: Buffer, buffer: number): boolean {
    if (this.#isOver || bytes.length === 0) return false;
    if (!this.#paused && this.#held.length === 0) {
      this.#handler?.onData(bytes);
      return false;
    }
    const host = this.#host;
    if (this.#receiving && !this.#cancelling && this.#paused) {
      this.#cancelling = true; // only now: many pauses end before anything comes
      host.ring.cancel(this.user, KIND_RECV);
    }
    if (host.buffersHeld >= buffersHeldMax) {
      this.#held.push({ bytes: Buffer.from(bytes), buffer: -1 });
      return false;
    }
    host.buffersHeld += 1;
    this.#held.push({ bytes, buffer });
    return true;
  }

  #onEnd(): void {
    this.#readEnded = true;
    if (this.#paused || this.#held.length > 0) this.#endHeld = true;
    else this.#announceEnd();
  }

  #deliverHeld(): void {
    while (this.#held.length > 0 && !this.#paused && !this.#isOver) {
      const held = this.#held.shift()!;
      this.#handler?.onData(held.bytes);
      this.#release(held);
    }
    if (this.#endHeld && !this.#paused && !this.#isOver) {
      this.#endHeld = false;
      this.#announceEnd();
    }
  }

  #release({ buffer }: Held): void {
    if (buffer === -1) return;
    this.#host.buffersHeld -= 1;
    this.#host.ring.giveBack(buffer);
  }

  #announceEnd(): void {
    this.#handler?.onEnd();
    if (this.#finished) this.destroy();
  }

  /** False: no memory. */
  #copy(data: Buffer | string): boolean {
    const { length } = data;
    let done = 0;
    while (done < length) {
      let slab = this.#slabs.at(-1);
      if (slab === undefined || this.#filledTo === slabBytes) {
        slab = this.#host.sendMemory.take();
        if (slab === undefined) return false;
        this.#slabs.push(slab);
        this.#filledTo = 0;
      }
      const taken = Math.min(length - done, slabBytes - this.#filledTo);
      if (typeof data !== 'string') data.copy(slab.memory, this.#filledTo, done, done + taken);
      else slab.memory.write(done === 0 ? data : data.slice(done), this.#filledTo, taken, 'latin1');
      this.#filledTo += taken;
      done += taken;
    }
    this.#queuedBytes += length;
    return true;
  }

  #send(): void {
    const slab = this.#slabs[0];
    if (this.#sending || this.#queuedBytes === 0 || slab === undefined) return;
    const until = this.#slabs.length === 1 ? this.#filledTo : slabBytes;
    const length = until - this.#sentTo;
    const { ring } = this.#host;
    this.#sending = true;
    this.#requests += 1;
    if (this.#full || length > sentAtOnceMax) {
      ring.send(this.#fd, this.user, slab.address + this.#sentTo, length);
      return;
    }
    const last = this.#ending && length === this.#queuedBytes;
    ring.sendNow(this.#fd, this.user, slab.address + this.#sentTo, length, last);
    this.#unconfirmedBytes = length;
    this.#host.confirmLater(this);
  }

  /** Something waits for what was sent quietly to have gone: an end, what is queued behind it, or who wants to write more. */
  get awaitsConfirmation(): boolean {
    if (this.#unconfirmedBytes === 0) return false;
    return this.#ending || this.#isOver || this.#drainAwaited || this.#queuedBytes > this.#unconfirmedBytes;
  }

  /** What was sent quietly and has not failed has gone. */
  confirmSent(): void {
    if (this.#unconfirmedBytes > 0) this.complete(KIND_SEND, this.#unconfirmedBytes, 0);
  }

  #onSent(result: number): void {
    this.#sending = false;
    this.#full = result < this.#unconfirmedBytes;
    this.#unconfirmedBytes = 0;
    if (this.#isOver) {
      this.#freeSlabs();
      return;
    }
    if (result < 0 && result !== -EAGAIN) {
      this.#fail(errorName(-result));
      return;
    }
    const sent = Math.max(result, 0);
    this.#sentTo += sent;
    this.#queuedBytes -= sent;
    if (this.#queuedBytes === 0) this.#freeSlabs();
    else if (this.#sentTo === slabBytes) {
      this.#host.sendMemory.give(this.#slabs.shift()!);
      this.#sentTo = 0;
    }
    if (this.#queuedBytes > 0 || this.#ending) this.#schedule();
    if (this.#drainAwaited && this.#queuedBytes <= highWaterBytes / 2) {
      this.#drainAwaited = false;
      this.#handler?.onDrain();
    }
  }

  #freeSlabs(): void {
    while (this.#slabs.length > 0) this.#host.sendMemory.give(this.#slabs.pop()!); // a new list would allocate with each send
    this.#sentTo = 0;
    this.#filledTo = 0;
    this.#queuedBytes = 0;
  }

  #finish(): void {
    if (!this.#ending || this.#finished || this.#queuedBytes > 0 || this.#isOver) return;
    this.#finished = true;
    this.#host.shutdown(this.#fd);
    this.#handler?.onFinish();
    if (this.#readEnded && !this.#endHeld) this.destroy();
  }

  #fail(error: string): void {
    if (this.#isOver) return;
    this.#error = error;
    this.destroy();
  }

  #closeWhenQuiet(): void {
    if (this.#state !== 'destroyed' || this.#requests > 0) return;
    if (this.#fd !== -1) this.#host.ring.close(this.#fd);
    this.#state = 'closed';
    this.#host.forget(this);
    this.#handler?.onClose(this.#error);
  }
}
