import type { Ingress } from '../../api/gen/networking-v1.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import type { NginxReader } from '../routes/nginx-reader.ts';
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
export const nginxReader: NginxReader = (ingress) => {
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
    readsRegex: readsRegex && annotations['canary'] !== 'true',
  };
};
