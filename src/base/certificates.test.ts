import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { certificateRequest } from '../../test/support/certificate-request.ts';
import { createAuthority, loadAuthority } from './certificates.ts';

const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2027-01-01T00:00:00Z');

function derOf(base64: string): Uint8Array {
  const pem = Buffer.from(base64, 'base64').toString();
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
}

test('certificates: a signed request has its own names and key, and what it is for', async () => {
  const made = await createAuthority('ca', notBefore, notAfter);
  const authority = await loadAuthority(made.pair);
  const { base64 } = certificateRequest({
    commonName: 'system:node:a',
    organizations: ['system:nodes', 'x'],
    dnsNames: ['a.example'],
    addresses: [[10, 0, 0, 1]],
  });
  const certificate = new X509Certificate(
    await authority.sign({
      der: derOf(base64),
      usages: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
      notBefore,
      notAfter: new Date('2030-01-01T00:00:00Z'),
    }),
  );
  assert.ok(certificate.checkIssued(new X509Certificate(made.pair.certificate)));
  assert.equal(certificate.subject, 'O=system:nodes\nO=x\nCN=system:node:a');
  assert.equal(certificate.subjectAltName, 'DNS:a.example, IP Address:10.0.0.1');
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.equal(certificate.ca, false);
  assert.equal(Date.parse(certificate.validTo), notAfter.getTime(), 'not longer than the authority');
});

test('certificates: a request with a changed byte is not signed', async () => {
  const authority = await createAuthority('ca', notBefore, notAfter);
  const der = Buffer.from(derOf(certificateRequest({ commonName: 'jane' }).base64));
  der.write('jack', der.indexOf('jane'));
  const usages = ['client auth'];
  await assert.rejects(authority.sign({ der, usages, notBefore, notAfter }), /signature/);
});
