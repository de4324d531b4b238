import type { ObjectKey } from '../api/object.ts';
import { type Cidr, parseCidr, parseIp } from '../base/ip.ts';
import type { ProxyLimits } from './limits.ts';
import type {
  AffinityPolicy,
  CanaryPolicy,
  CorsPolicy,
  FieldEdit,
  RatePolicy,
  Redirect,
  RedirectStatus,
  RoutePolicy,
  SourcePolicy,
} from './policy.ts';

export const annotationPrefix = 'fairlead.dev/';

/** What a canary Ingress says; the backend is that of each of its paths. */
export type CanaryRule = Omit<CanaryPolicy, 'backend' | 'ingress'>;

export type ParsedAnnotations = {
  /** undefined: nothing is asked for. Without basic auth and canary, which need more than the annotations. */
  readonly policy: Omit<RoutePolicy, 'basicAuth'> | undefined;
  /** undefined: no password is asked for. Without a Secret, whose name was bad, nobody gets in. */
  readonly basicAuth: { readonly secretName: string | undefined; readonly realm: string } | undefined;
  /** undefined: an ordinary Ingress. */
  readonly canary: CanaryRule | undefined;
  /** Each names field, value and what is allowed. */
  readonly problems: readonly string[];
};

const nothing: ParsedAnnotations = {
  policy: undefined,
  basicAuth: undefined,
  canary: undefined,
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
  const secretName = reader.read('basic-auth-secret', 'the name of a Secret in the same namespace', secretOf);
  const realm = reader.read('basic-auth-realm', 'text of at most 128 characters without quotes', realmOf);
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
  reader.read('backend-protocol', '"HTTP", the only protocol to backends so far', (value) =>
    value.toUpperCase() === 'HTTP' ? value : undefined,
  );
  const basicAuth =
    secretName === undefined && !reader.has('basic-auth-secret')
      ? undefined
      : { secretName, realm: realm ?? 'Authentication required' };
  const asks = basicAuth !== undefined || asksForAnything(policy);
  return { policy: asks ? policy : undefined, basicAuth, canary, problems: reader.finish() };
}

function asksForAnything(policy: Omit<RoutePolicy, 'basicAuth'>): boolean {
  const { ingress: _, requestFields, responseFields, ...rest } = policy;
  return (
    requestFields.length > 0 ||
    responseFields.length > 0 ||
    Object.values(rest).some((value) => value !== undefined)
  );
}

class AnnotationReader {
  readonly #annotations: Readonly<Record<string, string>>;
  readonly #known = new Set<string>();
  readonly #problems: string[] = [];

  constructor(annotations: Readonly<Record<string, string>>) {
    this.#annotations = annotations;
  }

  /** undefined: absent or bad; bad ones are noted. `allowed` completes "allowed: …". */
  read<T>(name: string, allowed: string, parse: (value: string) => T | undefined): T | undefined {
    this.#known.add(name);
    const value = this.#annotations[`${annotationPrefix}${name}`];
    if (value === undefined) return undefined;
    const parsed = parse(value.trim());
    if (parsed === undefined) this.bad(name, value, `allowed: ${allowed}`);
    return parsed;
  }

  has(name: string): boolean {
    return this.#annotations[`${annotationPrefix}${name}`] !== undefined;
  }

  flag(name: string): boolean {
    return (
      this.read(name, '"true" or "false"', (value) =>
        value === 'true' ? true : value === 'false' ? false : undefined,
      ) ?? false
    );
  }

  bad(name: string, value: string, why: string): void {
    const shown = value.length > 80 ? `${value.slice(0, 80)}…` : value;
    this.#problems.push(`metadata.annotations[${annotationPrefix}${name}]: ${JSON.stringify(shown)}: ${why}`);
  }

