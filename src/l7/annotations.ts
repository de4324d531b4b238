import type { ObjectKey } from '../api/object.ts';
import { type BasicAuthRule, readBasicAuth, readRate, readSources } from './annotations/access.ts';
import { readAffinity } from './annotations/affinity.ts';
import { readBackend } from './annotations/backend.ts';
import { type CanaryRule, readCanary } from './annotations/canary.ts';
import { readCors } from './annotations/cors.ts';
import { fieldsAllowed, fieldsOf } from './annotations/fields.ts';
import { readLimits } from './annotations/limits.ts';
import { AnnotationReader, annotationPrefix } from './annotations/reader.ts';
import { readHttpsPort, readRedirect } from './annotations/redirects.ts';
import { pathAllowed, pathOf } from './annotations/values.ts';
import type { BackendRule } from './backend-protocol.ts';
import type { RoutePolicy } from './policy.ts';

export type ParsedAnnotations = {
  /** undefined: nothing is asked for. Without basic auth and canary, which need more than the annotations. */
  readonly policy: Omit<RoutePolicy, 'basicAuth'> | undefined;
  readonly basicAuth: BasicAuthRule | undefined;
  /** undefined: an ordinary Ingress. */
  readonly canary: CanaryRule | undefined;
  /** undefined: nothing is said of how backends are spoken to. */
  readonly backend: BackendRule | undefined;
  /** Each names field, value and what is allowed. */
  readonly problems: readonly string[];
};

const nothing: ParsedAnnotations = {
  policy: undefined,
  basicAuth: undefined,
  canary: undefined,
  backend: undefined,
  problems: [],
};

/**
 * Reads the annotations under `fairlead.dev/`. A bad value is a problem and counts as absent, but one about who
 * gets in closes the routes; the others are honoured.
 */
export function parseAnnotations(
  ingress: ObjectKey,
  annotations: Readonly<Record<string, string>> | undefined,
): ParsedAnnotations {
  if (annotations === undefined) return nothing;
  let any = false;
  for (const name in annotations) {
    if (name.startsWith(annotationPrefix)) any = true;
  }
  if (!any) return nothing;
  const reader = new AnnotationReader(annotations);
  const canary = readCanary(reader);
  const basicAuth = readBasicAuth(reader);
  const policy = {
    ingress,
    httpsPort: readHttpsPort(reader),
    redirect: readRedirect(reader),
    appRoot: reader.read('app-root', pathAllowed, pathOf),
    rewriteTo: reader.read('rewrite-target', pathAllowed, pathOf)?.replace(/\/$/, ''),
    limits: readLimits(reader),
    cors: readCors(reader),
    sources: readSources(reader),
    rate: readRate(reader),
    requestFields: reader.read('request-headers', fieldsAllowed, fieldsOf) ?? [],
    responseFields: reader.read('response-headers', fieldsAllowed, fieldsOf) ?? [],
    affinity: readAffinity(reader),
    canary: undefined,
  };
  const backend = readBackend(reader);
  const asks = basicAuth !== undefined || asksForAnything(policy);
  return { policy: asks ? policy : undefined, basicAuth, canary, backend, problems: reader.finish() };
}

function asksForAnything(policy: Omit<RoutePolicy, 'basicAuth'>): boolean {
  const { ingress: _, requestFields, responseFields, ...rest } = policy;
  return (
    requestFields.length > 0 ||
    responseFields.length > 0 ||
    Object.values(rest).some((value) => value !== undefined)
  );
}
