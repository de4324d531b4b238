import type { Kernel } from './uring-kernel.ts';
import type { CompletionHandler, Ring } from './uring-ring.ts';

const UV_POLL = 8;
const UV_READABLE = 1;

/** After this long without handing back to Node, timers and other sockets get their turn, ms. */
const turnMs = 0.5;
/** With nothing to do, the ring is waited for this long before libuv waits for its signal, µs. Other sockets wait meanwhile. */
export const lingerUs = 100;
/** After so many such waits in a row in vain … */
const missesMax = 8;
/** … so many are left out: where answers take longer, waiting twice costs more than it saves. */
const skipsAfterMisses = 8;

/**
 * Drives a ring inside Node's event loop. While there is work, a turn asks the ring again and again for at most
 * `turnMs`, one system call for all that is to be sent and all that has come; then the loop goes round once. Without work
 * libuv waits for the ring's event descriptor together with everything else, so an idle process sleeps.
 */
export class RingTurns {
  readonly #kernel: Kernel;
  readonly #ring: Ring;
  readonly #flush: () => void;
  readonly #complete: CompletionHandler;
  readonly #poll: Buffer;
  readonly #pollAt: bigint;
  readonly #onReadable: bigint;
  #state: 'idle' | 'scheduled' | 'turning' | 'closed' = 'idle';
  /** What completes is signalled. */
  #signalled = false;
  #holdsProcess = true; // as libuv's handles do at first
  #misses = 0;
  #skips = 0;
  #users = 0;

  /** @param flush queues what is to be sent; may be called often */
  constructor(kernel: Kernel, ring: Ring, flush: () => void, complete: CompletionHandler) {
    this.#kernel = kernel;
    this.#ring = ring;
    this.#flush = flush;
    this.#complete = complete;
    const { functions, lib } = kernel.uv;
    this.#poll = Buffer.allocUnsafeSlow(Number(functions.uv_handle_size(UV_POLL)));
    this.#pollAt = kernel.addressOf(this.#poll);
    if (functions.uv_poll_init(kernel.eventLoop(), this.#pollAt, ring.eventFd) !== 0) {
      throw new Error('libuv cannot wait for an io_uring');
    }
    // Called by libuv outside of Node's bookkeeping of promises and ticks, so it only asks for a turn.
    this.#onReadable = lib.registerCallback(
      { arguments: ['pointer', 'int32', 'int32'], return: 'void' },
      () => {
        ring.takeSignal();
        this.wake();
      },
    );
    // It is never stopped: without signals the descriptor stays silent, and to start and stop costs a system call each.
    functions.uv_poll_start(this.#pollAt, UV_READABLE, this.#onReadable);
    this.#holdProcess();
    alive.add(this);
  }

  /** While there are users the process stays alive. */
  addUser(): void {
    this.#users += 1;
  }

  removeUser(): void {
    this.#users -= 1;
  }

  /** Something is to be done: a turn comes soon. */
  wake(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'scheduled';
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    if (this.#state === 'closed') return;
    this.#signal(false);
    this.#state = 'turning';
    const untilMs = performance.now() + turnMs;
    let busy = true;
    try {
      do {
        busy = this.#look();
      } while (busy && performance.now() < untilMs);
      if (busy) {
        this.#flush();
        this.#ring.enter(false); // what is ready leaves before Node takes over
      }
    } finally {
      this.#rest(busy);
    }
  };

  /** True: something had completed. False: nothing has, and from now on it is signalled. */
  #look(): boolean {
    if (this.#skips > 0) this.#skips -= 1;
    else if (this.#ask(true)) {
      this.#misses = 0;
      return true;
    } else {
      this.#misses += 1;
      if (this.#misses >= missesMax) this.#skips = skipsAfterMisses;
    }
    this.#signal(true);
    if (!this.#ask(false)) return false; // what came before the signals were on
    this.#signal(false);
    return true;
  }

  /** True: something had completed. */
  #ask(wait: boolean): boolean {
    this.#flush();
    this.#ring.enter(wait);
    return this.#ring.reap(this.#complete) > 0;
  }

  #rest(busy: boolean): void {
    if (this.#state !== 'turning') return; // closed meanwhile
    this.#state = 'idle';
    this.#holdProcess();
    if (busy) this.wake();
  }

  #holdProcess(): void {
    const holds = this.#users > 0;
    if (holds === this.#holdsProcess) return;
    this.#holdsProcess = holds;
    const { functions } = this.#kernel.uv;
    if (holds) functions.uv_ref(this.#pollAt);
    else functions.uv_unref(this.#pollAt);
  }

  #signal(on: boolean): void {
    if (on === this.#signalled) return;
    this.#signalled = on;
    if (on) this.#ring.startSignals();
    else this.#ring.stopSignals();
  }

  /** No turn comes any more. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#kernel.uv.functions.uv_poll_stop(this.#pollAt);
    this.#kernel.uv.functions.uv_close(this.#pollAt, null);
    this.#ring.end();
  }
}

/** Holds what libuv and the kernel point to: memory and callbacks of a ring live as long as the process. */
const alive = new Set<RingTurns>();
