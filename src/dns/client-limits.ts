/** Clients that are counted at a time; one more takes the place of the one of its set that was quiet for longest. */
export const clientsMax = 4096;
const ways = 4;

/**
 * How many queries each client may ask: a bucket of one second's worth for each address. Bounded: clients share sets of
 * four buckets, so many clients at once can only make the limit milder, never harder for one of them.
 */
export class ClientLimits {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #keys = new Float64Array(clientsMax);
  readonly #tokens = new Float64Array(clientsMax);
  readonly #seenMs = new Float64Array(clientsMax).fill(-1);

  constructor(queriesPerSecond: number) {
    this.#perMs = queriesPerSecond / 1000;
    this.#burst = Math.max(1, queriesPerSecond);
  }

  /** Whether one more query of this client is within its limit, which it then counts against. `client`: any number. */
  allow(client: number, nowMs: number): boolean {
    const set = (Math.imul(client, 0x9e3779b1) >>> 22) * ways;
    let at = set;
    for (let way = set; way < set + ways; way++) {
      if (this.#keys[way] === client && (this.#seenMs[way] ?? -1) >= 0) {
        const left = Math.min(
          this.#burst,
          (this.#tokens[way] ?? 0) + (nowMs - (this.#seenMs[way] ?? 0)) * this.#perMs,
        );
        this.#seenMs[way] = nowMs;
        this.#tokens[way] = left >= 1 ? left - 1 : left;
        return left >= 1;
      }
      if ((this.#seenMs[way] ?? -1) < (this.#seenMs[at] ?? -1)) at = way;
    }
    this.#keys[at] = client;
    this.#seenMs[at] = nowMs;
    this.#tokens[at] = this.#burst - 1;
    return true;
  }
}
