import type { Ingress } from '../../api/gen/networking-v1.ts';
import { translateNginx } from './translate.ts';
import type { Translation } from './translation.ts';

/** All Ingresses told in our annotations, for what one says matters to others of the same host. */
export type NginxTranslations = {
  readonly byIngress: ReadonlyMap<Ingress, Translation>;
  /** Hosts all of whose paths are regular expressions, because some Ingress uses one; lower case. */
  readonly regexHosts: ReadonlySet<string>;
};

export const noTranslations: NginxTranslations = { byIngress: new Map(), regexHosts: new Set() };

export function nginxTranslations(ingresses: readonly Ingress[]): NginxTranslations {
  const byIngress = new Map<Ingress, Translation>();
  const regexHosts = new Set<string>();
  for (const ingress of ingresses) {
    const translation = translateIngress(ingress);
    if (translation === undefined) continue;
    byIngress.set(ingress, translation);
    if (!translation.readsRegex || translation.annotations['canary'] === 'true') continue;
    for (const { host } of ingress.spec?.rules ?? []) regexHosts.add((host ?? '').toLowerCase());
  }
  return { byIngress, regexHosts };
}

export function translateIngress(ingress: Ingress): Translation | undefined {
  return translateNginx(ingress.metadata?.annotations, {
    namespace: ingress.metadata?.namespace ?? 'default',
    hasTls: (ingress.spec?.tls ?? []).length > 0,
  });
}
