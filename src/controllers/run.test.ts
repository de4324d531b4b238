import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { Deployment } from '../api/gen/apps-v1.ts';
import type { Node, Pod, Service } from '../api/gen/core-v1.ts';
import { keyOf } from '../api/object.ts';
import {
  configMaps,
  controllerRevisions,
  cronJobs,
  daemonSets,
  deployments,
  endpointSlices,
  endpoints,
  events,
  jobs,
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  podDisruptionBudgets,
  pods,
  replicaSets,
  replicationControllers,
  serviceAccounts,
  services,
  statefulSets,
} from '../api/resource.ts';
import { rfc3339 } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import { controllersDefaults, runControllers } from './run.ts';

const resources = [
  ...[configMaps, deployments, endpointSlices, endpoints, events, namespaces],
  ...[nodes, pods, replicaSets, serviceAccounts, services],
  ...[controllerRevisions, cronJobs, daemonSets, jobs, persistentVolumeClaims, persistentVolumes],
  ...[podDisruptionBudgets, replicationControllers, statefulSets],
];

/** A cluster of the fake API server, all controllers, and kubelets that run every Pod at once. */
async function cluster(options: { readonly nodes: number }) {
  const clock = new FakeClock();
  const api = new FakeApi({ clock, resources });
  const stop = new AbortController();
  let seed = 1;
  const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
  api.seed(namespaces, { metadata: { name: 'default' }, spec: { finalizers: ['kubernetes'] } });
  for (let at = 0; at < options.nodes; at++) api.seed(nodes, readyNode(`node-${at}`, `10.41.0.${at + 2}`));
  const config = { ...controllersDefaults, certificateAuthority: 'CA' };
  const running = runControllers(config, api, silentLogger, stop.signal, { timing: { clock, random } });
  let address = 1;

  /** Does what kubelets do until nothing changes any more. */
  async function converge(): Promise<void> {
    for (let round = 0; round < 30; round++) {
      await clock.advance(10);
      let acted = false;
      for (const pod of api.objects(pods)) {
        const { nodeName } = pod.spec ?? {};
        if (nodeName === undefined) continue;
        if (pod.metadata?.deletionTimestamp !== undefined) {
          api.remove(pods, keyOf(pod));
          acted = true;
        } else if (pod.status?.podIP === undefined) {
          const now = rfc3339(clock.nowMs());
          const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: now }];
          api.update(pods, keyOf(pod), {
            status: { phase: 'Running', podIP: `10.42.0.${address++}`, conditions },
          });
          acted = true;
        }
      }
      if (!acted && round > 2) return;
    }
    assert.fail('the cluster does not come to rest');
  }

  await clock.advance(10);
  return {
    api,
    clock,
    converge,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await settle();
      await running;
    },
  };
}

function readyNode(name: string, address: string): Node {
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: {},
    status: {
      addresses: [{ type: 'InternalIP', address }],
      allocatable: { cpu: '4', memory: '8Gi', pods: '110' },
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

function deployment(image: string, replicas = 3): Deployment {
  const labels = { app: 'caddy' };
  return {
    metadata: { name: 'caddy', namespace: 'default' },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'caddy', image }] } },
    },
  };
}

const service: Service = {
  metadata: { name: 'caddy', namespace: 'default' },
  spec: {
    type: 'LoadBalancer',
    clusterIP: '10.43.0.20',
    ipFamilies: ['IPv4'],
    selector: { app: 'caddy' },
    ports: [{ port: 8080, targetPort: 80, protocol: 'TCP' }],
  },
};

function readyAddresses(api: FakeApi): string[] {
  return api
    .objects(endpointSlices)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready === true)
    .flatMap(({ addresses }) => addresses);
}

function imagesOf(api: FakeApi): (string | undefined)[] {
  return api.objects(pods).map((pod: Pod) => pod.spec?.containers[0]?.image);
}

