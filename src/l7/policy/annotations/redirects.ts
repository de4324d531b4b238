import type { Redirect, RedirectStatus } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn } from './values.ts';

/** undefined: plain HTTP is served as it comes. */
export type HttpsRule = { readonly port: number; readonly onlyTlsHosts: boolean };

export function readHttps(reader: AnnotationReader): HttpsRule | undefined {
  const redirects = reader.read('ssl-redirect', '"true", "tls-hosts" or "false"', (value) =>
    value === 'true' || value === 'tls-hosts' || value === 'false' ? value : undefined,
  );
  const port = reader.read('ssl-redirect-port', 'a port, 1 to 65535', integerIn(1, 65_535));
  if (redirects === undefined || redirects === 'false') return undefined;
  return { port: port ?? 443, onlyTlsHosts: redirects === 'tls-hosts' };
}

export function readRedirect(reader: AnnotationReader): Redirect | undefined {
  const allowed =
    'an http(s) URL or a path that begins with /; $scheme, $host and $request_uri stand for those of the request';
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

function urlOf(value: string): string | undefined {
  if (value.length > 2048 || !/^[\x21-\x7e]+$/.test(value)) return undefined;
  if (value.startsWith('/') && !value.startsWith('//')) return value;
  const plain = value.replace(/^\$scheme:/, 'http:').replaceAll(/\$(host|request_uri)/g, 'x');
  if (/\$(?!\d)[a-z_]/.test(plain)) return undefined; // a variable that is not known
  return /^https?:\/\/[^/]/i.test(plain) && URL.canParse(plain) ? value : undefined;
}

function statusIn(allowed: readonly RedirectStatus[]) {
  return (value: string): RedirectStatus | undefined => allowed.find((status) => String(status) === value);
}
