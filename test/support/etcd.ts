import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createLogger } from '../../src/base/log.ts';
import { systemClock } from '../../src/base/clock.ts';
import { type EtcdEndpoint, etcdClientDefaults } from '../../src/store/etcd-client.ts';
import { type EtcdStoreOptions, etcdStoreDefaults, openEtcdStore } from '../../src/store/etcd.ts';
import type { Store } from '../../src/store/store.ts';
import type { TestPki } from './pki.ts';
import { freePorts } from './ports.ts';

/** A real etcd on loopback, with its data in a folder of its own. */
export type Etcd = {
  /** Where clients connect. */
  readonly endpoint: EtcdEndpoint;
  /** For `fairlead apiserver`: an API server that keeps its objects there. */
  readonly storeArguments: readonly string[];
  /** By SIGKILL, as an unplugged machine. */
  kill(): Promise<void>;
  /** On the same ports with the same data. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
};

export const withoutEtcd =
  spawnSync('etcd', ['--version']).status === 0
    ? false
    : 'etcd is not installed (Debian: apt-get install etcd-server)';

/** With `pki` it takes TLS only, from clients whose certificate that authority signed. */
export async function startEtcd(pki?: TestPki): Promise<Etcd> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-etcd-'));
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const scheme = pki === undefined ? 'http' : 'https';
  const url = `${scheme}://127.0.0.1:${clientPort}`;
  const files = pki === undefined ? undefined : await writeFiles(folder, pki);
  const start = (): Promise<ChildProcess> => launch(join(folder, 'data'), url, peerPort, files?.server ?? []);
  let child = await start().catch(async (error: unknown) => {
    await rm(folder, { recursive: true });
    throw error;
  });
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  return {
    endpoint: { host: '127.0.0.1', port: clientPort, secure: pki !== undefined },
    storeArguments: ['--etcd-servers', url, ...(files?.client ?? [])],
    kill,
    async restart() {
      child = await start();
    },
    async stop() {
      await kill();
      await rm(folder, { recursive: true });
    },
  };
}

/** A store on it; every prefix is a store of its own. */
export function openTestStore(
  etcd: Etcd,
  prefix: string,
  options: Partial<EtcdStoreOptions> = {},
): Promise<Store> {
  return openEtcdStore(systemClock, createLogger('store', { level: 'error' }), {
    ...etcdClientDefaults,
    ...etcdStoreDefaults,
    endpoints: [etcd.endpoint],
    tls: {},
    prefix,
    ...options,
  });
}

async function writeFiles(
  folder: string,
  pki: TestPki,
): Promise<{ readonly server: readonly string[]; readonly client: readonly string[] }> {
  const [server, client] = await Promise.all([pki.serving('etcd'), pki.client('fairlead-apiserver')]);
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const ca = await write('ca.crt', pki.server.caCert);
  return {
    server: [
      ...['--cert-file', await write('server.crt', server.certificate)],
      ...['--key-file', await write('server.key', server.key)],
      ...['--client-cert-auth', '--trusted-ca-file', ca],
    ],
    client: [
      ...['--etcd-cafile', ca],
      ...['--etcd-certfile', await write('client.crt', client.certificate)],
      ...['--etcd-keyfile', await write('client.key', client.key)],
    ],
  };
}

async function launch(
  dataDir: string,
  clients: string,
  peerPort: number,
  more: readonly string[],
): Promise<ChildProcess> {
  const peers = `http://127.0.0.1:${peerPort}`;
  const child = spawn(
    'etcd',
    [
      ...['--name', 'one', '--data-dir', dataDir, '--logger', 'zap', '--log-outputs', 'stderr'],
      ...['--listen-client-urls', clients, '--advertise-client-urls', clients],
      ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
      ...['--initial-cluster', `one=${peers}`],
      ...more,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const lines: string[] = [];
  const reader = createInterface({ input: child.stderr });
  await new Promise<void>((resolve, reject) => {
    reader.on('line', (line) => {
      lines.push(line);
      if (lines.length > 20) lines.shift();
      if (/serving (insecure )?client (traffic|requests)/.test(line)) resolve();
    });
    reader.on('close', () => reject(new Error(`etcd did not start:\n${lines.join('\n')}`)));
  });
  return child;
}
