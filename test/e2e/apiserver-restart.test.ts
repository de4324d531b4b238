import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deploymentKind } from '../../src/api/kinds/deployment.ts';
import type { JsonObject } from '../../src/api/object.ts';
import { keyOfObject, templateOf } from '../../src/apiserver/objects.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { createTestPki, writePkiFolder } from '../support/pki.ts';

type Answer = { readonly status: number; readonly body: Record<string, unknown> };

const program = fileURLToPath(new URL('../../src/cmd/fairlead.ts', import.meta.url));

test('an API server that is killed comes back with everything that it acknowledged', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-restart-'));
  const pki = await createTestPki();
  const admin = await pki.client('fairlead-admin', ['system:masters']);
  writePkiFolder(join(folder, 'pki'), pki.server);
  const maps = '/api/v1/namespaces/default/configmaps';
  let server = await start(folder);
  try {
    const call = (method: string, path: string, body?: unknown) =>
      ask(server.port, pki.server.caCert, admin, method, path, body);
    for (let at = 0; at < 20; at++) {
      const made = await call('POST', maps, { metadata: { name: `kept-${at}` } });
      assert.equal(made.status, 201);
    }
    const before = await call('GET', maps);
    await end(server.child, 'SIGKILL');
    await storeDeployment(folder, { replicas: -1 });
    server = await start(folder);
    const after = await call('GET', maps);
    assert.deepEqual(after.body['items'], before.body['items']);
    await checkTightenedRules(call);
    assert.equal(await end(server.child, 'SIGTERM'), 0);
  } finally {
    await end(server.child, 'SIGKILL');
    rmSync(folder, { recursive: true });
  }
});

const deployments = '/apis/apps/v1/namespaces/default/deployments';

/** As an older server may have stored it, whose rules let more pass. */
async function storeDeployment(folder: string, spec: JsonObject): Promise<void> {
  const store = openSqliteStore(join(folder, 'store', 'state.db'));
  const metadata = { name: 'old', namespace: 'default', uid: 'a-uid', generation: 1 };
  const key = keyOfObject(deploymentKind, 'default', 'old');
  await store.put(key, templateOf(deploymentKind, { metadata, spec }), 0);
  await store.close();
}

/** What was stored before a rule was made keeps its status and its metadata up to date; its spec is to be mended. */
async function checkTightenedRules(
  call: (method: string, path: string, body?: unknown) => Promise<Answer>,
): Promise<void> {
  const { body: old } = await call('GET', `${deployments}/old`);
  const status = await call('PUT', `${deployments}/old/status`, { ...old, status: { replicas: 3 } });
  assert.equal(status.status, 200, JSON.stringify(status.body));
  assert.deepEqual(status.body['status'], { replicas: 3 });
  const wrong = await call('PUT', `${deployments}/old/status`, {
    ...old,
    metadata: {},
    status: { replicas: -3 },
  });
  assert.equal(wrong.status, 422);
  assert.match(String(wrong.body['message']), /status.replicas: Invalid value: -3/);
  const spec = await call('PUT', `${deployments}/old`, { ...old, metadata: {}, spec: { replicas: -2 } });
  assert.equal(spec.status, 422);
}

async function start(folder: string): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = spawn(
    process.execPath,
    [program, 'apiserver', '--data-dir', folder, '--pki-dir', join(folder, 'pki'), '--listen', '127.0.0.1:0'],
    { stdio: ['ignore', 'inherit', 'pipe'] },
  );
  const seen: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    seen.push(line);
    const port = /"message":"ready"/.test(line) ? /"port":(\d+)/.exec(line)?.[1] : undefined;
    if (port === undefined) continue;
    child.stderr.resume();
    return { child, port: Number(port) };
  }
  throw new Error(`the API server ended before it was ready:\n${seen.join('\n')}`);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = new Promise<number | null>((resolve) => void child.once('exit', (code) => resolve(code)));
  child.kill(signal);
  return exited;
}

function ask(
  port: number,
  ca: string,
  { certificate, key }: KeyPair,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        host: '127.0.0.1',
        port,
        ca,
        cert: certificate,
        key,
        method,
        path,
        headers: { 'content-type': 'application/json' },
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Record<string, unknown> });
        });
      },
    );
    asking.once('error', reject);
    asking.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
