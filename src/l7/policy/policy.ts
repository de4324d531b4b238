import type { ObjectKey } from '../../api/object.ts';
import type { Cidr } from '../../base/ip.ts';
import type { Regex } from '../../base/regex/regex.ts';
import type { Split } from '../balance/split.ts';
import type { ClientCertificatePolicy } from './client-certificate.ts';
import type { CompressionPolicy } from './compression.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import type { Template } from './request-variables.ts';

/** What the annotations of an Ingress ask for, ready to be applied. One object for all routes of the Ingress. */
export type RoutePolicy = {
  readonly ingress: ObjectKey;
  /** Plain HTTP is sent to HTTPS at this port. undefined: served as it comes. */
  readonly httpsPort: number | undefined;
  /** Only requests for these hosts (`*.foo.com` among them) are sent to HTTPS; undefined: all. */
  readonly httpsHosts: ReadonlySet<string> | undefined;
  /** True: TLS of the host ends elsewhere, so what comes decrypted was not meant for us. */
  readonly passesThrough: true | undefined;
  readonly redirect: Redirect | undefined;
  /** Where `/` is sent; undefined: nowhere. */
  readonly appRoot: string | undefined;
  /** What stands in for the matched part of the path; without a trailing slash, so '' for `/`. */
  readonly rewriteTo: string | undefined;
  /** What the whole path becomes; `$1` to `$9` are groups of the route's regular expression. Goes before `rewriteTo`. */
  readonly rewritePath: string | undefined;
  /** What the backend sees as Host. */
  readonly upstreamHost: string | undefined;
  /** The Connection field that the backend sees. */
  readonly upstreamConnection: 'keep-alive' | 'close' | undefined;
  /** The X-Forwarded-Prefix that the backend sees. */
  readonly forwardedPrefix: string | undefined;
  readonly locationEdit: LocationEdit | undefined;
  /** In place of the process's own. */
  readonly limits: Partial<ProxyLimits> | undefined;
  readonly cors: CorsPolicy | undefined;
  readonly sources: SourcePolicy | undefined;
  readonly basicAuth: BasicAuthPolicy | undefined;
  readonly forwardAuth: ForwardAuthPolicy | undefined;
  readonly mirror: MirrorPolicy | undefined;
  /** True: source ranges or a login is enough. undefined: all that are given must hold. */
  readonly satisfyAny: boolean | undefined;
  readonly rate: RatePolicy | undefined;
  /** Requests under way at once, by client address. */
  readonly connectionLimit: number | undefined;
  readonly requestFields: readonly FieldEdit[];
  readonly responseFields: readonly FieldEdit[];
  readonly affinity: AffinityPolicy | undefined;
  /** undefined: answers go as they come. */
  readonly compression: CompressionPolicy | undefined;
  /** What requests for the same endpoint have in common; undefined: nothing. */
  readonly hashBy: HashBy | undefined;
  readonly canary: CanaryPolicy | undefined;
  /** Services that share the requests; undefined: the route's own gets all. */
  readonly split: Split | undefined;
  readonly errorPages: ErrorPagePolicy | undefined;
  /** That of the host. */
  readonly clientCertificate: ClientCertificatePolicy | undefined;
  /** Index of the backend that serves while the route's own has no endpoint. */
  readonly fallback: number | undefined;
};

/** A Location that begins with `from` gets `to` in its place. */
export type LocationEdit = { readonly from: string; readonly to: string };

export type RedirectStatus = 301 | 302 | 303 | 307 | 308;

/** In `url`, `$scheme`, `$host` and `$request_uri` stand for those of the request. */
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

