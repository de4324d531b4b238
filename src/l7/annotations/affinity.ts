import type { AffinityPolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, pathAllowed, pathOf, tokenOf } from './values.ts';

export function readAffinity(reader: AnnotationReader): AffinityPolicy | undefined {
  const kind = reader.read('affinity', '"cookie"', (value) => (value === 'cookie' ? value : undefined));
  const cookieName = reader.read('affinity-cookie-name', 'a cookie name', tokenOf);
  const age = reader.read('affinity-cookie-max-age', 'seconds, 1 to 31536000', integerIn(1, 31_536_000));
  const path = reader.read('affinity-cookie-path', pathAllowed, pathOf);
  if (kind === undefined) return undefined;
  return { cookieName: cookieName ?? 'fairlead-affinity', maxAgeSeconds: age, path: path ?? '/' };
}