  /** All problems, those of names that nobody has read among them. */
  finish(): readonly string[] {
    for (const [name, value] of Object.entries(this.#annotations)) {
      const short = name.slice(annotationPrefix.length);
      if (!name.startsWith(annotationPrefix) || this.#known.has(short)) continue;
      this.bad(
        short,
        value,
        `there is no such annotation; allowed: ${[...this.#known].toSorted().join(', ')}`,
      );
    }
    return this.#problems;
  }
}

function readHttpsPort(reader: AnnotationReader): number | undefined {
  const redirects = reader.flag('ssl-redirect');
  const port = reader.read('ssl-redirect-port', 'a port, 1 to 65535', integerIn(1, 65_535));
  return redirects ? (port ?? 443) : undefined;
}

function readRedirect(reader: AnnotationReader): Redirect | undefined {
  const allowed = 'an http(s) URL or a path that begins with /';
  const permanent = reader.read('permanent-redirect', allowed, urlOf);
  const temporary = reader.read('temporary-redirect', allowed, urlOf);
  const permanentStatus = reader.read('permanent-redirect-code', '301 or 308', statusIn([301, 308]));
  const temporaryStatus = reader.read(
    'temporary-redirect-code',
    '302, 303 or 307',
    statusIn([302, 303, 307]),
  );
  if (permanent !== undefined) return { status: permanentStatus ?? 301, url: permanent };
  return temporary === undefined ? undefined : { status: temporaryStatus ?? 302, url: temporary };
}

function readLimits(reader: AnnotationReader): Partial<ProxyLimits> | undefined {
  const allowed = 'seconds such as 5, or a time such as 500ms, 5s or 2m, from 10ms to 24h';
  const connectMs = reader.read('connect-timeout', allowed, durationMsOf);
  const readMs = reader.read('read-timeout', allowed, durationMsOf);
  const sendMs = reader.read('send-timeout', allowed, durationMsOf);
  const bodyBytes = reader.read('body-size', 'bytes such as 512k, 10m or 1g; 0 for no limit', bytesOf);
  const limits = {
    ...(connectMs === undefined ? {} : { upstreamConnectTimeoutMs: connectMs }),
    ...(readMs === undefined ? {} : { upstreamHeaderTimeoutMs: readMs, upstreamBodyTimeoutMs: readMs }),
    ...(sendMs === undefined ? {} : { upstreamSendTimeoutMs: sendMs }),
    ...(bodyBytes === undefined ? {} : { requestBodyBytesMax: bodyBytes }),
  };
  return Object.keys(limits).length === 0 ? undefined : limits;
}

function readCors(reader: AnnotationReader): CorsPolicy | undefined {
  const enabled = reader.flag('enable-cors');
  const list = 'names separated by commas';
  const origins = reader.read(
    'cors-allow-origin',
    '* or origins such as https://a.example or https://*.a.example, separated by commas',
    originsOf,
  ) ?? ['*'];
  const methods = reader.read('cors-allow-methods', list, namesOf);
  const headers = reader.read('cors-allow-headers', list, namesOf);
  const exposeHeaders = reader.read('cors-expose-headers', list, namesOf);
  const wantsCredentials = reader.flag('cors-allow-credentials');
  const maxAgeSeconds = reader.read('cors-max-age', 'seconds, 0 to 86400', integerIn(0, 86_400));
  const credentials = wantsCredentials && !origins.includes('*');
  if (wantsCredentials && !credentials) {
    const why =
      'browsers refuse it for every origin; allowed: together with origins named in cors-allow-origin';
    reader.bad('cors-allow-credentials', 'true', why);
  }
  if (!enabled) return undefined;
  return {
    origins,
    methods: methods ?? 'GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS',
    headers:
      headers ?? 'Accept, Authorization, Content-Type, If-Match, If-None-Match, Range, X-Requested-With',
    exposeHeaders: exposeHeaders ?? '',
    credentials,
    maxAgeSeconds: maxAgeSeconds ?? 600,
  };
}

function readSources(reader: AnnotationReader): SourcePolicy | undefined {
  const allowed = 'addresses or ranges such as 10.0.0.0/8, separated by commas';
  const allow = reader.read('allow-source-range', allowed, rangesOf);
  const deny = reader.read('deny-source-range', allowed, rangesOf);
  const unclear =
    (allow === undefined && reader.has('allow-source-range')) ||
    (deny === undefined && reader.has('deny-source-range'));
  if (unclear) return { allow: [], deny: [] }; // whom a mistyped rule should keep out is not known: nobody gets in
  return allow === undefined && deny === undefined ? undefined : { allow, deny: deny ?? [] };
}

function readRate(reader: AnnotationReader): RatePolicy | undefined {
  const perSecond = reader.read('rate-limit', 'requests a second, such as 5 or 0.5', (value) => {
    const number = /^\d{1,7}(\.\d{1,3})?$/.test(value) ? Number(value) : 0;
    return number > 0 && number <= 1_000_000 ? number : undefined;
  });
  const burst = reader.read('rate-limit-burst', 'requests at once, 1 to 1000000', integerIn(1, 1_000_000));
  return perSecond === undefined
    ? undefined
    : { perSecond, burst: burst ?? Math.max(1, Math.ceil(perSecond)) };
}

function readAffinity(reader: AnnotationReader): AffinityPolicy | undefined {
  const kind = reader.read('affinity', '"cookie"', (value) => (value === 'cookie' ? value : undefined));
  const cookieName = reader.read('affinity-cookie-name', 'a cookie name', tokenOf);
  const age = reader.read('affinity-cookie-max-age', 'seconds, 1 to 31536000', integerIn(1, 31_536_000));
  const path = reader.read('affinity-cookie-path', pathAllowed, pathOf);
  if (kind === undefined) return undefined;
  return { cookieName: cookieName ?? 'fairlead-affinity', maxAgeSeconds: age, path: path ?? '/' };
}

function readCanary(reader: AnnotationReader): CanaryRule | undefined {
  const enabled = reader.flag('canary');
  const total =
    reader.read('canary-weight-total', 'an integer, 1 to 1000000', integerIn(1, 1_000_000)) ?? 100;
  const weight = reader.read('canary-weight', `an integer, 0 to ${total}`, integerIn(0, total)) ?? 0;
  const name = reader.read('canary-by-header', 'a header name', tokenOf);
  const value = reader.read('canary-by-header-value', 'text of one line', lineOf);
  const cookieName = reader.read('canary-by-cookie', 'a cookie name', tokenOf);
  if (!enabled) return undefined;
  const header = name === undefined ? undefined : { name: name.toLowerCase(), value };
  return { header, cookieName, weight, weightTotal: total };
}

const pathAllowed = 'a path that begins with / and has no ? or #';

function pathOf(value: string): string | undefined {
  return /^\/[A-Za-z0-9\-._~%!$&'()*+,;=:@/]*$/.test(value) && value.length <= 1024 ? value : undefined;
}

function urlOf(value: string): string | undefined {
  if (value.length > 2048 || !/^[\x21-\x7e]+$/.test(value)) return undefined;
  if (value.startsWith('/') && !value.startsWith('//')) return value;
  return /^https?:\/\/[^/]/i.test(value) && URL.canParse(value) ? value : undefined;
}

function statusIn(allowed: readonly RedirectStatus[]) {
  return (value: string): RedirectStatus | undefined => allowed.find((status) => String(status) === value);
}

function integerIn(min: number, max: number) {
  return (value: string): number | undefined => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : -1;
    return number >= min && number <= max ? number : undefined;
  };
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function durationMsOf(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)?$/.exec(value) ?? [];
  const ms = Number(digits) * (unitsMs[unit ?? 's'] ?? 0);
  return ms >= 10 && ms <= 86_400_000 ? ms : undefined;
}

const unitsBytes: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function bytesOf(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,12})([kmg]?)$/i.exec(value) ?? [];
  if (digits === undefined) return undefined;
  const bytes = Number(digits) * (unitsBytes[(unit ?? '').toLowerCase()] ?? 1);
  return bytes === 0 ? Number.MAX_SAFE_INTEGER : bytes;
}

