import type { ObjectKey } from '../api/object.ts';
import type { Cidr } from '../base/ip.ts';
import type { ProxyLimits } from './limits.ts';

/** What the annotations of an Ingress ask for, ready to be applied. One object for all routes of the Ingress. */
export type RoutePolicy = {
  readonly ingress: ObjectKey;
  /** Plain HTTP is sent to HTTPS at this port. undefined: served as it comes. */
  readonly httpsPort: number | undefined;
  readonly redirect: Redirect | undefined;
  /** Where `/` is sent; undefined: nowhere. */
  readonly appRoot: string | undefined;
  /** What stands in for the matched part of the path; without a trailing slash, so '' for `/`. */
  readonly rewriteTo: string | undefined;
  /** In place of the process's own. */
  readonly limits: Partial<ProxyLimits> | undefined;
  readonly cors: CorsPolicy | undefined;
  readonly sources: SourcePolicy | undefined;
  readonly basicAuth: BasicAuthPolicy | undefined;
  readonly rate: RatePolicy | undefined;
  readonly requestFields: readonly FieldEdit[];
  readonly responseFields: readonly FieldEdit[];
  readonly affinity: AffinityPolicy | undefined;
  readonly canary: CanaryPolicy | undefined;
};

export type RedirectStatus = 301 | 302 | 303 | 307 | 308;

export type Redirect = { readonly status: RedirectStatus; readonly url: string };

export type CorsPolicy = {
  /** `*`, origins, or origins with `*.` before the host (one label or more). */
  readonly origins: readonly string[];
  readonly methods: string;
  readonly headers: string;
  /** '' : none. */
  readonly exposeHeaders: string;
  readonly credentials: boolean;
  readonly maxAgeSeconds: number;
};

/** A client in `deny`, or not in `allow`, gets 403. `allow` undefined: everybody; empty: nobody. */
export type SourcePolicy = { readonly allow: readonly Cidr[] | undefined; readonly deny: readonly Cidr[] };

export type BasicAuthPolicy = {
  readonly realm: string;
  /** User to password hash, as htpasswd writes it. Empty: nobody gets in. */
  readonly users: ReadonlyMap<string, string>;
};

/** By client address: `perSecond` on average, `burst` at once. */
export type RatePolicy = { readonly perSecond: number; readonly burst: number };

/** Sets a field in place of those of the same name; an empty value removes them. */
export type FieldEdit = { readonly name: string; readonly value: string };

export type AffinityPolicy = {
  readonly cookieName: string;
  /** undefined: until the browser ends. */
  readonly maxAgeSeconds: number | undefined;
  readonly path: string;
};

/** Part of the requests goes elsewhere. Header before cookie before weight. */
export type CanaryPolicy = {
  /** The canary Ingress. */
  readonly ingress: ObjectKey;
  /** Index into `RouteTable.backends`. */
  readonly backend: number;
  /** Lower case; undefined: no header decides. `value` undefined: `always` and `never` decide. */
  readonly header: { readonly name: string; readonly value: string | undefined } | undefined;
  /** A cookie of that name that says `always` or `never` decides. */
  readonly cookieName: string | undefined;
  /** Requests of `weightTotal`. */
  readonly weight: number;
  readonly weightTotal: number;
};

/** A policy that changes nothing: what others are made from. */
export function emptyPolicy(ingress: ObjectKey): RoutePolicy {
  return {
    ingress,
    httpsPort: undefined,
    redirect: undefined,
    appRoot: undefined,
    rewriteTo: undefined,
    limits: undefined,
    cors: undefined,
    sources: undefined,
    basicAuth: undefined,
    rate: undefined,
    requestFields: [],
    responseFields: [],
    affinity: undefined,
    canary: undefined,
  };
}
