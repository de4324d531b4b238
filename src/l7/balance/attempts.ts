import { failureAnswer } from '../proxy/answers.ts';
import type { BackendState, Waiter } from './backend-state.ts';
import type { BackendMetrics } from '../observe/backend-metrics.ts';
import type { RetryCause } from './balance-policy.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { matchRoute } from '../routes/match.ts';
import { isAmbiguous } from '../routes/path-readings.ts';
import type { PolicedRequest } from '../policy/policed-request.ts';
import type { StaticAnswer } from '../policy/static-answer.ts';
import type { Route, RouteTable } from '../routes/table.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** What carries a request to an endpoint, in whatever protocol. */
export type AttemptOwner = {
  /**
   * Take the request to `endpoint`; tell its `Attempts` by one call how that ended. `fresh`: not on a connection that was
   * used before. May be called from inside the call that asked for it, or later when the request had to wait.
   */
  onEndpoint(endpoint: UpstreamEndpoint, fresh: boolean): void;
  /** There is nobody to take it to: answer so. `status` is 400, 404, 502, 503 or 504, unless it is an answer that needs nobody. */
  onNoEndpoint(status: number, reason: string, answer?: StaticAnswer): void;
  /** The request has taken as long as it may as a whole. Not told after `release`. */
  onOutOfTime(): void;
};

/** A request with a bound on its whole time. */
export type TimedRequest = {
  readonly totalDeadlineMs: number;
  onOutOfTime(): void;
};

/** What of a request decides where it goes. */
export type RoutedRequest = {
  readonly host: string;
  readonly path: string;
  /** Given: it is a connection that is relayed, and this says where it goes by the newest table. */
  readonly relayRoute?: ((table: RouteTable) => Route | undefined) | undefined;
};

/** What a route's policy says of where a request goes. */
export type Directed = Pick<PolicedRequest, 'limits' | 'hash' | 'backendOf' | 'keptEndpoint'>;

/**
 * The way of one request through endpoints: which is next, what its failures say of them, when to give up. It knows no
 * protocol and no connection. `repeatable` in its calls: to send it twice is as good as once, and all that was sent can be
 * sent again.
 */
export class Attempts implements Waiter, TimedRequest {
  /** Times that the request, or a part of it, was sent to an endpoint. */
  sent = 0;
  waitDeadlineMs = 0;
  /** 0: not bounded. Not infinity, for which V8 would allocate a number a request. */
  totalDeadlineMs = 0;
  readonly #context: ProxyContext;
  readonly #owner: AttemptOwner;
  readonly #request: RoutedRequest;
  #policed: Directed | undefined;
  /** Counts this request among its active ones. */
  #state: BackendState | undefined;
  /** Counts this request among its pending ones. */
  #endpoint: UpstreamEndpoint | undefined;
  #last: BackendState | undefined;
  #excluded: Set<UpstreamEndpoint> | undefined;
  #unreached = 0;
  #retrying = false;
  #waiting = false;
  #probe = false;
  #fresh = false;
  #lastError: string | undefined;

  constructor(context: ProxyContext, owner: AttemptOwner, request: RoutedRequest) {
    this.#context = context;
    this.#owner = owner;
    this.#request = request;
  }

  /** "namespace/service:port" of the last try; '' before there was one. */
  get backendKey(): string {
    return this.#last?.key ?? '';
  }

  /** Of the backend of the last try. */
  get counts(): BackendMetrics | undefined {
    return this.#last?.counts;
  }

