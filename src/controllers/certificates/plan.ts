import { X509Certificate } from 'node:crypto';
import { parseCertificateRequest } from '../../api/certificate-request.ts';
import { kubeletClientProblem, signerNames, signerProblem } from '../../api/certificate-signers.ts';
import type { CertificateSigningRequest } from '../../api/gen/certificates-v1.ts';

/** What is next for a CertificateSigningRequest. */
export type CertificatePlan =
  /** It has served its time. */
  | { readonly kind: 'remove' }
  /** The signer does not sign such a request, whoever approved it. */
  | { readonly kind: 'fail'; readonly message: string }
  | { readonly kind: 'sign'; readonly notBefore: Date; readonly notAfter: Date }
  /** A node's request for its client certificate: approved for who may create one of these subresources. */
  | { readonly kind: 'review'; readonly subresources: readonly Approval[]; readonly recheckAfterMs: number }
  | { readonly kind: 'wait'; readonly recheckAfterMs: number };

export type Approval = { readonly subresource: string; readonly message: string };

const hourMs = 3_600_000;
/** How long requests are kept: undecided a day, decided and done an hour. */
const pendingMs = 24 * hourMs;
const settledMs = hourMs;

/** Certificates begin in the past, because clocks differ, ms. */
const backdateMs = 5 * 60_000;
/** From this duration on the backdating counts as a part of it, ms. */
const longMs = 8 * hourMs;
/** A certificate is valid for at least so long, ms. */
const durationMsMin = 10 * 60_000;

/** Looked at again at least so often, ms: timers hold no more than 24 days. */
const recheckMsMax = 24 * hourMs;

const ownSigners: readonly string[] = [
  signerNames.apiServerClient,
  signerNames.kubeletClient,
  signerNames.kubeletServing,
];

export function planCertificateRequest(
  csr: CertificateSigningRequest,
  nowMs: number,
  /** The longest that a certificate is valid, ms; undefined: there is no authority to sign with. */
  durationMsMax: number | undefined,
): CertificatePlan {
  const endMs = endOf(csr);
  if (endMs <= nowMs) return { kind: 'remove' };
  const recheckAfterMs = Math.min(endMs - nowMs, recheckMsMax);
  const { spec } = csr;
  const isIssued = (csr.status?.certificate ?? '') !== '';
  const isSettled = isIssued || ['Denied', 'Failed'].some((type) => timeOf(csr, type) !== undefined);
  if (!ownSigners.includes(spec.signerName) || isSettled) {
    return { kind: 'wait', recheckAfterMs };
  }
  const request = parseCertificateRequest(spec.request);
  const usages = spec.usages ?? [];
  if (timeOf(csr, 'Approved') !== undefined) {
    if (durationMsMax === undefined) return { kind: 'wait', recheckAfterMs };
    const problem = typeof request === 'string' ? request : signerProblem(spec.signerName, request, usages);
    if (problem !== undefined) return { kind: 'fail', message: problem };
    return { kind: 'sign', ...validity(spec.expirationSeconds, nowMs, durationMsMax) };
  }
  const mayReview =
    spec.signerName === signerNames.kubeletClient &&
    typeof request !== 'string' &&
    kubeletClientProblem(request, usages) === undefined;
  if (!mayReview) return { kind: 'wait', recheckAfterMs };
  const isOwn = spec.username === request.commonName;
  return { kind: 'review', subresources: [...(isOwn ? [selfNodeClient] : []), nodeClient], recheckAfterMs };
}

const selfNodeClient: Approval = {
  subresource: 'selfnodeclient',
  message: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
};
const nodeClient: Approval = {
  subresource: 'nodeclient',
  message: 'Auto approving kubelet client certificate after SubjectAccessReview.',
};

/** When the condition of that type was made; undefined: there is none. */
function timeOf(csr: CertificateSigningRequest, type: string): number | undefined {
  const condition = csr.status?.conditions?.find((candidate) => candidate.type === type);
  if (condition === undefined) return undefined;
  return Date.parse(condition.lastUpdateTime ?? csr.metadata?.creationTimestamp ?? '');
}

/** When the request has served its time. One that was approved and waits for its signer is kept. */
function endOf(csr: CertificateSigningRequest): number {
  const certificate = csr.status?.certificate ?? '';
  const approved = timeOf(csr, 'Approved');
  const settled = timeOf(csr, 'Denied') ?? timeOf(csr, 'Failed');
  if (settled !== undefined) return settled + settledMs;
  if (certificate !== '') {
    return Math.min((approved ?? Number.POSITIVE_INFINITY) + settledMs, expiryOf(certificate));
  }
  if (approved !== undefined) return Number.POSITIVE_INFINITY;
  return Date.parse(csr.metadata?.creationTimestamp ?? '') + pendingMs;
}

/** A certificate that we cannot read is another signer's business. */
function expiryOf(base64: string): number {
  try {
    return Date.parse(new X509Certificate(Buffer.from(base64, 'base64')).validTo);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function validity(
  expirationSeconds: number | undefined,
  nowMs: number,
  durationMsMax: number,
): { readonly notBefore: Date; readonly notAfter: Date } {
  const asked = expirationSeconds === undefined ? durationMsMax : expirationSeconds * 1000;
  const durationMs = Math.min(Math.max(asked, durationMsMin), durationMsMax);
  const endMs = nowMs + durationMs - (durationMs < longMs ? 0 : backdateMs);
  return { notBefore: new Date(nowMs - backdateMs), notAfter: new Date(endMs) };
}
