import type { Secret, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { HTTPIngressPath, Ingress, IngressBackend, IngressClass } from '../api/gen/networking-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../api/object.ts';
import { endpointsForBackend, usableEndpoints } from '../model/endpoints.ts';
import { servicePortNamed } from '../model/service-port.ts';
import { isOwned, ownedClasses } from './class.ts';
import type { Backend, Certificate, Endpoint, HostRoutes, PathType, Route, RouteTable } from './table.ts';

/** The API objects that routes are made of. Lookups, so that only what is referred to is read. */
export type IngressView = {
  readonly ingressClasses: Iterable<IngressClass>;
  readonly ingresses: Iterable<Ingress>;
  service(key: ObjectKey): Service | undefined;
  /** Slices of the Service of that key. */
  slices(service: ObjectKey): Iterable<EndpointSlice>;
  secret(key: ObjectKey): Secret | undefined;
};

export type ProblemReason =
  | 'ServiceNotFound'
  | 'PortNotFound'
  | 'SecretNotFound'
  | 'InvalidSecret'
  | 'PathConflict'
  | 'HostConflict'
  | 'UnsupportedBackend';

/** Something in an Ingress that cannot be served as written. Never stops other Ingresses. */
export type Problem = {
  readonly ingress: Ingress;
  readonly reason: ProblemReason;
  readonly message: string;
};

export type CompiledRoutes = {
  readonly table: RouteTable;
  readonly problems: readonly Problem[];
  /** The Ingresses that this controller serves, oldest first. */
  readonly owned: readonly Ingress[];
  /** For the next compile: backends whose objects have not changed keep their endpoint arrays. */
  readonly sources: ReadonlyMap<string, BackendSource>;
};

/** Of which objects a backend's endpoints were made. */
export type BackendSource = {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
  readonly endpoints: readonly Endpoint[] | undefined; // undefined: the Service has no such TCP port
};

/**
 * Makes the route table. Equal inputs give equal tables, whatever the order of `ingresses`: for the same host and path
 * the oldest Ingress wins, ties by key.
 */
export function compileRoutes(
  view: IngressView,
  configuredClassNames: readonly string[],
  previous?: CompiledRoutes,
): CompiledRoutes {
  const classes = ownedClasses(view.ingressClasses, configuredClassNames);
  const owned: Ingress[] = [];
  for (const ingress of view.ingresses) {
    if (isOwned(ingress, classes)) owned.push(ingress);
  }
  owned.sort(compareAge);
  const compiler = new Compiler(view, previous);
  for (const ingress of owned) compiler.add(ingress);
  return { table: compiler.table(), problems: compiler.problems, owned, sources: compiler.sources };
}

function compareAge(a: Ingress, b: Ingress): number {
  const ageA = a.metadata?.creationTimestamp ?? '';
  const ageB = b.metadata?.creationTimestamp ?? '';
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

type HostBuilder = {
  readonly exact: Map<string, Route>;
  readonly prefix: Map<string, Route>;
  prefixElementsMax: number;
  defaultBackend: Backend | undefined;
};

/** One table in the making. */
class Compiler {
  readonly problems: Problem[] = [];
  readonly sources = new Map<string, BackendSource>();
  readonly #view: IngressView;
  readonly #previous: ReadonlyMap<string, BackendSource> | undefined;
  readonly #certificatesBefore: ReadonlyMap<string, Certificate> | undefined;
  readonly #backends = new Map<string, Backend>();
  readonly #hosts = new Map<string, HostBuilder>();
  readonly #certificates = new Map<string, Certificate>();
  /** Of Ingresses without rules: these are meant as everybody's default. */
  #ownDefault: Backend | undefined;
  /** Of Ingresses with rules. */
  #ruleDefault: Backend | undefined;

  constructor(view: IngressView, previous: CompiledRoutes | undefined) {
    this.#view = view;
    this.#previous = previous?.sources;
    this.#certificatesBefore = previous?.table.certificates;
  }

  add(ingress: Ingress): void {
    const spec = ingress.spec;
    const rules = spec?.rules ?? [];
    const fallback =
      spec?.defaultBackend === undefined
        ? undefined
        : this.#backend(ingress, spec.defaultBackend, 'spec.defaultBackend');
    if (rules.length === 0) this.#ownDefault ??= fallback;
    else this.#ruleDefault ??= fallback;
    for (const [ruleIndex, rule] of rules.entries()) {
      const host = (rule.host ?? '').toLowerCase();
      const builder = this.#host(host);
      builder.defaultBackend ??= fallback;
      for (const [pathIndex, path] of (rule.http?.paths ?? []).entries()) {
        this.#addPath(ingress, builder, host, path, `spec.rules[${ruleIndex}].http.paths[${pathIndex}]`);
      }
    }
    this.#addCertificates(ingress);
  }

  table(): RouteTable {
    const exactHosts = new Map<string, HostRoutes>();
    const wildcardHosts = new Map<string, HostRoutes>();
    let anyHost: HostRoutes | undefined;
    for (const [host, routes] of this.#hosts) {
      if (host === '') anyHost = routes;
      else if (host.startsWith('*.')) wildcardHosts.set(host.slice(2), routes);
      else exactHosts.set(host, routes);
    }
    return {
      backends: [...this.#backends.values()],
      exactHosts,
      wildcardHosts,
      anyHost,
      defaultBackend: this.#ownDefault ?? this.#ruleDefault,
      certificates: this.#certificates,
    };
  }

  #host(host: string): HostBuilder {
    let builder = this.#hosts.get(host);
    if (builder === undefined) {
      builder = { exact: new Map(), prefix: new Map(), prefixElementsMax: 0, defaultBackend: undefined };
      this.#hosts.set(host, builder);
    }
    return builder;
  }

  #addPath(ingress: Ingress, builder: HostBuilder, host: string, rule: HTTPIngressPath, field: string): void {
    const backend = this.#backend(ingress, rule.backend, `${field}.backend`);
    if (backend === undefined) return;
    const path = rule.path === undefined || rule.path === '' ? '/' : rule.path;
    const pathType: PathType =
      rule.pathType === 'Exact' || rule.pathType === 'Prefix' ? rule.pathType : 'ImplementationSpecific';
    const route: Route = { ingress: keyOf(ingress), host, path, pathType, backend };
    const paths = pathType === 'Exact' ? builder.exact : builder.prefix;
    const key = pathType !== 'Exact' && path.endsWith('/') ? path.slice(0, -1) : path;
    const other = paths.get(key);
    if (other !== undefined && other.path.length >= path.length) {
      // `/foo/` and `/foo` are the same prefix; the longer spelling wins by the API's word, and that is no conflict.
      if (other.path === path && other.backend.key !== backend.key) {
        this.#problem(
          ingress,
          'PathConflict',
          `${field}: ${host}${path} is already routed by Ingress ${other.ingress}`,
        );
      }
      return;
    }
    paths.set(key, route);
    if (pathType !== 'Exact') {
      builder.prefixElementsMax = Math.max(builder.prefixElementsMax, slashesIn(key));
    }
  }

  /** undefined: nothing can stand there, and a problem says why. A missing Service gives a backend without endpoints. */
  #backend(ingress: Ingress, backend: IngressBackend, field: string): Backend | undefined {
    const { service } = backend;
    const port = service?.port?.name ?? service?.port?.number;
    if (service === undefined || port === undefined) {
      const what = backend.resource === undefined ? 'no Service port' : `resource ${backend.resource.kind}`;
      this.#problem(
        ingress,
        'UnsupportedBackend',
        `${field}: ${what}; only a Service with a port can be a backend`,
      );
      return undefined;
    }
    const serviceKey = objectKey(ingress.metadata?.namespace, service.name);
    const key = `${serviceKey}:${port}`;
    const source = this.#source(key, serviceKey, port);
    if (source === undefined) {
      this.#problem(ingress, 'ServiceNotFound', `${field}: there is no Service ${serviceKey}`);
    } else if (source.endpoints === undefined) {
      this.#problem(ingress, 'PortNotFound', `${field}: Service ${serviceKey} has no TCP port ${port}`);
    }
    const known = this.#backends.get(key);
    if (known !== undefined) return known;
    const made: Backend = { key, index: this.#backends.size, endpoints: source?.endpoints ?? noEndpoints };
    this.#backends.set(key, made);
    return made;
  }

  #source(key: string, serviceKey: ObjectKey, port: string | number): BackendSource | undefined {
    const known = this.sources.get(key);
    if (known !== undefined) return known;
    const service = this.#view.service(serviceKey);
    if (service === undefined) return undefined;
    const slices = [...this.#view.slices(serviceKey)];
    const before = this.#previous?.get(key);
    const source =
      before !== undefined && before.service === service && sameItems(before.slices, slices)
        ? before
        : { service, slices, endpoints: endpointsOf(service, port, slices) };
    this.sources.set(key, source);
    return source;
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
      const certificate = certificateOf(secretKey, this.#view.secret(secretKey), before);
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
    this.problems.push({ ingress, reason, message });
  }
}

const noEndpoints: readonly Endpoint[] = [];

/** Where new requests may go; undefined: no such port, or one that is not TCP. */
function endpointsOf(
  service: Service,
  port: string | number,
  slices: readonly EndpointSlice[],
): readonly Endpoint[] | undefined {
  const spec = service.spec;
  if (spec?.type === 'ExternalName') {
    const number = typeof port === 'number' ? port : servicePortNamed(service, port)?.port;
    const name = spec.externalName;
    return number === undefined || name === undefined || name === ''
      ? undefined
      : [{ address: name, port: number }];
  }
  const servicePort = servicePortNamed(service, port);
  if (servicePort === undefined || (servicePort.protocol ?? 'TCP') !== 'TCP') return undefined;
  const all = endpointsForBackend(service, port, slices) ?? [];
  return usableEndpoints(all).map((endpoint) => ({ address: endpoint.address, port: endpoint.port }));
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

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
