import type { Secret } from '../api/gen/core-v1.ts';
import type { HTTPIngressPath, Ingress, IngressBackend } from '../api/gen/networking-v1.ts';
import { fairleadGroup, staticResponses } from '../api/fairlead-kinds.ts';
import { keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import type { CanaryRule } from './annotations/canary.ts';
import type { PathRules } from './annotations/paths.ts';
import { annotationPrefix } from './annotations/reader.ts';
import type { UrlTarget } from './annotations/url-target.ts';
import { type ParsedAnnotations, parseAnnotations } from './annotations.ts';
import { type BackendAccess, backendAccess, plainAccess } from './backend-protocol.ts';
import { type BackendPlace, type BackendRef, BackendRefs, renderPlace } from './backend-refs.ts';
import { controllerName } from './class.ts';
import { type NginxTranslations, noTranslations, nginxTranslations } from './nginx/translations.ts';
import { nginxPrefix } from './nginx/translation.ts';
import { longestFirst, patternOf, placeOf, slashesIn } from './path-place.ts';
import { parsePasswordFile } from './password-hash.ts';
import { type BasicAuthPolicy, emptyPolicy, type RoutePolicy } from './policy.ts';
import type { Problem, ProblemReason } from './problem.ts';
import { type CertificateUse, RouteCertificates, tlsHosts } from './route-certificate.ts';
import type { HostRoutes, Route, RouteTable } from './table.ts';

/** All of a route table that Ingresses and Secrets alone decide. */
export type RouteStructure = Omit<RouteTable, 'backends'> & {
  readonly backends: readonly BackendRef[];
  /** Id to index. */
  readonly backendIndexes: ReadonlyMap<string, number>;
  readonly problems: readonly Problem[];
  readonly certificateUses: readonly CertificateUse[];
  /** The Secrets that were looked for. */
  readonly secrets: ReadonlyMap<ObjectKey, Secret | undefined>;
};

/** The same for the life of a process. */
export type StructureOptions = {
  /** Annotations of ingress-nginx are honoured as it does. */
  readonly nginxAnnotations: boolean;
  readonly controllerName: string;
};

/** What an Ingress has of its class. */
export type DefaultsOf = (ingress: Ingress) => Readonly<Record<string, string>> | undefined;

export const plainOptions: StructureOptions = { nginxAnnotations: false, controllerName };

/**
 * Merges the rules of Ingresses, which must be given oldest first.
 * @param before the table of the last time: unchanged certificates keep their identity
 */
export function structureRoutes(
  ingresses: readonly Ingress[],
  secret: (key: ObjectKey) => Secret | undefined,
  before: RouteTable | undefined,
  options: StructureOptions = plainOptions,
  defaultsOf: DefaultsOf = () => undefined,
): RouteStructure {
  const nginx = options.nginxAnnotations ? nginxTranslations(ingresses) : noTranslations;
  const builder = new StructureBuilder(secret, before, nginx, defaultsOf);
  for (const ingress of ingresses) builder.add(ingress);
  builder.addOtherHosts(); // after all that have rules of their own
  builder.addCanaries(); // last: they join routes of others
  return builder.structure();
}

type HostBuilder = {
  readonly exact: Map<string, Route>;
  readonly prefix: Map<string, Route>;
  readonly patterns: Route[];
  prefixElementsMax: number;
  defaultRoute: Route | undefined;
};

const defaultPlace: BackendPlace = { rule: -1, path: -1 };

class StructureBuilder {
  readonly #secret: (key: ObjectKey) => Secret | undefined;
  readonly #nginx: NginxTranslations;
  readonly #defaultsOf: DefaultsOf;
  readonly #problems: Problem[] = [];
  readonly #backends = new BackendRefs();
  readonly #hosts = new Map<string, HostBuilder>();
  readonly #certificates: RouteCertificates;
  readonly #secrets = new Map<ObjectKey, Secret | undefined>();
  /** Hosts that lead where another one does, and who wants it. */
  readonly #otherHosts: { readonly ingress: Ingress; readonly paths: PathRules }[] = [];
  readonly #canaries: {
    readonly ingress: Ingress;
    readonly rule: CanaryRule;
    readonly access: BackendAccess;
  }[] = [];
  /** Of Ingresses without rules: these are meant as everybody's default. */
  #ownDefault: Route | undefined;
  /** Of Ingresses with rules. */
  #ruleDefault: Route | undefined;

  constructor(
    secret: (key: ObjectKey) => Secret | undefined,
    before: RouteTable | undefined,
    nginx: NginxTranslations,
    defaultsOf: DefaultsOf,
  ) {
    this.#nginx = nginx;
    this.#defaultsOf = defaultsOf;
    this.#secret = secret;
    const lookUp = (key: ObjectKey): Secret | undefined => {
      const found = secret(key);
      this.#secrets.set(key, found);
      return found;
    };
    this.#certificates = new RouteCertificates(lookUp, before?.certificates, (...problem) =>
      this.#problem(...problem),
    );
  }

  add(ingress: Ingress): void {
    const spec = ingress.spec;
    const rules = spec?.rules ?? [];
    const parsed = this.#parse(ingress);
    for (const problem of parsed.problems) this.#problem(ingress, 'InvalidAnnotation', problem);
    const access = this.#access(ingress, parsed);
    if (parsed.canary !== undefined) {
      this.#canaries.push({ ingress, rule: parsed.canary, access });
      return;
    }
    const policy = this.#policy(ingress, parsed);
    const { paths } = parsed;
    if (paths.hostAliases.length > 0 || paths.wwwRedirect) this.#otherHosts.push({ ingress, paths });
    const fallback =
      spec?.defaultBackend === undefined
        ? undefined
        : this.#defaultRoute(ingress, spec.defaultBackend, policy, access);
    if (rules.length === 0) this.#ownDefault ??= fallback;
    else this.#ruleDefault ??= fallback;
    for (const [ruleIndex, rule] of rules.entries()) {
      const host = (rule.host ?? '').toLowerCase();
      const builder = this.#host(host);
      builder.defaultRoute ??= fallback;
      for (const [pathIndex, path] of (rule.http?.paths ?? []).entries()) {
        const at = { rule: ruleIndex, path: pathIndex };
        this.#addPath({ ingress, builder, host, place: at, policy, paths, access }, path);
      }
    }
    if (spec?.tls !== undefined) this.#certificates.add(ingress);
  }

  #parse(ingress: Ingress): ParsedAnnotations {
    const key = keyOf(ingress);
    const defaults = this.#defaultsOf(ingress);
    const written = ingress.metadata?.annotations;
    const own = defaults === undefined ? written : { ...defaults, ...written };
    const nginx = this.#nginx.byIngress.get(ingress);
    if (nginx === undefined) return parseAnnotations(key, own);
    for (const { annotation, text } of nginx.findings.filter(({ verdict }) => verdict === 'none')) {
      const message = `metadata.annotations[${nginxPrefix}${annotation}]: ${text}`;
      this.#problem(ingress, 'UnsupportedAnnotation', message);
    }
    const translated = Object.entries(nginx.annotations).map(([name, value]) => [
      `${annotationPrefix}${name}`,
      value,
    ]);
    return parseAnnotations(
      key,
      { ...defaults, ...Object.fromEntries(translated), ...written },
      nginx.origins,
    );
  }

  structure(): RouteStructure {
    const exactHosts = new Map<string, HostRoutes>();
    const wildcardHosts = new Map<string, HostRoutes>();
    let anyHost: HostRoutes | undefined;
    for (const { patterns } of this.#hosts.values()) patterns.sort(longestFirst);
    for (const [host, routes] of this.#hosts) {
      if (host === '') anyHost = routes;
      else if (host.startsWith('*.')) wildcardHosts.set(host.slice(2), routes);
      else exactHosts.set(host, routes);
    }
    return {
      backends: this.#backends.refs,
      backendIndexes: this.#backends.indexes,
      exactHosts,
      wildcardHosts,
      anyHost,
      defaultRoute: this.#ownDefault ?? this.#ruleDefault,
      certificates: this.#certificates.byHost,
      certificateUses: this.#certificates.uses,
      problems: this.#problems,
      secrets: this.#secrets,
    };
  }

  #host(host: string): HostBuilder {
    let builder = this.#hosts.get(host);
    if (builder === undefined) {
      builder = {
        exact: new Map(),
        prefix: new Map(),
        patterns: [],
        prefixElementsMax: 0,
        defaultRoute: undefined,
      };
      this.#hosts.set(host, builder);
    }
    return builder;
  }

  #addPath(added: AddedPath, rule: HTTPIngressPath): void {
    const { ingress, builder, host, place, policy } = added;
    const backend = this.#backend(ingress, rule.backend, place, added.access);
    const at = placeOf(rule);
    const { path, pathType, key } = at;
    const { regex: pattern, problem } = patternOf(at, added.paths.regex, this.#nginx.regexHosts.has(host));
    if (problem !== undefined) {
      this.#problem(ingress, 'InvalidPath', `${renderPlace(place)}: ${problem}`);
      return;
    }
    const route: Route = { ingress: keyOf(ingress), host, path, pathType, pattern, backend, policy };
    const paths = pathType === 'Exact' ? builder.exact : builder.prefix;
    const other =
      pattern === undefined ? paths.get(key) : builder.patterns.find((known) => known.path === path);
    if (other !== undefined && other.path.length >= path.length) {
      // `/foo/` and `/foo` are the same prefix; the longer spelling wins by the API's word, and that is no conflict.
      if (other.path === path && other.backend !== backend) {
        this.#problem(
          ingress,
          'PathConflict',
          `${renderPlace(place)}: ${host}${path} is already routed by Ingress ${other.ingress}`,
        );
      }
      return;
    }
    if (pattern !== undefined) {
      builder.patterns.push(route);
      return;
    }
    paths.set(key, route);
    if (pathType !== 'Exact') {
      builder.prefixElementsMax = Math.max(builder.prefixElementsMax, slashesIn(key));
    }
  }

  #defaultRoute(
    ingress: Ingress,
    wanted: IngressBackend,
    policy: RoutePolicy | undefined,
    access: BackendAccess,
  ): Route {
    const backend = this.#backend(ingress, wanted, defaultPlace, access);
    return {
      ingress: keyOf(ingress),
      host: '',
      path: '',
      pathType: 'Prefix',
      pattern: undefined,
      backend,
      policy,
    };
  }

  /** Index of the backend. One that we cannot serve is a problem and a backend without endpoints: 503, no other route. */
  #backend(ingress: Ingress, backend: IngressBackend, place: BackendPlace, access: BackendAccess): number {
    const { service } = backend;
    const port = service?.port?.name ?? service?.port?.number;
    const { resource } = backend;
    if (resource?.kind === staticResponses.kind && resource.apiGroup === fairleadGroup) {
      const name = objectKey(ingress.metadata?.namespace, resource.name);
      const key = `${name} (StaticResponse)`;
      const ref = { id: key, key, service: undefined, resource: name, port: '', access: plainAccess };
      return this.#backends.index(ref, { ingress, place });
    }
    if (service === undefined || port === undefined) {
      const what = backend.resource === undefined ? 'no Service port' : `resource ${backend.resource.kind}`;
      const message = `${renderPlace(place)}: ${what}; only a Service with a port or a StaticResponse of fairlead.dev can be a backend`;
      this.#problem(ingress, 'UnsupportedBackend', message);
      const key = `${keyOf(ingress)} ${renderPlace(place)}`;
      return this.#backends.index({ id: key, key, service: undefined, port: '', access }, { ingress, place });
    }
    const serviceKey = objectKey(ingress.metadata?.namespace, service.name);
    const key = `${serviceKey}:${port}`;
    const id = access.id === '' ? key : `${key} ${access.id}`;
    return this.#backends.index({ id, key, service: serviceKey, port, access }, { ingress, place });
  }

  /** A canary's paths take part of the requests of the routes for the same host and path. */
  addCanaries(): void {
    for (const { ingress, rule, access } of this.#canaries) {
      for (const [ruleIndex, { host: written, http }] of (ingress.spec?.rules ?? []).entries()) {
        const host = (written ?? '').toLowerCase();
        for (const [pathIndex, path] of (http?.paths ?? []).entries()) {
          const place = { rule: ruleIndex, path: pathIndex };
          this.#addCanaryPath(ingress, rule, host, path, place, access);
        }
      }
      if (ingress.spec?.tls !== undefined) this.#certificates.add(ingress);
    }
  }

  #addCanaryPath(
    ingress: Ingress,
    rule: CanaryRule,
    host: string,
    wanted: HTTPIngressPath,
    place: BackendPlace,
    access: BackendAccess,
  ): void {
    const { path, pathType, key } = placeOf(wanted);
    const routes = this.#hosts.get(host);
    const pattern = routes?.patterns.findIndex((known) => known.path === path) ?? -1;
    const paths = pathType === 'Exact' ? routes?.exact : routes?.prefix;
    const route = pattern === -1 ? paths?.get(key) : routes?.patterns[pattern];
    if (routes === undefined || paths === undefined || route === undefined) {
      const message = `${renderPlace(place)}: no other Ingress routes ${pathType} ${host}${path}, so there is nothing to take requests from`;
      this.#problem(ingress, 'CanaryWithoutRoute', message);
      return;
    }
    const policy = route.policy ?? emptyPolicy(route.ingress);
    if (policy.canary !== undefined) {
      const message = `${renderPlace(place)}: ${host}${path} already has the canary of Ingress ${policy.canary.ingress}`;
      this.#problem(ingress, 'PathConflict', message);
      return;
    }
    const backend = this.#backend(ingress, wanted.backend, place, access);
    const canary = { ...rule, ingress: keyOf(ingress), backend };
    const shared = { ...route, policy: { ...policy, canary } };
    if (pattern === -1) paths.set(key, shared);
    else routes.patterns[pattern] = shared;
  }

  #policy(ingress: Ingress, parsed: ParsedAnnotations): RoutePolicy | undefined {
    const { policy, https, backends } = parsed;
    if (policy === undefined) return undefined;
    return {
      ...policy,
      httpsHosts: https?.onlyTlsHosts === true ? tlsHosts(ingress) : undefined,
      basicAuth: this.#basicAuth(ingress, parsed.basicAuth),
      ...this.#urlTargets(ingress, parsed),
      fallback: this.#backends.named(ingress, 'fallback-service', backends.fallback),
    };
  }

  /** A service that cannot be named is one that says no to everybody. */
  #urlTargets(
    ingress: Ingress,
    { forwardAuth, mirror }: ParsedAnnotations,
  ): Pick<RoutePolicy, 'forwardAuth' | 'mirror'> {
    const indexOf = (annotation: string, target: UrlTarget | undefined): number =>
      target === undefined ? -1 : this.#backends.target(ingress, annotation, target);
    const auth = forwardAuth?.target;
    return {
      forwardAuth: forwardAuth && {
        ...forwardAuth,
        backend: indexOf('auth-url', auth),
        authority: auth?.authority ?? '',
        path: auth?.path ?? '/',
      },
      mirror: mirror && {
        backend: indexOf('mirror-target', mirror.target),
        authority: mirror.host ?? mirror.target.authority,
        percentage: mirror.percentage,
        withBody: mirror.withBody,
      },
    };
  }

  addOtherHosts(): void {
    for (const { ingress, paths } of this.#otherHosts) {
      const hosts = (ingress.spec?.rules ?? []).map(({ host }) => (host ?? '').toLowerCase());
      for (const alias of paths.hostAliases) this.#addAlias(ingress, alias, hosts[0] ?? '');
      if (!paths.wwwRedirect) continue;
      for (const host of new Set(hosts)) {
        if (host !== '' && !host.startsWith('*.')) this.#addWwwRedirect(ingress, host);
      }
    }
  }

  #addAlias(ingress: Ingress, alias: string, host: string): void {
    const routes = this.#hosts.get(host);
    if (routes === undefined || this.#hosts.get(alias) === routes) return;
    if (this.#hosts.has(alias)) {
      const message = `metadata.annotations[${annotationPrefix}host-aliases]: ${alias} has rules of its own`;
      this.#problem(ingress, 'HostConflict', message);
      return;
    }
    this.#hosts.set(alias, routes);
  }

  /** With or without "www.", the host that has no rules is sent to the one that has. */
  #addWwwRedirect(ingress: Ingress, host: string): void {
    const other = host.startsWith('www.') ? host.slice(4) : `www.${host}`;
    const [known] = [this.#hosts.get(host)].flatMap((routes) => [
      ...(routes?.exact.values() ?? []),
      ...(routes?.prefix.values() ?? []),
      ...(routes?.patterns ?? []),
    ]);
    if (this.#hosts.has(other) || known === undefined) return;
    const ingressKey = keyOf(ingress);
    const policy: RoutePolicy = {
      ...emptyPolicy(ingressKey),
      redirect: { status: 308, url: `$scheme://${host}$request_uri` },
    };
    const builder = this.#host(other);
    const route = { ...known, ingress: ingressKey, host: other, path: '/', pattern: undefined, policy };
    builder.prefix.set('', { ...route, pathType: 'Prefix' });
  }

  /** A Secret that is missing or holds no password lets nobody in: better closed than open by mistake. */
  #basicAuth(ingress: Ingress, wanted: ParsedAnnotations['basicAuth']): BasicAuthPolicy | undefined {
    if (wanted === undefined) return undefined;
    if (wanted.secretName === undefined) return { realm: wanted.realm, users: new Map() };
    const key = objectKey(ingress.metadata?.namespace, wanted.secretName);
    const secret = this.#secret(key);
    this.#secrets.set(key, secret);
    const field = 'metadata.annotations[fairlead.dev/basic-auth-secret]';
    const file = secret?.data?.['auth'];
    if (secret === undefined) this.#problem(ingress, 'SecretNotFound', `${field}: there is no Secret ${key}`);
    else if (file === undefined) {
      const message = `${field}: Secret ${key} needs lines "user:hash" under auth`;
      this.#problem(ingress, 'InvalidSecret', message);
    }
    const { users, unknown } = parsePasswordFile(Buffer.from(file ?? '', 'base64').toString('utf8'));
    if (unknown.length > 0) {
      const message = `${field}: Secret ${key}: the hash of ${unknown.slice(0, 5).join(', ')} is of a kind that is not known; allowed: $apr1$, {SHA256}, {SHA}`;
      this.#problem(ingress, 'InvalidSecret', message);
    }
    return { realm: wanted.realm, users };
  }

  #access(ingress: Ingress, { backend: rule, balance }: ParsedAnnotations): BackendAccess {
    const name = rule?.tlsSecret?.name;
    const key = name === undefined ? undefined : objectKey(ingress.metadata?.namespace, name);
    const secret = key === undefined ? undefined : this.#secret(key);
    if (key !== undefined) this.#secrets.set(key, secret);
    const field = 'metadata.annotations[fairlead.dev/backend-tls-secret]';
    const { access, problem } = backendAccess(rule, secret, balance);
    if (key !== undefined && secret === undefined) {
      this.#problem(ingress, 'SecretNotFound', `${field}: there is no Secret ${key}`);
    } else if (problem !== undefined) {
      this.#problem(ingress, 'InvalidSecret', `${field}: Secret ${key} ${problem}`);
    }
    return access;
  }

  #problem(ingress: Ingress, reason: ProblemReason, message: string): void {
    this.#problems.push({ ingress, reason, message });
  }
}

type AddedPath = {
  readonly ingress: Ingress;
  readonly builder: HostBuilder;
  readonly host: string;
  readonly place: BackendPlace;
  readonly policy: RoutePolicy | undefined;
  readonly paths: PathRules;
  readonly access: BackendAccess;
};
