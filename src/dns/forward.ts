import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { AnswerCache, isDenial } from './cache.ts';
import { Exchanger } from './exchange.ts';
import type { DnsMetrics } from './metrics.ts';
import type { ForwardAnswer, ForwardQuestion, Upstream } from './question.ts';
import { rcodes, rrTypes } from './wire.ts';

export type { Upstream } from './question.ts';

/** Bounds of asking others. */
export const forwardLimits = {
  /** Questions under way; more are answered with SERVFAIL at once. */
  inFlightMax: 1000,
  /** How long one server has for its answer before the next is asked. */
  attemptTimeoutMs: 2000,
  /** How often a question is asked in all; one server is asked twice, for a datagram may be lost. */
  attemptsMax: 3,
  attemptsMin: 2,
  /** Stub resolvers give up or ask again after five seconds. */
  totalTimeoutMs: 5000,
  /** A server that failed is asked after the others until it has answered a probe, which it gets this often. */
  probeIntervalMs: 1000,
  /** How long a client waits before it gets an answer whose time is over (RFC 8767, section 5). */
  staleAfterMs: 1800,
  /** After a failure to renew it, such an answer is given at once for so long. */
  staleRetryMs: 30_000,
  /** How long nothing is forwarded after a circle was found, and how often one is looked for. */
  loopPauseMs: 30_000,
} as const;

/** Who is asked for what. */
export type ForwardRoutes = {
  /** Asked in this order for every other name; empty: such names are refused. */
  readonly upstreams: readonly Upstream[];
  /** Servers by domain, in lower case; of several that fit, the longest domain's are asked. */
  readonly stubDomains: ReadonlyMap<string, readonly Upstream[]>;
};

export type Forwarder = {
  /** Whether there is anybody to ask for the name. */
  accepts(name: string): boolean;
  /** Undefined: no server answered in time, or too many questions are under way. Never rejects. */
  ask(question: ForwardQuestion): ForwardAnswer | Promise<ForwardAnswer | undefined>;
  /** Forgets all answers if the routes differ. */
  setRoutes(routes: ForwardRoutes): void;
  /** Hears of every question for a name under `probeDomain`; one that we sent ourselves shows a circle. */
  sawProbe(name: string): void;
  /** Gives up what is under way. */
  close(): void;
};

/** Names that we ask for to see whether they come back to us. */
export const probeDomain = 'fairlead-loop.invalid';

/** "10.0.0.1", "10.0.0.1:5353", "fd00::1" or "[fd00::1]:5353"; undefined for anything else. */
export function parseUpstream(text: string): Upstream | undefined {
  if (isIP(text) !== 0) return { host: text, port: 53 };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  return isIP(host) === 0 || !(port >= 1 && port <= 65_535) ? undefined : { host, port };
}

/** The servers for a name. */
export function upstreamsFor({ upstreams, stubDomains }: ForwardRoutes, name: string): readonly Upstream[] {
  if (stubDomains.size === 0) return upstreams;
  for (let rest = name; ; ) {
    const found = stubDomains.get(rest);
    if (found !== undefined) return found;
    const dot = rest.indexOf('.');
    if (dot === -1) return upstreams;
    rest = rest.slice(dot + 1);
  }
}

/** Asks the servers of the routes in their order, remembers their answers. */
export function createForwarder(routes: ForwardRoutes, clock: Clock, metrics: DnsMetrics): Forwarder {
  return new RoutedForwarder(routes, clock, metrics);
}

class RoutedForwarder implements Forwarder {
  #routes: ForwardRoutes;
  #cache = new AnswerCache();
  #closed = false;
  readonly #clock: Clock;
  readonly #metrics: DnsMetrics;
  readonly #exchanger: Exchanger;
  readonly #inFlight = new Map<string, Promise<ForwardAnswer | undefined>>();
  readonly #failed = new Set<string>();
  readonly #loopProbes = new Set<string>();
  #loopUntilMs = 0;
  #loopProbedMs = Number.NEGATIVE_INFINITY;

  constructor(routes: ForwardRoutes, clock: Clock, metrics: DnsMetrics) {
    this.#routes = routes;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#exchanger = new Exchanger(clock);
    metrics.cacheEntries = () => this.#cache.count();
  }

