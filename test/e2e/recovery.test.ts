/** The whole control plane is killed with SIGKILL and started again: nothing is lost and nobody's connection is cut. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { examples, importImages, leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { get } from '../support/load.ts';
import { eventually, missingForCluster, runOk } from '../support/shell.ts';

const missing = missingForCluster();

/** Process ids of the cluster's own processes by name, as its run folder tells; containerd and its shims are not among them. */
function processes(name: string): ReadonlyMap<string, number> {
  const folder = `/run/fairlead/${name}/processes`;
  return new Map(
    readdirSync(folder)
      .filter((file) => file.endsWith('.json'))
      .map((file) => {
        const state: unknown = JSON.parse(readFileSync(join(folder, file), 'utf8'));
        assert.ok(
          typeof state === 'object' && state !== null && 'pid' in state && typeof state.pid === 'number',
        );
        return [file.slice(0, -'.json'.length), state.pid];
      }),
  );
}

describe('recovery', { skip: missing ?? false, timeout: 600_000 }, () => {
  let cluster: TestCluster;
  const jsonOf = async (what: string): Promise<string> => cluster.kubectl(`get ${what}`);
  const containers = async (): Promise<readonly string[]> =>
    (await jsonOf('pods -o jsonpath={.items[*].status.containerStatuses[*].containerID}'))
      .split(' ')
      .toSorted();
  const ticks = async (): Promise<readonly string[]> =>
    (await cluster.kubectl('logs talker')).trim().split('\n');

  before(async () => {
    cluster = await planCluster({ name: `recover${process.pid}` });
    await cluster.up();
    await importImages(cluster, ['caddy', 'alpine', 'echo']);
    for (const name of ['4_deployment.yaml', '5_lb_service.yaml', 'echo.yaml']) {
      await cluster.kubectl(`apply -f ${join(examples, name)}`);
    }
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
    await cluster.kubectl('rollout status deployment/echo --timeout=60s');
    const echo = (await jsonOf('service echo -o jsonpath={.spec.clusterIP}')).trim();
    // One connection through the Service for the whole test, and a new one five times a second.
    const line = `(while :; do echo tick; sleep 0.2; done) | /usr/bin/nc ${echo} 7 & while :; do echo new | /usr/bin/nc -N -w 30 ${echo} 7 | grep -q . && echo opened || echo refused; sleep 0.2; done`;
    await runOk(
      'kubectl',
      ['run', 'talker', '--image=alpine:latest', '--restart=Never', '--command', '--', 'sh', '-c', line],
      { env: { KUBECONFIG: cluster.kubeconfig } },
    );
    await cluster.kubectl('wait --for=condition=Ready pod/talker --timeout=60s');
    await eventually(async () =>
      assert.ok((await ticks()).filter((tick) => tick.includes('tick')).length > 2),
    );
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  test('one process killed is started again and the rest does not notice', async () => {
    const uid = await jsonOf('deployment caddy -o jsonpath={.metadata.uid}');
    const victim = processes(cluster.name).get('server');
    assert.ok(victim !== undefined);
    process.kill(victim, 'SIGKILL');
    await eventually(async () =>
      assert.equal(await jsonOf('deployment caddy -o jsonpath={.metadata.uid}'), uid),
    );
    assert.notEqual(processes(cluster.name).get('server'), victim);
    assert.equal((await get(`http://localhost:${cluster.ports.lb}/`)).status, 200);
  });

  test('everything killed at once: objects, Pods and connections are all still there after `up`', async () => {
    const before = {
      containers: await containers(),
      ticks: (await ticks()).length,
      objects: await jsonOf('deployments,services -o name'),
    };
    for (const pid of processes(cluster.name).values()) process.kill(pid, 'SIGKILL');
    await cluster.up();
    await eventually(async () =>
      assert.equal(
        (await jsonOf('nodes -o jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}')).trim(),
        'True',
      ),
    );
    assert.equal(await jsonOf('deployments,services -o name'), before.objects);
    await eventually(async () =>
      assert.ok((await ticks()).length > before.ticks + 10, 'the Pod still talks'),
    );
    const said = await ticks();
    assert.deepEqual(
      said.filter((line) => line === 'refused'),
      [],
      'no new connection was refused meanwhile',
    );
    assert.ok(
      said.slice(-15).some((line) => line.includes('tick')),
      'the old connection still answers',
    );
    assert.deepEqual(await containers(), before.containers, 'the same containers, not new ones');
    assert.match(await jsonOf('pods --no-headers'), /^(\S+\s+1\/1\s+Running\s+0\s.*\n)+$/);
    // And the cluster still works: a new Pod starts and serves.
    await cluster.kubectl('scale deployment/caddy --replicas=4');
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
  });
});
