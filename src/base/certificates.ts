import { randomBytes, webcrypto } from 'node:crypto';
import type * as x509Types from '@peculiar/x509';

/** A certificate and its private key, both PEM (PKCS #8). */
export type KeyPair = { readonly certificate: string; readonly key: string };

export type CertificateRequest = {
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
  readonly usage: 'server' | 'client' | 'both';
  readonly notBefore: Date;
  readonly notAfter: Date;
};

/** Signs certificates; made by `createAuthority` or `loadAuthority`. */
export type Authority = {
  /** PEM of the authority's own certificate and key. */
  readonly pair: KeyPair;
  /** Makes an EC P-256 key and a certificate for it. */
  issue(request: CertificateRequest): Promise<KeyPair>;
};

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

type X509 = typeof x509Types;
let loading: Promise<X509> | undefined;

/**
 * The X.509 library takes 70 ms or more to load, so it is loaded by those who issue a certificate and then only once.
 * Its dependency injector refuses to load without three functions of reflect-metadata, of which it then uses none
 * that matters here: the answers below are those for a class without decorators.
 */
async function library(): Promise<X509> {
  const reflect: Record<string, unknown> = Reflect as unknown as Record<string, unknown>;
  reflect['getMetadata'] ??= () => undefined;
  reflect['getOwnMetadata'] ??= () => undefined;
  reflect['defineMetadata'] ??= () => {};
  loading ??= import('@peculiar/x509');
  return loading;
}

/** A new certificate authority with an EC P-256 key. */
export async function createAuthority(
  commonName: string,
  notBefore: Date,
  notAfter: Date,
): Promise<Authority> {
  const [x509, keys] = await Promise.all([library(), generateKeys()]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [commonName] }],
    notBefore,
    notAfter,
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pair = { certificate: `${certificate.toString('pem')}\n`, key: await pemOfKey(keys.privateKey) };
  return authorityOf(pair, keys.privateKey);
}

/** The authority of a stored pair. Rejects when the PEM texts cannot be read. */
export async function loadAuthority(pair: KeyPair): Promise<Authority> {
  const der = Buffer.from(pair.key.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const key = await webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign']);
  return authorityOf(pair, key);
}

function authorityOf(pair: KeyPair, signingKey: webcrypto.CryptoKey): Authority {
  return {
    pair,
    async issue(request) {
      const [x509, keys] = await Promise.all([library(), generateKeys()]);
      const issuer = new x509.X509Certificate(pair.certificate);
      const usages = {
        server: [x509.ExtendedKeyUsage.serverAuth],
        client: [x509.ExtendedKeyUsage.clientAuth],
        both: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
      }[request.usage];
      const names = [
        ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
        ...(request.addresses ?? []).map((value) => ({ type: 'ip' as const, value })),
      ];
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serialNumber(),
        subject: [
          ...(request.organizations ?? []).map((organization) => ({ O: [organization] })),
          { CN: [request.commonName] },
        ],
        issuer: issuer.subject,
        notBefore: request.notBefore,
        notAfter: request.notAfter,
        signingAlgorithm: algorithm,
        publicKey: keys.publicKey,
        signingKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension(usages),
          ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
          await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        ],
      });
      return { certificate: `${certificate.toString('pem')}\n`, key: await pemOfKey(keys.privateKey) };
    },
  };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

/** 16 random bytes, positive and without a leading zero (RFC 5280 4.1.2.2 allows 20). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{1,64}/g, '$&\n')}-----END PRIVATE KEY-----\n`;
}
