import { createHash } from 'node:crypto';
import { type Cidr, cidrContains, parseIp } from '../base/ip.ts';
import type { ProxyContext } from './context.ts';
import { addLines, editFields, withTarget } from './head-edit.ts';
import type { ClientFacts } from './headers.ts';
import { FIELD_FORWARDED_FOR, FIELD_FORWARDED_PROTO, FIELD_OTHER, type FieldLines } from './http1-fields.ts';
import type { RequestHead } from './http1-parse.ts';
import type { ProxyLimits } from './limits.ts';
import { passwordFits } from './password-hash.ts';
import type { AffinityPolicy, CanaryPolicy, CorsPolicy, FieldEdit, RoutePolicy } from './policy.ts';
import type { Route } from './table.ts';
import type { UpstreamEndpoint } from './upstream.ts';

/** A policy's own answer: nothing goes to an endpoint. */
export type PolicyAnswer = {
  readonly kind: 'answer';
  readonly status: number;
  readonly reason: string;
  /** Field lines with CRLF. */
  readonly fields: string;
};

type AdmitContext = Pick<ProxyContext, 'limits' | 'policyStates' | 'requestLines' | 'isTrusted' | 'nowMs'>;

/**
 * Applies the policy of a route to a request, in this order: source ranges, redirect to HTTPS, redirects, app root, rate,
 * CORS preflight, basic auth, canary. `context.requestLines` must still be those of `head`.
 */
