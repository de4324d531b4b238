import type { Secret } from '../api/gen/core-v1.ts';
import type { Ingress } from '../api/gen/networking-v1.ts';
import type { ObjectKey } from '../api/object.ts';
import type { Certificate } from './table.ts';

type CertificateProblem = { readonly reason: 'SecretNotFound' | 'InvalidSecret'; readonly message: string };

/** @param before the one of the last time, which stays the same object while its Secret does */
export function certificateOf(
  secretKey: ObjectKey,
  secret: Secret | undefined,
  before: Certificate | undefined,
): Certificate | CertificateProblem {
  if (secret === undefined) {
    return { reason: 'SecretNotFound', message: `there is no Secret ${secretKey} of type kubernetes.io/tls` };
  }
  const version = `${secret.metadata?.uid ?? ''}/${secret.metadata?.resourceVersion ?? ''}`;
  if (before !== undefined && before.secret === secretKey && before.version === version) return before;
  const certBase64 = secret.data?.['tls.crt'] ?? '';
  const keyBase64 = secret.data?.['tls.key'] ?? '';
  if (!holdsPem(certBase64) || !holdsPem(keyBase64)) {
    return {
      reason: 'InvalidSecret',
      message: `Secret ${secretKey} needs PEM texts under tls.crt and tls.key`,
    };
  }
  return { secret: secretKey, version, certBase64, keyBase64 };
}

function holdsPem(base64: string): boolean {
  return Buffer.from(base64, 'base64').includes('-----BEGIN');
}

/** Lower case. */
export function tlsHosts(ingress: Ingress): ReadonlySet<string> {
  const rules = (ingress.spec?.rules ?? []).map(({ host }) => host ?? '');
  const hosts = (ingress.spec?.tls ?? []).flatMap((tls) =>
    tls.hosts === undefined || tls.hosts.length === 0 ? rules : tls.hosts,
  );
  return new Set(hosts.map((host) => host.toLowerCase()));
}
