import type { ConfigMap, Secret } from '../../api/gen/core-v1.ts';
import type { Ingress, IngressBackend } from '../../api/gen/networking-v1.ts';
import { allowFromNamespaces, fairleadGroup, staticResponses } from '../../api/fairlead-kinds.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import type { CanaryRule } from '../policy/annotations/canary.ts';
import type { PathRules } from '../policy/annotations/paths.ts';
import type { UrlTarget } from '../policy/annotations/url-target.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import type { ServiceRule, ServiceWeight } from '../policy/annotations/backends.ts';
import { type ParsedAnnotations, parseAnnotations } from '../policy/annotations.ts';
import { type BackendAccess, backendAccess, plainAccess } from './backend-protocol.ts';
import { type BackendPlace, type BackendRefs, type BackendUse, renderPlace } from './backend-refs.ts';
import type { NginxReader, NginxReading } from './nginx-reader.ts';
import { type PathPlace, placeOf } from './path-place.ts';
import type { NamedObject } from '../policy/annotations/values.ts';
import { plainTemplate, templateOf } from '../policy/request-variables.ts';
import { type ClientCertificatePolicy, clientCertificatePolicy } from '../policy/client-certificate.ts';
import { parsePasswordFile } from '../policy/password-hash.ts';
import { type BasicAuthPolicy, emptyPolicy, type FieldEdit, type RoutePolicy } from '../policy/policy.ts';
import type { Split } from '../balance/split.ts';
import type { Problem, ProblemReason } from '../controller/problem.ts';
import { headersOfMap } from './header-map.ts';
import { type FragmentRelay, relayAccess, relayOf } from './route-relays.ts';
import { type CertificateUse, certificateUses, tlsHosts } from './route-certificate.ts';
import type { Certificate, Route } from './table.ts';

/** All that one Ingress says about routes, before it meets the others: it holds until the Ingress or a Secret changes. */
export type Fragment = {
  readonly ingress: Ingress;
  readonly key: ObjectKey;
  /** The older Ingress has the lower one; no two are alike. */
  readonly rank: string;
  /** What it was made with, beside the Ingress. */
  readonly defaults: Readonly<Record<string, string>> | undefined;
  readonly secrets: readonly (readonly [ObjectKey, Secret | undefined])[];
  readonly configMaps: readonly (readonly [ObjectKey, ConfigMap | undefined])[];
  /** Those that do not depend on other Ingresses. */
  readonly problems: readonly Problem[];
  /** Each place that names a backend. */
  readonly uses: readonly BackendUse[];
  readonly rules: readonly FragmentRule[];
  readonly policy: RoutePolicy | undefined;
  readonly paths: PathRules;
  readonly canary: CanaryRule | undefined;
  /** Given: TLS of the rules' hosts goes to them as it comes, and they take no requests. */
  readonly relay: FragmentRelay | undefined;
  /** For its rules' hosts. */
  readonly clientCertificate: ClientCertificatePolicy | undefined;
  readonly fallback: Route | undefined;
  /** As ingress-nginx does: all paths of its hosts are then regular expressions, whoever wrote them. */
  readonly readsRegex: boolean;
  readonly certificates: readonly CertificateUse[];
  /** Each once: those that it may change, where its routes also lead from others included. */
  readonly hosts: readonly string[];
  /** What one of its hosts has decides what another one gets, so they are made together. */
  readonly linksHosts: boolean;
};

export type FragmentRule = {
  /** Lower case; '' for any host. */
  readonly host: string;
  readonly paths: readonly FragmentPath[];
};

export type FragmentPath = {
  readonly place: BackendPlace;
  readonly at: PathPlace;
  /** Index into `RouteTable.backends`. */
  readonly backend: number;
  /** undefined: the backend gets all. */
  readonly split: Split | undefined;
};

/** Objects that Ingresses name beside their backends. */
export type NamedObjects = {
  secret(key: ObjectKey): Secret | undefined;
  configMap(key: ObjectKey): ConfigMap | undefined;
};

