import type { Ingress } from '../../api/gen/networking-v1.ts';
import { keyOf } from '../../api/object.ts';
import { assert } from '../../base/assert.ts';
import { endpointsForBackend, type ServiceEndpoint } from '../../model/endpoints.ts';
import type { ClientCertificatePolicy } from '../policy/client-certificate.ts';
import { admit, type PolicyAnswer } from '../policy/admit.ts';
import { renderBackendTls } from './backend-protocol.ts';
import { legacyClassAnnotation } from '../controller/class.ts';
import type { CompiledRoutes } from './compile.ts';
import type { EjectionCause } from '../balance/ejection.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead, type RequestHead } from '../http1/http1-parse.ts';
import { defaultLimits } from '../proxy/limits.ts';
import { matchRelayed, matchRoute, pathMatches, routesOfHost } from './match.ts';
import { isAmbiguous } from './path-readings.ts';
import type { PolicedRequest } from '../policy/policed-request.ts';
import { PolicyStates } from '../policy/policy-states.ts';
import { noObjects, structureRoutes } from './route-structure.ts';
import { endpointKey, type HostRoutes, type Route, type RouteTable } from './table.ts';

/** A request that somebody wonders about. */
export type ExplainRequest = {
  readonly method: string;
  readonly url: URL;
  /** Name and value. */
  readonly headers: readonly (readonly [string, string])[];
  readonly clientAddress: string;
};

/** What a running worker knows of an endpoint in use. */
export type LiveEndpoint = {
  /** "address:port". */
  readonly key: string;
  /** Requests under way, tunnels among them. */
  readonly pending: number;
  /** Upgraded and relayed connections under way. */
  readonly tunnels: number;
  /** What it has failed by, so that others are asked first; undefined: nothing. */
  readonly ejected: EjectionCause | undefined;
  /** How much of its share it gets already, in (0, 1]: less than 1 while it starts slowly. */
  readonly startedShare?: number;
  /** Why the last connection to it could not be made. */
  readonly lastError?: string | undefined;
  /** For so long the table has left it out, while requests of before are under way, ms; undefined: it is in the table. */
  readonly leftForMs?: number | undefined;
};

const passedOver: Readonly<Record<EjectionCause, string>> = {
  connection: ', passed over: it could not be connected to a moment ago',
  answers: ', passed over: it has failed too many requests in a row',
};

/** Rules that do not match are told up to this number; the others are counted. */
const otherRulesMax = 20;

/**
 * Why the request goes where it goes, as text of one fact a line: by the table in use, with the code that routes.
 * @param live endpoints of a backend by its index; undefined: no worker runs, as when asking about an API server's objects
 */
export function explainRequest(
  compiled: CompiledRoutes,
  request: ExplainRequest,
  live: ((backend: number) => readonly LiveEndpoint[]) | undefined,
): string {
  const { url, method } = request;
  const lines: string[] = [`${method} ${url.protocol}//${url.host}${url.pathname}${url.search}`];
  const requestLines = new FieldLines(defaultLimits.headerCountMax);
  const head = headOf(request, requestLines);
  if (head.kind === 'failure') {
    return `${lines[0]}\nRESULT     ${head.status}: ${head.reason}\n`;
  }
  const { table } = compiled;
  const relayed = url.protocol === 'https:' ? matchRelayed(table, head.host) : undefined;
  if (relayed !== undefined) {
    const { host, ingress, backend } = relayed;
    lines.push(`TLS        passes through, for ${host || 'any host'}, by Ingress ${ingress}`);
    return `${[...lines, ...explainBackend(compiled, backend, live)].join('\n')}\n`;
  }
  if (url.protocol === 'https:') lines.push(`TLS        ${explainCertificate(table, head.host)}`);
  const asked = routesOfHost(table, head.host)?.clientCertificate;
  if (asked !== undefined) lines.push(`CLIENT     ${explainClientCertificate(asked)}`);
  lines.push(`HOST       ${explainHost(table, head.host)}`);
  const route = matchRoute(table, head.host, head.path);
  lines.push(...explainRules(table, head, route), ...explainUnserved(compiled, head));
  if (route === undefined) {
    return `${[...lines, 'RESULT     404: no Ingress routes this host and path'].join('\n')}\n`;
  }
  if (isAmbiguous(table, head.host, head.path, route)) {
    lines.push('RESULT     400: the path can be read as one that another rule is for');
    return `${lines.join('\n')}\n`;
  }
  const verdict = verdictOf(route, head, request, requestLines);
  if (verdict?.kind === 'answer') {
    const location = verdict.fields.split('\r\n').filter((field) => field !== '');
    lines.push(...location.map((field) => `           ${field}`));
    lines.push(
      `RESULT     ${verdict.status} by the annotations of Ingress ${route.policy?.ingress}: ${verdict.reason}`,
    );
    return `${lines.join('\n')}\n`;
  }
  const index = verdict === undefined ? route.backend : verdict.backendOf(route, table.backends);
  if (verdict !== undefined)
    lines.push(...explainPolicy(route, verdict, head, (at) => table.backends[at]?.key ?? ''));
  lines.push(...explainBackend(compiled, index, live));
  return `${lines.join('\n')}\n`;
}