  accepts(name: string): boolean {
    return upstreamsFor(this.#routes, name).length > 0;
  }

  setRoutes(routes: ForwardRoutes): void {
    if (sameRoutes(routes, this.#routes)) return;
    this.#routes = routes;
    this.#cache = new AnswerCache();
    this.#inFlight.clear(); // who waits for an answer still gets it
    this.#failed.clear();
    this.#loopUntilMs = 0;
  }

  ask(question: ForwardQuestion): ForwardAnswer | Promise<ForwardAnswer | undefined> {
    const key = `${question.type} ${question.dnssecOk ? 1 : 0}${question.checkingDisabled ? 1 : 0} ${question.name}`;
    const nowMs = this.#clock.monotonicMs();
    const known = this.#cache.get(key, nowMs);
    this.#metrics.cacheAsked(known && (isDenial(known) ? 'denial' : 'success'));
    if (known !== undefined) {
      if (this.#cache.dueForRefresh(key, nowMs) && this.#inFlight.size < forwardLimits.inFlightMax / 2) {
        this.#metrics.prefetches += 1;
        void this.#start(question, key);
      }
      return known;
    }
    const stale = this.#cache.getStale(key, nowMs);
    if (stale?.retryAtMs !== undefined && stale.retryAtMs > nowMs) return this.#served(stale.answer);
    const asked = this.#start(question, key);
    return stale === undefined ? asked : this.#orStale(asked, stale.answer, key);
  }

  sawProbe(name: string): void {
    if (!this.#loopProbes.has(name)) return;
    this.#loopUntilMs = this.#clock.monotonicMs() + forwardLimits.loopPauseMs;
    this.#metrics.loopFound();
  }

  close(): void {
    this.#closed = true;
    this.#exchanger.close();
  }

  #served(answer: ForwardAnswer): ForwardAnswer {
    this.#metrics.staleServed += 1;
    return answer;
  }

  /** The new answer, or that whose time is over if no good one comes soon. */
  async #orStale(
    asked: Promise<ForwardAnswer | undefined>,
    stale: ForwardAnswer,
    key: string,
  ): Promise<ForwardAnswer | undefined> {
    const late = Promise.withResolvers<undefined>();
    const cancel = this.#clock.after(forwardLimits.staleAfterMs, () => late.resolve(undefined));
    const answer = await Promise.race([asked, late.promise]);
    cancel();
    if (answer !== undefined && !worthAnother(answer.rcode)) return answer;
    this.#cache.postpone(key, this.#clock.monotonicMs() + forwardLimits.staleRetryMs);
    return this.#served(stale);
  }

  #start(question: ForwardQuestion, key: string): Promise<ForwardAnswer | undefined> {
    const waiting = this.#inFlight.get(key);
    if (waiting !== undefined) return waiting;
    if (this.#inFlight.size >= forwardLimits.inFlightMax) {
      this.#metrics.forwardRejects += 1;
      return Promise.resolve(undefined);
    }
    if (this.#loopUntilMs > this.#clock.monotonicMs()) return Promise.resolve(undefined);
    const { promise, resolve } = Promise.withResolvers<ForwardAnswer | undefined>();
    const servers = this.#ordered(question.name);
    this.#inFlight.set(key, promise);
    this.#attempt({
      ...{ question, key, promise, resolve, servers },
      attempts: Math.max(forwardLimits.attemptsMin, Math.min(servers.length, forwardLimits.attemptsMax)),
      cache: this.#cache,
      deadlineMs: this.#clock.monotonicMs() + forwardLimits.totalTimeoutMs,
      asked: 0,
      last: undefined,
    });
    return promise;
  }