export type FragmentContext = {
  readonly refs: BackendRefs;
  /** undefined: annotations of ingress-nginx are not read. */
  readonly nginx: NginxReader | undefined;
  readonly objects: NamedObjects;
  /** The one that a name had last: while its Secret is the same, it stays the same object. */
  certificateBefore(name: string): Certificate | undefined;
};

export function rankOf(ingress: Ingress): string {
  return `${ingress.metadata?.creationTimestamp ?? ''} ${keyOf(ingress)}`;
}

/** Takes its backends in `context.refs`; whoever drops the fragment gives them back. */
export function fragmentOf(
  ingress: Ingress,
  defaults: Readonly<Record<string, string>> | undefined,
  context: FragmentContext,
): Fragment {
  return new FragmentBuilder(ingress, defaults, context).build();
}

/** Whether making it again would give the same. */
export function stillHolds(
  fragment: Fragment,
  defaultsNow: Readonly<Record<string, string>> | undefined,
  objects: NamedObjects,
): boolean {
  return fragment.defaults === defaultsNow && sameObjects(fragment, objects);
}

/** Whether all that it names beside backends is as it was. */
export function sameObjects({ secrets, configMaps }: Fragment, objects: NamedObjects): boolean {
  return (
    secrets.every(([key, known]) => objects.secret(key) === known) &&
    configMaps.every(([key, known]) => objects.configMap(key) === known)
  );
}

const defaultPlace: BackendPlace = { rule: -1, path: -1 };

class FragmentBuilder {
  readonly #ingress: Ingress;
  readonly #defaults: Readonly<Record<string, string>> | undefined;
  readonly #context: FragmentContext;
  readonly #problems: Problem[] = [];
  readonly #uses: BackendUse[] = [];
  readonly #secrets = new Map<ObjectKey, Secret | undefined>();
  readonly #configMaps = new Map<ObjectKey, ConfigMap | undefined>();
  #nginx: NginxReading | undefined;
  #weights: readonly ServiceWeight[] | undefined;
  #weightsUsed = false;

  constructor(
    ingress: Ingress,
    defaults: Readonly<Record<string, string>> | undefined,
    context: FragmentContext,
  ) {
    this.#ingress = ingress;
    this.#defaults = defaults;
    this.#context = context;
  }

