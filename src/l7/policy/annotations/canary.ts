import type { CanaryPolicy } from '../policy.ts';
import { compileRegex, type Regex } from '../../../base/regex/regex.ts';
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
  const pattern = reader.read('canary-by-header-pattern', 'a regular expression', patternOf);
  const cookieValue = reader.read('canary-by-cookie-value', 'a cookie value', tokenOf);
  const cookieName = reader.read('canary-by-cookie', 'a cookie name', tokenOf);
  if (!enabled) return undefined;
  const header = name === undefined ? undefined : { name: name.toLowerCase(), value, pattern };
  const cookie = cookieName === undefined ? undefined : { name: cookieName, value: cookieValue };
  return { header, cookie, weight, weightTotal: total };
}

/** Found anywhere in the header's value; `^` and `$` tie it to its ends. */
function patternOf(value: string): Regex | undefined {
  const compiled = compileRegex(value, { ignoreCase: false, fromStart: false });
  return compiled.ok ? compiled.regex : undefined;
}
