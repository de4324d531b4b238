import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../src/api/gen/core-v1.ts';
import type { KubeObject } from '../../src/api/object.ts';
import {
  cronJobs,
  jobs,
  persistentVolumeClaims,
  pods,
  type Resource,
  statefulSets,
} from '../../src/api/resource.ts';
import { run, which } from '../support/shell.ts';
import { outcomeAnnotation, startCluster, until } from './in-process-cluster.ts';

const skip = which('kubectl') === undefined ? 'kubectl is not installed' : false;
const options = { skip, timeout: 300_000 };
const scalersV2: Resource<KubeObject> = {
  group: 'autoscaling',
  version: 'v2',
  plural: 'horizontalpodautoscalers',
  kind: 'HorizontalPodAutoscaler',
  namespaced: true,
};

type Cluster = Awaited<ReturnType<typeof startCluster>>;

function template(name: string, extra: object = {}, annotations: object = {}): object {
  const spec = { containers: [{ name: 'main', image: 'busybox:1' }], ...extra };
  return { metadata: { labels: { app: name }, annotations }, spec };
}

function workload(kind: string, name: string, spec: object): object {
  const selector = { matchLabels: { app: name } };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: 'default' },
    spec: { selector, template: template(name), ...spec },
  };
}

async function ready(cluster: Cluster): Promise<void> {
  await until('the default service account', async () => {
    return (await cluster.kubectl('get', 'serviceaccounts', '-o', 'name')).includes('default');
  });
}

async function alivePods({ client }: Cluster, app: string): Promise<readonly Pod[]> {
  const { items } = await client.list(pods, { namespace: 'default', labelSelector: `app=${app}` });
  return items.filter((pod) => pod.metadata?.deletionTimestamp === undefined);
}

function namesOf(found: readonly Pod[]): readonly string[] {
  return found.map((pod) => pod.metadata?.name ?? '').toSorted();
}

test(
  'workloads: a StatefulSet keeps its names through scale, rollout, undo and a partition',
  options,
  async () => {
    await using cluster = await startCluster();
    const { kubectl, apply, client } = cluster;
    await ready(cluster);
    const claim = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    await apply(
      workload('StatefulSet', 'db', { replicas: 3, serviceName: 'db', volumeClaimTemplates: [claim] }),
    );
    await until('the first Pod waits for its claim', async () =>
      (await kubectl('get', 'events')).includes('pod has unbound immediate PersistentVolumeClaims'),
    );
    await apply(
      ...[0, 1, 2].map((number) => ({
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: { name: `disk-${number}` },
        spec: {
          capacity: { storage: '1Gi' },
          accessModes: ['ReadWriteOnce'],
          hostPath: { path: `/srv/disk-${number}` },
        },
      })),
    );
    await kubectl('rollout', 'status', 'statefulset/db', '--timeout=60s');
    const first = await alivePods(cluster, 'db');
    assert.deepEqual(namesOf(first), ['db-0', 'db-1', 'db-2']);
    const created = first.map((pod) => `${pod.metadata?.creationTimestamp} ${pod.metadata?.name}`);
    assert.deepEqual(
      created.toSorted().map((text) => text.slice(-4)),
      ['db-0', 'db-1', 'db-2'],
    );
    const claims = await client.list(persistentVolumeClaims, { namespace: 'default' });
    assert.deepEqual(claims.items.map(({ metadata }) => metadata?.name ?? '').toSorted(), [
      'data-db-0',
      'data-db-1',
      'data-db-2',
    ]);
    assert.match(await kubectl('get', 'pvc'), /data-db-0 +Bound/);
    assert.match(await kubectl('get', 'sts', '-o', 'wide'), /db +3\/3 .* main +busybox:1/);

    await kubectl('set', 'image', 'statefulset/db', 'main=busybox:2');
    await kubectl('rollout', 'status', 'statefulset/db', '--timeout=60s');
    const images = async () => (await alivePods(cluster, 'db')).map((pod) => pod.spec?.containers[0]?.image);
    assert.deepEqual(await images(), ['busybox:2', 'busybox:2', 'busybox:2']);
    assert.match(await kubectl('rollout', 'history', 'statefulset/db'), /1 [^]*2 /);
    await kubectl('rollout', 'undo', 'statefulset/db');
    await until('the old image', async () => (await images()).join() === 'busybox:1,busybox:1,busybox:1');

    await kubectl(
      'patch',
      'statefulset',
      'db',
      '-p',
      '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}',
    );
    await kubectl('set', 'image', 'statefulset/db', 'main=busybox:3');
    await until('one new Pod', async () => (await images()).join() === 'busybox:1,busybox:1,busybox:3');
    await kubectl('scale', 'statefulset/db', '--replicas=1');
    await until('one Pod', async () => namesOf(await alivePods(cluster, 'db')).join() === 'db-0');
    await assert.rejects(
      kubectl('patch', 'statefulset', 'db', '-p', '{"spec":{"serviceName":"other"}}'),
      /updates to statefulset spec for fields other than 'replicas'/,
    );
    await kubectl('delete', 'statefulset', 'db');
    await until('nothing left', async () => (await alivePods(cluster, 'db')).length === 0);
    assert.deepEqual((await client.list(statefulSets)).items, []);
  },
);

