import type { ForwardAuthPolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf, tokenOf } from './values.ts';
import { type UrlTarget, urlTargetAllowed, urlTargetOf } from './url-target.ts';

/** A target that is undefined was bad: nobody gets in. */
export type ForwardAuthRule = Omit<ForwardAuthPolicy, 'backend' | 'authority' | 'path'> & {
  readonly target: UrlTarget | undefined;
};

export function readForwardAuth(reader: AnnotationReader): ForwardAuthRule | undefined {
  const target = reader.read('auth-url', urlTargetAllowed, urlTargetOf);
  const method = reader.read('auth-method', 'GET, HEAD or POST', (value) =>
    ['GET', 'HEAD', 'POST'].find((allowed) => allowed === value.toUpperCase()),
  );
  const fields = reader.read('auth-response-headers', 'header names separated by commas', (value) =>
    listOf(value, fieldOf),
  );
  const signin = reader.read('auth-signin', signinAllowed, signinOf);
  const parameter = reader.read('auth-signin-redirect-param', 'the name of a query parameter', tokenOf);
  const redirect = reader.read('auth-request-redirect', 'text of one line', (value) =>
    /^[\x21-\x7e]{1,1024}$/.test(value) ? value : undefined,
  );
  const seconds = reader.read('auth-cache-duration', 'seconds, 1 to 86400', integerIn(1, 86_400));
  const keys = reader.read('auth-cache-headers', 'header names separated by commas', (value) =>
    listOf(value, tokenOf),
  );
  if (!reader.has('auth-url')) return undefined;
  return {
    target,
    method: method ?? 'GET',
    answerFields: (fields ?? []).map((name) => name.toLowerCase()),
    signin,
    signinParameter: parameter ?? 'rd',
    requestRedirect: redirect,
    cacheMs: (seconds ?? 0) * 1000,
    cacheFields: (keys ?? ['authorization', 'cookie']).map((name) => name.toLowerCase()),
  };
}

/** Fields that say who sits where are ours alone. */
const untouchable =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|x-forwarded-(for|host|port|proto)|x-real-ip)$/i;

function fieldOf(value: string): string | undefined {
  return tokenOf(value) === undefined || untouchable.test(value) ? undefined : value;
}

const signinAllowed =
  'an http(s) URL or a path; $scheme, $host, $request_uri and $escaped_request_uri stand for those of the request';

function signinOf(value: string): string | undefined {
  if (value.length > 2048 || !/^(https?:\/\/|\$scheme:\/\/|\/(?!\/))[\x21-\x7e]*$/.test(value))
    return undefined;
  const plain = value.replaceAll(/\$(scheme|host|request_uri|escaped_request_uri)\b/g, '');
  return plain.includes('$') ? undefined : value;
}
