import type { ObjectKey } from '../../api/object.ts';
import {
  type BasicAuthRule,
  readBasicAuth,
  readConnectionLimit,
  readRate,
  readSatisfyAny,
  readSources,
} from './annotations/access.ts';
import { readAffinity } from './annotations/affinity.ts';
import { readBackend } from './annotations/backend.ts';
import { type BackendRules, readBackends } from './annotations/backends.ts';
import { readBalance } from './annotations/balance.ts';
import { type CanaryRule, readCanary } from './annotations/canary.ts';
import { readClientCertificate } from './annotations/client-certificate.ts';
import { readCompression } from './annotations/compression.ts';
import { readCors } from './annotations/cors.ts';
import { fieldsAllowed, fieldsOf } from './annotations/fields.ts';
import { type ErrorPageRule, readErrorPages } from './annotations/error-pages.ts';
import { type ForwardAuthRule, readForwardAuth } from './annotations/forward-auth.ts';
import { type HeaderMapRules, readHeaderMaps } from './annotations/header-maps.ts';
import { readLimits } from './annotations/limits.ts';
import { type MirrorRule, readMirror } from './annotations/mirror.ts';
import { type PathRules, readPaths, rewritePathOf } from './annotations/paths.ts';
import { type PassthroughRule, readPassthrough } from './annotations/passthrough.ts';
import { AnnotationReader, annotationPrefix } from './annotations/reader.ts';
import { type HttpsRule, readHttps, readRedirect } from './annotations/redirects.ts';
import { readUpstream } from './annotations/upstream.ts';
import { pathAllowed, pathOf } from './annotations/values.ts';
import type { BackendRule } from '../routes/backend-protocol.ts';
import { type BalancePolicy, defaultBalance } from '../balance/balance-policy.ts';
import type { ClientCertificateRule } from './client-certificate.ts';
import type { RoutePolicy } from './policy.ts';

/** What the structure of routes adds: it knows Secrets, Services and hosts. */
type BarePolicy = Omit<
  RoutePolicy,
  'basicAuth' | 'forwardAuth' | 'mirror' | 'httpsHosts' | 'fallback' | 'errorPages' | 'clientCertificate'
>;

export type ParsedAnnotations = {
  /** undefined: nothing is asked for. Without what needs more than the annotations. */
  readonly policy: BarePolicy | undefined;
  readonly basicAuth: BasicAuthRule | undefined;
  readonly forwardAuth: ForwardAuthRule | undefined;
  readonly mirror: MirrorRule | undefined;
  readonly errorPages: ErrorPageRule | undefined;
  /** Of the rules' hosts, whoever has other rules for them. */
  readonly clientCertificate: ClientCertificateRule | undefined;
  readonly headerMaps: HeaderMapRules;
  readonly https: HttpsRule | undefined;
  readonly backends: BackendRules;
  readonly paths: PathRules;
  /** undefined: TLS ends here. */
  readonly passthrough: PassthroughRule | undefined;
  /** undefined: an ordinary Ingress. */
  readonly canary: CanaryRule | undefined;
  /** undefined: nothing is said of how backends are spoken to. */
  readonly backend: BackendRule | undefined;
  readonly balance: BalancePolicy;
  /** Each names field, value and what is allowed. */
  readonly problems: readonly string[];
};

const nothing: ParsedAnnotations = {
  policy: undefined,
  basicAuth: undefined,
  forwardAuth: undefined,
  mirror: undefined,
  errorPages: undefined,
  clientCertificate: undefined,
  headerMaps: { response: undefined, auth: undefined },
  https: undefined,
  backends: { fallback: undefined, weights: undefined },
  paths: { regex: undefined, hostAliases: [], wwwRedirect: false },
  passthrough: undefined,
  canary: undefined,
  backend: undefined,
  balance: defaultBalance,
  problems: [],
};

/**
 * Reads the annotations under `fairlead.dev/`. A bad value is a problem and counts as absent, but one about who
 * gets in closes the routes; the others are honoured.
 * @param origins by our name without its prefix: the annotation that people wrote, where it is another one's
 */
export function parseAnnotations(
  ingress: ObjectKey,
  annotations: Readonly<Record<string, string>> | undefined,
  origins?: ReadonlyMap<string, string>,
): ParsedAnnotations {
  if (annotations === undefined) return nothing;
  let any = false;
  for (const name in annotations) {
    if (name.startsWith(annotationPrefix)) any = true;
  }
  if (!any) return nothing;
  const reader = new AnnotationReader(annotations, origins);
  const canary = readCanary(reader);
  const basicAuth = readBasicAuth(reader);
  const forwardAuth = readForwardAuth(reader);
  const mirror = readMirror(reader);
  const errorPages = readErrorPages(reader);
  const headerMaps = readHeaderMaps(reader);
  const https = readHttps(reader);
  const backends = readBackends(reader);
  const paths = readPaths(reader);
  const { balance, hashBy } = readBalance(reader);
  const policy = {
    ingress,
    httpsPort: https?.port,
    passesThrough: undefined,
    redirect: readRedirect(reader),
    appRoot: reader.read('app-root', pathAllowed, pathOf),
    rewriteTo: reader.read('rewrite-target', pathAllowed, pathOf)?.replace(/\/$/, ''),
    rewritePath: reader.read('rewrite-path', rewriteAllowed, rewritePathOf),
    ...readUpstream(reader),
    limits: readLimits(reader),
    cors: readCors(reader),
    sources: readSources(reader),
    satisfyAny: readSatisfyAny(reader),
    rate: readRate(reader),
    connectionLimit: readConnectionLimit(reader),
    requestFields: reader.read('request-headers', fieldsAllowed, fieldsOf) ?? [],
    responseFields: reader.read('response-headers', fieldsAllowed, fieldsOf) ?? [],
    affinity: readAffinity(reader),
    hashBy,
    compression: readCompression(reader),
    canary: undefined,
    split: undefined,
  };
  const backend = readBackend(reader);
  const resolved = [basicAuth, forwardAuth, mirror, backends.fallback, errorPages, headerMaps.response];
  const asks = resolved.some((rule) => rule !== undefined) || asksForAnything(policy);
  return {
    policy: asks ? policy : undefined,
    basicAuth,
    forwardAuth,
    mirror,
    errorPages,
    clientCertificate: readClientCertificate(reader),
    headerMaps,
    https,
    backends,
    paths,
    passthrough: readPassthrough(reader, annotations),
    canary,
    backend,
    balance,
    problems: reader.finish(),
  };
}

const rewriteAllowed = 'a path that begins with / or $1; $1 to $9 are groups of the regular expression';

function asksForAnything(policy: BarePolicy): boolean {
  const { ingress: _, requestFields, responseFields, ...rest } = policy;
  return (
    requestFields.length > 0 ||
    responseFields.length > 0 ||
    Object.values(rest).some((value) => value !== undefined)
  );
}
