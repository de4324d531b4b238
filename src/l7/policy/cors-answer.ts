import type { FieldLines } from '../http1/http1-fields.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { CorsPolicy, FieldEdit } from './policy.ts';
import { fieldValue } from '../proxy/request-fields.ts';

export function isPreflight(head: RequestHead, lines: FieldLines, origin: string | undefined): boolean {
  if (head.method !== 'OPTIONS' || origin === undefined) return false;
  return fieldValue(head, lines, 'access-control-request-method') !== undefined;
}

function originAllowed(origins: readonly string[], origin: string): boolean {
  const wanted = origin.toLowerCase();
  return origins.some((allowed) => {
    const star = allowed.indexOf('*.');
    if (allowed === '*' || allowed === wanted) return true;
    if (star === -1) return false;
    const scheme = allowed.slice(0, star);
    return wanted.startsWith(scheme) && wanted.slice(scheme.length).endsWith(allowed.slice(star + 1));
  });
}

/** Empty for an origin that is not allowed: the browser then keeps the answer from the page. */
export function corsAnswerFields(cors: CorsPolicy, origin: string | undefined): readonly FieldEdit[] {
  const any = cors.origins.includes('*');
  const vary = any ? [] : [{ name: 'Vary', value: 'Origin' }];
  if (origin === undefined || !originAllowed(cors.origins, origin)) return vary;
  return [
    { name: 'Access-Control-Allow-Origin', value: any ? '*' : origin },
    ...vary,
    ...(cors.credentials ? [{ name: 'Access-Control-Allow-Credentials', value: 'true' }] : []),
    ...(cors.exposeHeaders === ''
      ? []
      : [{ name: 'Access-Control-Expose-Headers', value: cors.exposeHeaders }]),
  ];
}

export function preflightLines(cors: CorsPolicy, fields: readonly FieldEdit[]): string {
  const allowed = fields.some(({ name }) => name === 'Access-Control-Allow-Origin');
  const all = allowed
    ? [
        ...fields,
        { name: 'Access-Control-Allow-Methods', value: cors.methods },
        { name: 'Access-Control-Allow-Headers', value: cors.headers },
        { name: 'Access-Control-Max-Age', value: String(cors.maxAgeSeconds) },
      ]
    : fields;
  return all.map(({ name, value }) => `${name}: ${value}\r\n`).join('');
}