test('controllers: a Deployment becomes Pods on all nodes, endpoints and load balancer addresses', async () => {
  await using run = await cluster({ nodes: 3 });
  run.api.seed(services, service);
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  assert.equal(run.api.objects(pods).length, 3);
  assert.deepEqual(
    run.api
      .objects(pods)
      .map((pod) => pod.spec?.nodeName)
      .toSorted((a = '', b = '') => (a < b ? -1 : 1)),
    ['node-0', 'node-1', 'node-2'],
  );
  assert.equal(readyAddresses(run.api).length, 3);
  assert.equal(run.api.find(endpoints, 'default/caddy')?.subsets?.[0]?.addresses?.length, 3);
  assert.deepEqual(
    run.api.find(services, 'default/caddy')?.status?.loadBalancer?.ingress?.map(({ ip }) => ip),
    ['10.41.0.2', '10.41.0.3', '10.41.0.4'],
  );
  const status = run.api.find(deployments, 'default/caddy')?.status;
  assert.equal(status?.availableReplicas, 3);
  const progressing = status?.conditions?.find(({ type }) => type === 'Progressing');
  assert.equal(progressing?.reason, 'NewReplicaSetAvailable');
  assert.equal(run.api.objects(replicaSets).length, 1);
  assert.deepEqual(
    run.api.objects(nodes).map((node) => node.spec?.podCIDR),
    ['10.42.0.0/24', '10.42.1.0/24', '10.42.2.0/24'],
  );
  assert.equal(run.api.find(configMaps, 'default/kube-root-ca.crt')?.data?.['ca.crt'], 'CA');
  assert.ok(run.api.find(serviceAccounts, 'default/default'));
});

test('controllers: a new image rolls all Pods and never leaves fewer than allowed', async () => {
  await using run = await cluster({ nodes: 2 });
  run.api.seed(services, service);
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  const patch = { spec: { template: { spec: { containers: [{ name: 'caddy', image: 'caddy:2' }] } } } };
  await run.api.patch(deployments, 'default', 'caddy', 'merge', patch);
  await run.converge();
  assert.deepEqual(imagesOf(run.api), ['caddy:2', 'caddy:2', 'caddy:2']);
  assert.deepEqual(
    run.api
      .objects(replicaSets)
      .map((set) => set.spec?.replicas)
      .toSorted((a = 0, b = 0) => a - b),
    [0, 3],
  );
  assert.equal(
    run.api.find(deployments, 'default/caddy')?.metadata?.annotations?.['deployment.kubernetes.io/revision'],
    '2',
  );

  const undo = { spec: { template: { spec: { containers: [{ name: 'caddy', image: 'caddy:1' }] } } } };
  await run.api.patch(deployments, 'default', 'caddy', 'merge', undo);
  await run.converge();
  assert.deepEqual(imagesOf(run.api), ['caddy:1', 'caddy:1', 'caddy:1']);
  assert.equal(run.api.objects(replicaSets).length, 2);
  assert.equal(
    run.api.find(deployments, 'default/caddy')?.metadata?.annotations?.['deployment.kubernetes.io/revision'],
    '3',
  );
});

test('controllers: scaling up and down', async () => {
  await using run = await cluster({ nodes: 2 });
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  for (const replicas of [7, 2, 0, 3]) {
    await run.api.patch(deployments, 'default', 'caddy', 'merge', { spec: { replicas } });
    await run.converge();
    assert.equal(run.api.objects(pods).length, replicas);
    assert.equal(run.api.find(deployments, 'default/caddy')?.status?.replicas ?? 0, replicas);
  }
});

test('controllers: no Pod is created twice, although the informer lags behind every create', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(deployments, deployment('caddy:1', 20));
  await run.converge();
  const creations = run.api.writes.filter((write) => write.startsWith('create pods '));
  assert.equal(creations.length, 20);
});

test('controllers: deleting a Deployment takes all that it owns with it', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(services, service);
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  await run.api.delete(deployments, 'default', 'caddy');
  await run.api.delete(services, 'default', 'caddy');
  await run.converge();
  await run.converge();
  assert.deepEqual(run.api.objects(replicaSets), []);
  assert.deepEqual(run.api.objects(pods), []);
  assert.deepEqual(run.api.objects(endpointSlices), []);
  assert.deepEqual(run.api.objects(endpoints), []);
});