test(
  'workloads: a DaemonSet has a Pod on each node, and rolls one node after the other',
  options,
  async () => {
    await using cluster = await startCluster();
    const { kubectl, apply } = cluster;
    await ready(cluster);
    await apply(workload('DaemonSet', 'agent', {}));
    await kubectl('rollout', 'status', 'daemonset/agent', '--timeout=60s');
    const nodesOf = async () =>
      (await alivePods(cluster, 'agent')).map((pod) => pod.spec?.nodeName ?? '').toSorted();
    assert.deepEqual(await nodesOf(), ['agent-0', 'server-0']);
    await kubectl('set', 'image', 'daemonset/agent', 'main=busybox:2');
    await kubectl('rollout', 'status', 'daemonset/agent', '--timeout=60s');
    const images = (await alivePods(cluster, 'agent')).map((pod) => pod.spec?.containers[0]?.image);
    assert.deepEqual(images, ['busybox:2', 'busybox:2']);
    await kubectl('rollout', 'undo', 'daemonset/agent');
    await kubectl('rollout', 'status', 'daemonset/agent', '--timeout=60s');
    await kubectl('taint', 'nodes', 'agent-0', 'gpu=yes:NoExecute');
    await until('one node', async () => (await nodesOf()).join() === 'server-0');
    await until('its status', async () => /agent +1 +1 +1 +1 +1 +<none>/.test(await kubectl('get', 'ds')));
  },
);

function job(name: string, spec: object, outcome: string, namespace = 'default'): object {
  const annotations = { [outcomeAnnotation]: outcome };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace },
    spec: { template: template(name, { restartPolicy: 'Never' }, annotations), ...spec },
  };
}

test('workloads: Jobs complete, fail, count indexes and clean up after themselves', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply, client } = cluster;
  await ready(cluster);
  await apply(job('sum', { completions: 3, parallelism: 2 }, 'Succeeded'));
  await kubectl('wait', '--for=condition=complete', 'job/sum', '--timeout=60s');
  assert.match(await kubectl('get', 'jobs'), /sum +Complete +3\/3/);
  await until('free Pods', async () =>
    (await alivePods(cluster, 'sum')).every((pod) => (pod.metadata?.finalizers ?? []).length === 0),
  );

  await apply(job('parts', { completions: 3, parallelism: 3, completionMode: 'Indexed' }, 'Succeeded'));
  await kubectl('wait', '--for=condition=complete', 'job/parts', '--timeout=60s');
  assert.equal((await client.get(jobs, 'default', 'parts')).status?.completedIndexes, '0-2');

  await apply(job('broken', { backoffLimit: 0 }, 'Failed'));
  await kubectl('wait', '--for=condition=failed', 'job/broken', '--timeout=60s');
  assert.match(await kubectl('describe', 'job', 'broken'), /BackoffLimitExceeded/);

  const podFailurePolicy = {
    rules: [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } }],
  };
  await apply(job('picky', { podFailurePolicy }, 'Failed 42'));
  await kubectl('wait', '--for=condition=failed', 'job/picky', '--timeout=60s');
  assert.match(
    await kubectl('describe', 'job', 'picky'),
    /PodFailurePolicy .*Container main for pod default\/picky-\w+ failed with exit code 42 matching FailJob rule at index 0/,
  );
  await assert.rejects(
    kubectl('patch', 'job', 'picky', '-p', '{"spec":{"podFailurePolicy":{"rules":[]}}}'),
    /spec.podFailurePolicy: Invalid value: .*: field is immutable/,
  );

  await apply(job('brief', { ttlSecondsAfterFinished: 0 }, 'Succeeded'));
  await until(
    'the brief Job is gone',
    async () => !(await kubectl('get', 'jobs', '-o', 'name')).includes('brief'),
  );
  await apply(job('left', {}, 'Running'));
  await until('its Pod', async () => (await alivePods(cluster, 'left')).length === 1);
  await kubectl('delete', 'job', 'left', '--cascade=orphan', '--timeout=60s');
  // Left with the finalizer of the Job, it could never be deleted.
  await kubectl('delete', 'pods', '-l', 'app=left', '--timeout=60s');

  await kubectl('create', 'namespace', 'shop');
  await apply(job('held', { parallelism: 2, completions: 4 }, 'Running', 'shop'));
  await until('its Pods', async () => (await client.list(pods, { namespace: 'shop' })).items.length === 2);
  // Pods go first: held until their Job is over, they kept the namespace for ever.
  await kubectl('delete', 'namespace', 'shop', '--timeout=60s');

  await kubectl('delete', 'jobs', '--all', '--timeout=60s');
  await until('no Pods', async () => (await client.list(pods, { namespace: 'default' })).items.length === 0);
});

