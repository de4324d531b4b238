import type { Secret } from '../../api/gen/core-v1.ts';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { type ObjectKey, objectKey } from '../../api/object.ts';
import type { ProblemReason } from '../controller/problem.ts';
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

/** An entry of spec.tls with a certificate that may be good. */
export type CertificateUse = {
  readonly ingress: Ingress;
  /** Where it stands in the Ingress. */
  readonly field: string;
  /** In lower case; '': all that no other certificate is for. */
  readonly hosts: readonly string[];
  readonly certificate: Certificate;
};

/** The certificates that one Ingress names. */
export function certificateUses(
  ingress: Ingress,
  secret: (key: ObjectKey) => Secret | undefined,
  before: (host: string) => Certificate | undefined,
  onProblem: (reason: ProblemReason, message: string) => void,
): readonly CertificateUse[] {
  const uses: CertificateUse[] = [];
  for (const [index, tls] of (ingress.spec?.tls ?? []).entries()) {
    const { secretName } = tls;
    if (secretName === undefined || secretName === '') continue; // whatever else fits is shown
    const field = `spec.tls[${index}]`;
    const secretKey = objectKey(ingress.metadata?.namespace, secretName);
    const hosts = certificateHosts(ingress, tls.hosts);
    const certificate = certificateOf(secretKey, secret(secretKey), before(hosts[0] ?? ''));
    if ('reason' in certificate) onProblem(certificate.reason, `${field}: ${certificate.message}`);
    else uses.push({ ingress, field, hosts, certificate });
  }
  return uses;
}

/** Which of the uses for one host, best first, is shown, and what those of other Secrets must be told. */
export function winnerOf(
  host: string,
  uses: readonly CertificateUse[],
): {
  readonly winner: Certificate | undefined;
  readonly losers: readonly (readonly [CertificateUse, string])[];
} {
  const winner = uses[0]?.certificate;
  const lost = uses.filter(({ certificate }) => certificate.secret !== winner?.secret);
  const what = host === '' ? 'all other hosts already have' : `${host} already has`;
  return {
    winner,
    losers: lost.map((use) => [use, `${use.field}: ${what} the certificate of Secret ${winner?.secret}`]),
  };
}

/** Without hosts an entry is for those of the rules; without these, or for a rule of any host, for all that nothing else fits. */
function certificateHosts(ingress: Ingress, hosts: readonly string[] | undefined): readonly string[] {
  const rules = (ingress.spec?.rules ?? []).map(({ host }) => host ?? '');
  const meant = hosts === undefined || hosts.length === 0 ? rules : hosts;
  return meant.length === 0 ? [''] : [...new Set(meant.map((host) => host.toLowerCase()))];
}

/** Lower case. */
export function tlsHosts(ingress: Ingress): ReadonlySet<string> {
  const rules = (ingress.spec?.rules ?? []).map(({ host }) => host ?? '');
  const hosts = (ingress.spec?.tls ?? []).flatMap((tls) =>
    tls.hosts === undefined || tls.hosts.length === 0 ? rules : tls.hosts,
  );
  return new Set(hosts.map((host) => host.toLowerCase()));
}
