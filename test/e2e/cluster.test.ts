/** A cluster's life: it comes up, comes up again after a crash, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
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
import { type Agent, startAgentIn } from './l4-network.ts';

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

type Outside = {
  readonly pod: Agent;
  readonly address: string;
  readonly port: number;
  readonly close: () => Promise<void>;
};

/**
 * A place that is not the cluster's, behind a link of this machine that a test made, and a Pod's namespace on a node as the kubelet
 * attaches them, without a kubelet.
 */
async function startOutside(cluster: TestCluster): Promise<Outside> {
  const [outside, pod, link] = [
    `fairlead-out-${process.pid}`,
    `fairlead-pod-${process.pid}`,
    `flo${process.pid}`,
  ];
  const node = `fairlead-${cluster.name}-agent-0`;
  const range = (await cluster.kubectl('get node agent-0 -o jsonpath={.spec.podCIDR}')).split('/')[0] ?? '';
  const [gateway, podAddress] = [1, 250].map((last) => range.replace(/\d+$/, String(last)));
  const [here, there] = ['198.51.100.1', '198.51.100.2']; // kept for examples
  const ip = (args: string, input?: readonly string[]): Promise<string> =>
    runOk('ip', args.split(' '), input === undefined ? {} : { input: `${input.join('\n')}\n` });
  await ip('-batch -', [
    `netns add ${outside}`,
    `netns add ${pod}`,
    `link add ${link} type veth peer name eth0 netns ${outside}`,
    `address add ${here}/30 dev ${link}`,
    `link set ${link} up`,
    `link add veth250 netns ${node} type veth peer name eth0 netns ${pod}`,
  ]);
  await ip(`-n ${outside} -batch -`, [
    'link set lo up',
    `address add ${there}/30 dev eth0`,
    'link set eth0 up',
  ]);
  await ip(`-n ${node} -batch -`, [
    `address add ${gateway}/32 dev veth250`,
    'link set veth250 up',
    `route add ${podAddress} dev veth250`,
  ]);
  await ip(`-n ${pod} -batch -`, [
    `address add ${podAddress}/32 dev eth0`,
    'link set eth0 up',
    `route add ${gateway} dev eth0`,
    `route add default via ${gateway}`,
  ]);
  const port = 5353;
  const agents = [await startAgentIn(outside, 'outside', [port]), await startAgentIn(pod, 'pod', [port])];
  const asker = agents[1]?.agent;
  assert.ok(asker !== undefined);
  const close = async (): Promise<void> => {
    for (const { child } of agents) {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
    }
    await ip('-batch -', [`link delete ${link}`, `netns delete ${outside}`, `netns delete ${pod}`]);
  };
  return { pod: asker, address: there, port, close };
}

describe('a cluster of two nodes', { skip: missing ?? false, timeout: 300_000 }, () => {
  let cluster: TestCluster;
  let before_: readonly string[];

  before(async () => {
    before_ = await machineState();
    cluster = await planCluster({ name: `life${process.pid}`, agents: 1, egress: 'auto' });
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

  test('Pods reach what is outside by TCP and UDP, but not this machine and what is nobody’s', async () => {
    const { pod, address, port, close } = await startOutside(cluster);
    try {
      assert.equal(await pod.tcp(address, port), 'outside 198.51.100.1');
      assert.equal(await pod.udp(address, port), 'outside 198.51.100.1');
      assert.equal(await pod.udp(address, port + 1), 'ECONNREFUSED', 'nobody listens there');
      for (const refused of ['169.254.169.254', '10.43.255.254']) {
        assert.match(await pod.udp(refused, port), /^E(CONNREFUSED|HOSTUNREACH|NETUNREACH)$/, refused);
      }
    } finally {
      await close();
    }
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

test('ping out of a cluster, in a namespace whose kernel lets everybody', {
  skip: missing ?? false,
}, async () => {
  const file = join(import.meta.dirname, '../../src/cluster/egress-datagrams.test.ts');
  const script = `unset NODE_TEST_CONTEXT; ip link set lo up; echo '0 0' >/proc/sys/net/ipv4/ping_group_range; exec "$0" --test --test-reporter=tap --test-name-pattern=ping "$1"`;
  const told = await runOk('unshare', ['--net', 'sh', '-c', script, process.execPath, file]);
  assert.match(told, /# pass 2\n/);
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
