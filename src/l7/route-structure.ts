import type { Secret } from '../api/gen/core-v1.ts';
import type { HTTPIngressPath, Ingress, IngressBackend } from '../api/gen/networking-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import type { CanaryRule } from './annotations/canary.ts';
import { type ParsedAnnotations, parseAnnotations } from './annotations.ts';
import { type BackendAccess, type BackendRule, backendAccess } from './backend-protocol.ts';
import { parsePasswordFile } from './password-hash.ts';
import { type BasicAuthPolicy, emptyPolicy, type RoutePolicy } from './policy.ts';
import type { Problem, ProblemReason } from './problem.ts';
import type { Certificate, HostRoutes, PathType, Route, RouteTable } from './table.ts';

/** A Service port that Ingresses name, not yet looked up. */
export type BackendRef = {
  /** Of key and access: what is spoken to differently is another backend. */
  readonly id: string;
  /** "namespace/service:port", the port as the Ingress names it. */
  readonly key: string;
  readonly access: BackendAccess;
  /** undefined: it is something that we cannot serve. */
  readonly service: ObjectKey | undefined;
  readonly port: string | number;
  /** Who names it, for problems. */
  readonly users: readonly BackendUser[];
};

export type BackendUser = { readonly ingress: Ingress; readonly place: BackendPlace };

/** Where in an Ingress a backend stands; `rule` -1: spec.defaultBackend. */
export type BackendPlace = { readonly rule: number; readonly path: number };

/** All of a route table that Ingresses and Secrets alone decide. */
export type RouteStructure = Omit<RouteTable, 'backends'> & {
  readonly backends: readonly BackendRef[];
  /** Id to index. */
  readonly backendIndexes: ReadonlyMap<string, number>;
  readonly problems: readonly Problem[];
  /** The Secrets that were looked for. */
  readonly secrets: ReadonlyMap<ObjectKey, Secret | undefined>;
};

/**
 * Merges the rules of Ingresses, which must be given oldest first.
 * @param before the table of the last time: unchanged certificates keep their identity
 */
export function structureRoutes(
  ingresses: readonly Ingress[],
  secret: (key: ObjectKey) => Secret | undefined,
  before: RouteTable | undefined,
): RouteStructure {
  const builder = new StructureBuilder(secret, before);
  for (const ingress of ingresses) builder.add(ingress);
  builder.addCanaries(); // last: they join routes of others
  return builder.structure();
}

/** "spec.rules[0].http.paths[1]", as kubectl users know it. */
export function renderPlace({ rule, path }: BackendPlace): string {
  return rule === -1 ? 'spec.defaultBackend' : `spec.rules[${rule}].http.paths[${path}].backend`;
}

type RefBuilder = BackendRef & { readonly users: BackendUser[] };

type HostBuilder = {
  readonly exact: Map<string, Route>;
  readonly prefix: Map<string, Route>;
  prefixElementsMax: number;
  defaultRoute: Route | undefined;
};

const defaultPlace: BackendPlace = { rule: -1, path: -1 };