test('workloads: a CronJob starts Jobs, also by hand, and keeps its history short', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply, client } = cluster;
  await ready(cluster);
  const jobTemplate = {
    spec: { template: template('tick', { restartPolicy: 'Never' }, { [outcomeAnnotation]: 'Succeeded' }) },
  };
  const spec = { schedule: '@every 1s', successfulJobsHistoryLimit: 1, jobTemplate };
  await apply({
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'tick', namespace: 'default' },
    spec,
  });
  await until(
    'a run',
    async () => (await client.get(cronJobs, 'default', 'tick')).status?.lastSuccessfulTime !== undefined,
  );
  await kubectl('patch', 'cronjob', 'tick', '-p', '{"spec":{"suspend":true,"schedule":"0 4 * * *"}}');
  await kubectl('create', 'job', '--from=cronjob/tick', 'by-hand');
  await kubectl('wait', '--for=condition=complete', 'job/by-hand', '--timeout=60s');
  assert.match(await kubectl('get', 'cronjob'), /tick +0 4 \* \* \* +<none> +True/);
  await assert.rejects(
    kubectl('patch', 'cronjob', 'tick', '-p', '{"spec":{"schedule":"61 * * * *"}}'),
    /spec.schedule: Invalid value: "61 \* \* \* \*": end of range \(61\) above maximum \(59\)/,
  );
});

test(
  'workloads: budgets hold evictions back, priorities are filled, claims are bound, warnings are said',
  options,
  async () => {
    await using cluster = await startCluster();
    const { kubectl, apply, client } = cluster;
    await ready(cluster);
    const budget = {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'web', namespace: 'default' },
      spec: { minAvailable: 2, selector: { matchLabels: { app: 'web' } } },
    };
    const urgent = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: 'urgent' },
      value: 1000,
    };
    await apply(urgent, budget);
    const controller = {
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name: 'web', namespace: 'default' },
      spec: { replicas: 2, template: template('web', { priorityClassName: 'urgent' }) },
    };
    await apply(controller);
    await until('no disruption allowed', async () => /web +2 +N\/A +0 /.test(await kubectl('get', 'pdb')));
    await until('two ready Pods', async () => /web +2 +2 +2 /.test(await kubectl('get', 'rc')));
    const [pod] = await alivePods(cluster, 'web');
    assert.equal(pod?.spec?.priority, 1000);
    const drain = ['drain', pod?.spec?.nodeName ?? '', '--timeout=2s', '--force', '--ignore-daemonsets'];
    await assert.rejects(
      kubectl(...drain),
      /Cannot evict pod as it would violate the pod's disruption budget/,
    );
    await kubectl('uncordon', pod?.spec?.nodeName ?? '');
    await kubectl('scale', 'rc/web', '--replicas=4');
    await until('disruptions allowed', async () => /web +2 +N\/A +2 /.test(await kubectl('get', 'pdb')));
    await kubectl('drain', pod?.spec?.nodeName ?? '', '--timeout=60s', '--force', '--ignore-daemonsets');

    const access = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
    const volume = (name: string, storage: string): object => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name },
      spec: { ...access, capacity: { storage }, hostPath: { path: '/tmp' } },
    });
    await apply(volume('large', '5Gi'), volume('small', '1Gi'), {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace: 'default' },
      spec: { ...access, resources: { requests: { storage: '500Mi' } } },
    });
    await kubectl('wait', '--for=jsonpath={.status.phase}=Bound', 'pvc/data', '--timeout=60s');
    assert.match(await kubectl('get', 'pvc'), /data +Bound +small +1Gi +RWO/);
    const bound = /small +1Gi +RWO +Retain +Bound +default\/data/;
    await until('the volume is bound, too', async () => bound.test(await kubectl('get', 'pv')));
    assert.match(await kubectl('get', 'events.events.k8s.io'), /SuccessfulCreate/);

    const scaler = { scaleTargetRef: { kind: 'ReplicationController', name: 'web' }, maxReplicas: 4 };
    await apply({
      apiVersion: 'autoscaling/v1',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'web', namespace: 'default' },
      spec: { ...scaler, targetCPUUtilizationPercentage: 70 },
    });
    const asV2 = await client.get(scalersV2, 'default', 'web');
    assert.match(JSON.stringify(asV2), /"averageUtilization":70/);
    assert.match(
      await kubectl('get', 'hpa'),
      /web +ReplicationController\/web +cpu: <unknown>\/70% +1 +4 +\d/,
    );
    const policy = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'deny', namespace: 'default' },
      spec: { podSelector: {} },
    };
    const created = await run('kubectl', [
      '--kubeconfig',
      cluster.kubeconfig,
      'create',
      '-f',
      cluster.write(policy),
    ]);
    assert.match(created.stderr, /Warning: NetworkPolicy deny is stored but NOT enforced/);
  },
);

