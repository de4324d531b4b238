import type { CorsPolicy } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf, namesOf } from './values.ts';

export function readCors(reader: AnnotationReader): CorsPolicy | undefined {
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
  const maxAgeSeconds = reader.read('cors-max-age', 'seconds, 0 to 31536000', integerIn(0, 31_536_000));
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

function originsOf(value: string): readonly string[] | undefined {
  return listOf(value, (item) =>
    item === '*' || /^https?:\/\/(\*\.)?[a-z0-9.\-[\]:]+$/i.test(item) ? item.toLowerCase() : undefined,
  );
}