function headOf(request: ExplainRequest, lines: FieldLines): ReturnType<typeof parseRequestHead> {
  const { method, url, headers } = request;
  const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const host = headers.some(([name]) => name.toLowerCase() === 'host') ? '' : `Host: ${url.host}\r\n`;
  const text = `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${host}${fields}\r\n`;
  const bytes = Buffer.from(text, 'latin1');
  return parseRequestHead(bytes, 0, bytes.length, lines);
}

function explainCertificate(table: RouteTable, host: string): string {
  const wildcard = `*${host.slice(host.indexOf('.'))}`;
  for (const name of [host, wildcard]) {
    const certificate = table.certificates.get(name);
    if (certificate !== undefined) return `certificate of Secret ${certificate.secret}, for ${name}`;
  }
  const fallback = table.certificates.get('');
  if (fallback !== undefined) return `certificate of Secret ${fallback.secret}, for all other hosts`;
  return 'no Ingress names a Secret for this host: a certificate of our own is shown';
}

const shownCertificate: Readonly<Record<ClientCertificatePolicy['mode'], string>> = {
  on: 'must show a good certificate',
  optional: 'may show a certificate, a bad one is refused',
  'optional-any': 'may show a certificate, good or bad',
};

function explainClientCertificate({ mode, tls, ingress }: ClientCertificatePolicy): string {
  const who = tls.ca === '' ? 'nobody' : 'the authorities of its Secret';
  return `${shownCertificate[mode]}, signed by ${who} (Ingress ${ingress}); below it is taken as shown`;
}

function explainHost(table: RouteTable, host: string): string {
  if (table.exactHosts.has(host)) return `${host} is the host of rules, which goes before wildcards`;
  const labels = host.split('.');
  const wildcard = labels.slice(1).join('.');
  if (labels.length > 1 && table.wildcardHosts.has(wildcard)) return `${host} fits *.${wildcard}`;
  for (let skip = 2; skip < labels.length; skip += 1) {
    const deeper = labels.slice(skip).join('.');
    if (table.wildcardHosts.has(deeper)) {
      return `no rule names ${host}; *.${deeper} stands for one label only`;
    }
  }
  return table.anyHost === undefined
    ? `no rule names ${host}, and no rule is for any host`
    : `no rule names ${host}; rules for any host are asked`;
}

function explainRules(table: RouteTable, head: RequestHead, winner: Route | undefined): readonly string[] {
  const routes = routesOfHost(table, head.host);
  const lines = ['RULES'];
  const tell = (route: Route, why: string): void => {
    const sign = route === winner ? '=>' : '  ';
    lines.push(`        ${sign} ${describe(table, route)}: ${why}`);
  };
  if (routes !== undefined) {
    const all = [...routes.exact.values(), ...routes.prefix.values(), ...routes.patterns].toSorted(
      compareRoutes,
    );
    const fitting = all.filter((route) => pathMatches(route, head.path));
    for (const route of fitting) tell(route, route === winner ? 'matches' : whyLess(route, winner));
    const others = all.filter((route) => !fitting.includes(route));
    for (const route of others.slice(0, otherRulesMax)) tell(route, 'another path');
    if (others.length > otherRulesMax) {
      lines.push(`           and ${others.length - otherRulesMax} more for other paths`);
    }
  }
  explainDefaults(table, routes, winner, tell);
  if (lines.length === 1) lines.push('           none');
  return lines;
}

function explainDefaults(
  table: RouteTable,
  routes: HostRoutes | undefined,
  winner: Route | undefined,
  tell: (route: Route, why: string) => void,
): void {
  const own = routes?.defaultRoute;
  const why = (route: Route): string =>
    route === winner ? 'no path matches' : 'a more specific rule matches';
  if (own !== undefined) tell(own, why(own));
  if (table.defaultRoute !== undefined && table.defaultRoute !== own)
    tell(table.defaultRoute, why(table.defaultRoute));
}

