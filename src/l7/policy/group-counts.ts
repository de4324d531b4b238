import type { RatePolicy } from './policy.ts';

/**
 * Limits by client address hold for all workers of a process group together: each counts for itself and tells the others, a few times a
 * second, what it has counted. Nobody waits for that, so what is counted meanwhile is known late: see `reportMs`.
 */

/** What a worker has counted since its last report. Plain values, sent from process to process. */
export type CountReport = {
  /** Requests taken of rates, by the limit's key. */
  readonly rates: readonly RateTaken[];
  /** Places for requests under way, taken (above 0) or given back, by the limit's key. */
  readonly places: readonly PlaceChange[];
};

/** With the limit that it was taken of, for who hears may not know the key, or not have looked at it for long. */
export type RateTaken = readonly [key: string, taken: number, rate: SharedRate];
export type SharedRate = Pick<RatePolicy, 'perSecond' | 'burst'>;
export type PlaceChange = readonly [key: string, change: number];

/** So long counts are gathered before they are told, ms. */
export const reportMs = 50;
/** Keys of each kind in one report. Beyond, what further rates' keys have taken is not told; changes of places wait for the next report. */
export const reportKeysMax = 4_096;

/** What one worker has to tell. */
export class CountReporter {
  readonly #after: (ms: number, callback: () => void) => () => void;
  readonly #send: (report: CountReport) => void;
  #rates = new Map<string, { taken: number; readonly rate: SharedRate }>();
  #places = new Map<string, number>();
  #cancel: (() => void) | undefined;

  /** @param after as Clock.after */
  constructor(after: (ms: number, callback: () => void) => () => void, send: (report: CountReport) => void) {
    this.#after = after;
    this.#send = send;
  }

  tookRate(key: string, { perSecond, burst }: SharedRate): void {
    const known = this.#rates.get(key);
    if (known !== undefined) known.taken += 1;
    else if (this.#rates.size < reportKeysMax) this.#rates.set(key, { taken: 1, rate: { perSecond, burst } });
    this.#schedule();
  }

  changedPlaces(key: string, change: number): void {
    const sum = (this.#places.get(key) ?? 0) + change;
    if (sum === 0) this.#places.delete(key);
    else this.#places.set(key, sum);
    this.#schedule();
  }

  #schedule(): void {
    this.#cancel ??= this.#after(reportMs, () => this.#report());
  }

  #report(): void {
    this.#cancel = undefined;
    const rates = [...this.#rates].map(([key, { taken, rate }]) => [key, taken, rate] as const);
    const places = [...this.#places].slice(0, reportKeysMax);
    this.#rates = new Map();
    for (const [key] of places) this.#places.delete(key);
    if (this.#places.size > 0) this.#schedule();
    if (rates.length > 0 || places.length > 0) this.#send({ rates, places });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

/** The places that each worker has, as the process knows them that they all tell. */
export class PlaceLedger<Worker> {
  readonly #byWorker = new Map<Worker, Map<string, number>>();

  take(worker: Worker, changes: readonly PlaceChange[]): void {
    let places = this.#byWorker.get(worker);
    if (places === undefined) this.#byWorker.set(worker, (places = new Map()));
    for (const [key, change] of changes) {
      const sum = (places.get(key) ?? 0) + change;
      if (sum === 0) places.delete(key);
      else places.set(key, sum);
    }
  }

  /** The worker has ended: what the others must be told, for what it had under way has ended with it. */
  leave(worker: Worker): readonly PlaceChange[] {
    const places = this.#byWorker.get(worker) ?? new Map<string, number>();
    this.#byWorker.delete(worker);
    return [...places].map(([key, count]) => [key, -count] as const);
  }

  /** What a worker that has just begun must be told. */
  get all(): readonly PlaceChange[] {
    const sums = new Map<string, number>();
    for (const places of this.#byWorker.values()) {
      for (const [key, count] of places) sums.set(key, (sums.get(key) ?? 0) + count);
    }
    return [...sums];
  }
}