  /** Asks the owner for the first try. `policed`: undefined for a route without a policy. */
  begin(route: Route | undefined, policed: Directed | undefined): void {
    this.#policed = policed;
    const requestTimeoutMs = policed?.limits.requestTimeoutMs ?? this.#context.limits.requestTimeoutMs;
    if (requestTimeoutMs !== Number.POSITIVE_INFINITY) {
      this.totalDeadlineMs = this.#context.nowMs() + requestTimeoutMs;
      this.#context.timed.add(this);
    }
    const { host, path } = this.#request;
    // The last gate before anything is sent, whatever protocol the request came by.
    if (route !== undefined && isAmbiguous(this.#context.live.table, host, path, route)) {
      this.release();
      this.#owner.onNoEndpoint(400, 'the path can be read as one that another rule is for');
      return;
    }
    this.#dispatch(route);
  }

  /** The endpoint could not be reached: any request may go to another one. */
  unreachable(error: string): void {
    this.#context.metrics.connectFailures += 1;
    this.#state!.counts.connectFailures += 1;
    this.#unreached += 1;
    this.#fault();
    this.#again(error, false);
  }

  /**
   * The endpoint is there and says that it has done nothing with the request (a refused stream, RFC 9113 §8.7): any request
   * may be sent again, if all that was sent can be. It counts as sent, so that this ends.
   */
  refused(error: string): void {
    (this.#excluded ??= new Set()).add(this.#endpoint!);
    if (this.sent <= this.#state!.policy.retries.retriesMax) this.#again(error, false);
    else this.#fail(error);
  }

  /** The request was sent and its connection ended before an answer. `reused`: it was a kept connection. */
  unanswered(error: string, reused: boolean, repeatable: boolean): void {
    // A kept connection that is closed tells of an idle timeout or a restart: its siblings are suspect, not the endpoint.
    if (reused) this.#context.pool.dropIdle(this.#endpoint!);
    else this.#fault();
    if (repeatable && this.#mayRetry('reset')) this.#again(error, reused);
    else this.#fail(error);
  }

  /** The request was sent whole, and no answer came in time. */
  timedOut(repeatable: boolean): void {
    const endpoint = this.#endpoint!;
    this.#probe = false;
    this.#state!.answeredBadly(endpoint, this.#context.nowMs());
    (this.#excluded ??= new Set()).add(endpoint);
    if (repeatable && this.#mayRetry('timeout')) {
      this.#again('timeout', false);
      return;
    }
    this.release();
    this.#owner.onNoEndpoint(504, 'the backend did not answer in time');
  }

  /** An answer has begun. True: it is not to be passed on; end this try and call `retryAnswer`. */
  answered(status: number, repeatable: boolean): boolean {
    const endpoint = this.#endpoint!;
    if (status >= 500) {
      this.#probe = false;
      this.#state!.answeredBadly(endpoint, this.#context.nowMs());
      return repeatable && this.#hasOther() && this.#mayRetry(status);
    }
    if (endpoint.ejection.marked) {
      this.#probe = false;
      endpoint.ejection.answered(this.#context.nowMs());
    }
    return false;
  }

  retryAnswer(): void {
    (this.#excluded ??= new Set()).add(this.#endpoint!);
    this.#again('answer', false);
  }

  onTurn(): void {
    this.#waiting = false;
    this.#dispatch(this.#route());
  }

  onWaitTimeout(): void {
    this.#waiting = false;
    this.release();
    this.#owner.onNoEndpoint(503, 'every endpoint was busy for too long');
  }

  onOutOfTime(): void {
    this.#context.timed.delete(this);
    this.#owner.onOutOfTime();
  }

  /** The request needs nobody any more: answered, given up, or its client has gone. May be called again. */
  release(): void {
    if (this.totalDeadlineMs !== 0) this.#context.timed.delete(this);
    const state = this.#state;
    if (state === undefined) return;
    this.#leaveEndpoint();
    this.#leaveBackend(state);
    state.wakeOne();
  }

  #leaveEndpoint(): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    endpoint.pending -= 1;
    this.#endpoint = undefined;
    if (!this.#probe) return;
    this.#probe = false;
    endpoint.ejection.undecided();
  }

  #leaveBackend(state: BackendState): void {
    if (this.#waiting) state.stopWaiting(this);
    if (this.#retrying) state.retrying -= 1;
    state.active -= 1;
    state.counts.active -= 1;
    this.#waiting = false;
    this.#retrying = false;
    this.#state = undefined;
  }

  #enterBackend(state: BackendState): void {
    if (this.#state === state) return;
    if (this.#state !== undefined) this.#leaveBackend(this.#state);
    state.active += 1;
    state.counts.active += 1;
    this.#state = state;
    this.#last = state;
  }

  /** Others are asked first for a while, and this request does not come back to it. */
  #fault(): void {
    const endpoint = this.#endpoint!;
    this.#probe = false;
    this.#context.pool.eject(endpoint, this.#context.nowMs());
    (this.#excluded ??= new Set()).add(endpoint);
  }

  #mayRetry(cause: RetryCause): boolean {
    const state = this.#state!;
    const { retriesMax, causes } = state.policy.retries;
    if (this.sent > retriesMax || !causes.includes(cause)) return false;
    if (this.#retrying) return true;
    if (!state.mayRetry) {
      state.counts.retriesDenied += 1;
      return false;
    }
    this.#retrying = true;
    state.retrying += 1;
    return true;
  }

  /** An endpoint that this request has not tried takes requests at once: for a bad answer nobody waits in a queue. */
  #hasOther(): boolean {
    const state = this.#state!;
    return state.endpoints.some(
      (endpoint) =>
        endpoint !== this.#endpoint &&
        !endpoint.avoided &&
        state.takes(endpoint) &&
        this.#excluded?.has(endpoint) !== true,
    );
  }

  #route(): Route | undefined {
    const { host, path, relayRoute } = this.#request;
    const { table } = this.#context.live;
    return relayRoute === undefined ? matchRoute(table, host, path) : relayRoute(table);
  }

  #again(error: string, fresh: boolean): void {
    this.#leaveEndpoint();
    this.#lastError = error;
    this.#fresh = fresh;
    this.#dispatch(this.#route());
  }

  #fail(error: string): void {
    this.release();
    this.#giveUp(error);
  }

  /** Chooses an endpoint of the newest table. */
  #dispatch(route: Route | undefined): void {
    const { live, metrics } = this.#context;
    if (route === undefined) {
      this.release();
      this.#owner.onNoEndpoint(404, 'no Ingress routes this host and path');
      return;
    }
    const index = this.#policed === undefined ? route.backend : this.#policed.backendOf(route, live.states);
    const answer = live.table.backends[index]?.answer;
    if (answer !== undefined) {
      this.release();
      this.#owner.onNoEndpoint(answer.status, '', answer);
      return;
    }
    const state = live.states[index]!;
    this.#enterBackend(state);
    const endpoint = this.#pick(state);
    if (endpoint === undefined) {
      this.#waitOrGiveUp(state);
      return;
    }
    if (this.#lastError !== undefined) {
      metrics.retries += 1;
      state.counts.retries += 1;
    }
    endpoint.pending += 1;
    this.#endpoint = endpoint;
    this.#probe = endpoint.ejection.taken();
    this.#owner.onEndpoint(endpoint, this.#fresh);
  }

  #pick(state: BackendState): UpstreamEndpoint | undefined {
    if (this.#unreached >= this.#context.limits.connectAttemptsMax) return undefined;
    const kept = this.#policed?.keptEndpoint(state.endpoints, this.#excluded);
    if (kept !== undefined && state.takes(kept)) return kept;
    return state.choose(this.#excluded, this.#policed?.hash, this.#context.nowMs());
  }

  #waitOrGiveUp(state: BackendState): void {
    const busy = state.endpoints.length > (this.#excluded?.size ?? 0);
    if (busy && state.mayWait) {
      // Time spent waiting once is not given back when the request has to wait again.
      if (this.waitDeadlineMs === 0) {
        this.waitDeadlineMs = this.#context.nowMs() + state.policy.pendingTimeoutMs;
      }
      this.#waiting = true;
      state.wait(this);
      return;
    }
    if (busy) state.counts.queueOverflows += 1;
    const error = state.endpoints.length === 0 ? undefined : this.#lastError;
    this.release();
    if (busy && error === undefined) {
      this.#owner.onNoEndpoint(503, 'every endpoint has as many requests as it takes');
    } else this.#giveUp(error);
  }

  /** `error`: the last one; undefined: there was nobody to ask. */
  #giveUp(error: string | undefined): void {
    const { status, reason } = failureAnswer(error ?? 'none');
    this.#owner.onNoEndpoint(status, reason);
  }
}
