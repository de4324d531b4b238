import { generateKeyPairSync, sign } from 'node:crypto';

/** Who a request for a certificate is from. */
export type RequestedNames = {
  readonly commonName?: string;
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** IPv4, four numbers each. */
  readonly addresses?: readonly (readonly number[])[];
  readonly emailAddresses?: readonly string[];
  readonly uris?: readonly string[];
};

/** A PKCS #10 request for a fresh EC key: `base64` is what `spec.request` has, `key` the key as PEM. */
export function certificateRequest(names: RequestedNames): { readonly base64: string; readonly key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const info = der(
    0x30,
    der(0x02, Buffer.from([0])),
    subjectOf(names),
    publicKey.export({ type: 'spki', format: 'der' }),
    attributesOf(names),
  );
  const algorithm = der(0x30, der(0x06, Buffer.from('2a8648ce3d040302', 'hex'))); // ecdsa-with-SHA256
  const signature = der(0x03, Buffer.from([0]), sign('sha256', info, privateKey));
  const body = der(0x30, info, algorithm, signature)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n');
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${body}-----END CERTIFICATE REQUEST-----\n`;
  return {
    base64: Buffer.from(pem).toString('base64'),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function subjectOf({ commonName, organizations = [] }: RequestedNames): Buffer {
  const name = (oid: string, text: string): Buffer =>
    der(0x31, der(0x30, der(0x06, Buffer.from(oid, 'hex')), der(0x0c, Buffer.from(text))));
  return der(
    0x30,
    ...organizations.map((organization) => name('55040a', organization)),
    ...(commonName === undefined ? [] : [name('550403', commonName)]),
  );
}

function attributesOf(names: RequestedNames): Buffer {
  const texts = (tag: number, values: readonly string[] = []): readonly Buffer[] =>
    values.map((value) => der(tag, Buffer.from(value)));
  const alternatives = [
    ...texts(0x81, names.emailAddresses),
    ...texts(0x82, names.dnsNames),
    ...texts(0x86, names.uris),
    ...(names.addresses ?? []).map((address) => der(0x87, Buffer.from(address))),
  ];
  if (alternatives.length === 0) return der(0xa0);
  const extension = der(0x30, der(0x06, Buffer.from('551d11', 'hex')), der(0x04, der(0x30, ...alternatives)));
  const extensionRequest = Buffer.from('2a864886f70d01090e', 'hex');
  return der(0xa0, der(0x30, der(0x06, extensionRequest), der(0x31, der(0x30, extension))));
}
