import type { Ingress } from '../../api/gen/networking-v1.ts';
import { translateNginx } from './translate.ts';
import type { Translation } from './translation.ts';

/** An Ingress's annotations told in ours; undefined: it has none of ingress-nginx. */
export function translateIngress(ingress: Ingress): Translation | undefined {
  return translateNginx(ingress.metadata?.annotations, {
    namespace: ingress.metadata?.namespace ?? 'default',
    hasTls: (ingress.spec?.tls ?? []).length > 0,
  });
}
