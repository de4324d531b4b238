import type { BackendMetrics } from '../observe/backend-metrics.ts';
import { type BalancePolicy, defaultBalance } from './balance-policy.ts';
import { pickEndpoint } from './balance.ts';
import { Chooser } from './chooser.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** A request that waits for an endpoint. */
export type Waiter = {
  readonly waitDeadlineMs: number;
  /** There may be a place now. It leaves the queue, and may join it again at its end. */
  onTurn(): void;
  onWaitTimeout(): void;
};

/** How much longer than the first a repeated ejection for answers may be. */
const ejectionTimesMax = 10;

/** A backend's endpoints and what is known of its requests; it outlives tables for as long as they name it. */
export class BackendState {
  /** "namespace/service:port". */
  readonly key: string;
  readonly counts: BackendMetrics;
  readonly policy: BalancePolicy;
  endpoints: readonly UpstreamEndpoint[] = [];
  /** Number of the last table that names it. */
  generation = 0;
  /** Requests under way, those that wait among them. */
  active = 0;
  /** Of these, sent more than once. */
  retrying = 0;
  readonly #random: () => number;
  readonly #waiting: Waiter[] = [];
  /** Endpoints that newer tables leave out, which had requests under way then; and when that was, ms. */
  readonly #left = new Map<UpstreamEndpoint, number>();
  /** undefined: nothing is asked for beyond round robin. */
  #chooser: Chooser<UpstreamEndpoint> | undefined;
  #cursor = 0;

  constructor(key: string, policy: BalancePolicy, counts: BackendMetrics, random: () => number) {
    this.key = key;
    this.policy = policy;
    this.counts = counts;
    this.#random = random;
  }

  /** What the newest table says of it. `weights`: in the order of endpoints; undefined: all alike. */
  update(
    endpoints: readonly UpstreamEndpoint[],
    weights: readonly number[] | undefined,
    nowMs: number,
  ): void {
    if (this.policy === defaultBalance && weights === undefined) this.#chooser = undefined;
    else this.#chooser ??= new Chooser(this.policy, this.#random);
    this.#chooser?.update(endpoints, weights, nowMs);
    for (const endpoint of this.endpoints) this.#left.set(endpoint, nowMs);
    for (const endpoint of endpoints) this.#left.delete(endpoint);
    this.endpoints = endpoints;
    this.#forgetIdle();
  }

  /** Endpoints that newer tables leave out and that still have requests under way, with when they left, ms. */
  draining(): ReadonlyMap<UpstreamEndpoint, number> {
    this.#forgetIdle();
    return this.#left;
  }

  #forgetIdle(): void {
    for (const endpoint of this.#left.keys()) if (endpoint.pending === 0) this.#left.delete(endpoint);
  }

  /** undefined: all are excluded, or none takes anything more. `hash`: see Chooser. */
  choose(
    excluded: ReadonlySet<UpstreamEndpoint> | undefined,
    hash: number | undefined,
    nowMs: number,
  ): UpstreamEndpoint | undefined {
    if (this.#chooser !== undefined) return this.endpoints[this.#chooser.choose(excluded, hash, nowMs)];
    const index = pickEndpoint(this.endpoints, this.#cursor, excluded);
    this.#cursor = this.#cursor >= 0x3fffffff ? 0 : this.#cursor + 1;
    const endpoint = index === -1 ? undefined : this.endpoints[index];
    return endpoint === undefined || endpoint.full ? undefined : endpoint;
  }

  /** How much of its share the endpoint at that index gets already, in (0, 1]. */
  startedShare(index: number, nowMs: number): number {
    return this.#chooser?.startedShare(index, nowMs) ?? 1;
  }

  /** Whether one more request may be under way for the second time. */
  get mayRetry(): boolean {
    const { budgetFloor, budgetPercent } = this.policy.retries;
    return this.retrying < Math.max(budgetFloor, (this.active * budgetPercent) / 100);
  }

  /** Whether the endpoint is below the policy's bound. */
  takes(endpoint: UpstreamEndpoint): boolean {
    const { endpointRequestsMax } = this.policy;
    return endpointRequestsMax === null || endpoint.pending < endpointRequestsMax;
  }

  get mayWait(): boolean {
    return this.#waiting.length < this.policy.pendingMax;
  }

  wait(waiter: Waiter): void {
    this.#waiting.push(waiter);
    this.counts.waiting += 1;
  }

  /** For one that has gone away. */
  stopWaiting(waiter: Waiter): void {
    const index = this.#waiting.indexOf(waiter);
    if (index === -1) return;
    this.#waiting.splice(index, 1);
    this.counts.waiting -= 1;
  }

  /** Lets the first that waits look again. */
  wakeOne(): void {
    if (this.#waiting.length > 0) this.#next()?.onTurn();
  }

  /** Lets all that wait look again, each once: endpoints have come, or no table names the backend any more. */
  wake(): void {
    for (let turn = this.#waiting.length; turn > 0; turn -= 1) this.#next()?.onTurn();
  }

  /** Tells those whose time is over, and lets the others look again: endpoints are shared with other backends. */
  tick(nowMs: number): void {
    while ((this.#waiting[0]?.waitDeadlineMs ?? Number.POSITIVE_INFINITY) <= nowMs) {
      this.counts.queueTimeouts += 1;
      this.#next()?.onWaitTimeout();
    }
    this.wake();
  }

  #next(): Waiter | undefined {
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.counts.waiting -= 1;
    return waiter;
  }

  /** A 5xx answer, or none in time. */
  answeredBadly(endpoint: UpstreamEndpoint, nowMs: number): void {
    const { errors, ejectionMs, ejectedPercentMax } = this.policy.outliers;
    const { ejection } = endpoint;
    if (errors === 0) {
      ejection.connected(nowMs); // a bad answer is an answer
      ejection.undecided();
      return;
    }
    ejection.failures += 1;
    const onTrial = ejection.probing;
    if (!onTrial && (ejection.failures < errors || ejection.active)) return;
    const out = this.endpoints.filter((other) => other !== endpoint && other.ejection.active).length;
    if (!onTrial && out > 0 && ((out + 1) * 100) / this.endpoints.length > ejectedPercentMax) return;
    this.counts.ejections += 1;
    ejection.eject('answers', ejectionMs, ejectionMs * ejectionTimesMax, nowMs);
  }
}