class StructureBuilder {
  readonly #secret: (key: ObjectKey) => Secret | undefined;
  readonly #certificatesBefore: ReadonlyMap<string, Certificate> | undefined;
  readonly #problems: Problem[] = [];
  readonly #refs: RefBuilder[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #hosts = new Map<string, HostBuilder>();
  readonly #certificates = new Map<string, Certificate>();
  readonly #secrets = new Map<ObjectKey, Secret | undefined>();
  readonly #canaries: {
    readonly ingress: Ingress;
    readonly rule: CanaryRule;
    readonly access: BackendAccess;
  }[] = [];
  /** Of Ingresses without rules: these are meant as everybody's default. */
  #ownDefault: Route | undefined;
  /** Of Ingresses with rules. */
  #ruleDefault: Route | undefined;

  constructor(secret: (key: ObjectKey) => Secret | undefined, before: RouteTable | undefined) {
    this.#secret = secret;
    this.#certificatesBefore = before?.certificates;
  }

  add(ingress: Ingress): void {
    const spec = ingress.spec;
    const rules = spec?.rules ?? [];
    const key = keyOf(ingress);
    const parsed = parseAnnotations(key, ingress.metadata?.annotations);
    for (const problem of parsed.problems) this.#problem(ingress, 'InvalidAnnotation', problem);
    const access = this.#access(ingress, parsed.backend);
    if (parsed.canary !== undefined) {
      this.#canaries.push({ ingress, rule: parsed.canary, access });
      return;
    }
    const policy =
      parsed.policy === undefined
        ? undefined
        : { ...parsed.policy, basicAuth: this.#basicAuth(ingress, parsed.basicAuth) };
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
        this.#addPath(ingress, builder, host, path, { rule: ruleIndex, path: pathIndex }, policy, access);
      }
    }
    if (spec?.tls !== undefined) this.#addCertificates(ingress);
  }

  structure(): RouteStructure {
    const exactHosts = new Map<string, HostRoutes>();
    const wildcardHosts = new Map<string, HostRoutes>();
    let anyHost: HostRoutes | undefined;
    for (const [host, routes] of this.#hosts) {
      if (host === '') anyHost = routes;
      else if (host.startsWith('*.')) wildcardHosts.set(host.slice(2), routes);
      else exactHosts.set(host, routes);
    }
    return {
      backends: this.#refs,
      backendIndexes: this.#indexes,
      exactHosts,
      wildcardHosts,
      anyHost,
      defaultRoute: this.#ownDefault ?? this.#ruleDefault,
      certificates: this.#certificates,
      problems: this.#problems,
      secrets: this.#secrets,
    };
  }

  #host(host: string): HostBuilder {
    let builder = this.#hosts.get(host);
    if (builder === undefined) {
      builder = { exact: new Map(), prefix: new Map(), prefixElementsMax: 0, defaultRoute: undefined };
      this.#hosts.set(host, builder);
    }
    return builder;
  }

  #addPath(
    ingress: Ingress,
    builder: HostBuilder,
    host: string,
    rule: HTTPIngressPath,
    place: BackendPlace,
    policy: RoutePolicy | undefined,
    access: BackendAccess,
  ): void {
    const backend = this.#backend(ingress, rule.backend, place, access);
    const { path, pathType, key } = placeOf(rule);
    const route: Route = { ingress: keyOf(ingress), host, path, pathType, backend, policy };
    const paths = pathType === 'Exact' ? builder.exact : builder.prefix;
    const other = paths.get(key);
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
    return { ingress: keyOf(ingress), host: '', path: '', pathType: 'Prefix', backend, policy };
  }

  /** Index of the backend. One that we cannot serve is a problem and a backend without endpoints: 503, no other route. */
  #backend(ingress: Ingress, backend: IngressBackend, place: BackendPlace, access: BackendAccess): number {
    const { service } = backend;
    const port = service?.port?.name ?? service?.port?.number;
    if (service === undefined || port === undefined) {
      const what = backend.resource === undefined ? 'no Service port' : `resource ${backend.resource.kind}`;
      const message = `${renderPlace(place)}: ${what}; only a Service with a port can be a backend`;
      this.#problem(ingress, 'UnsupportedBackend', message);
      const key = `${keyOf(ingress)} ${renderPlace(place)}`;
      return this.#backendIndex({ id: key, key, service: undefined, port: '', access }, { ingress, place });
    }
    const serviceKey = objectKey(ingress.metadata?.namespace, service.name);
    const key = `${serviceKey}:${port}`;
    const id = access.id === '' ? key : `${key} ${access.id}`;
    return this.#backendIndex({ id, key, service: serviceKey, port, access }, { ingress, place });
  }

  #backendIndex(ref: Omit<BackendRef, 'users'>, user: BackendUser): number {
    const known = this.#indexes.get(ref.id);
    if (known !== undefined) {
      this.#refs[known]!.users.push(user);
      return known;
    }
    const index = this.#refs.length;
    this.#refs.push({ ...ref, users: [user] });
    this.#indexes.set(ref.id, index);
    return index;
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
      if (ingress.spec?.tls !== undefined) this.#addCertificates(ingress);
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
    const paths = pathType === 'Exact' ? routes?.exact : routes?.prefix;
    const route = paths?.get(key);
    if (paths === undefined || route === undefined) {
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
    paths.set(key, { ...route, policy: { ...policy, canary } });
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

  #access(ingress: Ingress, rule: BackendRule | undefined): BackendAccess {
    const name = rule?.tlsSecret?.name;
    const key = name === undefined ? undefined : objectKey(ingress.metadata?.namespace, name);
    const secret = key === undefined ? undefined : this.#secret(key);
    if (key !== undefined) this.#secrets.set(key, secret);
    const field = 'metadata.annotations[fairlead.dev/backend-tls-secret]';
    const { access, problem } = backendAccess(rule, secret);
    if (key !== undefined && secret === undefined) {
      this.#problem(ingress, 'SecretNotFound', `${field}: there is no Secret ${key}`);
    } else if (problem !== undefined) {
      this.#problem(ingress, 'InvalidSecret', `${field}: Secret ${key} ${problem}`);
    }
    return access;
  }

  #addCertificates(ingress: Ingress): void {
    const ruleHosts = (ingress.spec?.rules ?? [])
      .map((rule) => rule.host ?? '')
      .filter((host) => host !== '');
    for (const [index, tls] of (ingress.spec?.tls ?? []).entries()) {
      const { secretName } = tls;
      if (secretName === undefined || secretName === '') continue; // the default certificate is shown
      const field = `spec.tls[${index}]`;
      const secretKey = objectKey(ingress.metadata?.namespace, secretName);
      const hosts = tls.hosts === undefined || tls.hosts.length === 0 ? ruleHosts : tls.hosts;
      const before = this.#certificatesBefore?.get((hosts[0] ?? '').toLowerCase());
      const secret = this.#secret(secretKey);
      this.#secrets.set(secretKey, secret);
      const certificate = certificateOf(secretKey, secret, before);
      if ('reason' in certificate) {
        this.#problem(ingress, certificate.reason, `${field}: ${certificate.message}`);
        continue;
      }
      for (const host of hosts) {
        const name = host.toLowerCase();
        const other = this.#certificates.get(name);
        if (other === undefined) this.#certificates.set(name, certificate);
        else if (other.secret !== secretKey) {
          this.#problem(
            ingress,
            'HostConflict',
            `${field}: ${name} already has the certificate of Secret ${other.secret}`,
          );
        }
      }
    }
  }

  #problem(ingress: Ingress, reason: ProblemReason, message: string): void {
    this.#problems.push({ ingress, reason, message });
  }
}

