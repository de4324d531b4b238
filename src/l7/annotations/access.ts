import { type Cidr, parseCidr, parseIp } from '../../base/ip.ts';
import type { RatePolicy, SourcePolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf, secretOf } from './values.ts';

export function readSources(reader: AnnotationReader): SourcePolicy | undefined {
  const allowed = 'addresses or ranges such as 10.0.0.0/8, separated by commas';
  const allow = reader.read('allow-source-range', allowed, rangesOf);
  const deny = reader.read('deny-source-range', allowed, rangesOf);
  const unclear =
    (allow === undefined && reader.has('allow-source-range')) ||
    (deny === undefined && reader.has('deny-source-range'));
  if (unclear) return { allow: [], deny: [] }; // whom a mistyped rule should keep out is not known: nobody gets in
  return allow === undefined && deny === undefined ? undefined : { allow, deny: deny ?? [] };
}

export function readRate(reader: AnnotationReader): RatePolicy | undefined {
  const perSecond = reader.read('rate-limit', 'requests a second, such as 5 or 0.5', (value) => {
    const number = /^\d{1,7}(\.\d{1,3})?$/.test(value) ? Number(value) : 0;
    return number > 0 && number <= 1_000_000 ? number : undefined;
  });
  const burst = reader.read('rate-limit-burst', 'requests at once, 1 to 1000000', integerIn(1, 1_000_000));
  return perSecond === undefined
    ? undefined
    : { perSecond, burst: burst ?? Math.max(1, Math.ceil(perSecond)) };
}

/** undefined: no password is asked for. Without a Secret, whose name was bad, nobody gets in. */
export type BasicAuthRule = { readonly secretName: string | undefined; readonly realm: string };

export function readBasicAuth(reader: AnnotationReader): BasicAuthRule | undefined {
  const secretName = reader.read('basic-auth-secret', 'the name of a Secret in the same namespace', secretOf);
  const realm = reader.read('basic-auth-realm', 'text of at most 128 characters without quotes', realmOf);
  if (secretName === undefined && !reader.has('basic-auth-secret')) return undefined;
  return { secretName, realm: realm ?? 'Authentication required' };
}

function rangesOf(value: string): readonly Cidr[] | undefined {
  return listOf(value, (item) => {
    const ip = parseIp(item);
    return parseCidr(ip === undefined ? item : `${item}/${ip.family === 4 ? 32 : 128}`);
  });
}

function realmOf(value: string): string | undefined {
  return /^[\x20-\x7e]{1,128}$/.test(value) && !/["\\]/.test(value) ? value : undefined;
}
