import { SplitTurns } from '../balance/split.ts';
import type { AuthPassed } from './forward-auth.ts';
import type { CountReport, CountReporter, PlaceChange, RateTaken, SharedRate } from './group-counts.ts';
import type { RatePolicy } from './policy.ts';

/** Clients remembered for rate limits, over all Ingresses. Beyond, the one asked for longest ago starts afresh. */
export const rateClientsMax = 65_536;
/** Passwords remembered as right, so that their costly check is made once. Beyond, the oldest is checked again. */
export const passwordsMax = 4_096;
/** Answers of authentication services that are remembered. Beyond, the oldest is asked for again. */
const authsMax = 4_096;

type Bucket = { tokens: number; atMs: number };

/** What policies remember between requests, in one worker. Keys hold the Ingress's, so that new tables go on counting. */
export class PolicyStates {
  readonly #buckets = new Map<string, Bucket>(); // in order of last use
  readonly #canaries = new Map<string, number>();
  readonly splits = new SplitTurns();
  readonly #passwords = new Set<string>();
  readonly #auths = new Map<string, { readonly passed: AuthPassed; readonly untilMs: number }>();
  /** Requests under way; only where there are some, so bounded by the connections of clients. */
  readonly #connections = new Map<string, number>();
  /** Of these, what the other workers of the group have. */
  readonly #otherConnections = new Map<string, number>();
  readonly #reporter: CountReporter | undefined;

  /** @param reporter tells the other workers of the group; undefined: there are none */
  constructor(reporter?: CountReporter) {
    this.#reporter = reporter;
  }

  /** What another worker has counted. */
  hear({ rates, places }: CountReport, nowMs: number): void {
    for (const taken of rates) this.#hearRate(taken, nowMs);
    for (const change of places) this.#hearPlaces(change);
  }

  /** What is taken beyond the share is owed: nobody knew of it in time. */
  #hearRate([key, taken, rate]: RateTaken, nowMs: number): void {
    this.#bucket(key, rate, nowMs).tokens -= taken;
  }

  /** As full as it is by now; the latest of all. */
  #bucket(key: string, { perSecond, burst }: SharedRate, nowMs: number): Bucket {
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atMs: nowMs };
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perSecond);
    bucket.atMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const oldest = this.#buckets.keys().next();
    if (this.#buckets.size > rateClientsMax && oldest.done !== true) this.#buckets.delete(oldest.value);
    return bucket;
  }

  #hearPlaces([key, change]: PlaceChange): void {
    const count = (this.#otherConnections.get(key) ?? 0) + change;
    if (count === 0) this.#otherConnections.delete(key);
    else this.#otherConnections.set(key, count);
  }

  /** Takes one request of the client's share; 0 if there was one, else the seconds until the next. */
  takeRate(ingress: string, address: string, rate: RatePolicy, nowMs: number): number {
    const key = `${ingress} ${address}`;
    const bucket = this.#bucket(key, rate, nowMs);
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      this.#reporter?.tookRate(key, rate);
      return 0;
    }
    return Math.max(1, Math.ceil((1 - bucket.tokens) / rate.perSecond));
  }

  /** Takes one of `max` places for requests under way at once; undefined: all are taken. The result gives it back. */
  takeConnection(ingress: string, address: string, max: number): (() => void) | undefined {
    const key = `${ingress} ${address}`;
    const count = this.#connections.get(key) ?? 0;
    if (count + (this.#otherConnections.get(key) ?? 0) >= max) return undefined;
    this.#connections.set(key, count + 1);
    this.#reporter?.changedPlaces(key, 1);
    return () => {
      this.#reporter?.changedPlaces(key, -1);
      const left = (this.#connections.get(key) ?? 1) - 1;
      if (left === 0) this.#connections.delete(key);
      else this.#connections.set(key, left);
    };
  }

  /** What a service let pass before; undefined: nothing, or too long ago. */
  authPassed(key: string, nowMs: number): AuthPassed | undefined {
    const known = this.#auths.get(key);
    if (known === undefined || known.untilMs <= nowMs) return undefined;
    return known.passed;
  }

  rememberAuth(key: string, passed: AuthPassed, untilMs: number): void {
    this.#auths.delete(key);
    this.#auths.set(key, { passed, untilMs });
    const oldest = this.#auths.keys().next();
    if (this.#auths.size > authsMax && oldest.done !== true) this.#auths.delete(oldest.value);
  }

  /** Whether this request is among `weight` of `total`: spread evenly, not by chance, so shares are exact. */
  takeCanary(ingress: string, weight: number, total: number): boolean {
    const count = ((this.#canaries.get(ingress) ?? -1) + 1) % total;
    this.#canaries.set(ingress, count);
    return (count * weight) % total < weight;
  }

  /** Whether `check` accepts; remembered only if so. `key` must hold password and hash. */
  checkPassword(key: string, check: () => boolean): boolean {
    if (this.#passwords.has(key)) return true;
    if (!check()) return false;
    this.#passwords.add(key);
    const oldest = this.#passwords.values().next();
    if (this.#passwords.size > passwordsMax && oldest.done !== true) this.#passwords.delete(oldest.value);
    return true;
  }
}
