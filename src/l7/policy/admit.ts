import { createHash } from 'node:crypto';
import { type Cidr, cidrContains, parseIp } from '../../base/ip.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { corsAnswerFields, isPreflight, preflightLines } from './cors-answer.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import type { FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import { refusalOf } from './client-certificate.ts';
import { passwordFits } from './password-hash.ts';
import { PolicedRequest } from './policed-request.ts';
import type { CanaryPolicy, MirrorPolicy, RoutePolicy, SourcePolicy } from './policy.ts';
import { clientAddress, cookieValue, fieldValue, schemeOf } from '../proxy/request-fields.ts';
import { fillTemplate, variablesOf } from './request-variables.ts';
import { requestHash } from '../balance/request-hash.ts';
import type { Route } from '../routes/table.ts';

/** A policy's own answer: nothing goes to an endpoint. */
export type PolicyAnswer = {
  readonly kind: 'answer';
  readonly status: number;
  readonly reason: string;
  /** Field lines with CRLF. */
  readonly fields: string;
};

type AdmitContext = Pick<
  ProxyContext,
  'limits' | 'policyStates' | 'requestLines' | 'isTrusted' | 'trustedHops' | 'nowMs'
>;

/**
 * Applies the policy of a route to a request, in this order: source ranges, redirect to HTTPS, redirects, app root, client certificate, rate,
 * CORS preflight, basic auth, requests at once, canary. Source ranges that need not hold because a login is enough come with it. `context.requestLines` must still be those of `head`.
 */
export function admit(
  route: Route,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | PolicedRequest {
  const policy = route.policy!;
  const lines = context.requestLines;
  const outside = checkSource(policy, head, client, context);
  const eitherSuffices = policy.satisfyAny === true && policy.sources !== undefined && asksForLogin(policy);
  const refusal =
    (eitherSuffices ? undefined : outside) ??
    redirectOf(policy, head, client, lines) ??
    checkCertificate(policy, head, client, context) ??
    checkRate(policy, head, client, context);
  if (refusal !== undefined) return refusal;
  const origin = policy.cors === undefined ? undefined : fieldValue(head, lines, 'origin');
  const corsFields = policy.cors === undefined ? [] : corsAnswerFields(policy.cors, origin);
  if (policy.cors !== undefined && isPreflight(head, lines, origin)) {
    return answer(204, '', preflightLines(policy.cors, corsFields));
  }
  const { forwardAuth } = policy;
  let asks = forwardAuth !== undefined && (!eitherSuffices || outside !== undefined);
  if (!eitherSuffices || outside !== undefined) {
    const unauthorized = checkPassword(policy, head, context);
    const mayPassLater = policy.satisfyAny === true && asks;
    if (unauthorized !== undefined && !mayPassLater) return unauthorized;
    if (mayPassLater && policy.basicAuth !== undefined && unauthorized === undefined) asks = false;
  }
  const place = takePlace(policy, head, client, context);
  if (place?.kind === 'answer') return place;
  const { canary } = policy;
  const takesCanary = canary !== undefined && choosesCanary(canary, head, context);
  return new PolicedRequest(route, policy, head, {
    limits: policy.limits === undefined ? context.limits : { ...context.limits, ...policy.limits },
    takesCanary,
    splits: context.policyStates.splits,
    corsFields,
    acceptEncoding:
      policy.compression === undefined ? '' : (fieldValue(head, lines, 'accept-encoding') ?? ''),
    hash: policy.hashBy === undefined ? undefined : requestHash(policy.hashBy, head, client, context),
    certificate: client.certificate,
    scheme: schemeOf(head, client, lines),
    auth:
      asks && forwardAuth !== undefined
        ? {
            cacheValues: forwardAuth.cacheFields.map((name) => fieldValue(head, lines, name) ?? ''),
            clientAddress: clientAddress(head, client, context),
          }
        : undefined,
    mirrors: policy.mirror !== undefined && takesMirror(policy.mirror, policy.ingress, context),
    affinityValue:
      policy.affinity === undefined ? undefined : cookieValue(head, lines, policy.affinity.cookieName),
    release: place?.release,
  });
}

function asksForLogin({ basicAuth, forwardAuth }: RoutePolicy): boolean {
  return basicAuth !== undefined || forwardAuth !== undefined;
}

function takesMirror({ percentage }: MirrorPolicy, ingress: string, context: AdmitContext): boolean {
  return percentage > 0 && context.policyStates.takeCanary(`mirror ${ingress}`, percentage, 100);
}

type Place = { readonly kind: 'place'; readonly release: () => void };

function takePlace(
  { connectionLimit, ingress }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | Place | undefined {
  if (connectionLimit === undefined) return undefined;
  const address = clientAddress(head, client, context);
  const release = context.policyStates.takeConnection(ingress, address, connectionLimit);
  if (release !== undefined) return { kind: 'place', release };
  return answer(429, 'too many requests at once from this address', 'Retry-After: 1\r\n');
}

function answer(status: number, reason: string, fields = ''): PolicyAnswer {
  return { kind: 'answer', status, reason, fields };
}

function checkSource(
  { sources }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (sources === undefined) return undefined;
  const address = clientAddress(head, client, context);
  return keepsOut(sources, address) ? answer(403, 'this address may not use this host and path') : undefined;
}

export function keepsOut({ allow, deny }: SourcePolicy, address: string): boolean {
  return isWithin(address, deny) || (allow !== undefined && !isWithin(address, allow));
}

export function isWithin(address: string, ranges: readonly Cidr[]): boolean {
  const ip = parseIp(address);
  return ip !== undefined && ranges.some((range) => range.family === ip.family && cidrContains(range, ip));
}

function redirectOf(
  policy: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  lines: FieldLines,
): PolicyAnswer | undefined {
  const { httpsPort, httpsHosts, redirect, appRoot } = policy;
  const scheme = schemeOf(head, client, lines);
  const toHttps = httpsPort !== undefined && scheme === 'http' && head.host !== '';
  if (toHttps && (httpsHosts === undefined || hasHost(httpsHosts, head.host))) {
    const port = httpsPort === 443 ? '' : `:${httpsPort}`;
    const target = head.target === '*' ? '/' : head.target;
    return answer(308, 'use HTTPS', `Location: https://${head.host}${port}${target}\r\n`);
  }
  if (policy.passesThrough === true) return answer(421, 'TLS for this host does not end here');
  if (redirect !== undefined) {
    return answer(
      redirect.status,
      'it is elsewhere',
      `Location: ${redirectUrl(redirect.url, scheme, head)}\r\n`,
    );
  }
  if (appRoot !== undefined && head.path === '/') {
    return answer(302, 'the application begins elsewhere', `Location: ${appRoot}\r\n`);
  }
  return undefined;
}

function redirectUrl(template: string, scheme: string, head: RequestHead): string {
  if (!template.includes('$')) return template;
  return template
    .replace('$scheme', scheme)
    .replace('$host', () => head.host)
    .replace('$request_uri', () => (head.target === '*' ? '/' : head.target));
}

/** `hosts` may hold names such as `*.foo.com`, for one label. */
function hasHost(hosts: ReadonlySet<string>, host: string): boolean {
  return hosts.has(host) || hosts.has(`*${host.slice(host.indexOf('.'))}`);
}

function checkCertificate(
  { clientCertificate }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (clientCertificate === undefined) return undefined;
  const refusal = refusalOf(clientCertificate, client.scheme, client.certificate);
  if (refusal === undefined) return undefined;
  const { status, reason, toErrorPage } = refusal;
  const { errorPage } = clientCertificate;
  if (!toErrorPage || errorPage === undefined) return answer(status, reason);
  const scheme = schemeOf(head, client, context.requestLines);
  const said = variablesOf(head, { scheme, clientAddress: clientAddress(head, client, context) });
  return answer(302, reason, `Location: ${fillTemplate(errorPage, said)}\r\n`);
}

function checkRate(
  { rate, ingress }: RoutePolicy,
  head: RequestHead,
  client: ClientFacts,
  context: AdmitContext,
): PolicyAnswer | undefined {
  if (rate === undefined) return undefined;
  const address = clientAddress(head, client, context);
  if (isWithin(address, rate.exempt)) return undefined;
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
  const { header, cookie } = canary;
  const lines = context.requestLines;
  if (header !== undefined) {
    const value = fieldValue(head, lines, header.name);
    if (header.value !== undefined) {
      if (value === header.value) return true;
    } else if (header.pattern !== undefined) {
      if (value !== undefined && header.pattern.test(value)) return true;
    } else if (value === 'always' || value === 'never') return value === 'always';
  }
  if (cookie !== undefined) {
    const value = cookieValue(head, lines, cookie.name);
    if (cookie.value !== undefined) {
      if (value === cookie.value) return true;
    } else if (value === 'always' || value === 'never') return value === 'always';
  }
  return (
    canary.weight > 0 && context.policyStates.takeCanary(canary.ingress, canary.weight, canary.weightTotal)
  );
}