export function admit(
  route: Route,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | PolicedRequest {
  const policy = route.policy!;
  const lines = context.requestLines;
  const refusal =
    checkSource(policy, head, client, context) ??
    redirectOf(policy, head, client, lines) ??
    checkRate(policy, head, client, context);
  if (refusal !== undefined) return refusal;
  const origin = policy.cors === undefined ? undefined : fieldValue(head, lines, 'origin');
  const corsFields = policy.cors === undefined ? [] : corsAnswerFields(policy.cors, origin);
  if (policy.cors !== undefined && isPreflight(head, lines, origin)) {
    return answer(204, '', preflightLines(policy.cors, corsFields));
  }
  const unauthorized = checkPassword(policy, head, context);
  if (unauthorized !== undefined) return unauthorized;
  const { canary } = policy;
  const takesCanary = canary !== undefined && choosesCanary(canary, head, context);
  return new PolicedRequest(route, policy, head, {
    limits: policy.limits === undefined ? context.limits : { ...context.limits, ...policy.limits },
    takesCanary,
    corsFields,
    secure: schemeOf(head, client, lines) === 'https',
    affinityValue:
      policy.affinity === undefined ? undefined : cookieValue(head, lines, policy.affinity.cookieName),
  });
}

function answer(status: number, reason: string, fields = ''): PolicyAnswer {
  return { kind: 'answer', status, reason, fields };
}

type Facts = {
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
  readonly #facts: Facts;

  constructor(route: Route, policy: RoutePolicy, head: RequestHead, facts: Facts) {
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

function checkSource(
  { sources }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (sources === undefined) return undefined;
  const address = clientAddress(head, client, context);
  const denied = sources.deny.length > 0 && isWithin(address, sources.deny);
  const missing = sources.allow !== undefined && !isWithin(address, sources.allow);
  return denied || missing ? answer(403, 'this address may not use this host and path') : undefined;
}

function isWithin(address: string, ranges: readonly Cidr[]): boolean {
  const ip = parseIp(address);
  return ip !== undefined && ranges.some((range) => range.family === ip.family && cidrContains(range, ip));
}

/** The last address of X-Forwarded-For that is no proxy of ours; without trusted proxies the peer's. */
function clientAddress(head: RequestHead, client: ClientFacts, context: AdmitContext): string {
  if (!client.trusted) return client.address;
  const list = joinedField(head, context.requestLines, FIELD_FORWARDED_FOR).split(',');
  for (const item of list.toReversed()) {
    const address = item.trim();
    if (address !== '' && !context.isTrusted(address)) return address;
  }
  return client.address;
}

function redirectOf(
  policy: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  lines: FieldLines,
): PolicyAnswer | undefined {
  const { httpsPort, redirect, appRoot } = policy;
  if (httpsPort !== undefined && schemeOf(head, client, lines) === 'http' && head.host !== '') {
    const port = httpsPort === 443 ? '' : `:${httpsPort}`;
    const target = head.target === '*' ? '/' : head.target;
    return answer(308, 'use HTTPS', `Location: https://${head.host}${port}${target}\r\n`);
  }
  if (redirect !== undefined) {
    return answer(redirect.status, 'it is elsewhere', `Location: ${redirect.url}\r\n`);
  }
  if (appRoot !== undefined && head.path === '/') {
    return answer(302, 'the application begins elsewhere', `Location: ${appRoot}\r\n`);
  }
  return undefined;
}

function schemeOf(head: RequestHead, client: ClientFacts, lines: FieldLines): string {
  if (!client.trusted) return client.scheme;
  const told = joinedField(head, lines, FIELD_FORWARDED_PROTO).split(',').at(-1)?.trim().toLowerCase();
  return told === undefined || told === '' ? client.scheme : told;
}

function checkRate(
  { rate, ingress }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (rate === undefined) return undefined;
  const address = clientAddress(head, client, context);
  const waitSeconds = context.policyStates.takeRate(ingress, address, rate, context.nowMs());
  if (waitSeconds === 0) return undefined;
  return answer(429, 'too many requests from this address', `Retry-After: ${waitSeconds}\r\n`);
}

function checkPassword(
  { basicAuth, ingress }: RoutePolicy,
  head: RequestHead,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (basicAuth === undefined) return undefined;
  const sent = fieldValue(head, context.requestLines, 'authorization') ?? '';
  const encoded = /^basic +([A-Za-z0-9+/=]+)$/i.exec(sent)?.[1] ?? '';
  const credentials = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = credentials.indexOf(':');
  const hash = basicAuth.users.get(credentials.slice(0, Math.max(colon, 0)));
  const password = credentials.slice(colon + 1);
  if (colon > 0 && hash !== undefined) {
    const key = createHash('sha256').update(`${ingress}\n${hash}\n${password}`).digest('base64');
    if (context.policyStates.checkPassword(key, () => passwordFits(password, hash))) return undefined;
  }
  const challenge = `WWW-Authenticate: Basic realm="${basicAuth.realm}", charset="UTF-8"\r\n`;
  return answer(401, 'a user name and password are needed', challenge);
}

function choosesCanary(canary: CanaryPolicy, head: RequestHead, context: AdmitContext): boolean {
  const { header, cookieName } = canary;
  const lines = context.requestLines;
  if (header !== undefined) {
    const value = fieldValue(head, lines, header.name);
    if (header.value !== undefined) {
      if (value === header.value) return true;
    } else if (value === 'always' || value === 'never') return value === 'always';
  }
  if (cookieName !== undefined) {
    const value = cookieValue(head, lines, cookieName);
    if (value === 'always' || value === 'never') return value === 'always';
  }
  return (
    canary.weight > 0 && context.policyStates.takeCanary(canary.ingress, canary.weight, canary.weightTotal)
  );
}

function isPreflight(head: RequestHead, lines: FieldLines, origin: string | undefined): boolean {
  if (head.method !== 'OPTIONS' || origin === undefined) return false;
  return fieldValue(head, lines, 'access-control-request-method') !== undefined;
}

function originAllowed(origins: readonly string[], origin: string): boolean {
  const wanted = origin.toLowerCase();
  return origins.some((allowed) => {
    const star = allowed.indexOf('*.');
    if (allowed === '*' || allowed === wanted) return true;
    if (star === -1) return false;
    const scheme = allowed.slice(0, star);
    return wanted.startsWith(scheme) && wanted.slice(scheme.length).endsWith(allowed.slice(star + 1));
  });
}

/** Empty for an origin that is not allowed: the browser then keeps the answer from the page. */
function corsAnswerFields(cors: CorsPolicy, origin: string | undefined): readonly FieldEdit[] {
  const any = cors.origins.includes('*');
  const vary = any ? [] : [{ name: 'Vary', value: 'Origin' }];
  if (origin === undefined || !originAllowed(cors.origins, origin)) return vary;
  return [
    { name: 'Access-Control-Allow-Origin', value: any ? '*' : origin },
    ...vary,
    ...(cors.credentials ? [{ name: 'Access-Control-Allow-Credentials', value: 'true' }] : []),
    ...(cors.exposeHeaders === ''
      ? []
      : [{ name: 'Access-Control-Expose-Headers', value: cors.exposeHeaders }]),
  ];
}

function preflightLines(cors: CorsPolicy, fields: readonly FieldEdit[]): string {
  const allowed = fields.some(({ name }) => name === 'Access-Control-Allow-Origin');
  const all = allowed
    ? [
        ...fields,
        { name: 'Access-Control-Allow-Methods', value: cors.methods },
        { name: 'Access-Control-Allow-Headers', value: cors.headers },
        { name: 'Access-Control-Max-Age', value: String(cors.maxAgeSeconds) },
      ]
    : fields;
  return all.map(({ name, value }) => `${name}: ${value}\r\n`).join('');
}

/** The first field of that name (lower case). */
function fieldValue(head: RequestHead, lines: FieldLines, name: string): string | undefined {
  for (let i = 0; i < lines.count; i += 1) {
    const start = lines.lineStarts[i]!;
    if (lines.fields[i] !== FIELD_OTHER || lines.nameEnds[i]! - start !== name.length) continue;
    if (head.text.slice(start, lines.nameEnds[i]).toLowerCase() !== name) continue;
    return head.text.slice(lines.valueStarts[i], lines.valueEnds[i]);
  }
  return undefined;
}

function joinedField(head: RequestHead, lines: FieldLines, field: number): string {
  let joined = '';
  for (let i = 0; i < lines.count; i += 1) {
    if (lines.fields[i] !== field) continue;
    const value = head.text.slice(lines.valueStarts[i], lines.valueEnds[i]);
    joined = joined === '' ? value : `${joined},${value}`;
  }
  return joined;
}

function cookieValue(head: RequestHead, lines: FieldLines, name: string): string | undefined {
  const cookies = fieldValue(head, lines, 'cookie');
  if (cookies === undefined) return undefined;
  for (const item of cookies.split(';')) {
    const equals = item.indexOf('=');
    if (equals !== -1 && item.slice(0, equals).trim() === name) return item.slice(equals + 1).trim();
  }
  return undefined;
}
