import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { configMaps } from '../../src/api/resource.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { readyClientNode, readyGoPrograms } from '../support/clients.ts';
import { runOk } from '../support/shell.ts';

/** Client libraries of other languages against the API server. */

/** Debian's python3-kubernetes belongs to Debian's Python, whichever is first on PATH. */
const python = '/usr/bin/python3';
const hasPython = spawnSync(python, ['-c', 'import kubernetes']).status === 0;
const skipPython = hasPython
  ? false
  : "Python's kubernetes client is missing: apt-get install python3-kubernetes";

// Before the first test: what is registered later, after a wait, may find the server stopped.
const skipNode = (await readyClientNode()) ?? false;
const programs = await readyGoPrograms();

let server: TestApiServer;

before(async () => {
  server = await startApiServer({ limits: { bookmarkIntervalMs: 50 } });
});
after(() => server.stop());

test('Python’s kubernetes client: objects, patches, conflicts, scale, watch', {
  skip: skipPython,
}, async () => {
  const script = join(import.meta.dirname, '../clients/client.py');
  const output = await runOk(python, [script, server.kubeconfig('python', server.admin)]);
  assert.deepEqual(output.trim().split('\n'), [
    'version 1',
    'namespaces True',
    "data [('a', '1'), ('b', '2')]",
    'conflict 409 Conflict',
    'manager OpenAPI-Generator',
    'replicas 5',
    'event DELETED python',
    'selected 0',
  ]);
});

test('@kubernetes/client-node: an informer follows through watches that end', {
  skip: skipNode,
}, async () => {
  const short = await startApiServer({ limits: { watchTimeoutMinMs: 100 } });
  const kubeconfig = short.kubeconfig('informer', short.admin);
  const script = join(import.meta.dirname, '../clients/informer.js');
  const informer = spawn(process.execPath, [script, kubeconfig], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(informer, 'close');
  const lines = createInterface({ input: informer.stdout })[Symbol.asyncIterator]();
  const seen = async (want: string): Promise<void> => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.notEqual(done, true, `never seen: ${want}`);
      if (value === want) return;
    }
  };
  try {
    await seen('started');
    const write = (method: string, path: string, n: number): Promise<void> =>
      send(short, method, path, { metadata: { name: 'followed' }, data: { n: String(n) } });
    const collection = '/api/v1/namespaces/default/configmaps';
    await write('POST', collection, 0);
    await seen('add followed 0');
    for (let n = 1; n <= 20; n++) {
      await write('PUT', `${collection}/followed`, n);
      await seen(`update followed ${n}`);
    }
    await write('DELETE', `${collection}/followed`, 0);
    await seen('delete followed 20');
  } finally {
    informer.kill();
    await closed;
    await short.stop();
  }
});

const script = join(import.meta.dirname, '../clients/bookmarks.js');

/** Both libraries decode a bookmark as an object of the kind that they watch: it must be one, as JSON and as protobuf. */
for (const { name, skip, program, args } of [
  {
    name: '@kubernetes/client-node (JSON)',
    skip: skipNode,
    program: process.execPath,
    args: (kubeconfig: string) => [script, kubeconfig],
  },
  {
    name: 'client-go (protobuf)',
    skip: typeof programs === 'string' ? programs : false,
    program: typeof programs === 'string' ? '' : programs.client,
    args: (kubeconfig: string) => [kubeconfig, 'bookmarks'],
  },
]) {
  test(`${name}: bookmarks tell a watch without events how far time has come`, { skip }, async () => {
    const kubeconfig = server.kubeconfig('bookmarks', server.admin);
    const watcher = spawn(program, args(kubeconfig), { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(watcher, 'close');
    const client = createApiClient(await loadKubeconfig(kubeconfig));
    const lines = createInterface({ input: watcher.stdout })[Symbol.asyncIterator]();
    const seen = async (holds: (line: string) => boolean): Promise<void> => {
      for (;;) {
        const { value = '', done } = await lines.next();
        assert.notEqual(done, true, 'the watch goes on');
        if (holds(value)) return;
      }
    };
    try {
      await seen((line) => line === 'watching');
      const metadata = { namespace: 'default', generateName: 'elsewhere-' };
      const elsewhere = await client.create(configMaps, { metadata });
      const written = Number(elsewhere.metadata?.resourceVersion);
      await seen((line) => Number(/^bookmark (\d+)$/.exec(line)?.[1]) >= written);
    } finally {
      client.close();
      watcher.kill();
      await closed;
    }
  });
}

function send(to: TestApiServer, method: string, path: string, body: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${to.url}${path}`,
      {
        method,
        ca: to.pki.server.caCert,
        cert: to.admin.certificate,
        key: to.admin.key,
        headers: { 'content-type': 'application/json' },
      },
      (answer) => {
        answer.resume();
        answer.once('end', () =>
          (answer.statusCode ?? 500) < 300 ? resolve() : reject(new Error(`${method}: ${answer.statusCode}`)),
        );
      },
    );
    sent.once('error', reject);
    sent.end(method === 'DELETE' ? undefined : JSON.stringify(body));
  });
}
