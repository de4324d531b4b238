import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod, PodCondition } from '../../src/api/gen/core-v1.ts';
import { eventually } from '../support/shell.ts';
import { openTerminal } from '../support/terminal.ts';
import { importBusybox, openTestNode, reasonToSkip, type TestNode } from './kubelet-node.ts';

/** What changes in a Pod that runs: ephemeral containers by kubectl debug, CPU and memory by the resize subresource. */

const skip = await reasonToSkip();
if (skip !== undefined) console.log(`kubelet: skipped, ${skip}`);

const forever = ['sh', '-c', 'trap "exit 0" TERM; while true; do sleep 0.05; done'];
const mebi = 2 ** 20;

function pod(name: string, container: object): object {
  const base = { name: 'main', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: forever };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ ...base, ...container }] },
  };
}

describe('a running Pod', { skip: skip ?? false }, () => {
  let node: TestNode;

  before(async () => {
    node = await openTestNode();
    await node.startAgent();
    await importBusybox(node);
  });
  after(() => node.close());

  const get = async (name: string): Promise<Pod> =>
    JSON.parse(await node.kubectl('get', 'pod', name, '-o', 'json')) as Pod;
  const until = (name: string, holds: (pod: Pod) => boolean): Promise<void> =>
    eventually(async () => {
      const found = await get(name);
      assert.ok(holds(found), JSON.stringify(found.status));
    });
  const isReady = ({ status }: Pod): boolean =>
    status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
  const condition = ({ status }: Pod, type: string): PodCondition | undefined =>
    status?.conditions?.find((one) => one.type === type);
  const resize = (name: string, resources: object): Promise<string> =>
    node.kubectl(
      ...['patch', 'pod', name, '--subresource', 'resize', '--patch'],
      JSON.stringify({ spec: { containers: [{ name: 'main', resources }] } }),
    );
  /** The memory limit as the kernel has it, bytes. */
  const memoryLimit = async (name: string): Promise<number> => {
    const files = '/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes';
    const text = await node.kubectl('exec', name, '--', 'sh', '-c', `cat ${files} 2>/dev/null || true`);
    return Number(text);
  };

  test('kubectl debug adds a container that sees its target’s processes', async () => {
    await node.apply(pod('debugged', {}));
    await until('debugged', isReady);
    const debug = (...args: readonly string[]): Promise<string> =>
      node.kubectl('debug', 'debugged', '--image=busybox', '--image-pull-policy=IfNotPresent', ...args);
    await debug(
      '--container=look',
      '--target=main',
      '--',
      'sh',
      '-c',
      'echo sees $(cat /proc/1/cmdline); sleep 60',
    );
    await eventually(async () =>
      assert.match(await node.kubectl('logs', 'debugged', '-c', 'look'), /sees sh-ctrap/),
    );
    const exec = await node.kubectl('exec', 'debugged', '-c', 'look', '--', 'sh', '-c', 'echo inside');
    assert.equal(exec, 'inside\n');
    await debug('--container=once', '--', 'sh', '-c', 'exit 3');
    await until('debugged', ({ status }) => {
      const found = status?.ephemeralContainerStatuses?.find(({ name }) => name === 'once');
      return found?.state?.terminated?.exitCode === 3;
    });
    const found = await get('debugged');
    assert.ok(isReady(found), 'an ended ephemeral container leaves the Pod ready');
    assert.equal(found.status?.containerStatuses?.[0]?.restartCount, 0);
    await assert.rejects(debug('--container=main', '--', 'true'), /Duplicate value|already exists/);
    await node.kubectl('delete', 'pod', 'debugged');
  });

  test('kubectl debug -it attaches to the new container', async () => {
    await node.apply(pod('attached', {}));
    await until('attached', isReady);
    const command = `kubectl --kubeconfig=${node.dataDir}/admin.yaml debug attached -it --image=busybox --image-pull-policy=IfNotPresent -- sh`;
    const terminal = openTerminal(`nsenter --net=/run/netns/${node.name} ${command}`);
    try {
      await terminal.expect(/\/ # /);
      terminal.type('echo from-$((20+3))\r');
      await terminal.expect(/from-23/);
      terminal.type('exit\r');
      assert.equal(await terminal.exited(), 0);
    } finally {
      terminal.kill();
    }
    await node.kubectl('delete', 'pod', 'attached');
  });

  test('resize changes CPU and memory of the same container', async () => {
    const resources = { requests: { cpu: '100m', memory: '32Mi' }, limits: { cpu: '200m', memory: '64Mi' } };
    await node.apply(pod('grown', { resources }));
    await until('grown', isReady);
    const before = await get('grown');
    assert.equal(await memoryLimit('grown'), 64 * mebi);
    const wanted = { requests: { cpu: '150m', memory: '64Mi' }, limits: { cpu: '300m', memory: '128Mi' } };
    await resize('grown', wanted);
    await until('grown', ({ status }) => {
      const [shown] = status?.containerStatuses ?? [];
      return JSON.stringify(shown?.resources?.limits) === JSON.stringify(wanted.limits);
    });
    const after = await get('grown');
    const [shown] = after.status?.containerStatuses ?? [];
    assert.deepEqual(shown?.allocatedResources, wanted.requests);
    assert.equal(shown?.containerID, before.status?.containerStatuses?.[0]?.containerID);
    assert.equal(condition(after, 'PodResizeInProgress'), undefined);
    assert.equal(await memoryLimit('grown'), 128 * mebi);
    assert.equal(after.metadata?.generation, 2);
  });

  test('what the node cannot give is told by a condition, and goes with the wish', async () => {
    await resize('grown', {
      requests: { cpu: '1000', memory: '64Mi' },
      limits: { cpu: '1000', memory: '128Mi' },
    });
    await until('grown', (found) => condition(found, 'PodResizePending')?.reason === 'Infeasible');
    assert.match(
      condition(await get('grown'), 'PodResizePending')?.message ?? '',
      /^Node didn't have enough capacity: cpu, requested: 1000000, capacity: \d+$/,
    );
    // A node agent that starts again does not take the wish for what was given.
    await node.stopAgent('SIGKILL');
    await node.startAgent();
    await until('grown', (found) => condition(found, 'PodResizePending')?.reason === 'Infeasible');
    assert.equal((await get('grown')).status?.containerStatuses?.[0]?.resources?.limits?.['cpu'], '300m');
    await resize('grown', {
      requests: { cpu: '100m', memory: '64Mi' },
      limits: { cpu: '100m', memory: '128Mi' },
    });
    await until('grown', (found) => condition(found, 'PodResizePending') === undefined);
    await until(
      'grown',
      ({ status }) => status?.containerStatuses?.[0]?.resources?.limits?.['cpu'] === '100m',
    );
    await node.kubectl('delete', 'pod', 'grown');
  });

  test('a resizePolicy of RestartContainer restarts the container with the new limit', async () => {
    const resources = { limits: { memory: '32Mi' } };
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    await node.apply(pod('restarted', { resources, resizePolicy }));
    await until('restarted', isReady);
    await resize('restarted', { requests: { memory: '32Mi' }, limits: { memory: '48Mi' } });
    await until(
      'restarted',
      (found) => found.status?.containerStatuses?.[0]?.restartCount === 1 && isReady(found),
    );
    assert.equal(await memoryLimit('restarted'), 48 * mebi);
    await node.kubectl('delete', 'pod', 'restarted');
  });

  test('a refused resize is told as kubectl users know it', async () => {
    const resources = { requests: { cpu: '100m' }, limits: { cpu: '200m' } };
    await node.apply(pod('refused', { resources }));
    await assert.rejects(
      resize('refused', { requests: { cpu: '200m', memory: '1Mi' }, limits: { cpu: '200m', memory: '1Mi' } }),
      /Pod "refused" is invalid: spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing/,
    );
    await node.kubectl('delete', 'pod', 'refused');
  });
});