/** A service that is asked whether a request may pass. */
export type ForwardAuthPolicy = {
  /** Index of the backend; -1: nobody can be asked, so nobody gets in. `itself`: that of the route for the path on the request's host. */
  readonly backend: number | 'itself';
  /** Host that the service is asked by; `itself` by that of the request. */
  readonly authority: string;
  readonly path: Template;
  readonly method: string;
  /** Fields of its answer that the backend gets, in lower case; what the client says under these names does not pass. */
  readonly answerFields: readonly string[];
  /** Where clients are sent that it does not know (401); undefined: they get its answer. */
  readonly signin: Template | undefined;
  /** The query parameter that names the way back. */
  readonly signinParameter: string;
  /** What X-Auth-Request-Redirect says; undefined: the request's target. */
  readonly requestRedirect: Template | undefined;
  /** What the service is told beside the request's own fields. */
  readonly requestFields: readonly TemplateField[];
  /** How long a yes is remembered; 0: not at all. */
  readonly cacheMs: number;
  /** Request fields, in lower case, that requests must have in common for that. */
  readonly cacheFields: readonly string[];
};

/** Answers of these statuses, whoever gave them, give way to what a backend says when it is told of them. */
export type ErrorPagePolicy = { readonly codes: ReadonlySet<number>; readonly backend: number };

/** Who gets copies of requests. */
export type MirrorPolicy = {
  readonly backend: number;
  readonly authority: string;
  readonly percentage: number;
  readonly withBody: boolean;
};

/** By client address: `perSecond` on average, `burst` at once. */
export type RatePolicy = {
  readonly perSecond: number;
  readonly burst: number;
  /** Addresses that are not counted. */
  readonly exempt: readonly Cidr[];
};

/** A field whose value is made for each request. */
export type TemplateField = { readonly name: string; readonly value: Template };

/** Sets a field in place of those of the same name; an empty value removes them. */
export type FieldEdit = { readonly name: string; readonly value: string };

/** `uri`: path and query. A header's name is in lower case. */
export type HashBy =
  | { readonly kind: 'client-address' | 'uri' | 'path' }
  | { readonly kind: 'header' | 'cookie' | 'query'; readonly name: string };

export type AffinityPolicy = {
  readonly cookieName: string;
  /** undefined: until the browser ends. */
  readonly maxAgeSeconds: number | undefined;
  readonly path: string;
  /** undefined: the host alone. */
  readonly domain: string | undefined;
  readonly sameSite: 'Lax' | 'Strict' | 'None';
  /** undefined: for requests over HTTPS. */
  readonly secure: boolean | undefined;
};

/** Part of the requests goes elsewhere. Header before cookie before weight. */
export type CanaryPolicy = {
  /** The canary Ingress. */
  readonly ingress: ObjectKey;
  /** Index into `RouteTable.backends`. */
  readonly backend: number;
  /** Lower case; undefined: no header decides. With a value or, failing that, a pattern, what fits goes to the canary; else `always` and `never` decide. */
  readonly header:
    | { readonly name: string; readonly value: string | undefined; readonly pattern: Regex | undefined }
    | undefined;
  /** A cookie of that name decides: by this value, else by `always` and `never`. */
  readonly cookie: { readonly name: string; readonly value: string | undefined } | undefined;
  /** Requests of `weightTotal`. */
  readonly weight: number;
  readonly weightTotal: number;
};

/** A policy that changes nothing: what others are made from. */
export function emptyPolicy(ingress: ObjectKey): RoutePolicy {
  return {
    ingress,
    httpsPort: undefined,
    httpsHosts: undefined,
    passesThrough: undefined,
    redirect: undefined,
    appRoot: undefined,
    rewriteTo: undefined,
    rewritePath: undefined,
    upstreamHost: undefined,
    upstreamConnection: undefined,
    forwardedPrefix: undefined,
    locationEdit: undefined,
    limits: undefined,
    cors: undefined,
    sources: undefined,
    basicAuth: undefined,
    forwardAuth: undefined,
    mirror: undefined,
    satisfyAny: undefined,
    rate: undefined,
    connectionLimit: undefined,
    requestFields: [],
    responseFields: [],
    affinity: undefined,
    compression: undefined,
    hashBy: undefined,
    canary: undefined,
    split: undefined,
    errorPages: undefined,
    clientCertificate: undefined,
    fallback: undefined,
  };
}
