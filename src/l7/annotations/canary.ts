import type { CanaryPolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, lineOf, tokenOf } from './values.ts';

/** What a canary Ingress says; the backend is that of each of its paths. */
export type CanaryRule = Omit<CanaryPolicy, 'backend' | 'ingress'>;

export function readCanary(reader: AnnotationReader): CanaryRule | undefined {
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
