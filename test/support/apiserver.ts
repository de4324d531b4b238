import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { AuditPolicy } from '../../src/apiserver/audit/policy.ts';
import { type ApiServerLimits, apiServerDefaults } from '../../src/apiserver/config.ts';
import { runApiServer } from '../../src/apiserver/run.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import { type Logger, silentLogger } from '../../src/base/log.ts';
import { createTestPki, kubeconfigText, type TestPki } from './pki.ts';

/** An API server of our own on 127.0.0.1, in this process, over a memory store. */
export type TestApiServer = {
  readonly port: number;
  readonly url: string;
  readonly pki: TestPki;
  readonly admin: KeyPair;
  /** A folder that is removed at the end. */
  readonly folder: string;
  /** Writes a kubeconfig and tells its path. No credentials: anonymous. */
  kubeconfig(name: string, credentials: KeyPair | { readonly token: string } | undefined): string;
  stop(): Promise<void>;
};

export async function startApiServer(
  options: {
    readonly limits?: Partial<ApiServerLimits>;
    readonly log?: Logger;
    readonly serviceCidrs?: readonly string[];
    /** The log is `audit.log` in the server's folder. */
    readonly auditPolicy?: AuditPolicy;
  } = {},
): Promise<TestApiServer> {
  const pki = await createTestPki();
  const admin = await pki.client('fairlead-admin', ['system:masters']);
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-apiserver-'));
  const stopping = new AbortController();
  const ready = Promise.withResolvers<number>();
  const running = runApiServer(
    {
      ...apiServerDefaults,
      dataDir: folder,
      serviceCidrs: options.serviceCidrs ?? apiServerDefaults.serviceCidrs,
      store: 'memory',
      listen: [{ host: '127.0.0.1', port: 0 }],
      pki: pki.server,
      ...(options.auditPolicy === undefined
        ? {}
        : {
            audit: {
              path: join(folder, 'audit.log'),
              policy: options.auditPolicy,
              bytesMax: 0,
              backupsMax: 0,
            },
          }),
      limits: { ...apiServerDefaults.limits, ...options.limits },
    },
    options.log ?? silentLogger,
    stopping.signal,
    (addresses) => ready.resolve(addresses[0]?.port ?? 0),
  );
  running.catch(ready.reject);
  const port = await ready.promise;
  const url = `https://127.0.0.1:${port}`;
  return {
    port,
    url,
    pki,
    admin,
    folder,
    kubeconfig(name, credentials) {
      const path = join(folder, `${name}.kubeconfig`);
      writeFileSync(path, kubeconfigText(url, pki.server.caCert, credentials));
      return path;
    },
    async stop() {
      stopping.abort();
      await running;
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * Every kubectl that is to be found, oldest first: Debian's where test/clients/fetch-debian.ts brought it, then those that
 * lie beside the one on PATH with a version in their name, else that one.
 */
export function findKubectls(): readonly { readonly version: string; readonly path: string }[] {
  const debian = join(import.meta.dirname, '../clients/debian/usr/bin/kubectl');
  const brought = existsSync(debian) ? [{ version: '1.20', path: debian }] : [];
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const found = kubectlsIn(folder);
    if (found.length > 0) return [...brought, ...found];
  }
  return brought;
}

function kubectlsIn(folder: string): readonly { readonly version: string; readonly path: string }[] {
  try {
    const path = realpathSync(join(folder, 'kubectl'));
    const beside = readdirSync(dirname(path)).flatMap((name) => {
      const version = /^kubectl\.(1\.\d+)$/.exec(name)?.[1];
      return version === undefined ? [] : [{ version, path: join(dirname(path), name) }];
    });
    return beside.length > 0 ? beside : [{ version: 'on PATH', path }];
  } catch {
    return []; // no kubectl in this folder
  }
}