test('controllers: foreground deletion removes the dependents first', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  await run.api.delete(deployments, 'default', 'caddy', { propagationPolicy: 'Foreground' });
  await settle();
  assert.ok(run.api.find(deployments, 'default/caddy'));
  await run.converge();
  await run.converge();
  assert.equal(run.api.find(deployments, 'default/caddy'), undefined);
  assert.deepEqual(run.api.objects(pods), []);
});

test('controllers: orphan deletion leaves the dependents', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  await run.api.delete(deployments, 'default', 'caddy', { propagationPolicy: 'Orphan' });
  await run.converge();
  assert.equal(run.api.find(deployments, 'default/caddy'), undefined);
  assert.equal(run.api.objects(replicaSets)[0]?.metadata?.ownerReferences, undefined);
  assert.equal(run.api.objects(pods).length, 3);
});

test('controllers: a namespace goes with all its content', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(deployments, deployment('caddy:1'));
  await run.converge();
  await run.api.delete(namespaces, undefined, 'default');
  for (let round = 0; round < 5; round++) {
    await run.converge();
    await run.clock.advance(1000);
  }
  assert.equal(run.api.find(namespaces, 'default'), undefined);
  assert.deepEqual(run.api.objects(pods), []);
  assert.deepEqual(run.api.objects(serviceAccounts), []);
});

test('controllers: a Pod that fits nowhere is told why and is placed once a node comes', async () => {
  await using run = await cluster({ nodes: 0 });
  run.api.seed(nodes, {
    ...readyNode('small', '10.41.0.9'),
    status: { allocatable: { cpu: '100m', memory: '1Gi' } },
  });
  const resourcesOf = { requests: { cpu: '2' } };
  run.api.seed(pods, {
    metadata: { name: 'big', namespace: 'default' },
    spec: { containers: [{ name: 'c', resources: resourcesOf }] },
  });
  await run.clock.advance(10);
  // A node without a Ready condition is tainted first.
  const condition = run.api.find(pods, 'default/big')?.status?.conditions?.[0];
  assert.equal(condition?.reason, 'Unschedulable');
  assert.match(condition?.message ?? '', /^0\/1 nodes are available: 1 /);
  run.api.seed(nodes, readyNode('large', '10.41.0.10'));
  await run.clock.advance(10);
  assert.equal(run.api.find(pods, 'default/big')?.spec?.nodeName, 'large');
});

test('controllers: a silent node becomes unreachable and its Pods leave it', async () => {
  await using run = await cluster({ nodes: 1 });
  run.api.seed(deployments, deployment('caddy:1', 1));
  await run.converge();
  await run.clock.advance(60_000);
  const node = run.api.find(nodes, 'node-0');
  assert.equal(node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'Unknown');
  assert.ok(
    node?.spec?.taints?.some(
      ({ key, effect }) => key === 'node.kubernetes.io/unreachable' && effect === 'NoExecute',
    ),
  );
  await run.clock.advance(1000);
  const [first] = run.api.objects(pods);
  assert.ok(
    first?.metadata?.deletionTimestamp !== undefined ||
      first === undefined ||
      first.spec?.nodeName === undefined,
  );
});

test('controllers: Endpoints written by hand for a Service without selector become slices and leave with it', async () => {
  await using running = await cluster({ nodes: 1 });
  const { api, clock } = running;
  api.seed(services, { metadata: { name: 'db', namespace: 'default' }, spec: { ports: [{ port: 5432 }] } });
  api.seed(endpoints, {
    metadata: { name: 'db', namespace: 'default' },
    subsets: [{ addresses: [{ ip: '192.0.2.10' }], ports: [{ port: 5432 }] }],
  });
  await clock.advance(50);
  const [slice] = api.objects(endpointSlices, 'default');
  assert.deepEqual(
    slice?.endpoints?.map(({ addresses }) => addresses),
    [['192.0.2.10']],
  );
  api.update(services, 'default/db', { spec: { selector: { app: 'db' } } });
  await clock.advance(50);
  const managers = api
    .objects(endpointSlices, 'default')
    .map(({ metadata }) => metadata?.labels?.['endpointslice.kubernetes.io/managed-by']);
  assert.deepEqual(managers, ['endpointslice-controller.k8s.io']);
});
