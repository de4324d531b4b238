import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readyGoPrograms } from '../support/clients.ts';
import { runOk } from '../support/shell.ts';
import { startCluster } from './in-process-cluster.ts';

const programs = await readyGoPrograms();
if (typeof programs === 'string') console.log(`skipped: ${programs}`);

test('helm: install and wait, upgrade, rollback, list, history, uninstall', {
  skip: typeof programs === 'string' ? programs : false,
}, async () => {
  assert.ok(typeof programs !== 'string');
  await using cluster = await startCluster();
  const chart = join(import.meta.dirname, '../clients/go/chart');
  const output = await runOk(programs.helm, [cluster.kubeconfig, chart]);
  assert.deepEqual(output.trim().split('\n'), [
    'installed 1 deployed',
    'upgraded 2 deployed',
    'listed demo 3 deployed Rollback to 1',
    'history 3',
    'left 0',
  ]);
});
