import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { AnswerCache, type ForwardAnswer } from './cache.ts';
import { Exchanger, type ForwardQuestion, type Upstream } from './exchange.ts';
import type { DnsMetrics } from './metrics.ts';
import { flags, type Message, rcodes, rrTypes } from './wire.ts';

export type { Upstream } from './exchange.ts';

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
    metrics.cacheEntries = () => this.#cache.size;
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
    this.#metrics.cacheAsked(known !== undefined);
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
    const asked = this.#askAll(question, key).finally(() => {
      if (this.#inFlight.get(key) === asked) this.#inFlight.delete(key);
    });
    this.#inFlight.set(key, asked);
    return asked;
  }

  async #askAll(question: ForwardQuestion, key: string): Promise<ForwardAnswer | undefined> {
    const cache = this.#cache;
    const deadlineMs = this.#clock.monotonicMs() + forwardLimits.totalTimeoutMs;
    let last: ForwardAnswer | undefined;
    for (const upstream of this.#attempts(question.name)) {
      const startMs = this.#clock.monotonicMs();
      if (deadlineMs <= startMs || this.#closed) break;
      const timeoutMs = Math.min(deadlineMs - startMs, forwardLimits.attemptTimeoutMs);
      try {
        const { message, bytes } = await this.#exchanger.ask(upstream, question, timeoutMs);
        this.#metrics.forwarded(upstream, message.rcode, this.#clock.monotonicMs() - startMs);
        last = answerOf(message);
        this.#failed.delete(keyOf(upstream));
        if (worthAnother(message.rcode)) continue;
        cache.set(key, last, bytes, this.#clock.monotonicMs());
        return last;
      } catch (error) {
        if (this.#closed) break;
        this.#metrics.forwardFailed(upstream, String(error));
        this.#avoid(upstream);
      }
    }
    if (last === undefined) this.#lookForLoop(question.name);
    return last;
  }

  /** Those that failed lately come last. */
  #attempts(name: string): readonly Upstream[] {
    const all = upstreamsFor(this.#routes, name);
    const failed = (upstream: Upstream): boolean => this.#failed.has(keyOf(upstream));
    const ordered =
      this.#failed.size === 0 ? all : [...all.filter((each) => !failed(each)), ...all.filter(failed)];
    const count = Math.max(forwardLimits.attemptsMin, Math.min(ordered.length, forwardLimits.attemptsMax));
    return Array.from({ length: count }, (_, index) => ordered[index % ordered.length]).filter(
      (upstream) => upstream !== undefined,
    );
  }

  #avoid(upstream: Upstream): void {
    const key = keyOf(upstream);
    if (this.#failed.has(key)) return;
    this.#failed.add(key);
    this.#probeLater(upstream);
  }

  #probeLater(upstream: Upstream): void {
    this.#clock.after(forwardLimits.probeIntervalMs, () => void this.#probe(upstream));
  }

  /** Any answer at all shows that the server is back. */
  async #probe(upstream: Upstream): Promise<void> {
    if (this.#closed || !this.#failed.has(keyOf(upstream))) return;
    const question = { name: '', type: rrTypes.NS, dnssecOk: false, checkingDisabled: false };
    try {
      await this.#exchanger.ask(upstream, question, forwardLimits.probeIntervalMs);
      this.#failed.delete(keyOf(upstream));
    } catch {
      if (this.#closed) return;
      this.#metrics.probeFailed(upstream);
      this.#probeLater(upstream);
    }
  }

  /** Nobody answered: perhaps because the question comes round to ourselves. A name of chance tells. */
  #lookForLoop(name: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#closed || nowMs - this.#loopProbedMs < forwardLimits.loopPauseMs) return;
    this.#loopProbedMs = nowMs;
    const probe = `${randomBytes(8).toString('hex')}.${probeDomain}`;
    const question = { name: probe, type: rrTypes.A, dnssecOk: false, checkingDisabled: false };
    this.#loopProbes.add(probe);
    const ask = async (upstream: Upstream): Promise<void> => {
      try {
        await this.#exchanger.ask(upstream, question, forwardLimits.attemptTimeoutMs);
      } catch {
        // silence is what led us here
      }
    };
    const all = upstreamsFor(this.#routes, name).map(ask);
    void Promise.all(all).finally(() => this.#loopProbes.delete(probe));
  }
}

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

function answerOf(message: Message): ForwardAnswer {
  return {
    rcode: message.rcode,
    authenticData: (message.flags & flags.authenticData) !== 0,
    answers: message.answers,
    authorities: message.authorities,
    additionals: message.additionals,
  };
}
