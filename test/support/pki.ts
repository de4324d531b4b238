import { createPrivateKey, generateKeyPairSync, KeyObject, webcrypto } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiServerPki } from '../../src/apiserver/config.ts';
import { type Authority, createAuthority, type KeyPair, loadAuthority } from '../../src/base/certificates.ts';

/** The keys of one test: a CA, an API server's files, and clients as the test needs them. */
export type TestPki = {
  readonly server: ApiServerPki;
  readonly authority: Authority;
  client(commonName: string, organizations?: readonly string[]): Promise<KeyPair>;
  /** A serving certificate for 127.0.0.1, for stand-ins of kubelets. */
  serving(commonName: string): Promise<KeyPair>;
};

/** An authority that another one has signed. */
export async function intermediateOf(root: Authority, commonName: string): Promise<Authority> {
  const x509 = await import('@peculiar/x509');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const issuer = new x509.X509Certificate(root.pair.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '4711',
    subject: [{ CN: [commonName] }],
    issuer: issuer.subject,
    notBefore: issuer.notBefore,
    notAfter: issuer.notAfter,
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: createPrivateKey(root.pair.key).toCryptoKey(algorithm, false, ['sign']),
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return loadAuthority({ certificate: `${certificate.toString('pem')}\n`, key: String(key) });
}

export async function createTestPki(nowMs: number = Date.now()): Promise<TestPki> {
  const notBefore = new Date(nowMs - 60_000);
  const notAfter = new Date(nowMs + 3_600_000);
  const authority = await createAuthority('fairlead-test-ca', notBefore, notAfter);
  const client = (commonName: string, organizations: readonly string[] = []): Promise<KeyPair> =>
    authority.issue({ commonName, organizations, usage: 'client', notBefore, notAfter });
  const serving = (commonName: string): Promise<KeyPair> =>
    authority.issue({
      commonName,
      dnsNames: ['localhost'],
      addresses: ['127.0.0.1'],
      usage: 'server',
      notBefore,
      notAfter,
    });
  const [apiserver, kubelet] = await Promise.all([
    serving('kube-apiserver'),
    client('kube-apiserver-kubelet-client'),
  ]);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    authority,
    client,
    serving,
    server: {
      caCert: authority.pair.certificate,
      cert: apiserver.certificate,
      key: apiserver.key,
      kubeletClientCert: kubelet.certificate,
      kubeletClientKey: kubelet.key,
      serviceAccountKey: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      serviceAccountPublicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    },
  };
}

/** Writes the server's files as `fairlead up` names them. */
export function writePkiFolder(folder: string, pki: ApiServerPki): void {
  mkdirSync(folder, { recursive: true });
  const files: Readonly<Record<string, string>> = {
    'ca.crt': pki.caCert,
    'apiserver.crt': pki.cert,
    'apiserver.key': pki.key,
    'apiserver-kubelet-client.crt': pki.kubeletClientCert,
    'apiserver-kubelet-client.key': pki.kubeletClientKey,
    'sa.key': pki.serviceAccountKey,
    'sa.pub': pki.serviceAccountPublicKey,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 });
}

/** A kubeconfig with everything inside. `credentials` a client certificate or a bearer token. */
export function kubeconfigText(
  server: string,
  caCert: string,
  credentials: KeyPair | { readonly token: string } | undefined,
): string {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const user =
    credentials === undefined
      ? {}
      : 'token' in credentials
        ? { token: credentials.token }
        : {
            'client-certificate-data': encode(credentials.certificate),
            'client-key-data': encode(credentials.key),
          };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': encode(caCert) } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  });
}
