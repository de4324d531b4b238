import { createPublicKey, verify } from 'node:crypto';
import { type DerElement, readElements, readOid, readOnly } from '../base/der.ts';

/** What a PKCS #10 request (RFC 2986) says of who asks, as far as signers have rules about it. */
export type CertificateRequest = {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  /** As bytes in hexadecimal. */
  readonly addresses: readonly string[];
  readonly emailAddresses: readonly string[];
  readonly uris: readonly string[];
};

const pemForm = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----/;
const blockType = 'CERTIFICATE REQUEST';

const sequence = 0x30;
const set = 0x31;
const bitString = 0x03;
const octetString = 0x04;
const attributesTag = 0xa0;

const oids = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
} as const;

/** Hash by signature algorithm; null where the algorithm has its own. Those with SHA-1 are not taken, as in Go. */
const hashes: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null, // Ed25519
};

/** The DER of `spec.request`, which is PEM in base64; empty where it is none. */
export function certificateRequestBytes(base64: string): Uint8Array {
  const pem = pemForm.exec(Buffer.from(base64, 'base64').toString('latin1'));
  return Buffer.from(pem?.[1] === blockType ? (pem[2] ?? '') : '', 'base64');
}

/** Reads `spec.request`. Its own signature must be good. A text: what is wrong with it. */
export function parseCertificateRequest(base64: string): CertificateRequest | string {
  const der = certificateRequestBytes(base64);
  if (der.length === 0) return `PEM block type must be ${blockType}`;
  try {
    return readRequest(der);
  } catch (error) {
    return `malformed certificate request: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function readRequest(der: Uint8Array): CertificateRequest | string {
  const [info, algorithm, signature] = readElements(readOnly(der, sequence).content);
  if (info === undefined || algorithm === undefined || signature?.tag !== bitString) {
    return 'malformed certificate request: a part is missing';
  }
  const [, subject, publicKey, ...rest] = readElements(info.content);
  if (subject?.tag !== sequence || publicKey?.tag !== sequence) {
    return 'malformed certificate request: a part is missing';
  }
  const oid = readOid(readElements(algorithm.content)[0]?.content ?? new Uint8Array());
  const hash = hashes[oid];
  if (hash === undefined) return `x509: cannot verify signature: algorithm ${oid} unimplemented`;
  const key = createPublicKey({ key: Buffer.from(publicKey.bytes), format: 'der', type: 'spki' });
  // The first byte of a BIT STRING counts the bits that are not used.
  if (!verify(hash, info.bytes, key, signature.content.subarray(1))) return 'x509: signature is not valid';
  const attributes = rest.find(({ tag }) => tag === attributesTag);
  return { ...namesOf(subject), ...alternativeNames(attributes) };
}

function namesOf(subject: DerElement): Pick<CertificateRequest, 'commonName' | 'organizations'> {
  const parts = readElements(subject.content)
    .flatMap(({ content }) => readElements(content))
    .map(({ content }) => {
      const [type, value] = readElements(content);
      return { oid: readOid(type?.content ?? new Uint8Array()), text: textOf(value?.content) };
    });
  return {
    commonName: parts.findLast(({ oid }) => oid === oids.commonName)?.text ?? '',
    organizations: parts.filter(({ oid }) => oid === oids.organization).map(({ text }) => text),
  };
}

function alternativeNames(
  attributes: DerElement | undefined,
): Pick<CertificateRequest, 'dnsNames' | 'addresses' | 'emailAddresses' | 'uris'> {
  const names = requestedExtensions(attributes)
    .filter(([oid]) => oid === oids.subjectAltName)
    .flatMap(([, value]) => readElements(readOnly(value, sequence).content));
  // GeneralName: [1] is an e-mail address, [2] a DNS name, [6] a URI, [7] an address.
  const texts = (tag: number): readonly string[] =>
    names.filter((name) => name.tag === tag).map(({ content }) => textOf(content));
  return {
    emailAddresses: texts(0x81),
    dnsNames: texts(0x82),
    uris: texts(0x86),
    addresses: names.filter(({ tag }) => tag === 0x87).map(({ content }) => hexOf(content)),
  };
}

/** Extensions by object identifier: the attribute extensionRequest has a SET with one SEQUENCE of them. */
function requestedExtensions(attributes: DerElement | undefined): readonly (readonly [string, Uint8Array])[] {
  if (attributes === undefined) return [];
  return readElements(attributes.content).flatMap(({ content }) => {
    const [type, values] = readElements(content);
    if (readOid(type?.content ?? new Uint8Array()) !== oids.extensionRequest || values?.tag !== set)
      return [];
    return readElements(readOnly(values.content, sequence).content).map((extension) => {
      const parts = readElements(extension.content);
      const value = parts.find(({ tag }) => tag === octetString)?.content ?? new Uint8Array();
      return [readOid(parts[0]?.content ?? new Uint8Array()), value] as const;
    });
  });
}

function textOf(content: Uint8Array | undefined): string {
  return Buffer.from(content ?? []).toString('utf8');
}

function hexOf(content: Uint8Array): string {
  return Buffer.from(content).toString('hex');
}
