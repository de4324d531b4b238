import type { CertificateRequest } from './certificate-request.ts';

/** The signers that every cluster has, and what they sign. https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/ */

export const signerNames = {
  apiServerClient: 'kubernetes.io/kube-apiserver-client',
  kubeletClient: 'kubernetes.io/kube-apiserver-client-kubelet',
  kubeletServing: 'kubernetes.io/kubelet-serving',
  legacyUnknown: 'kubernetes.io/legacy-unknown',
} as const;

/** What a certificate may be for. */
export const keyUsages = [
  'signing',
  'digital signature',
  'content commitment',
  'key encipherment',
  'key agreement',
  'data encipherment',
  'cert sign',
  'crl sign',
  'encipher only',
  'decipher only',
  'any',
  'server auth',
  'client auth',
  'code signing',
  'email protection',
  's/mime',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'timestamping',
  'ocsp signing',
  'microsoft sgc',
  'netscape sgc',
] as const;

/** Why a signer of the cluster does not sign the request; undefined: it does. Only for the signers above. */
export function signerProblem(
  signerName: string,
  request: CertificateRequest,
  usages: readonly string[],
): string | undefined {
  switch (signerName) {
    case signerNames.apiServerClient:
      return clientUsagesProblem(usages);
    case signerNames.kubeletClient:
      return kubeletClientProblem(request, usages);
    case signerNames.kubeletServing:
      return kubeletServingProblem(request, usages);
    default:
      return `signerName ${JSON.stringify(signerName)} is none of this cluster`;
  }
}

function clientUsagesProblem(usages: readonly string[]): string | undefined {
  const unknown = usages.find(
    (usage) => !['digital signature', 'key encipherment', 'client auth'].includes(usage),
  );
  if (unknown !== undefined) return `invalid usage for client certificate: ${unknown}`;
  if (usages.includes('client auth')) return undefined;
  return 'missing required usage for client certificate: client auth';
}

/** Also says which requests are those of a kubelet for its own client certificate. */
export function kubeletClientProblem(
  request: CertificateRequest,
  usages: readonly string[],
): string | undefined {
  return (
    organizationProblem(request) ??
    (request.dnsNames.length > 0 ? 'DNS subjectAltNames are not allowed' : undefined) ??
    (request.addresses.length > 0 ? 'IP subjectAltNames are not allowed' : undefined) ??
    otherNamesProblem(request) ??
    nodeNameProblem(request) ??
    kubeletUsagesProblem(usages, 'client auth')
  );
}

function kubeletServingProblem(request: CertificateRequest, usages: readonly string[]): string | undefined {
  const hasName = request.dnsNames.length > 0 || request.addresses.length > 0;
  return (
    organizationProblem(request) ??
    (hasName ? undefined : 'DNS or IP subjectAltName is required') ??
    otherNamesProblem(request) ??
    kubeletUsagesProblem(usages, 'server auth') ??
    nodeNameProblem(request)
  );
}

function organizationProblem({ organizations }: CertificateRequest): string | undefined {
  const isNodes = organizations.length === 1 && organizations[0] === 'system:nodes';
  return isNodes ? undefined : 'subject organization is not system:nodes';
}

function otherNamesProblem({ emailAddresses, uris }: CertificateRequest): string | undefined {
  if (emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
  return uris.length > 0 ? 'URI subjectAltNames are not allowed' : undefined;
}

function nodeNameProblem({ commonName }: CertificateRequest): string | undefined {
  return commonName.startsWith('system:node:')
    ? undefined
    : 'subject common name does not begin with system:node:';
}

/** Encipherment of keys is for RSA alone, so a request may leave it out. */
function kubeletUsagesProblem(usages: readonly string[], purpose: string): string | undefined {
  const wanted = ['digital signature', 'key encipherment', purpose].toSorted();
  const asked = new Set([...usages, 'key encipherment']);
  const isMatch = asked.size === wanted.length && wanted.every((usage) => asked.has(usage));
  return isMatch ? undefined : `usages did not match [${wanted.join(' ')}]`;
}
