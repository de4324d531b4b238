import type { Kernel } from './uring-kernel.ts';

/** In bytes, in libuv 1's uv_loop_t on 64 bits, which belongs to its binary interface: see uv.h and uv/unix.h. */
const backendFdAt = 64;
const watcherQueueAt = 88;
const looked = 104;

/** Longest delay of a timer, ms. */
const longestMs = 2 ** 31 - 1;

/**
 * What is to be known of Node's event loop by someone who sleeps in its place. Throws if Node's inside is not as it
 * should be for that.
 */
export class NodeLoop {
  /** Readable when one of libuv's sockets, pipes, signals or finished jobs waits to be dealt with. */
  readonly fd: number;
  /** Runs what promises and `process.nextTick` have waiting, as Node does between two callbacks of libuv. */
  readonly runTicks: () => void;
  readonly #kernel: Kernel;
  readonly #loop: bigint;
  readonly #words: Int32Array;
  readonly #queueLow: number;
  readonly #queueHigh: number;
  readonly #hold: NodeJS.Timeout;
  #holds = true;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#loop = kernel.eventLoop();
    this.fd = kernel.uv.uv_backend_fd(this.#loop);
    this.#words = kernel.viewOf(this.#loop, looked);
    if (process.versions.uv.split('.')[0] !== '1' || this.#words[backendFdAt >> 2] !== this.fd) {
      throw new Error(`libuv ${process.versions.uv} keeps its loop in another form than is known`);
    }
    const queue = this.#loop + BigInt(watcherQueueAt);
    this.#queueLow = Number(BigInt.asIntN(32, queue));
    this.#queueHigh = Number(BigInt.asIntN(32, queue >> 32n));
    const ticks: unknown = Reflect.get(process, '_tickCallback');
    if (!isProcedure(ticks)) throw new Error('Node cannot be asked to run what promises have waiting');
    this.runTicks = ticks;
    this.#hold = setInterval(() => {}, longestMs);
    this.holdProcess(false);
  }

  /**
   * How long nobody but the ring has anything to do, ms; below zero: for ever. 0: the loop must go round now. Of sockets that libuv has
   * not handed to the kernel yet, `fd` would not tell.
   */
  waitMs(): number {
    const queued = watcherQueueAt >> 2;
    if (this.#words[queued] !== this.#queueLow || this.#words[queued + 1] !== this.#queueHigh) return 0;
    const { uv } = this.#kernel;
    uv.uv_update_time(this.#loop); // the loop may not have gone round for long
    return uv.uv_backend_timeout(this.#loop);
  }

  /** For use within a callback of `setImmediate`: it does not count as work to be done any more, while others' do. */
  forgetImmediate(): void {
    clearImmediate(setImmediate(this.runTicks)); // Node only counts again when one is taken away
  }

  /** Whether the process lives on although libuv has nothing left to do. */
  holdProcess(holds: boolean): void {
    if (holds === this.#holds) return;
    this.#holds = holds;
    if (holds) this.#hold.ref();
    else this.#hold.unref();
  }
}

function isProcedure(value: unknown): value is () => void {
  return typeof value === 'function';
}
