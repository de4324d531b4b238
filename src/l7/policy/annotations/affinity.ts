import type { AffinityPolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, pathAllowed, pathOf, tokenOf } from './values.ts';

const sameSites = ['Lax', 'Strict', 'None'] as const;

/** undefined: not by cookie. By client address it is a matter of balancing. */
export function readAffinity(reader: AnnotationReader): AffinityPolicy | undefined {
  const kind = reader.read('affinity', '"cookie" or "client-ip"', (value) =>
    value === 'cookie' || value === 'client-ip' ? value : undefined,
  );
  const cookieName = reader.read('affinity-cookie-name', 'a cookie name', tokenOf);
  const age = reader.read('affinity-cookie-max-age', 'seconds, 1 to 31536000', integerIn(1, 31_536_000));
  const path = reader.read('affinity-cookie-path', pathAllowed, pathOf);
  const domain = reader.read('affinity-cookie-domain', 'a domain', (value) =>
    /^\.?[A-Za-z0-9.-]{1,253}$/.test(value) ? value : undefined,
  );
  const sameSite = reader.read('affinity-cookie-samesite', 'Lax, Strict or None', (value) =>
    sameSites.find((allowed) => allowed.toLowerCase() === value.toLowerCase()),
  );
  const secure = reader.read('affinity-cookie-secure', '"true" or "false"', (value) =>
    value === 'true' ? true : value === 'false' ? false : undefined,
  );
  if (kind !== 'cookie') return undefined;
  return {
    cookieName: cookieName ?? 'fairlead-affinity',
    maxAgeSeconds: age,
    path: path ?? '/',
    domain,
    sameSite: sameSite ?? 'Lax',
    secure,
  };
}
