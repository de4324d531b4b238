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
  /** PEM of a certificate for somebody else's key. Rejects where the request cannot be read or its signature is not good. */
  sign(request: SigningRequest): Promise<string>;
};

/** A PKCS #10 request, and what its certificate is to be for. Subject and alternative names are those of the request. */
export type SigningRequest = {
  readonly der: Uint8Array;
  /** Kubernetes' names of usages: `client auth`, `key encipherment`. */
  readonly usages: readonly string[];
  readonly notBefore: Date;
  /** The certificate never outlives its authority's own. */
  readonly notAfter: Date;
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
    sign: (request) => signRequest(pair, signingKey, request),
  };
}

const subjectAlternativeNameOid = '2.5.29.17';

/** Bits of KeyUsage (RFC 5280 4.2.1.3) by Kubernetes' names. */
const keyUsageFlags: Readonly<Record<string, keyof typeof x509Types.KeyUsageFlags>> = {
  signing: 'digitalSignature',
  'digital signature': 'digitalSignature',
  'content commitment': 'nonRepudiation',
  'key encipherment': 'keyEncipherment',
  'key agreement': 'keyAgreement',
  'data encipherment': 'dataEncipherment',
  'cert sign': 'keyCertSign',
  'crl sign': 'cRLSign',
  'encipher only': 'encipherOnly',
  'decipher only': 'decipherOnly',
};

/** Object identifiers of extended key usages (RFC 5280 4.2.1.12 and older lists) by Kubernetes' names. */
const extendedKeyUsages: Readonly<Record<string, string>> = {
  any: '2.5.29.37.0',
  'server auth': '1.3.6.1.5.5.7.3.1',
  'client auth': '1.3.6.1.5.5.7.3.2',
  'code signing': '1.3.6.1.5.5.7.3.3',
  'email protection': '1.3.6.1.5.5.7.3.4',
  's/mime': '1.3.6.1.5.5.7.3.4',
  'ipsec end system': '1.3.6.1.5.5.7.3.5',
  'ipsec tunnel': '1.3.6.1.5.5.7.3.6',
  'ipsec user': '1.3.6.1.5.5.7.3.7',
  timestamping: '1.3.6.1.5.5.7.3.8',
  'ocsp signing': '1.3.6.1.5.5.7.3.9',
  'microsoft sgc': '1.3.6.1.4.1.311.10.3.3',
  'netscape sgc': '2.16.840.1.113730.4.1',
};

async function signRequest(
  pair: KeyPair,
  signingKey: webcrypto.CryptoKey,
  { der, usages, notBefore, notAfter }: SigningRequest,
): Promise<string> {
  const x509 = await library();
  const request = new x509.Pkcs10CertificateRequest(Uint8Array.from(der));
  if (!(await request.verify())) throw new Error('the signature of the certificate request is not valid');
  const issuer = new x509.X509Certificate(pair.certificate);
  const flags = usages.reduce((sum, usage) => {
    const flag = keyUsageFlags[usage];
    return flag === undefined ? sum : sum | x509.KeyUsageFlags[flag];
  }, 0);
  const purposes = usages.flatMap((usage) => extendedKeyUsages[usage] ?? []);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: request.subjectName,
    issuer: issuer.subject,
    notBefore,
    notAfter: notAfter < issuer.notAfter ? notAfter : issuer.notAfter,
    signingAlgorithm: algorithm,
    publicKey: request.publicKey,
    signingKey,
    extensions: [
      ...(flags === 0 ? [] : [new x509.KeyUsagesExtension(flags, true)]),
      ...(purposes.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...new Set(purposes)])]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...request.extensions.filter(({ type }) => type === subjectAlternativeNameOid),
    ],
  });
  return `${certificate.toString('pem')}\n`;
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
