import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { runOk } from '../support/shell.ts';

/** Client libraries of other languages against the API server. */

/** Debian's python3-kubernetes belongs to Debian's Python, whichever is first on PATH. */
const python = '/usr/bin/python3';
const hasPython = spawnSync(python, ['-c', 'import kubernetes']).status === 0;
const skipPython = hasPython
  ? false
  : "Python's kubernetes client is missing: apt-get install python3-kubernetes";

let server: TestApiServer;

before(async () => {
  server = await startApiServer();
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