test('workloads: Pods wait for gates, volumes and room, claims in use stay', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply, client } = cluster;
  await ready(cluster);
  const pod = (name: string, spec: object): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { containers: [{ name: 'main', image: 'busybox:1' }], ...spec },
  });
  await apply(pod('gated', { schedulingGates: [{ name: 'example.com/quota' }] }));
  assert.match(await kubectl('get', 'pod', 'gated'), /gated +0\/1 +SchedulingGated/);
  const patch = (change: object) =>
    kubectl('patch', 'pod', 'gated', '--type=merge', '-p', JSON.stringify({ spec: change }));
  await assert.rejects(
    patch({ schedulingGates: [{ name: 'example.com/other' }] }),
    /only deletion is allowed, but found new scheduling gate 'example.com\/other'/,
  );
  await patch({ schedulingGates: null, nodeSelector: { 'kubernetes.io/hostname': 'agent-0' } });
  await kubectl('wait', '--for=condition=Ready', 'pod/gated', '--timeout=60s');
  assert.match(await kubectl('get', 'pod', 'gated', '-o', 'wide'), / agent-0 /);

  const where = { key: 'kubernetes.io/hostname', operator: 'In', values: ['agent-0'] };
  const access = { accessModes: ['ReadWriteOnce'], storageClassName: 'late' };
  await apply(
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'late' },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'near' },
      spec: {
        ...access,
        capacity: { storage: '1Gi' },
        local: { path: '/tmp' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [where] }] } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace: 'default' },
      spec: { ...access, resources: { requests: { storage: '500Mi' } } },
    },
  );
  await until('the claim waits', async () =>
    (await kubectl('get', 'events')).includes('waiting for first consumer to be created before binding'),
  );
  assert.match(await kubectl('get', 'pvc'), /data +Pending/);
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
  await apply(pod('user', { volumes }));
  await kubectl('wait', '--for=condition=Ready', 'pod/user', '--timeout=60s');
  assert.match(await kubectl('get', 'pod', 'user', '-o', 'wide'), / agent-0 /);
  assert.match(await kubectl('get', 'pvc'), /data +Bound +near /);

  await kubectl('delete', 'pvc/data', '--wait=false');
  await kubectl('delete', 'pv/near', '--wait=false');
  assert.match(
    await kubectl('describe', 'pvc', 'data'),
    /Status: +Terminating[^]*pvc-protection[^]*Used By: +user/,
  );
  assert.match(await kubectl('get', 'pv'), /near +1Gi +RWO +Retain +Terminating/);
  await kubectl('delete', 'pod/user', '--timeout=60s');
  await kubectl('wait', '--for=delete', 'pvc/data', 'pv/near', '--timeout=60s');

  const spare = { capacity: { storage: '1Gi' }, hostPath: { path: '/tmp' } };
  const template = { spec: { ...access, resources: { requests: { storage: '500Mi' } } } };
  await apply(
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'spare' },
      spec: { ...access, ...spare },
    },
    pod('scratch', { volumes: [{ name: 'data', ephemeral: { volumeClaimTemplate: template } }] }),
  );
  await kubectl('wait', '--for=condition=Ready', 'pod/scratch', '--timeout=60s');
  assert.match(await kubectl('get', 'pvc'), /scratch-data +Bound +spare/);
  await kubectl('delete', 'pod/scratch', '--timeout=60s');
  await kubectl('wait', '--for=delete', 'pvc/scratch-data', '--timeout=60s');

  // A node has 8 cores: who is more important takes them, unless its class is too polite.
  const large = (priorityClassName: string): object => ({
    priorityClassName,
    nodeSelector: { 'kubernetes.io/hostname': 'agent-0' },
    containers: [{ name: 'main', image: 'busybox:1', resources: { requests: { cpu: '7' } } }],
  });
  const priority = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass' };
  await apply(
    { ...priority, metadata: { name: 'low' }, value: 1 },
    { ...priority, metadata: { name: 'polite' }, value: 1000, preemptionPolicy: 'Never' },
    { ...priority, metadata: { name: 'urgent' }, value: 1000 },
  );
  await apply(pod('low', large('low')));
  await kubectl('wait', '--for=condition=Ready', 'pod/low', '--timeout=60s');
  const { metadata: victim } = await client.get(pods, 'default', 'low');
  await apply(pod('polite', large('polite')));
  await until('the polite Pod is told why it waits', async () =>
    /0\/2 nodes are available: 1 Insufficient cpu, 1 node\(s\) didn't match Pod's node affinity\/selector\. preemption: not eligible due to preemptionPolicy=Never\./.test(
      await kubectl('get', 'pod', 'polite', '-o', 'jsonpath={.status.conditions[0].message}'),
    ),
  );
  await apply(pod('urgent', large('urgent')));
  await kubectl('wait', '--for=condition=Ready', 'pod/urgent', '--timeout=60s');
  const since = victim?.resourceVersion ?? '';
  const fate = {
    namespace: 'default',
    fieldSelector: 'metadata.name=low',
    signal: AbortSignal.timeout(60_000),
  };
  let left: Pod | undefined;
  for await (const event of client.watch(pods, since, fate)) {
    if (event.type === 'BOOKMARK' || event.object.metadata?.deletionTimestamp === undefined) continue;
    left = event.object;
    break;
  }
  assert.match(
    JSON.stringify(left?.status?.conditions),
    /"type":"DisruptionTarget","status":"True","reason":"PreemptionByScheduler"/,
  );
  const urgent = await client.get(pods, 'default', 'urgent');
  assert.equal(urgent.spec?.nodeName, 'agent-0');
  assert.equal(urgent.status?.nominatedNodeName, undefined);
  await until('the victim is told for whom it left', async () =>
    (
      await kubectl('get', 'events', `--field-selector=involvedObject.uid=${victim?.uid},reason=Preempted`)
    ).includes(`Preempted by pod ${urgent.metadata?.uid} on node agent-0`),
  );
  await apply(pod('low', large('low')));
  await until('nobody whose leaving would help is less important than the last one', async () =>
    /preemption: 0\/2 nodes are available: 1 Insufficient cpu, 1 Preemption is not helpful for scheduling\./.test(
      await kubectl('get', 'pod', 'low', '-o', 'jsonpath={.status.conditions[0].message}'),
    ),
  );
});