  build(): Fragment {
    const ingress = this.#ingress;
    const { spec } = ingress;
    const parsed = this.#parse();
    for (const problem of parsed.problems) this.#problem('InvalidAnnotation', problem);
    const access = this.#access(parsed);
    const { canary, paths, passthrough } = parsed;
    const policy = canary === undefined ? this.#policy(parsed) : undefined;
    this.#weights = canary === undefined ? parsed.backends.weights : undefined;
    const rules = this.#rules(access);
    const relay =
      passthrough === undefined
        ? undefined
        : relayOf(
            ingress,
            { passthrough, policy, canary, rules, httpsPort: parsed.https?.port },
            (...problem) => this.#problem(...problem),
          );
    const ordinary = canary === undefined && relay === undefined;
    const fallback =
      spec?.defaultBackend === undefined || !ordinary
        ? undefined
        : this.#defaultRoute(spec.defaultBackend, policy, access);
    this.#checkWeights(parsed.backends.weights);
    const linksHosts = ordinary && (paths.hostAliases.length > 0 || paths.wwwRedirect);
    return {
      ingress,
      key: keyOf(ingress),
      rank: rankOf(ingress),
      defaults: this.#defaults,
      problems: this.#problems,
      uses: this.#uses,
      rules,
      policy,
      paths,
      canary,
      relay,
      clientCertificate: ordinary ? this.#clientCertificate(parsed.clientCertificate) : undefined,
      fallback,
      readsRegex: this.#nginx?.readsRegex === true,
      certificates: relay === undefined ? this.#certificates() : [],
      secrets: [...this.#secrets],
      configMaps: [...this.#configMaps],
      hosts: hostsOf(rules, linksHosts ? paths : undefined),
      linksHosts,
    };
  }

  #certificates(): readonly CertificateUse[] {
    return certificateUses(
      this.#ingress,
      (key) => this.#secret(key),
      (host) => this.#context.certificateBefore(host),
      (reason, message) => this.#problem(reason, message),
    );
  }

  #rules(access: BackendAccess): readonly FragmentRule[] {
    return (this.#ingress.spec?.rules ?? []).map((rule, ruleIndex) => ({
      host: (rule.host ?? '').toLowerCase(),
      paths: (rule.http?.paths ?? []).map((path, pathIndex) => {
        const place = { rule: ruleIndex, path: pathIndex };
        const backend = this.#backend(path.backend, place, access);
        return { place, at: placeOf(path), backend, split: this.#split(path.backend, backend, access) };
      }),
    }));
  }

  /** The Services that share what is sent to one of them, at the same port. */
  #split({ service }: IngressBackend, backend: number, access: BackendAccess): Split | undefined {
    const weights = this.#weights;
    if (service === undefined || weights?.some((one) => one.service === service.name) !== true)
      return undefined;
    this.#weightsUsed = true;
    const place = { annotation: 'backend-weights' };
    return weights.map(({ service: name, weight }) => ({
      backend:
        name === service.name ? backend : this.#backend({ service: { ...service, name } }, place, access),
      key: objectKey(this.#ingress.metadata?.namespace, name),
      weight,
    }));
  }

  #checkWeights(asked: readonly ServiceWeight[] | undefined): void {
    if (asked === undefined || this.#weightsUsed) return;
    const why =
      this.#weights === undefined
        ? 'a canary has one backend'
        : 'no backend of this Ingress is one of these Services, so there is nothing to share';
    this.#problem('InvalidAnnotation', `metadata.annotations[${annotationPrefix}backend-weights]: ${why}`);
  }

  #parse(): ParsedAnnotations {
    const key = keyOf(this.#ingress);
    const defaults = this.#defaults;
    const written = this.#ingress.metadata?.annotations;
    const own = defaults === undefined ? written : { ...defaults, ...written };
    const nginx = this.#context.nginx?.(this.#ingress);
    if (nginx === undefined) return parseAnnotations(key, own);
    this.#nginx = nginx;
    for (const message of nginx.problems) this.#problem('UnsupportedAnnotation', message);
    return parseAnnotations(key, { ...defaults, ...nginx.annotations, ...written }, nginx.origins);
  }

  #defaultRoute(wanted: IngressBackend, policy: RoutePolicy | undefined, access: BackendAccess): Route {
    const backend = this.#backend(wanted, defaultPlace, access);
    const ingress = keyOf(this.#ingress);
    return {
      ingress,
      host: '',
      path: '',
      pathType: 'Prefix',
      pattern: undefined,
      backend,
      policy: withSplit(policy, this.#split(wanted, backend, access), ingress),
    };
  }

  /** Index of the backend. One that we cannot serve is a problem and a backend without endpoints: 503, no other route. */
  #backend(backend: IngressBackend, place: BackendPlace, access: BackendAccess): number {
    const { service } = backend;
    const port = service?.port?.name ?? service?.port?.number;
    const { resource } = backend;
    if (resource?.kind === staticResponses.kind && resource.apiGroup === fairleadGroup) {
      const name = objectKey(this.#ingress.metadata?.namespace, resource.name);
      const key = `${name} (StaticResponse)`;
      const ref = { id: key, key, service: undefined, resource: name, port: '', access: plainAccess };
      return this.#context.refs.index(ref, this.#uses, place);
    }
    if (service === undefined || port === undefined) {
      const what = backend.resource === undefined ? 'no Service port' : `resource ${backend.resource.kind}`;
      const message = `${renderPlace(place)}: ${what}; only a Service with a port or a StaticResponse of fairlead.dev can be a backend`;
      this.#problem('UnsupportedBackend', message);
      const key = `${keyOf(this.#ingress)} ${renderPlace(place)}`;
      return this.#context.refs.index(
        { id: key, key, service: undefined, port: '', access },
        this.#uses,
        place,
      );
    }
    const serviceKey = objectKey(this.#ingress.metadata?.namespace, service.name);
    const key = `${serviceKey}:${port}`;
    const id = access.id === '' ? key : `${key} ${access.id}`;
    return this.#context.refs.index({ id, key, service: serviceKey, port, access }, this.#uses, place);
  }

  #policy(parsed: ParsedAnnotations): RoutePolicy | undefined {
    const { policy, https, backends, errorPages, headerMaps } = parsed;
    if (policy === undefined) return undefined;
    const named = (annotation: string, rule: ServiceRule | undefined): number | undefined =>
      this.#context.refs.named(this.#ingress, this.#uses, annotation, rule);
    const errorBackend = named('error-service', errorPages?.service);
    return {
      ...policy,
      responseFields: [
        ...this.#headers('response-headers-from', headerMaps.response),
        ...policy.responseFields,
      ],
      clientCertificate: undefined, // the host's, which may be another Ingress's
      errorPages:
        errorPages === undefined || errorBackend === undefined
          ? undefined
          : { codes: errorPages.codes, backend: errorBackend },
      httpsHosts: https?.onlyTlsHosts === true ? tlsHosts(this.#ingress) : undefined,
      basicAuth: this.#basicAuth(parsed.basicAuth),
      ...this.#urlTargets(parsed),
      fallback: named('fallback-service', backends.fallback),
    };
  }

  /** A service that cannot be named is one that says no to everybody. */
  #urlTargets({
    forwardAuth,
    mirror,
    headerMaps,
  }: ParsedAnnotations): Pick<RoutePolicy, 'forwardAuth' | 'mirror'> {
    const indexOf = (annotation: string, target: UrlTarget | undefined): number =>
      target === undefined ? -1 : this.#context.refs.target(this.#uses, annotation, target);
    const auth = forwardAuth?.target;
    const at = auth?.at;
    return {
      forwardAuth: forwardAuth && {
        ...forwardAuth,
        backend: at === 'itself' ? at : indexOf('auth-url', at),
        authority: at === 'itself' ? '' : (at?.authority ?? ''),
        path: auth?.path ?? plainTemplate('/'),
        requestFields: [
          ...this.#headers('auth-request-headers-from', headerMaps.auth).map(({ name, value }) => ({
            name,
            value: templateOf(value) ?? plainTemplate(value),
          })),
          ...forwardAuth.requestFields,
        ],
      },
      mirror: mirror && {
        backend: indexOf('mirror-target', mirror.target),
        authority: mirror.host ?? mirror.target.authority,
        percentage: mirror.percentage,
        withBody: mirror.withBody,
      },
    };
  }

  /** What a ConfigMap sets. One that cannot be used sets nothing. */
  #headers(annotation: string, rule: NamedObject | undefined): readonly FieldEdit[] {
    if (rule === undefined) return [];
    const key = objectKey(rule.namespace ?? this.#ingress.metadata?.namespace, rule.name);
    const theirs = this.#nginx?.origins.get(annotation);
    const map = this.#context.objects.configMap(key);
    this.#configMaps.set(key, map);
    const bound = theirs !== undefined && annotation === 'response-headers-from';
    const headers = headersOfMap(key, map, bound ? this.#nginx?.allowedHeaders : undefined);
    if (!('reason' in headers)) return headers;
    const field = `metadata.annotations[${theirs ?? `${annotationPrefix}${annotation}`}]`;
    this.#problem(headers.reason, `${field}: ${headers.message}`);
    return [];
  }

  /** A Secret that is missing or holds no password lets nobody in: better closed than open by mistake. */
  #basicAuth(wanted: ParsedAnnotations['basicAuth']): BasicAuthPolicy | undefined {
    if (wanted === undefined) return undefined;
    const secret = this.#namedSecret('basic-auth-secret', wanted.secret);
    if (secret === undefined) return { realm: wanted.realm, users: new Map() };
    const file = secret.data?.['auth'];
    if (file === undefined)
      this.#badSecret('basic-auth-secret', secret, 'needs lines "user:hash" under auth');
    const { users, unknown } = parsePasswordFile(Buffer.from(file ?? '', 'base64').toString('utf8'));
    if (unknown.length > 0) {
      const who = unknown.slice(0, 5).join(', ');
      const why = `holds a hash of a kind that is not known, of ${who}; allowed: $apr1$, {SHA256}, {SHA}`;
      this.#badSecret('basic-auth-secret', secret, why);
    }
    return { realm: wanted.realm, users };
  }

  #clientCertificate(rule: ParsedAnnotations['clientCertificate']): ClientCertificatePolicy | undefined {
    if (rule === undefined) return undefined;
    const secret = this.#namedSecret('client-certificate-secret', rule.secret);
    const { policy, problem } = clientCertificatePolicy(keyOf(this.#ingress), rule, secret);
    if (secret !== undefined && problem !== undefined)
      this.#badSecret('client-certificate-secret', secret, problem);
    return policy;
  }

  #access({ backend: rule, balance, passthrough }: ParsedAnnotations): BackendAccess {
    if (passthrough !== undefined) return relayAccess(rule?.proxyProtocol, balance);
    const secret = this.#namedSecret('backend-tls-secret', rule?.tlsSecret?.named);
    const { access, problem } = backendAccess(rule, secret, balance);
    if (secret !== undefined && problem !== undefined) this.#badSecret('backend-tls-secret', secret, problem);
    return access;
  }

  /** What an annotation names. One of another namespace only if it says so itself; else it is told as one that is not there. */
  #namedSecret(annotation: string, named: NamedObject | undefined): Secret | undefined {
    if (named === undefined) return undefined;
    const { namespace: own = 'default' } = this.#ingress.metadata ?? {};
    const { namespace = own, name } = named;
    const key = objectKey(namespace, name);
    const secret = this.#secret(key);
    const shared = namespace === own || letsUse(secret, own);
    if (shared && secret !== undefined) return secret;
    const that = namespace === own ? '' : ` whose annotation ${allowFromNamespaces} names ${own}`;
    this.#problem('SecretNotFound', `${fieldOf(annotation)}: there is no Secret ${key}${that}`);
    return undefined;
  }

  #badSecret(annotation: string, secret: Secret, why: string): void {
    this.#problem('InvalidSecret', `${fieldOf(annotation)}: Secret ${keyOf(secret)} ${why}`);
  }

  #secret(key: ObjectKey): Secret | undefined {
    const secret = this.#context.objects.secret(key);
    this.#secrets.set(key, secret);
    return secret;
  }

  #problem(reason: ProblemReason, message: string): void {
    this.#problems.push({ ingress: this.#ingress, reason, message });
  }
}

