/** A cluster's life: it comes up, comes up again after a crash, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { silentLogger } from '../../src/base/log.ts';
import type { ClusterConfig } from '../../src/cluster/config.ts';
import { removeEverything } from '../../src/cluster/leftovers.ts';
import { unmountBelow } from '../../src/cluster/mounts.ts';
import { fairlead, leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { get } from '../support/load.ts';
import { eventually, missingForCluster, run, runOk } from '../support/shell.ts';

const missing = missingForCluster();

/** Everything of this machine that a cluster could change, but links that other clusters and tests have on it meanwhile. */
async function machineState(): Promise<readonly string[]> {
  const rules = (await run('nft', ['list', 'tables'])).stdout;
  const lines = ((await runOk('ip', ['route'])) + (await runOk('ip', ['-br', 'link']))).split('\n');
  return [rules, ...lines.filter((line) => !/^fl|dev fl/.test(line))];
}

function processState(name: string, process: string): { readonly pid: number; readonly restarts: number } {
  return JSON.parse(readFileSync(`/run/fairlead/${name}/processes/${process}.json`, 'utf8')) as {
    pid: number;
    restarts: number;
  };
}

describe('a cluster of two nodes', { skip: missing ?? false, timeout: 300_000 }, () => {
  let cluster: TestCluster;
  let before_: readonly string[];

  before(async () => {
    before_ = await machineState();
    cluster = await planCluster({ name: `life${process.pid}`, agents: 1 });
    await cluster.up();
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
    assert.deepEqual(await machineState(), before_, 'the host has the rules and routes that it had');
  });

  test('kubectl finds it by the merged context', async () => {
    assert.equal((await cluster.kubectl('config current-context')).trim(), `fairlead-${cluster.name}`);
    const nodes = await cluster.kubectl('get nodes -o name');
    assert.deepEqual(nodes.trim().split('\n').toSorted(), ['node/agent-0', 'node/server-0']);
  });

  test('nobody else on the machine can look into its Secrets', () => {
    for (const dir of [cluster.dataDir, `/run/fairlead/${cluster.name}`]) {
      assert.equal(statSync(dir).mode & 0o077, 0, dir);
    }
  });

  test('status says that all is well', async () => {
    const status = await cluster.cli(['status', '--name', cluster.name]);
    assert.match(status, /: well/);
    assert.match(status, /agent-0 +Ready/);
  });

  test('list, version and logs know it', async () => {
    assert.match(await cluster.cli(['list']), new RegExp(`${cluster.name} +Running +2`));
    assert.match(await cluster.cli(['version', '--name', cluster.name]), /Server Version: v1\.36/);
    assert.match(await cluster.cli(['logs', '--name', cluster.name, 'ingress']), /"message":"ready"/);
  });

  test('the published port leads to the ingress', async () => {
    assert.equal((await get(`http://localhost:${cluster.ports.http}/`)).status, 404);
  });

  test('a second up changes nothing', async () => {
    const pid = processState(cluster.name, 'server').pid;
    assert.match(await cluster.up(), /was running/);
    assert.equal(processState(cluster.name, 'server').pid, pid);
  });

  test('a process that dies is started again', async () => {
    const { pid } = processState(cluster.name, 'dns');
    process.kill(pid, 'SIGKILL');
    await eventually(async () => {
      await Promise.resolve();
      assert.equal(processState(cluster.name, 'dns').restarts, 1);
    });
  });

  test('after a killed supervisor the ports still answer, and the next up adopts what runs', async () => {
    const names = ['server', 'node-server-0', 'node-agent-0', 'ingress'];
    const pids = names.map((name) => processState(cluster.name, name).pid);
    process.kill(processState(cluster.name, 'supervisor').pid, 'SIGKILL');
    assert.equal((await get(`http://localhost:${cluster.ports.http}/`)).status, 404);
    await cluster.up();
    assert.deepEqual(
      names.map((name) => processState(cluster.name, name).pid),
      pids,
    );
    assert.equal((await get(`http://localhost:${cluster.ports.http}/`)).status, 404);
  });

  test('a port that is in use is refused by name', async () => {
    const other = await run(fairlead, [
      ...['up', '--name', `${cluster.name}b`, '--egress', 'none', '--no-merge'],
      ...['-p', `${cluster.ports.http}:80@loadbalancer`],
    ]);
    assert.notEqual(other.code, 0);
    assert.match(other.stderr, new RegExp(`port ${cluster.ports.http} of this machine is in use by`));
    assert.equal(readdirSync('/run/fairlead').includes(`${cluster.name}b`), false);
  });
});

describe('a restart of the machine', { skip: missing ?? false, timeout: 300_000 }, () => {
  let cluster: TestCluster;

  before(async () => {
    cluster = await planCluster({ name: `boot${process.pid}` });
    await cluster.up();
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  test('up finds the cluster by its name, with its data in a directory of its own', async () => {
    await cluster.kubectl('create configmap kept --from-literal=a=b');
    const state: unknown = JSON.parse(readFileSync(`/run/fairlead/${cluster.name}/cluster.json`, 'utf8'));
    const { config } = state as { readonly config: ClusterConfig };
    // What a restart takes away: processes, namespaces, mounts and /run; the data stays.
    await removeEverything({ ...config, dataDir: join(cluster.dataDir, 'not-here') }, silentLogger);
    unmountBelow(cluster.dataDir);
    assert.match(await cluster.cli(['list']), new RegExp(`${cluster.name} +Stopped`));
    await cluster.cli(['up', '--name', cluster.name]);
    assert.equal(await cluster.kubectl('get configmap kept -o jsonpath={.data.a}'), 'b');
    assert.equal((await get(`http://localhost:${cluster.ports.http}/`)).status, 404);
  });
});
