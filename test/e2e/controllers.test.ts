import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Node, Pod } from '../../src/api/gen/core-v1.ts';
import { keyOf, splitKey } from '../../src/api/object.ts';
import {
  deployments,
  endpointSlices,
  namespaces,
  nodes,
  pods,
  replicaSets,
  services,
} from '../../src/api/resource.ts';
import { apiServerDefaults } from '../../src/apiserver/config.ts';
import { runApiServer } from '../../src/apiserver/run.ts';
import { rfc3339, systemClock } from '../../src/base/clock.ts';
import { createLogger, silentLogger } from '../../src/base/log.ts';
import { type ApiClient, isApiError } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { createInformer } from '../../src/control/create-informer.ts';
import { done, runReconciler } from '../../src/control/reconciler.ts';
import { WorkQueue } from '../../src/control/work-queue.ts';
import { controllersDefaults, runControllers } from '../../src/controllers/run.ts';
import { createTestPki, kubeconfigText } from '../support/pki.ts';
import { eventually, runOk, which } from '../support/shell.ts';

const skip = which('kubectl') === undefined ? 'kubectl is not installed' : false;

/** An API server in memory with controllers and stand-ins of kubelets on two nodes. */
async function startCluster() {
  const log = process.env['DEBUG'] === undefined ? silentLogger : createLogger('test', { level: 'debug' });
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-controllers-'));
  const pki = await createTestPki();
  const stop = new AbortController();
  const ready = Promise.withResolvers<number>();
  const config = {
    ...apiServerDefaults,
    dataDir: directory,
    store: 'memory',
    listen: [{ host: '127.0.0.1', port: 0 }],
    pki: pki.server,
  } as const;
  const server = runApiServer(config, log, stop.signal, (addresses) =>
    ready.resolve(addresses[0]?.port ?? 0),
  );
  const port = await Promise.race([ready.promise, server.then(() => 0)]);
  async function clientOf(name: string, commonName: string, organizations: readonly string[] = []) {
    const file = join(directory, `${name}.yaml`);
    const credentials = await pki.client(commonName, organizations);
    writeFileSync(file, kubeconfigText(`https://127.0.0.1:${port}`, pki.server.caCert, credentials));
    return { file, client: createApiClient(await loadKubeconfig(file)) };
  }
  const admin = await clientOf('admin', 'fairlead-admin', ['system:masters']);
  const manager = await clientOf('controllers', 'system:kube-controller-manager');
  const controllersConfig = { ...controllersDefaults, certificateAuthority: pki.server.caCert };
  const controllers = runControllers(controllersConfig, manager.client, log, stop.signal);
  for (const name of ['server-0', 'agent-0']) await admin.client.create(nodes, readyNode(name));
  const kubelets = runKubelets(admin.client, stop.signal);
  async function kubectl(...args: readonly string[]): Promise<string> {
    return runOk('kubectl', ['--kubeconfig', admin.file, `--cache-dir=${directory}/cache`, ...args]);
  }
  return {
    client: admin.client,
    kubectl,
    apply: async (...objects: readonly object[]): Promise<void> => {
      const file = join(directory, 'objects.json');
      writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
      await kubectl('apply', '--validate=false', '-f', file);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([controllers, kubelets, server]);
      admin.client.close();
      manager.client.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function readyNode(name: string): Node {
  const capacity = { cpu: '8', memory: '16Gi', pods: '110' };
  const now = rfc3339(systemClock.nowMs());
  const address = `10.41.0.${name.length}`;
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: {},
    status: {
      capacity,
      allocatable: capacity,
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now }],
    },
  };
}

/** Marks bound Pods as running and ready, and lets go of those that are to be deleted. */
async function runKubelets(client: ApiClient, signal: AbortSignal): Promise<void> {
  const informer = createInformer(client, pods);
  const queue = new WorkQueue(systemClock);
  informer.onChange((key) => queue.add(key));
  let address = 1;
  const reconcile = async (key: string) => {
    const pod = informer.get(key);
    const { namespace, name } = splitKey(key);
    if (pod === undefined || (pod.spec?.nodeName ?? '') === '') return done;
    try {
      if (pod.metadata?.deletionTimestamp !== undefined) {
        await client.delete(pods, namespace, name, { gracePeriodSeconds: 0, uid: pod.metadata.uid });
      } else if (pod.status?.podIP === undefined) {
        await client.patch(pods, namespace, name, 'strategic', runningStatus(pod, address++), {
          subresource: 'status',
        });
      }
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
    return done;
  };
  await Promise.all([
    informer.run(signal),
    runReconciler({ name: 'kubelets', queue, concurrency: 8, reconcile }, signal),
  ]);
}

function runningStatus(pod: Pod, address: number): unknown {
  const podIP = `10.42.0.${address}`;
  const lastTransitionTime = rfc3339(systemClock.nowMs());
  const conditions = ['Ready', 'ContainersReady'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime,
  }));
  const containerStatuses = (pod.spec?.containers ?? []).map(({ name, image }) => ({
    ...{ name, image, imageID: '', ready: true, restartCount: 0 },
    state: { running: { startedAt: lastTransitionTime } },
  }));
  return { status: { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions, containerStatuses } };
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  await eventually(async () => assert.ok(await holds(), `never: ${what}`), {
    timeoutMs: 20_000,
    everyMs: 20,
  });
}

