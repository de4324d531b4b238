import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ApiClient } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { createTestPki, kubeconfigText, type TestPki, writePkiFolder } from './pki.ts';
import { freePort } from './ports.ts';

const program = fileURLToPath(new URL('../../src/cmd/fairlead.ts', import.meta.url));

/** An API server that is a process of its own, keeps its objects on disk or in an etcd and can be killed and started again. */
export type ApiServerProcess = {
  /** A client of its own with the rights of that user; closed at the end. */
  client(commonName: string, organizations?: readonly string[]): Promise<ApiClient>;
  /** Writes a kubeconfig and tells its path. */
  kubeconfig(commonName: string, organizations?: readonly string[]): Promise<string>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** At the same address; with other arguments where there are some. */
  startAgain(others?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
};

export async function startApiServerProcess(
  options: { readonly pki?: TestPki; readonly storeArguments?: readonly string[] } = {},
): Promise<ApiServerProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-apiserver-'));
  const pki = options.pki ?? (await createTestPki());
  const { storeArguments = [] } = options;
  writePkiFolder(join(folder, 'pki'), pki.server);
  const port = await freePort();
  let child = await spawnServer(folder, port, storeArguments).catch((error: unknown) => {
    rmSync(folder, { recursive: true });
    throw error;
  });
  const clients: ApiClient[] = [];
  const kubeconfig = async (commonName: string, organizations: readonly string[] = []): Promise<string> => {
    const path = join(folder, `${commonName.replaceAll(':', '-')}.yaml`);
    const pair = await pki.client(commonName, organizations);
    writeFileSync(path, kubeconfigText(`https://127.0.0.1:${port}`, pki.server.caCert, pair));
    return path;
  };
  return {
    kubeconfig,
    async client(commonName, organizations) {
      const made = createApiClient(await loadKubeconfig(await kubeconfig(commonName, organizations)), {
        userAgent: 'fairlead-test',
      });
      clients.push(made);
      return made;
    },
    kill: () => end(child, 'SIGKILL'),
    async startAgain(others = storeArguments) {
      child = await spawnServer(folder, port, others);
    },
    async stop() {
      for (const client of clients) client.close();
      await end(child, 'SIGKILL');
      rmSync(folder, { recursive: true });
    },
  };
}

async function spawnServer(
  folder: string,
  port: number,
  storeArguments: readonly string[],
): Promise<ChildProcess> {
  const listen = `127.0.0.1:${port}`;
  const child = spawn(
    process.execPath,
    [
      ...[program, 'apiserver', '--data-dir', folder, '--pki-dir', join(folder, 'pki'), '--listen', listen],
      ...storeArguments,
    ],
    { stdio: ['ignore', 'inherit', 'pipe'] },
  );
  const seen: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    seen.push(line);
    if (!/"message":"ready"/.test(line)) continue;
    child.stderr.resume();
    return child;
  }
  throw new Error(`the API server ended before it was ready:\n${seen.join('\n')}`);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  child.kill(signal);
  await exited;
}