/** Longer paths first, Exact before others. */
function compareRoutes(a: Route, b: Route): number {
  if (a.path.length !== b.path.length) return b.path.length - a.path.length;
  return Number(b.pathType === 'Exact') - Number(a.pathType === 'Exact');
}

function whyLess(route: Route, winner: Route | undefined): string {
  return winner?.pathType === 'Exact' && route.pathType !== 'Exact'
    ? 'matches too, but Exact goes before it'
    : 'matches too, but a longer path does';
}

function describe(table: RouteTable, route: Route): string {
  const type = route.pattern === undefined ? route.pathType : 'Regex';
  const place = route.path === '' ? 'default backend' : `${type} ${route.host || '*'}${route.path}`;
  return `${place} -> ${table.backends[route.backend]?.key} (Ingress ${route.ingress})`;
}

/** Ingresses whose rules would match but are not in the table: younger ones, and those of other controllers. */
function explainUnserved(compiled: CompiledRoutes, head: RequestHead): readonly string[] {
  const lines: string[] = [];
  const owned = new Set(compiled.owned);
  for (const problem of compiled.problems) {
    if (problem.reason === 'PathConflict' && wouldMatch(problem.ingress, head)) {
      lines.push(`           Ingress ${keyOf(problem.ingress)}: ${problem.message}`);
    }
  }
  for (const ingress of compiled.basis.ingresses) {
    if (owned.has(ingress) || !wouldMatch(ingress, head)) continue;
    lines.push(`           Ingress ${keyOf(ingress)}: ${whyForeign(ingress, compiled.basis)}`);
  }
  return lines.length === 0 ? [] : ['NOT SERVED, though a rule fits', ...lines];
}

function wouldMatch(ingress: Ingress, head: RequestHead): boolean {
  const { backends, ...routes } = structureRoutes([ingress], noObjects, undefined);
  const table = { ...routes, backends: [] };
  return backends.length > 0 && matchRoute(table, head.host, head.path) !== undefined;
}

function whyForeign(
  ingress: Ingress,
  { ingressClasses: classes, controllerName }: CompiledRoutes['basis'],
): string {
  const className = ingress.spec?.ingressClassName ?? ingress.metadata?.annotations?.[legacyClassAnnotation];
  if (className === undefined) return 'it names no class, and none of ours is the default';
  const named = classes.find((item) => item.metadata?.name === className);
  if (named === undefined) return `there is no IngressClass "${className}"`;
  const controller = named.spec?.controller ?? '';
  return controller === controllerName
    ? `its class "${className}" is not ours to serve`
    : `its class "${className}" belongs to the controller ${controller}`;
}

function verdictOf(
  route: Route,
  head: RequestHead,
  request: ExplainRequest,
  requestLines: FieldLines,
): PolicyAnswer | PolicedRequest | undefined {
  if (route.policy === undefined) return undefined;
  const scheme = request.url.protocol === 'https:' ? 'https' : 'http';
  // Whoever asks here has made no connection: what clients must show is told, and taken as shown.
  const asked: Route = { ...route, policy: { ...route.policy, clientCertificate: undefined } };
  const client = { address: request.clientAddress, scheme, trusted: false } as const;
  return admit(asked, head, client, {
    limits: defaultLimits,
    policyStates: new PolicyStates(), // asking takes nothing from anybody's share
    requestLines,
    isTrusted: () => false,
    trustedHops: 0,
    nowMs: () => 0,
  });
}

function explainPolicy(
  route: Route,
  verdict: PolicedRequest,
  head: RequestHead,
  keyOfBackend: (index: number) => string,
): readonly string[] {
  const policy = route.policy;
  assert(policy !== undefined, 'only a route with a policy has a verdict');
  const lines = [`POLICY     annotations of Ingress ${policy.ingress} let it through`];
  if (verdict.rewritten(head) !== head.target)
    lines.push(`           path becomes ${verdict.rewritten(head)}`);
  if (policy.affinity !== undefined) lines.push(`           sticky by cookie ${policy.affinity.cookieName}`);
  if (verdict.needsAuthorization) {
    const { backend, authority = '', path } = policy.forwardAuth ?? {};
    lines.push(
      `           if ${backend === 'itself' ? head.authority : authority}${path?.text} answers 2xx to a question about it`,
    );
  }
  if (policy.mirror !== undefined) {
    const { authority, percentage } = policy.mirror;
    lines.push(`           ${percentage} % of requests are copied to ${authority}`);
  }
  if (policy.errorPages !== undefined) {
    const { codes, backend } = policy.errorPages;
    lines.push(
      `           answers ${[...codes].join(', ')} give way to what ${keyOfBackend(backend)} says to them`,
    );
  }
  const { canary, split } = policy;
  if (split !== undefined) {
    const shares = split.map(({ key, weight }) => `${weight} to ${key}`).join(', ');
    lines.push(`           Services share the requests: ${shares}; below one of them`);
  }
  if (canary !== undefined) {
    const share = `${canary.weight} of ${canary.weightTotal} requests`;
    lines.push(
      `           canary of Ingress ${canary.ingress}: ${share}, before it header and cookie decide`,
    );
  }
  return lines;
}

