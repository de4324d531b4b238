import { NodeLoop } from './uring-loop.ts';
import type { Kernel } from './uring-kernel.ts';
import { type CompletionHandler, KIND_POLL, type Ring } from './uring-ring.ts';

/** Of the ring's poll of libuv's descriptor. */
const pollUser = -1;

/** Who waits to hear that bytes have gone, waits so long at most where nothing else comes, ms. Under load something always comes sooner. */
const confirmMs = 0.1;

/**
 * Under load the process sleeps till about as much has come as came the last time, so long at most, ms: one look, one walk through
 * JavaScript and one system call for all of it. Where little comes, the first thing that does wakes it.
 */
const gatherMs = 0.05;
const gatheredMin = 4;
const gatheredMax = 64;

/** What is done in a turn. */
export type TurnHooks = {
  /** Queues what is to be sent. False: there was nothing to do. */
  readonly flush: () => boolean;
  readonly complete: CompletionHandler;
  /** Somebody waits for `confirm`. Success is not told by itself: we would sleep until something else comes. */
  readonly awaitsConfirmation: () => boolean;
  /** All that the ring has failed at has been told: the rest of what was sent quietly has gone. */
  readonly confirm: () => void;
};

/**
 * Drives a ring inside Node's event loop, with one system call for all that is to be sent and the wait for what comes. While
 * there are users it is the ring that the process sleeps in, not libuv: libuv's own descriptor is polled by the ring, and its next timer
 * bounds the wait. A turn lasts until libuv has something to do; then the loop goes round once.
 */
export class RingTurns {
  readonly #ring: Ring;
  readonly #loop: NodeLoop;
  readonly #hooks: TurnHooks;
  readonly #complete: CompletionHandler;
  #state: 'idle' | 'scheduled' | 'turning' | 'closed' = 'idle';
  /** The ring's poll of libuv's descriptor is under way. */
  #polling = false;
  #libuvReady = false;
  #users = 0;
  #reapedMs = 0;
  /** How much came at the last look. */
  #gathered = 0;

  constructor(kernel: Kernel, ring: Ring, hooks: TurnHooks) {
    this.#ring = ring;
    this.#loop = new NodeLoop(kernel);
    this.#hooks = hooks;
    this.#complete = (user, kind, result, flags) => {
      if (kind === KIND_POLL) {
        this.#polling = false;
        this.#libuvReady = true;
      } else hooks.complete(user, kind, result, flags);
    };
    alive.add(ring);
  }

  /** Monotonic, ms. What is told at once has come at one time: the clock is read once for all of it. */
  readonly nowMs = (): number => (this.#state === 'turning' ? this.#reapedMs : performance.now());

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
    this.#state = 'turning';
    this.#loop.holdProcess(true);
    this.#loop.forgetImmediate();
    try {
      this.#reap();
      this.#libuvReady = false; // it has looked since
      this.#work();
    } finally {
      this.#rest();
    }
  };

  #work(): void {
    const { flush } = this.#hooks;
    while (this.#isTurning()) {
      if (!this.#polling) {
        this.#polling = true;
        this.#ring.poll(this.#loop.fd, pollUser);
      }
      do this.#loop.runTicks();
      while (flush());
      if (!this.#isTurning()) return;
      const waitMs = this.#libuvReady || this.#users === 0 ? 0 : this.#longestWaitMs();
      if (waitMs !== 0 && this.#gathered >= gatheredMin) {
        this.#ring.enter(gatherMs, Math.min(this.#gathered, gatheredMax));
      } else if (waitMs !== 0 || this.#ring.hasNews) this.#ring.enter(waitMs);
      if (waitMs === 0) return; // what has completed meanwhile is told in the next turn
      this.#reap();
    }
  }

  #longestWaitMs(): number {
    const waitMs = this.#loop.waitMs();
    if (!this.#hooks.awaitsConfirmation()) return waitMs;
    return waitMs < 0 ? confirmMs : Math.min(waitMs, confirmMs);
  }

  /** Whoever is called may close us. */
  #isTurning(): boolean {
    return this.#state === 'turning';
  }

  #reap(): void {
    this.#reapedMs = performance.now();
    this.#gathered = this.#ring.reap(this.#complete);
    if (this.#ring.tellsAll) this.#hooks.confirm();
  }

  #rest(): void {
    if (!this.#isTurning()) return;
    this.#state = 'idle';
    if (this.#users > 0) this.wake();
    else this.#loop.holdProcess(false);
  }

  /** No turn comes any more. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#loop.holdProcess(false);
    this.#ring.end();
  }
}

/** Holds what the kernel points to: a ring's memory lives as long as the process. */
const alive = new Set<Ring>();
