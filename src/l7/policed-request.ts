import { createHash } from 'node:crypto';
import { addLines, editFields, withTarget } from './head-edit.ts';
import type { RequestHead } from './http1-parse.ts';
import type { ProxyLimits } from './limits.ts';
import type { AffinityPolicy, FieldEdit, RoutePolicy } from './policy.ts';
import type { Route } from './table.ts';
import type { UpstreamEndpoint } from './upstream.ts';

export type AdmittedFacts = {
  readonly limits: ProxyLimits;
  readonly takesCanary: boolean;
  readonly corsFields: readonly FieldEdit[];
  readonly secure: boolean;
  readonly affinityValue: string | undefined;
};

/** A request that its route's policy lets through, and what the policy changes on its way. */
export class PolicedRequest {
  readonly kind = 'forward';
  readonly limits: ProxyLimits;
  readonly #policy: RoutePolicy;
  readonly #route: Route;
  readonly #head: RequestHead;
  readonly #facts: AdmittedFacts;

  constructor(route: Route, policy: RoutePolicy, head: RequestHead, facts: AdmittedFacts) {
    this.limits = facts.limits;
    this.#route = route;
    this.#policy = policy;
    this.#head = head;
    this.#facts = facts;
  }

  /** `route` is that of the newest table, which may have changed since the request was admitted. */
  backendOf(route: Route): number {
    const canary = this.#facts.takesCanary ? route.policy?.canary : undefined;
    return canary?.backend ?? route.backend;
  }

  /** The target that the endpoint sees. */
  rewritten(head: RequestHead): string {
    const { rewriteTo } = this.#policy;
    return rewriteTo === undefined ? head.target : rewriteTarget(this.#route, rewriteTo, head);
  }

  /** The head for the endpoint. */
  editRequest(text: string): string {
    const { rewriteTo, requestFields } = this.#policy;
    let out = text;
    if (rewriteTo !== undefined && this.#head.target !== '*') {
      out = withTarget(out, this.#head.method, this.#head.target, this.rewritten(this.#head));
      const prefix = this.#route.path.replace(/\/$/, '');
      if (prefix !== '') out = addLines(out, `X-Forwarded-Prefix: ${prefix}\r\n`);
    }
    return editFields(out, requestFields);
  }

  /** The endpoint that the client's cookie names, if it can be used. */
  keptEndpoint(
    endpoints: readonly UpstreamEndpoint[],
    excluded: ReadonlySet<UpstreamEndpoint> | undefined,
  ): UpstreamEndpoint | undefined {
    const wanted = this.#facts.affinityValue;
    if (wanted === undefined) return undefined;
    return endpoints.find(
      (endpoint) =>
        !endpoint.full && !endpoint.avoided && !excluded?.has(endpoint) && affinityIdOf(endpoint) === wanted,
    );
  }

  /** The head for the client; `endpoint` is who answered. */
  editResponse(text: string, endpoint: UpstreamEndpoint): string {
    const { affinity, responseFields } = this.#policy;
    let out = text;
    for (const edit of this.#facts.corsFields) {
      // Vary is a list that the endpoint may have begun; the others are ours alone.
      out = edit.name === 'Vary' ? addLines(out, `Vary: ${edit.value}\r\n`) : editFields(out, [edit]);
    }
    out = editFields(out, responseFields);
    if (affinity !== undefined && affinityIdOf(endpoint) !== this.#facts.affinityValue) {
      out = addLines(out, cookieLine(affinity, affinityIdOf(endpoint), this.#facts.secure));
    }
    return out;
  }
}

const affinityIds = new WeakMap<UpstreamEndpoint, string>();

/** Stands for an endpoint in cookies: the same in every worker and replica, and tells nobody its address. */
function affinityIdOf(endpoint: UpstreamEndpoint): string {
  let id = affinityIds.get(endpoint);
  if (id === undefined) {
    id = createHash('sha256').update(endpoint.key).digest('hex').slice(0, 20);
    affinityIds.set(endpoint, id);
  }
  return id;
}

function cookieLine(affinity: AffinityPolicy, value: string, secure: boolean): string {
  const age = affinity.maxAgeSeconds === undefined ? '' : `; Max-Age=${affinity.maxAgeSeconds}`;
  const flags = `${age}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  return `Set-Cookie: ${affinity.cookieName}=${value}; Path=${affinity.path}${flags}\r\n`;
}

/** The matched part of the path gives way; the rest and the query stay. */
function rewriteTarget(route: Route, rewriteTo: string, head: RequestHead): string {
  const matched = route.pathType === 'Exact' ? head.path.length : route.path.replace(/\/$/, '').length;
  const rest = head.path.slice(matched);
  const path = `${rewriteTo}${rest}`;
  return `${path === '' ? '/' : path}${head.target.slice(head.path.length)}`;
}
