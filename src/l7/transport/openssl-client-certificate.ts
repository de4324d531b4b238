import { X509Certificate } from 'node:crypto';
import { addressOf, type OpenSsl } from './openssl.ts';
import { nothingShown, shown, verdictOfChain } from './shown-certificate.ts';
import type { ClientCertificate, ClientTls } from './transport.ts';

const X509_V_OK = 0;

/** X509_STORE_CTX_get_error(3), by the names that node:tls has; without X509_V_ERR_. */
const verdictNames: ReadonlyMap<number, string> = new Map([
  [2, 'UNABLE_TO_GET_ISSUER_CERT'],
  [3, 'UNABLE_TO_GET_CRL'],
  [4, 'UNABLE_TO_DECRYPT_CERT_SIGNATURE'],
  [5, 'UNABLE_TO_DECRYPT_CRL_SIGNATURE'],
  [6, 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY'],
  [7, 'CERT_SIGNATURE_FAILURE'],
  [8, 'CRL_SIGNATURE_FAILURE'],
  [9, 'CERT_NOT_YET_VALID'],
  [10, 'CERT_HAS_EXPIRED'],
  [11, 'CRL_NOT_YET_VALID'],
  [12, 'CRL_HAS_EXPIRED'],
  [13, 'ERROR_IN_CERT_NOT_BEFORE_FIELD'],
  [14, 'ERROR_IN_CERT_NOT_AFTER_FIELD'],
  [15, 'ERROR_IN_CRL_LAST_UPDATE_FIELD'],
  [16, 'ERROR_IN_CRL_NEXT_UPDATE_FIELD'],
  [17, 'OUT_OF_MEM'],
  [18, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  [19, 'SELF_SIGNED_CERT_IN_CHAIN'],
  [20, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
  [21, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  [22, 'CERT_CHAIN_TOO_LONG'],
  [23, 'CERT_REVOKED'],
  [25, 'PATH_LENGTH_EXCEEDED'],
  [26, 'INVALID_PURPOSE'],
  [27, 'CERT_UNTRUSTED'],
  [28, 'CERT_REJECTED'],
  [62, 'HOSTNAME_MISMATCH'],
  [79, 'INVALID_CA'],
]);

/** What the client has shown in a handshake that is through. */
export function shownOn(openSsl: OpenSsl, ssl: bigint, client: ClientTls): ClientCertificate {
  const handle = openSsl.SSL_get1_peer_certificate(ssl);
  if (handle === 0n) return nothingShown(client);
  const certificate = certificateAt(openSsl, handle);
  openSsl.X509_free(handle);
  const verdict = Number(openSsl.SSL_get_verify_result(ssl));
  if (verdict !== X509_V_OK) {
    return shown(client, certificate, `FAILED:${verdictNames.get(verdict) ?? 'UNSPECIFIED'}`);
  }
  return shown(client, certificate, verdictOfChain(client, chainOf(openSsl, ssl)));
}

/** Fingerprints of the verified chain, the client's certificate first. */
function chainOf(openSsl: OpenSsl, ssl: bigint): readonly string[] {
  const chain = openSsl.SSL_get0_verified_chain(ssl);
  return Array.from(
    { length: Math.max(openSsl.OPENSSL_sk_num(chain), 0) },
    (_, index) => certificateAt(openSsl, openSsl.OPENSSL_sk_value(chain, index)).fingerprint256,
  );
}

function certificateAt(openSsl: OpenSsl, handle: bigint): X509Certificate {
  const length = openSsl.i2d_X509(handle, 0n);
  if (length <= 0) throw new Error('OpenSSL cannot write the certificate of a client');
  const bytes = Buffer.allocUnsafeSlow(length);
  const place = Buffer.allocUnsafeSlow(8); // where OpenSSL keeps how far it has written
  place.writeBigUInt64LE(addressOf(bytes));
  openSsl.i2d_X509(handle, addressOf(place));
  return new X509Certificate(bytes);
}
