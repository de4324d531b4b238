import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificateRequest } from '../../../test/support/certificate-request.ts';
import { signerNames } from '../../api/certificate-signers.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestSpec,
  CertificateSigningRequestStatus,
} from '../../api/gen/certificates-v1.ts';
import { createAuthority } from '../../base/certificates.ts';
import { planCertificateRequest } from './plan.ts';

const nowMs = Date.parse('2026-01-01T12:00:00Z');
const hourMs = 3_600_000;
const yearMs = 365 * 24 * hourMs;

const { base64: user } = certificateRequest({ commonName: 'jane' });
const { base64: node } = certificateRequest({
  commonName: 'system:node:a',
  organizations: ['system:nodes'],
});

function csrOf(
  spec: Partial<CertificateSigningRequestSpec>,
  status: CertificateSigningRequestStatus = {},
): CertificateSigningRequest {
  const whole = { request: user, signerName: signerNames.apiServerClient, usages: ['client auth'], ...spec };
  return { metadata: { name: 'jane', creationTimestamp: '2026-01-01T11:30:00Z' }, spec: whole, status };
}

function decided(type: string, lastUpdateTime = '2026-01-01T11:30:00Z'): CertificateSigningRequestStatus {
  return { conditions: [{ type, status: 'True', lastUpdateTime }] };
}

const plan = (csr: CertificateSigningRequest, durationMs: number | undefined = yearMs) =>
  planCertificateRequest(csr, nowMs, durationMs);

test('certificates: what nobody decided waits for a day, what was decided is kept for an hour', () => {
  assert.deepEqual(plan(csrOf({})), { kind: 'wait', recheckAfterMs: 23.5 * hourMs });
  assert.deepEqual(plan(csrOf({}, decided('Denied'))), { kind: 'wait', recheckAfterMs: hourMs / 2 });
  assert.deepEqual(plan(csrOf({}, decided('Denied', '2026-01-01T11:00:00Z'))), { kind: 'remove' });
  assert.deepEqual(plan(csrOf({}, decided('Failed', '2026-01-01T10:59:00Z'))), { kind: 'remove' });
  const certificate = 'bm8=';
  const old = decided('Approved', '2026-01-01T11:00:00Z');
  assert.deepEqual(plan(csrOf({}, { ...old, certificate })), { kind: 'remove' });
});

test('certificates: a request whose certificate is over goes at once', async () => {
  const validFor = async (ms: number): Promise<string> => {
    const authority = await createAuthority('ca', new Date(nowMs - yearMs), new Date(nowMs + yearMs));
    const dates = { notBefore: new Date(nowMs - hourMs), notAfter: new Date(nowMs + ms) };
    const { certificate } = await authority.issue({ commonName: 'jane', usage: 'client', ...dates });
    return Buffer.from(certificate).toString('base64');
  };
  const status = decided('Approved', '2026-01-01T11:59:00Z');
  assert.deepEqual(plan(csrOf({}, { ...status, certificate: await validFor(-1000) })), { kind: 'remove' });
  assert.deepEqual(plan(csrOf({}, { ...status, certificate: await validFor(60_000) })), {
    kind: 'wait',
    recheckAfterMs: 60_000,
  });
});

test('certificates: what was approved is signed, for as long as it asks and not longer than is allowed', () => {
  const validity = (seconds: number | undefined, durationMsMax = yearMs): readonly number[] => {
    const found = plan(csrOf({ expirationSeconds: seconds }, decided('Approved')), durationMsMax);
    assert.ok(found.kind === 'sign');
    return [found.notBefore.getTime() - nowMs, found.notAfter.getTime() - nowMs];
  };
  const backdatedMs = -5 * 60_000;
  assert.deepEqual(validity(undefined), [backdatedMs, yearMs + backdatedMs]);
  assert.deepEqual(validity(3600), [backdatedMs, hourMs]);
  assert.deepEqual(validity(9 * 3600), [backdatedMs, 9 * hourMs + backdatedMs]);
  assert.deepEqual(validity(9 * 3600, hourMs), [backdatedMs, hourMs]);
});

test('certificates: what a signer does not sign fails, and other signers are left alone', () => {
  const usages = ['server auth'];
  assert.deepEqual(plan(csrOf({ usages }, decided('Approved'))), {
    kind: 'fail',
    message: 'invalid usage for client certificate: server auth',
  });
  const theirs = csrOf({ signerName: 'example.com/ca' }, decided('Approved'));
  assert.equal(plan(theirs).kind, 'wait');
  assert.equal(planCertificateRequest(csrOf({}, decided('Approved')), nowMs, undefined).kind, 'wait');
});

test('certificates: only requests of kubelets are approved without anybody, after a review', () => {
  const kubelet = {
    request: node,
    signerName: signerNames.kubeletClient,
    usages: ['digital signature', 'client auth'],
  };
  const reviewed = (spec: Partial<CertificateSigningRequestSpec>): readonly string[] => {
    const found = plan(csrOf(spec));
    return found.kind === 'review' ? found.subresources.map(({ subresource }) => subresource) : [found.kind];
  };
  assert.deepEqual(reviewed({ ...kubelet, username: 'system:bootstrap:x' }), ['nodeclient']);
  assert.deepEqual(reviewed({ ...kubelet, username: 'system:node:a' }), ['selfnodeclient', 'nodeclient']);
  assert.deepEqual(reviewed({ ...kubelet, request: user }), ['wait']);
  assert.deepEqual(reviewed({ ...kubelet, signerName: signerNames.kubeletServing }), ['wait']);
});
