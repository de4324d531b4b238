import type { Clock } from '../base/clock.ts';

/** Chance as a dependency: a number in [0, 1). */
export type Random = () => number;

export type BackoffLimits = {
  /** Delay after the first failure, ms. */
  readonly firstMs: number;
  /** The delay doubles up to this, ms. */
  readonly maxMs: number;
};

/** Reconnects of list and watch. */
export const connectBackoff: BackoffLimits = { firstMs: 50, maxMs: 10_000 };
/** Retries of one failing key. */
export const retryBackoff: BackoffLimits = { firstMs: 5, maxMs: 60_000 };

/** Delay before retry number `failures` (1 is the first), with up to a half taken off at random against herds. */
export function backoffMs(failures: number, limits: BackoffLimits, random: Random): number {
  const full = Math.min(limits.maxMs, limits.firstMs * 2 ** Math.min(failures - 1, 30));
  return full * (1 - random() / 2);
}

/**
 * Counts failures per key and gives the delay until the next try. Bound: live failing keys; `forget` frees one.
 */
export class FailureCounts<K> {
  readonly #failures = new Map<K, number>();
  readonly #limits: BackoffLimits;
  readonly #random: Random;

  constructor(limits: BackoffLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Counts one failure; returns the delay before the next try, ms. */
  fail(key: K): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    return backoffMs(failures, this.#limits, this.#random);
  }

  failuresOf(key: K): number {
    return this.#failures.get(key) ?? 0;
  }

  forget(key: K): void {
    this.#failures.delete(key);
  }
}

/** What the control loops need from outside to be deterministic in tests. */
export type Timing = {
  readonly clock: Clock;
  readonly random: Random;
};
