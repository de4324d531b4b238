import type { BalancePolicy } from './balance-policy.ts';
import { pickEndpoint } from './balance.ts';
import { hashText, mix } from './hash.ts';
import { maglevSize, maglevTable } from './maglev.ts';

/** What choosing needs to know of an endpoint. The values change between calls. */
export type Choosable = {
  /** "address:port". */
  readonly key: string;
  /** Requests under way. */
  readonly pending: number;
  /** Others go first: it has failed lately, or is at the process's bound. */
  readonly avoided: boolean;
  /** It takes nothing more. */
  readonly full: boolean;
};

/** The share of a new endpoint begins there: with less it would hardly be tried. */
export const slowStartShareMin = 0.1;

/** The share of an endpoint that has been there for `ageMs`, in [slowStartShareMin, 1]. */
export function slowStartShare(ageMs: number, slowStartMs: number): number {
  if (ageMs >= slowStartMs) return 1;
  return Math.max(slowStartShareMin, ageMs / slowStartMs);
}

const drawsMax = 8;

/** Chooses among the endpoints of one backend by its policy. Only for backends that have one, or weights. */
export class Chooser<E extends Choosable> {
  readonly #policy: BalancePolicy;
  readonly #random: () => number;
  readonly #requestsMax: number;
  #endpoints: readonly E[] = [];
  #weights: readonly number[] | undefined;
  /** Since when, in the order of endpoints; those that were there at the beginning have been for ever. */
  #since: readonly number[] = [];
  #allFullMs = Number.NEGATIVE_INFINITY; // from then on every endpoint has its full share
  #credits = new Float64Array(0);
  #cursor = 0;
  #table: Uint16Array | undefined;
  #hashes: readonly number[] | undefined;

  /** @param random in [0, 1) */
  constructor(policy: BalancePolicy, random: () => number) {
    this.#policy = policy;
    this.#random = random;
    this.#requestsMax = policy.endpointRequestsMax ?? Number.POSITIVE_INFINITY;
  }