function fieldOf(annotation: string): string {
  return `metadata.annotations[${annotationPrefix}${annotation}]`;
}

/** Its owner allows annotations of Ingresses in that namespace to name it. */
function letsUse(secret: Secret | undefined, namespace: string): boolean {
  const allowed = secret?.metadata?.annotations?.[allowFromNamespaces] ?? '';
  return allowed.split(',').some((item) => item.trim() === '*' || item.trim() === namespace);
}

/** @param paths given: the hosts that are to lead to those of the rules are among them */
function hostsOf(rules: readonly FragmentRule[], paths: PathRules | undefined): readonly string[] {
  const hosts = new Set(rules.map(({ host }) => host));
  if (paths === undefined) return [...hosts];
  if (rules.length === 0) hosts.add(''); // aliases then lead where any host does
  const others = paths.wwwRedirect ? [...hosts].map(wwwOther) : [];
  return [...new Set([...hosts, ...paths.hostAliases, ...others])];
}

/** The same host without "www.", or with it. */
export function wwwOther(host: string): string {
  return host.startsWith('www.') ? host.slice(4) : `www.${host}`;
}

/** The policy of one route among those of its Ingress. */
export function withSplit(
  policy: RoutePolicy | undefined,
  split: Split | undefined,
  ingress: ObjectKey,
): RoutePolicy | undefined {
  return split === undefined ? policy : { ...(policy ?? emptyPolicy(ingress)), split };
}
