import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { posix } from 'node:path';
import {
  type Authority,
  type CertificateRequest,
  createAuthority,
  type KeyPair,
  loadAuthority,
} from '../base/certificates.ts';
import { type ClusterConfig, clusterDomain, type NetworkConfig, nodesOf, pathsOf } from './config.ts';
import { rangesOf } from './ranges.ts';

/** How long certificates of a cluster are good for: a development cluster must not end on its own. */
export const validityDays = 3650;
/** Certificates begin in the past, because clocks of one machine's containers and tools differ. */
const backdateMs = 3_600_000;

type Wanted = { readonly file: string; readonly request: Omit<CertificateRequest, 'notBefore' | 'notAfter'> };

/** Every certificate of a cluster, by file name without extension. Pure. */
export function certificatesOf(config: NetworkConfig): readonly Wanted[] {
  const nodes = nodesOf(config);
  const client = (file: string, commonName: string, organizations: readonly string[] = []): Wanted => ({
    file,
    request: { commonName, organizations, usage: 'client' },
  });
  return [
    {
      file: 'apiserver',
      request: {
        commonName: 'kube-apiserver',
        usage: 'server',
        dnsNames: [
          'localhost',
          'kubernetes',
          'kubernetes.default',
          'kubernetes.default.svc',
          `kubernetes.default.svc.${clusterDomain}`,
        ],
        addresses: [
          ...['127.0.0.1', '::1'],
          ...rangesOf(config).map(({ kubernetes }) => kubernetes),
          ...nodes.flatMap(({ addresses }) => addresses),
        ],
      },
    },
    client('admin', 'fairlead-admin', ['system:masters']),
    client('controllers', 'system:kube-controller-manager'),
    client('scheduler', 'system:kube-scheduler'),
    client('dns', 'system:fairlead-dns'),
    client('ingress', 'system:fairlead-ingress'),
    client('apiserver-kubelet-client', 'kube-apiserver-kubelet-client'),
    ...nodes.flatMap(({ name, addresses }) => [
      client(`node-${name}`, `system:node:${name}`, ['system:nodes']),
      {
        file: `kubelet-${name}`,
        request: {
          commonName: `system:node:${name}`,
          organizations: ['system:nodes'],
          usage: 'server' as const,
          dnsNames: [name, 'localhost'],
          addresses: [...addresses, '127.0.0.1'],
        },
      },
    ]),
  ];
}

/**
 * The cluster's keys and certificates under `pki/`, made on the first start and kept from then on; certificates that a later
 * start needs in addition (more agents) are issued by the same authority. Each file is written whole or not at all.
 * Returns PEM pairs by name, with the authority's under `ca`.
 */
export async function ensurePki(config: ClusterConfig, nowMs: number): Promise<ReadonlyMap<string, KeyPair>> {
  const { pki } = pathsOf(config);
  await mkdir(pki, { recursive: true, mode: 0o700 });
  const pairs = new Map<string, KeyPair>();
  const wanted = certificatesOf(config);
  const stored = await Promise.all(
    ['ca', ...wanted.map(({ file }) => file)].map((file) => readPair(pki, file)),
  );
  const [storedAuthority, ...storedPairs] = stored;
  const notBefore = new Date(nowMs - backdateMs);
  const notAfter = new Date(nowMs + validityDays * 86_400_000);
  let opened: Promise<Authority> | undefined;
  const authority = (): Promise<Authority> => {
    opened ??=
      storedAuthority === undefined
        ? createAuthority(`fairlead-${config.name}-ca`, notBefore, notAfter)
        : loadAuthority(storedAuthority);
    return opened;
  };
  if (storedAuthority === undefined) {
    const { pair } = await authority();
    await writePair(pki, 'ca', pair);
    pairs.set('ca', pair);
  } else {
    pairs.set('ca', storedAuthority);
  }
  const issued = wanted.map(async ({ file, request }, index) => {
    // Certificates of another authority are useless: with a new one everything is issued again.
    const kept = storedAuthority === undefined ? undefined : storedPairs[index];
    if (kept !== undefined) return { file, pair: kept };
    const pair = await (await authority()).issue({ ...request, notBefore, notAfter });
    await writePair(pki, file, pair);
    return { file, pair };
  });
  await ensureServiceAccountKeys(pki);
  for (const { file, pair } of await Promise.all(issued)) pairs.set(file, pair);
  return pairs;
}

async function ensureServiceAccountKeys(pki: string): Promise<void> {
  const key = await readIfThere(posix.join(pki, 'sa.key'));
  const publicKey = await readIfThere(posix.join(pki, 'sa.pub'));
  if (key !== undefined && publicKey !== undefined) return;
  const pem =
    key ??
    generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
  await writeWhole(posix.join(pki, 'sa.key'), pem, 0o600);
  const exported = createPublicKey(pem).export({ type: 'spki', format: 'pem' });
  await writeWhole(posix.join(pki, 'sa.pub'), exported.toString(), 0o644);
}

async function readPair(pki: string, file: string): Promise<KeyPair | undefined> {
  const [certificate, key] = await Promise.all([
    readIfThere(posix.join(pki, `${file}.crt`)),
    readIfThere(posix.join(pki, `${file}.key`)),
  ]);
  return certificate === undefined || key === undefined ? undefined : { certificate, key };
}

async function writePair(pki: string, file: string, pair: KeyPair): Promise<void> {
  await writeWhole(posix.join(pki, `${file}.key`), pair.key, 0o600);
  await writeWhole(posix.join(pki, `${file}.crt`), pair.certificate, 0o644);
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Replaces a file atomically: a reader sees the old text or the new one, never a part. */
export async function writeWhole(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.${process.pid}.new`;
  try {
    await writeFile(temporary, text, { mode });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