function deployment(namespace: string, name: string, replicas: number): object {
  const labels = { app: name };
  const spec = { containers: [{ name, image: `${name}:1` }] };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  };
}

test('controllers: scale, rollout, undo, restart and delete with kubectl', {
  skip,
  timeout: 120_000,
}, async () => {
  await using cluster = await startCluster();
  const { client, kubectl, apply } = cluster;
  await until('the default service account', async () => {
    return (await kubectl('get', 'serviceaccounts', '-o', 'name')).includes('default');
  });
  await apply(deployment('default', 'caddy', 3));
  await kubectl('expose', 'deployment', 'caddy', '--port=80', '--type=LoadBalancer');
  assert.match(
    await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=20s'),
    /successfully rolled out/,
  );
  const readyEndpoints = async (): Promise<number> => {
    const { items } = await client.list(endpointSlices, {
      labelSelector: 'kubernetes.io/service-name=caddy',
    });
    return items.flatMap((slice) => slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready)
      .length;
  };
  await until('three endpoints', async () => (await readyEndpoints()) === 3);
  await until('addresses of the load balancer', async () => {
    const service = await client.get(services, 'default', 'caddy');
    return service.status?.loadBalancer?.ingress?.length === 2;
  });
  const placed = (await client.list(pods, { namespace: 'default' })).items.map((pod) => pod.spec?.nodeName);
  assert.equal(new Set(placed).size, 2);

  await kubectl('scale', 'deployment/caddy', '--replicas=5');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=20s');
  await until('five endpoints', async () => (await readyEndpoints()) === 5);

  await kubectl('set', 'image', 'deployment/caddy', 'caddy=caddy:2');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=20s');
  const images = async () => {
    const { items } = await client.list(pods, { namespace: 'default' });
    const alive = items.filter((pod) => pod.metadata?.deletionTimestamp === undefined);
    return [...new Set(alive.map((pod) => pod.spec?.containers[0]?.image))];
  };
  assert.deepEqual(await images(), ['caddy:2']);
  assert.match(await kubectl('rollout', 'history', 'deployment/caddy'), /1 [^]*2 /);
  await kubectl('rollout', 'undo', 'deployment/caddy');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=20s');
  assert.deepEqual(await images(), ['caddy:1']);

  await kubectl('rollout', 'pause', 'deployment/caddy');
  await kubectl('rollout', 'restart', 'deployment/caddy').catch((error: Error) => {
    assert.match(error.message, /paused/);
  });
  await kubectl('rollout', 'resume', 'deployment/caddy');
  const before = (await client.list(pods, { namespace: 'default' })).items.map(keyOf);
  await kubectl('rollout', 'restart', 'deployment/caddy');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=20s');
  const after = (await client.list(pods, { namespace: 'default' })).items
    .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
    .map(keyOf);
  assert.deepEqual(
    after.filter((key) => before.includes(key)),
    [],
  );

  assert.match(await kubectl('describe', 'deployment', 'caddy'), /ScalingReplicaSet/);
  await kubectl('delete', 'service,deployment', 'caddy');
  await until('everything is gone', async () => {
    const lists = await Promise.all([
      client.list(pods, { namespace: 'default' }),
      client.list(replicaSets),
      client.list(deployments),
      client.list(endpointSlices, { labelSelector: 'kubernetes.io/service-name=caddy' }),
    ]);
    return lists.every(({ items }) => items.length === 0);
  });
});

test('controllers: kubectl delete namespace returns and leaves nothing', {
  skip,
  timeout: 60_000,
}, async () => {
  await using cluster = await startCluster();
  const { client, kubectl, apply } = cluster;
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await until('the service account', async () => {
    return (await kubectl('get', 'serviceaccounts', '-n', 'shop', '-o', 'name')).includes('default');
  });
  await apply(deployment('shop', 'web', 2));
  await kubectl('rollout', 'status', 'deployment/web', '-n', 'shop', '--timeout=20s');
  await kubectl('delete', 'namespace', 'shop', '--timeout=20s');
  assert.deepEqual((await client.list(pods, { namespace: 'shop' })).items, []);
  assert.deepEqual(
    (await client.list(namespaces)).items.filter(({ metadata }) => metadata?.name === 'shop'),
    [],
  );
});
