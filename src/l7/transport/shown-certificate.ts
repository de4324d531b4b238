/** What clients have shown, in the words in which hosts and backends are told. */
import { X509Certificate } from 'node:crypto';
import type { ClientCertificate, ClientTls } from './transport.ts';

export function nothingShown({ id }: ClientTls): ClientCertificate {
  return { policyId: id, verify: 'NONE', subject: '', issuer: '', escapedPem: '' };
}

export function shown({ id }: ClientTls, certificate: X509Certificate, verify: string): ClientCertificate {
  return {
    policyId: id,
    verify,
    subject: distinguishedName(certificate.subject),
    issuer: distinguishedName(certificate.issuer),
    escapedPem: encodeURIComponent(certificate.toString()),
  };
}

/**
 * Of a chain that is good: whether it is too long. So many authorities stand between the client's certificate and the one that is believed,
 * which the client need not send.
 * @param chain SHA-256 fingerprints, the client's first
 */
export function verdictOfChain(client: ClientTls, chain: readonly string[]): string {
  const believed = anchorsOf(client);
  const anchor = chain.findIndex((fingerprint, index) => index > 0 && believed.has(fingerprint));
  const between = (anchor === -1 ? chain.length : anchor) - 1;
  return between > client.depth ? 'FAILED:CERT_CHAIN_TOO_LONG' : 'SUCCESS';
}

const anchors = new WeakMap<ClientTls, ReadonlySet<string>>();

/** Fingerprints of the authorities that are believed. */
function anchorsOf(client: ClientTls): ReadonlySet<string> {
  let known = anchors.get(client);
  if (known === undefined) {
    const texts = client.ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    known = new Set(texts.map((text) => new X509Certificate(text).fingerprint256));
    anchors.set(client, known);
  }
  return known;
}

/** As RFC 2253 has it, the last part first; the runtime writes a part a line, the first one first. */
function distinguishedName(lines: string): string {
  const text = lines.split('\n').toReversed().join(',');
  return text.replaceAll(/[^\x20-\x7e]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