test('workloads: quotas and limit ranges bound a namespace', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply } = cluster;
  await ready(cluster);
  await kubectl('create', 'quota', 'small', '--hard=pods=2,requests.cpu=1,count/deployments.apps=1');
  const range = { type: 'Container', default: { cpu: '300m' }, max: { cpu: '1' } };
  await apply({
    apiVersion: 'v1',
    kind: 'LimitRange',
    metadata: { name: 'bounds', namespace: 'default' },
    spec: { limits: [range] },
  });
  await kubectl('run', 'one', '--image=busybox');
  assert.equal(
    await kubectl('get', 'pod', 'one', '-o', 'jsonpath={.spec.containers[0].resources.requests.cpu}'),
    '300m',
  );
  await until('counted', async () => /pods: 1\/2, requests.cpu: 300m\/1/.test(await kubectl('get', 'quota')));
  const greedy = JSON.stringify({
    spec: { containers: [{ name: 'b', image: 'b', resources: { limits: { cpu: '2' } } }] },
  });
  await assert.rejects(
    kubectl('run', 'b', '--image=b', `--overrides=${greedy}`),
    /maximum cpu usage per Container is 1, but limit is higher/,
  );
  await kubectl('run', 'two', '--image=busybox');
  await assert.rejects(
    kubectl('run', 'three', '--image=busybox'),
    /exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2/,
  );
  await kubectl('delete', 'pod', 'two');
  await until('given back', async () => /pods: 1\/2/.test(await kubectl('get', 'quota')));
});