type PathPlace = { readonly path: string; readonly pathType: PathType; readonly key: string };

/** Key: see HostRoutes. */
function placeOf(rule: HTTPIngressPath): PathPlace {
  const path = rule.path === undefined || rule.path === '' ? '/' : rule.path;
  const pathType: PathType =
    rule.pathType === 'Exact' || rule.pathType === 'Prefix' ? rule.pathType : 'ImplementationSpecific';
  return { path, pathType, key: pathType !== 'Exact' && path.endsWith('/') ? path.slice(0, -1) : path };
}

type CertificateProblem = { readonly reason: 'SecretNotFound' | 'InvalidSecret'; readonly message: string };

function certificateOf(
  secretKey: ObjectKey,
  secret: Secret | undefined,
  before: Certificate | undefined,
): Certificate | CertificateProblem {
  if (secret === undefined) {
    return { reason: 'SecretNotFound', message: `there is no Secret ${secretKey} of type kubernetes.io/tls` };
  }
  const version = `${secret.metadata?.uid ?? ''}/${secret.metadata?.resourceVersion ?? ''}`;
  if (before !== undefined && before.secret === secretKey && before.version === version) return before;
  const certBase64 = secret.data?.['tls.crt'] ?? '';
  const keyBase64 = secret.data?.['tls.key'] ?? '';
  if (!holdsPem(certBase64) || !holdsPem(keyBase64)) {
    return {
      reason: 'InvalidSecret',
      message: `Secret ${secretKey} needs PEM texts under tls.crt and tls.key`,
    };
  }
  return { secret: secretKey, version, certBase64, keyBase64 };
}

function holdsPem(base64: string): boolean {
  return Buffer.from(base64, 'base64').includes('-----BEGIN');
}

function slashesIn(path: string): number {
  let count = 0;
  for (let i = 0; i < path.length; i += 1) {
    if (path.charCodeAt(i) === 0x2f) count += 1;
  }
  return count;
}
