import type { Ingress } from '../../api/gen/networking-v1.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import type { NginxReader, NginxReading } from '../routes/nginx-reader.ts';
import { translateNginx } from './translate.ts';
import { nginxPrefix, type Translation } from './translation.ts';

/** An Ingress's annotations told in ours; undefined: it has none of ingress-nginx. */
export function translateIngress(ingress: Ingress): Translation | undefined {
  return translateNginx(ingress.metadata?.annotations, {
    namespace: ingress.metadata?.namespace ?? 'default',
    hasTls: (ingress.spec?.tls ?? []).length > 0,
  });
}

/** What makes routes of Ingresses that were written for ingress-nginx. */
export function createNginxReader(allowedHeaders: readonly string[]): NginxReader {
  const allowed = new Set(allowedHeaders.map((name) => name.toLowerCase()));
  return (ingress) => readNginx(ingress, allowed);
}

function readNginx(ingress: Ingress, allowedHeaders: ReadonlySet<string>): NginxReading | undefined {
  const translation = translateIngress(ingress);
  if (translation === undefined) return undefined;
  const { annotations, origins, findings, readsRegex } = translation;
  return {
    annotations: Object.fromEntries(
      Object.entries(annotations).map(([name, value]) => [`${annotationPrefix}${name}`, value]),
    ),
    origins,
    problems: findings
      .filter(({ verdict }) => verdict === 'none')
      .map(({ annotation, text }) => `metadata.annotations[${nginxPrefix}${annotation}]: ${text}`),
    allowedHeaders,
    readsRegex: readsRegex && annotations['canary'] !== 'true',
  };
}
