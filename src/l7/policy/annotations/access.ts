import { type Cidr, parseCidr, parseIp } from '../../../base/ip.ts';
import type { RatePolicy, SourcePolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf, type NamedObject, namedObjectOf, secretAllowed } from './values.ts';

const rangesAllowed = 'addresses or ranges such as 10.0.0.0/8, separated by commas';

export function readSources(reader: AnnotationReader): SourcePolicy | undefined {
  const allow = reader.read('allow-source-range', rangesAllowed, rangesOf);
  const deny = reader.read('deny-source-range', rangesAllowed, rangesOf);
  const unclear =
    (allow === undefined && reader.has('allow-source-range')) ||
    (deny === undefined && reader.has('deny-source-range'));
  if (unclear) return { allow: [], deny: [] }; // whom a mistyped rule should keep out is not known: nobody gets in
  return allow === undefined && deny === undefined ? undefined : { allow, deny: deny ?? [] };
}

export function readRate(reader: AnnotationReader): RatePolicy | undefined {
  const perSecond = reader.read(
    'rate-limit',
    'requests a second such as 5 or 0.5, or a minute as 30/m',
    rateOf,
  );
  const exempt = reader.read('rate-limit-exempt-range', rangesAllowed, rangesOf);
  const burst = reader.read('rate-limit-burst', 'requests at once, 1 to 1000000', integerIn(1, 1_000_000));
  return perSecond === undefined
    ? undefined
    : { perSecond, burst: burst ?? Math.max(1, Math.ceil(perSecond)), exempt: exempt ?? [] };
}

function rateOf(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,7}(?:\.\d{1,3})?)(\/[sm])?$/.exec(value) ?? [];
  const number = Number(digits ?? 0) / (unit === '/m' ? 60 : 1);
  return number > 0 && number <= 1_000_000 ? number : undefined;
}

/** Requests under way at once, by client address. */
export function readConnectionLimit(reader: AnnotationReader): number | undefined {
  return reader.read('connection-limit', 'requests at once, 1 to 1000000', integerIn(1, 1_000_000));
}

/** Whether one of the conditions about who gets in is enough. */
export function readSatisfyAny(reader: AnnotationReader): boolean | undefined {
  const satisfy = reader.read('satisfy', '"all" or "any"', (value) =>
    value === 'all' || value === 'any' ? value : undefined,
  );
  return satisfy === 'any' ? true : undefined;
}

/** undefined: no password is asked for. Without a Secret, whose name was bad, nobody gets in. */
export type BasicAuthRule = { readonly secret: NamedObject | undefined; readonly realm: string };

export function readBasicAuth(reader: AnnotationReader): BasicAuthRule | undefined {
  const secret = reader.read('basic-auth-secret', secretAllowed, namedObjectOf);
  const realm = reader.read('basic-auth-realm', 'text of at most 128 characters without quotes', realmOf);
  if (secret === undefined && !reader.has('basic-auth-secret')) return undefined;
  return { secret, realm: realm ?? 'Authentication required' };
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
