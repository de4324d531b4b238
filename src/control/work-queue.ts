import type { Clock } from '../base/clock.ts';

/** Longest wait of one timer, ms: a signed 32-bit number. */
const timerMsMax = 2 ** 31 - 1;

/**
 * Keys that need a pass. Added twice: runs once. Added while running: runs again after.
 * Bound: live keys; nothing but the key is kept, so a burst of events costs no memory.
 */
export class WorkQueue<K extends string = string> {
  readonly #dirty = new Set<K>(); // insertion order is service order; a key may be here and in #active
  readonly #active = new Set<K>(); // held by a worker
  readonly #later = new Map<K, { readonly dueMs: number; readonly cancel: () => void }>();
  readonly #waiting: ((key: K | undefined) => void)[] = []; // at most one per worker
  readonly #clock: Clock;
  #handing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keys that are dirty; those that a worker holds and those due later are not counted. */
  get size(): number {
    return this.#dirty.size;
  }

  add(key: K): void {
    this.#dirty.add(key);
    this.#hand();
  }

  /** Adds the key after `ms`. Of two such calls the earlier due time wins. */
  addAfter(key: K, ms: number): void {
    // A timer can hold no more; a key that waits longer is only looked at in between.
    const waitMs = Math.min(ms, timerMsMax);
    const dueMs = this.#clock.monotonicMs() + waitMs;
    const pending = this.#later.get(key);
    if (pending !== undefined) {
      if (pending.dueMs <= dueMs) return;
      pending.cancel();
    }
    const cancel = this.#clock.after(waitMs, () => {
      this.#later.delete(key);
      this.add(key);
    });
    this.#later.set(key, { dueMs, cancel });
  }

  take(): K | undefined {
    for (const key of this.#dirty) {
      if (this.#active.has(key)) continue;
      this.#dirty.delete(key);
      this.#active.add(key);
      return key;
    }
    return undefined;
  }

  /** The worker that took `key` is through with it. */
  done(key: K): void {
    this.#active.delete(key);
    this.#hand();
  }

  /** Waits for a key; undefined after `close`. */
  next(): Promise<K | undefined> {
    const key = this.take();
    if (key !== undefined) return Promise.resolve(key);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Forgets everything and lets all waiting workers go. */
  close(): void {
    for (const { cancel } of this.#later.values()) cancel();
    this.#later.clear();
    this.#dirty.clear();
    for (const resolve of this.#waiting.splice(0)) resolve(undefined);
  }

  /** Hands out keys after the current turn, so that one list or burst of events makes one pass of each key. */
  #hand(): void {
    if (this.#handing || this.#waiting.length === 0) return;
    this.#handing = true;
    queueMicrotask(() => {
      this.#handing = false;
      while (this.#waiting.length > 0) {
        const key = this.take();
        if (key === undefined) return;
        this.#waiting.shift()?.(key);
      }
    });
  }
}
