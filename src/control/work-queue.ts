import type { Clock } from '../base/clock.ts';

/** Longest wait of one timer, ms: a signed 32-bit number. */
const timerMsMax = 2 ** 31 - 1;

/**
 * Keys that need a pass. Added twice: runs once. Added while running: runs again after.
 * Bound: live keys; nothing but the key is kept, so a burst of events costs no memory.
 */
export class WorkQueue<K extends string = string> {
  /** By rank, the highest first; within a rank insertion order is service order. A key may be here and in #active. */
  #dirty: ReadonlyMap<number, Set<K>> = new Map();
  readonly #active = new Set<K>(); // held by a worker
  readonly #later = new Map<K, { readonly dueMs: number; readonly cancel: () => void }>();
  readonly #waiting: ((key: K | undefined) => void)[] = []; // at most one per worker
  readonly #clock: Clock;
  readonly #rankOf: (key: K) => number;
  #handing = false;

  /** @param rankOf asked when a key is added: those of a higher rank are served first */
  constructor(clock: Clock, rankOf: (key: K) => number = () => 0) {
    this.#clock = clock;
    this.#rankOf = rankOf;
  }

  /** Keys that are dirty; those that a worker holds and those due later are not counted. */
  get size(): number {
    let count = 0;
    for (const keys of this.#dirty.values()) count += keys.size;
    return count;
  }

  add(key: K): void {
    this.#rankedAs(this.#rankOf(key), key).add(key);
    this.#hand();
  }

  /** The keys of that rank; in those of other ranks the key is no more. */
  #rankedAs(rank: number, key: K): Set<K> {
    for (const [other, keys] of this.#dirty) if (other !== rank) keys.delete(key);
    const known = this.#dirty.get(rank);
    if (known !== undefined) return known;
    const keys = new Set<K>();
    const used = [...this.#dirty].filter(([, others]) => others.size > 0);
    this.#dirty = new Map([...used, [rank, keys] as const].toSorted(([a], [b]) => b - a));
    return keys;
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
    for (const keys of this.#dirty.values()) {
      for (const key of keys) {
        if (this.#active.has(key)) continue;
        keys.delete(key);
        this.#active.add(key);
        return key;
      }
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
    this.#dirty = new Map();
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