  /** @param weights of the same length, above 0; undefined: all alike */
  update(endpoints: readonly E[], weights: readonly number[] | undefined, nowMs: number): void {
    const { slowStartMs } = this.#policy;
    const known = new Map(this.#endpoints.map((endpoint, index) => [endpoint, index]));
    const first = known.size === 0;
    const before = { since: this.#since, credits: this.#credits };
    this.#since = endpoints.map((endpoint) => {
      const index = known.get(endpoint);
      if (index !== undefined) return before.since[index]!;
      return first ? Number.NEGATIVE_INFINITY : nowMs;
    });
    this.#credits = Float64Array.from(
      endpoints,
      (endpoint) => before.credits[known.get(endpoint) ?? -1] ?? 0,
    );
    this.#allFullMs = Math.max(...this.#since, Number.NEGATIVE_INFINITY) + slowStartMs;
    this.#endpoints = endpoints;
    this.#weights = weights;
    this.#table = undefined;
    this.#hashes = undefined;
  }

  /**
   * Index of the endpoint for the next request; -1: all are excluded, or at their bound.
   * @param hash of what the request is hashed by; undefined: it has none of that, and is balanced as by round robin
   */
  choose(excluded: ReadonlySet<E> | undefined, hash: number | undefined, nowMs: number): number {
    const index = this.#preferred(excluded, hash, nowMs);
    return index === -1 ? this.#anyone(excluded) : index;
  }

  #preferred(excluded: ReadonlySet<E> | undefined, hash: number | undefined, nowMs: number): number {
    const { algorithm, byClientAddress } = this.#policy;
    if (hash !== undefined && byClientAddress) return this.#rendezvous(excluded, hash);
    if (hash !== undefined && algorithm === 'consistent-hash') return this.#maglev(excluded, hash);
    if (algorithm === 'least-request') return this.#leastOfTwo(excluded, nowMs);
    if (this.#weights !== undefined || nowMs < this.#allFullMs) return this.#weighted(excluded, nowMs);
    return this.#inTurn(excluded);
  }

  #open(index: number, excluded: ReadonlySet<E> | undefined): boolean {
    const endpoint = this.#endpoints[index]!;
    return !endpoint.avoided && endpoint.pending < this.#requestsMax && excluded?.has(endpoint) !== true;
  }

  /** When nobody is open: one that is avoided is better than none, but bounds hold. */
  #anyone(excluded: ReadonlySet<E> | undefined): number {
    const count = this.#endpoints.length;
    for (let step = 0; step < count; step += 1) {
      const index = (this.#cursor + step) % count;
      const endpoint = this.#endpoints[index]!;
      if (endpoint.full || endpoint.pending >= this.#requestsMax || excluded?.has(endpoint) === true)
        continue;
      this.#cursor = (index + 1) % count;
      return index;
    }
    return -1;
  }

  /** How much of its weight an endpoint has, in [slowStartShareMin, 1]. */
  startedShare(index: number, nowMs: number): number {
    if (nowMs >= this.#allFullMs) return 1;
    return slowStartShare(nowMs - this.#since[index]!, this.#policy.slowStartMs);
  }

  #share(index: number, nowMs: number): number {
    return (this.#weights?.[index] ?? 1) * this.startedShare(index, nowMs);
  }

  #inTurn(excluded: ReadonlySet<E> | undefined): number {
    const count = this.#endpoints.length;
    if (count === 0) return -1;
    const start = this.#cursor % count;
    this.#cursor = start + 1;
    const index = pickEndpoint(this.#endpoints, start, excluded);
    if (index !== -1 && this.#open(index, excluded)) return index;
    for (let step = 0; step < count; step += 1) {
      const other = (start + step) % count;
      if (this.#open(other, excluded)) return other;
    }
    return -1;
  }

  /** Smooth weighted round robin: each gains its share, the richest is taken and pays for all. Exact over a round. */
  #weighted(excluded: ReadonlySet<E> | undefined, nowMs: number): number {
    let best = -1;
    let total = 0;
    for (let index = 0; index < this.#endpoints.length; index += 1) {
      if (!this.#open(index, excluded)) continue;
      const share = this.#share(index, nowMs);
      this.#credits[index]! += share;
      total += share;
      if (best === -1 || this.#credits[index]! > this.#credits[best]!) best = index;
    }
    if (best !== -1) this.#credits[best]! -= total;
    return best;
  }

  /** Power of two choices: the one of two drawn by chance that has fewer requests for its share. */
  #leastOfTwo(excluded: ReadonlySet<E> | undefined, nowMs: number): number {
    const count = this.#endpoints.length;
    let first = -1;
    for (let draw = 0; draw < drawsMax && count > 1; draw += 1) {
      const index = Math.floor(this.#random() * count);
      if (index === first || !this.#open(index, excluded)) continue;
      if (first === -1) first = index;
      else return this.#load(index, nowMs) < this.#load(first, nowMs) ? index : first;
    }
    if (first !== -1) return first;
    for (let index = 0; index < count; index += 1) {
      if (this.#open(index, excluded)) return index; // hardly anybody is open: whoever it is
    }
    return -1;
  }

  #load(index: number, nowMs: number): number {
    return (this.#endpoints[index]!.pending + 1) / this.#share(index, nowMs);
  }

  #maglev(excluded: ReadonlySet<E> | undefined, hash: number): number {
    this.#table ??= maglevTable(
      this.#endpoints.map(({ key }) => key),
      this.#weights,
    );
    const table = this.#table;
    if (table === undefined) return -1;
    const own = table[hash % maglevSize]!;
    if (this.#open(own, excluded)) return own;
    // With nobody open the whole table would be walked for each request, just when all is down.
    if (!this.#endpoints.some((_, index) => this.#open(index, excluded))) return -1;
    for (let step = 1; step < maglevSize; step += 1) {
      const index = table[(hash + step) % maglevSize]!;
      if (this.#open(index, excluded)) return index;
    }
    return -1;
  }

  /** Highest random weight: when an endpoint leaves, its own clients move and nobody else's. */
  #rendezvous(excluded: ReadonlySet<E> | undefined, hash: number): number {
    this.#hashes ??= this.#endpoints.map(({ key }) => hashText(key));
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < this.#endpoints.length; index += 1) {
      if (!this.#open(index, excluded)) continue;
      const drawn = (mix(hash ^ this.#hashes[index]!) + 1) / 0x1_0000_0001; // in (0, 1)
      const score = (this.#weights?.[index] ?? 1) / -Math.log(drawn);
      if (score > bestScore) {
        best = index;
        bestScore = score;
      }
    }
    return best;
  }
}