function explainBackend(
  compiled: CompiledRoutes,
  index: number,
  live: ((backend: number) => readonly LiveEndpoint[]) | undefined,
): readonly string[] {
  const backend = compiled.table.backends[index];
  const source = compiled.basis.sources[index];
  const ref = compiled.basis.structure.backends[index];
  assert(backend !== undefined && source !== undefined && ref !== undefined, 'a route has no such backend');
  const version = backend.protocol === 'http2' ? ' by HTTP/2' : '';
  const how = backend.tls === undefined ? version : `${version} ${renderBackendTls(backend.tls)}`;
  const lines = [`BACKEND    ${backend.key}${how}`];
  const problem = compiled.problems.find(
    ({ message }) => ref.service !== undefined && message.includes(ref.service),
  );
  if (backend.answer !== undefined) {
    return [
      ...lines,
      `RESULT     ${backend.answer.status}, with ${backend.answer.body.length} bytes, without any backend`,
    ];
  }
  if (source.endpoints === undefined) {
    const why = compiled.problems.find(
      ({ message }) => ref.resource !== undefined && message.includes(ref.resource),
    );
    lines.push(`           ${why?.message ?? problem?.message ?? 'it is something that cannot be served'}`);
  }
  const states = new Map<string, ServiceEndpoint>();
  if (source.service !== undefined) {
    for (const endpoint of endpointsForBackend(source.service, ref.port, source.slices) ?? []) {
      states.set(endpointKey(endpoint.address, endpoint.port), endpoint);
    }
  }
  const known = live?.(index) ?? [];
  const running = new Map(
    known.filter(({ leftForMs }) => leftForMs === undefined).map((endpoint) => [endpoint.key, endpoint]),
  );
  const used = new Map(
    backend.endpoints.map(({ address, port, weight }) => [endpointKey(address, port), weight] as const),
  );
  for (const key of new Set([...used.keys(), ...states.keys()])) {
    lines.push(
      `           ${explainEndpoint(key, used.has(key), states.get(key), running.get(key), used.get(key))}`,
    );
  }
  for (const endpoint of known) {
    if (endpoint.leftForMs !== undefined)
      lines.push(`           ${explainLeft(endpoint, endpoint.leftForMs)}`);
  }
  const count = backend.endpoints.length;
  const all = count === 1 ? 'the one endpoint' : `one of ${count} endpoints`;
  return count === 0
    ? [...lines, 'RESULT     503: no endpoint is ready']
    : [...lines, `RESULT     to ${all} of ${backend.key}`];
}

function explainEndpoint(
  key: string,
  used: boolean,
  state: ServiceEndpoint | undefined,
  live: LiveEndpoint | undefined,
  weight: number | undefined,
): string {
  let word = 'by name';
  if (state !== undefined) {
    word = state.ready ? 'ready' : state.serving ? 'serving' : 'not ready';
    if (state.terminating) word += ', terminating';
  }
  if (!used) return `${key} ${word}: gets no new requests`;
  const weighs = weight === undefined ? '' : `, weight ${weight}`;
  if (live === undefined) return `${key} ${word}${weighs}`;
  const passed = live.ejected === undefined ? '' : passedOver[live.ejected];
  const failed = live.lastError === undefined ? '' : `, last connection failed: ${live.lastError}`;
  const { startedShare = 1 } = live;
  const started =
    startedShare === 1 ? '' : `, starts slowly: ${Math.round(startedShare * 100)} % of its share`;
  return `${key} ${word}${weighs}, ${underWay(live)}${started}${passed}${failed}`;
}

function underWay({ pending, tunnels }: LiveEndpoint): string {
  return `${pending} requests under way${tunnels === 0 ? '' : `, ${tunnels} of them tunnels`}`;
}

function explainLeft(endpoint: LiveEndpoint, leftForMs: number): string {
  const seconds = Math.round(leftForMs / 1000);
  return `${endpoint.key} draining for ${seconds} s: ${underWay(endpoint)}`;
}
