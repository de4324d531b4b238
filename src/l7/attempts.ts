import { failureAnswer } from './answers.ts';
import { pickEndpoint } from './balance.ts';
import type { BackendState, ProxyContext } from './context.ts';
import { matchRoute } from './match.ts';
import type { PolicedRequest } from './policed-request.ts';
import type { Route } from './table.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** What carries a request to an endpoint, in whatever protocol. */
export type AttemptOwner = {
  /**
   * Take the request to `endpoint`; tell its `Attempts` by one call how that ended. `fresh`: not on a connection that was
   * used before. May be called from inside the call that asked for it.
   */
  onEndpoint(endpoint: UpstreamEndpoint, fresh: boolean): void;
  /** There is nobody to take it to: answer so. `status` is 404, 502, 503 or 504. */
  onNoEndpoint(status: number, reason: string): void;
};

/** What of a request decides where it goes. */
export type RoutedRequest = { readonly host: string; readonly path: string };

/**
 * The way of one request through endpoints: which is next, what its failures say of them, when to give up. It knows no
 * protocol and no connection.
 */
export class Attempts {
  /** "namespace/service:port" of the last try; '' before there was one. */
  backendKey = '';
  /** Times that the request, or a part of it, was sent to an endpoint. */
  sent = 0;
  readonly #context: ProxyContext;
  readonly #owner: AttemptOwner;
  readonly #request: RoutedRequest;
  #policed: PolicedRequest | undefined;
  /** Counts this request among its pending ones. */
  #endpoint: UpstreamEndpoint | undefined;
  #excluded: Set<UpstreamEndpoint> | undefined;
  #unreached = 0;
  #lastError: string | undefined;

  constructor(context: ProxyContext, owner: AttemptOwner, request: RoutedRequest) {
    this.#context = context;
    this.#owner = owner;
    this.#request = request;
  }

  /** Asks the owner for the first try. `policed`: undefined for a route without a policy. */
  begin(route: Route | undefined, policed: PolicedRequest | undefined): void {
    this.#policed = policed;
    this.#dispatch(route, false);
  }

  /** The endpoint could not be reached: any request may go to another one. */
  unreachable(error: string): void {
    this.#context.metrics.connectFailures += 1;
    this.#unreached += 1;
    this.#exclude();
    this.#again(error, false);
  }

  /**
   * The endpoint is there and says that it has done nothing with the request (a refused stream, RFC 9113 §8.7): any request
   * may be sent again, if all that was sent can be. It counts as sent, so that this ends.
   */
  refused(error: string): void {
    if (this.sent >= this.#context.limits.sendAttemptsMax) {
      this.release();
      this.#giveUp(error);
      return;
    }
    (this.#excluded ??= new Set()).add(this.#endpoint!);
    this.#again(error, false);
  }

  /**
   * The request was sent and its connection ended before an answer. Sent again only if `repeatable`: twice is as good as
   * once, and all that was sent can be sent again. `reused`: it was a kept connection.
   */
  unanswered(error: string, reused: boolean, repeatable: boolean): void {
    const { limits, pool } = this.#context;
    // A kept connection that is closed tells of an idle timeout or a restart: its siblings are suspect, not the endpoint.
    if (reused) pool.dropIdle(this.#endpoint!);
    else this.#exclude();
    this.#lastError = error;
    if (repeatable && this.sent < limits.sendAttemptsMax) {
      this.#again(error, reused);
      return;
    }
    this.release();
    this.#giveUp(error);
  }

  /** The request needs its endpoint no more: answered, given up, or between two tries. */
  release(): void {
    if (this.#endpoint === undefined) return;
    this.#endpoint.pending -= 1;
    this.#endpoint = undefined;
  }

  #exclude(): void {
    const endpoint = this.#endpoint!;
    this.#context.pool.quarantine(endpoint, this.#context.nowMs());
    (this.#excluded ??= new Set()).add(endpoint);
  }

  #again(error: string, fresh: boolean): void {
    this.release();
    this.#lastError = error;
    this.#dispatch(matchRoute(this.#context.live.table, this.#request.host, this.#request.path), fresh);
  }

  /** Chooses an endpoint of the newest table. */
  #dispatch(route: Route | undefined, fresh: boolean): void {
    const { live, metrics } = this.#context;
    if (route === undefined) {
      this.#owner.onNoEndpoint(404, 'no Ingress routes this host and path');
      return;
    }
    const index = this.#policed === undefined ? route.backend : this.#policed.backendOf(route, live.states);
    this.backendKey = live.table.backends[index]!.key;
    const state = live.states[index]!;
    const endpoint = this.#pick(state);
    if (endpoint === undefined) {
      this.#giveUp(state.endpoints.length === 0 ? undefined : this.#lastError);
      return;
    }
    if (this.#lastError !== undefined) metrics.retries += 1;
    endpoint.pending += 1;
    this.#endpoint = endpoint;
    this.#owner.onEndpoint(endpoint, fresh);
  }

  #pick(state: BackendState): UpstreamEndpoint | undefined {
    if (this.#unreached >= this.#context.limits.connectAttemptsMax) return undefined;
    const kept = this.#policed?.keptEndpoint(state.endpoints, this.#excluded);
    if (kept !== undefined) return kept;
    const index = pickEndpoint(state.endpoints, state.cursor, this.#excluded);
    state.cursor = state.cursor >= 0x3fffffff ? 0 : state.cursor + 1;
    const endpoint = index === -1 ? undefined : state.endpoints[index];
    return endpoint === undefined || endpoint.full ? undefined : endpoint;
  }

  /** `error`: the last one; undefined: there was nobody to ask. */
  #giveUp(error: string | undefined): void {
    const { status, reason } = failureAnswer(error ?? 'none');
    this.#owner.onNoEndpoint(status, reason);
  }
}