/** The elements of a list; undefined: none, or one that is not allowed. */
function listOf<T>(value: string, parse: (item: string) => T | undefined): readonly T[] | undefined {
  const items: T[] = [];
  for (const text of value.split(',')) {
    const item = parse(text.trim());
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}

function rangesOf(value: string): readonly Cidr[] | undefined {
  return listOf(value, (item) => {
    const ip = parseIp(item);
    return parseCidr(ip === undefined ? item : `${item}/${ip.family === 4 ? 32 : 128}`);
  });
}

function originsOf(value: string): readonly string[] | undefined {
  return listOf(value, (item) =>
    item === '*' || /^https?:\/\/(\*\.)?[a-z0-9.\-[\]:]+$/i.test(item) ? item.toLowerCase() : undefined,
  );
}

function namesOf(value: string): string | undefined {
  return listOf(value, (item) => (item === '*' ? item : tokenOf(item)))?.join(', ');
}

function tokenOf(value: string): string | undefined {
  return /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/.test(value) ? value : undefined;
}

function lineOf(value: string): string | undefined {
  return /^[\x20-\x7e]{1,1024}$/.test(value) ? value : undefined;
}

function realmOf(value: string): string | undefined {
  return /^[\x20-\x7e]{1,128}$/.test(value) && !/["\\]/.test(value) ? value : undefined;
}

function secretOf(value: string): string | undefined {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(value) ? value : undefined;
}

const fieldsAllowed =
  'lines "Name: value", at most 32; an empty value removes the field; not Host, X-Forwarded-… or fields of the connection';
const fieldsMax = 32;
const untouchable =
  /^(host|connection|content-length|transfer-encoding|upgrade|keep-alive|te|trailer|expect|proxy-.*|http2-settings|x-forwarded-.*|x-real-ip)$/i;

function fieldsOf(text: string): readonly FieldEdit[] | undefined {
  const fields: FieldEdit[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const colon = line.indexOf(':');
    const name = tokenOf(line.slice(0, Math.max(colon, 0)).trim());
    const value = line.slice(colon + 1).trim();
    if (name === undefined || untouchable.test(name) || (value !== '' && lineOf(value) === undefined)) {
      return undefined;
    }
    fields.push({ name, value });
  }
  return fields.length === 0 || fields.length > fieldsMax ? undefined : fields;
}
