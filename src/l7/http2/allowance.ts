/** How often a peer may do what is cheap for it and dear for us: `burst` at once, then so many a second. */
export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #atMs = 0;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** False: it is used up. */
  take(nowMs: number): boolean {
    if (this.#left < 1) {
      if (this.#atMs !== 0) this.give(((nowMs - this.#atMs) * this.#perSecond) / 1000);
      this.#atMs = nowMs;
      if (this.#left < 1) return false;
    } else if (this.#atMs === 0) this.#atMs = nowMs;
    this.#left -= 1;
    return true;
  }

  /** For work that the peer has asked for in earnest. */
  give(count: number): void {
    this.#left = Math.min(this.#burst, this.#left + count);
  }
}