  /** Asks the next server, until one has a good answer. */
  #attempt(asking: Asking): void {
    const startMs = this.#clock.monotonicMs();
    const upstream = asking.servers[asking.asked % asking.servers.length];
    const leftMs = asking.deadlineMs - startMs;
    if (upstream === undefined || asking.asked === asking.attempts || leftMs <= 0 || this.#closed) {
      if (asking.last === undefined) this.#lookForLoop(asking.question.name);
      this.#finish(asking);
      return;
    }
    asking.asked += 1;
    const timeoutMs = Math.min(leftMs, forwardLimits.attemptTimeoutMs);
    this.#exchanger.ask(upstream, asking.question, timeoutMs, (told) => {
      const nowMs = this.#clock.monotonicMs();
      if (told instanceof Error) {
        if (!this.#closed) {
          this.#metrics.forwardFailed(upstream, told.message);
          this.#avoid(upstream);
        }
        this.#attempt(asking);
        return;
      }
      const { answer, bytes } = told;
      this.#metrics.forwarded(upstream, answer.rcode, nowMs - startMs);
      asking.last = answer;
      if (this.#failed.size > 0) this.#failed.delete(keyOf(upstream));
      if (worthAnother(answer.rcode)) {
        this.#attempt(asking);
        return;
      }
      asking.cache.set(asking.key, answer, bytes, nowMs);
      this.#finish(asking);
    });
  }

  #finish({ key, promise, resolve, last }: Asking): void {
    if (this.#inFlight.get(key) === promise) this.#inFlight.delete(key);
    resolve(last);
  }

  /** Those that failed lately come last. */
  #ordered(name: string): readonly Upstream[] {
    const all = upstreamsFor(this.#routes, name);
    if (this.#failed.size === 0) return all;
    const failed = (upstream: Upstream): boolean => this.#failed.has(keyOf(upstream));
    return [...all.filter((each) => !failed(each)), ...all.filter(failed)];
  }

  #avoid(upstream: Upstream): void {
    const key = keyOf(upstream);
    if (this.#failed.has(key)) return;
    this.#failed.add(key);
    this.#probeLater(upstream);
  }

  #probeLater(upstream: Upstream): void {
    this.#clock.after(forwardLimits.probeIntervalMs, () => this.#probe(upstream));
  }

  /** Any answer at all shows that the server is back. */
  #probe(upstream: Upstream): void {
    if (this.#closed || !this.#failed.has(keyOf(upstream))) return;
    const question = { name: '', type: rrTypes.NS, dnssecOk: false, checkingDisabled: false };
    this.#exchanger.ask(upstream, question, forwardLimits.probeIntervalMs, (told) => {
      if (!(told instanceof Error)) {
        this.#failed.delete(keyOf(upstream));
        return;
      }
      if (this.#closed) return;
      this.#metrics.probeFailed(upstream);
      this.#probeLater(upstream);
    });
  }

  /** Nobody answered: perhaps because the question comes round to ourselves. A name of chance tells. */
  #lookForLoop(name: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#closed || nowMs - this.#loopProbedMs < forwardLimits.loopPauseMs) return;
    this.#loopProbedMs = nowMs;
    const probe = `${randomBytes(8).toString('hex')}.${probeDomain}`;
    const question = { name: probe, type: rrTypes.A, dnssecOk: false, checkingDisabled: false };
    this.#loopProbes.add(probe);
    const servers = upstreamsFor(this.#routes, name);
    let waiting = servers.length;
    for (const upstream of servers) {
      // Its answer does not matter, nor silence, which is what led us here.
      this.#exchanger.ask(upstream, question, forwardLimits.attemptTimeoutMs, () => {
        waiting -= 1;
        if (waiting === 0) this.#loopProbes.delete(probe);
      });
    }
  }
}

/** A question on its way from server to server. */
type Asking = {
  readonly question: ForwardQuestion;
  readonly key: string;
  readonly promise: Promise<ForwardAnswer | undefined>;
  readonly resolve: (answer: ForwardAnswer | undefined) => void;
  readonly servers: readonly Upstream[];
  readonly attempts: number;
  readonly cache: AnswerCache;
  readonly deadlineMs: number;
  asked: number;
  last: ForwardAnswer | undefined;
};

function keyOf({ host, port }: Upstream): string {
  return `${host} ${port}`;
}

function sameRoutes(a: ForwardRoutes, b: ForwardRoutes): boolean {
  const text = ({ upstreams, stubDomains }: ForwardRoutes): string =>
    JSON.stringify([upstreams, [...stubDomains]]);
  return text(a) === text(b);
}

function worthAnother(rcode: number): boolean {
  return rcode === rcodes.SERVFAIL || rcode === rcodes.REFUSED || rcode === rcodes.NOTIMP;
}
