import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf } from '../../src/api/object.ts';
import {
  deployments,
  endpointSlices,
  namespaces,
  pods,
  replicaSets,
  services,
} from '../../src/api/resource.ts';
import { certificateRequest, type RequestedNames } from '../support/certificate-request.ts';
import { readyGoPrograms } from '../support/clients.ts';
import { runOk, which } from '../support/shell.ts';
import { startCluster, until } from './in-process-cluster.ts';

const skip = which('kubectl') === undefined ? 'kubectl is not installed' : false;

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

test('controllers: scale, autoscale, rollout, undo, restart and delete with kubectl', {
  skip,
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster();
  const { client, kubectl, apply } = cluster;
  await until('the default service account', async () => {
    return (await kubectl('get', 'serviceaccounts', '-o', 'name')).includes('default');
  });
  await apply(deployment('default', 'caddy', 3));
  await kubectl('expose', 'deployment', 'caddy', '--port=80', '--type=LoadBalancer');
  assert.match(
    await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=60s'),
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
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=60s');
  await until('five endpoints', async () => (await readyEndpoints()) === 5);

  await kubectl('set', 'image', 'deployment/caddy', 'caddy=caddy:2');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=60s');
  const images = async () => {
    const { items } = await client.list(pods, { namespace: 'default' });
    const alive = items.filter((pod) => pod.metadata?.deletionTimestamp === undefined);
    return [...new Set(alive.map((pod) => pod.spec?.containers[0]?.image))];
  };
  assert.deepEqual(await images(), ['caddy:2']);
  assert.match(await kubectl('rollout', 'history', 'deployment/caddy'), /1 [^]*2 /);
  await kubectl('rollout', 'undo', 'deployment/caddy');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=60s');
  assert.deepEqual(await images(), ['caddy:1']);

  await kubectl('rollout', 'pause', 'deployment/caddy');
  await kubectl('rollout', 'restart', 'deployment/caddy').catch((error: Error) => {
    assert.match(error.message, /paused/);
  });
  await kubectl('rollout', 'resume', 'deployment/caddy');
  const before = (await client.list(pods, { namespace: 'default' })).items.map(keyOf);
  await kubectl('rollout', 'restart', 'deployment/caddy');
  await kubectl('rollout', 'status', 'deployment/caddy', '--timeout=60s');
  const after = (await client.list(pods, { namespace: 'default' })).items
    .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
    .map(keyOf);
  assert.deepEqual(
    after.filter((key) => before.includes(key)),
    [],
  );

  await autoscale(cluster);

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

/** Scales the Deployment caddy, which has five replicas, and a kind of the cluster's own. */
async function autoscale({ kubectl, apply }: Awaited<ReturnType<typeof startCluster>>): Promise<void> {
  const scaler = (apiVersion: string, spec: object, target: object): object => ({
    apiVersion: `autoscaling/${apiVersion}`,
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'caddy', namespace: 'default' },
    spec: { scaleTargetRef: { name: 'caddy', ...target }, ...spec },
  });
  const target = { apiVersion: 'apps/v1', kind: 'Deployment' };
  const replicas = (kind: string, count: number): Promise<void> =>
    until(`${count} replicas`, async () => {
      return (await kubectl('get', kind, 'caddy', '-o', 'jsonpath={.spec.replicas}')) === String(count);
    });
  const events = (): Promise<string> =>
    kubectl('get', 'events', '--field-selector=involvedObject.kind=HorizontalPodAutoscaler');
  await apply(scaler('v1', { maxReplicas: 4, targetCPUUtilizationPercentage: 50 }, target));
  await replicas('deployment', 4);
  await until('why is told', async () =>
    /SuccessfulRescale .*New size: 4; reason: Current number of replicas above Spec.MaxReplicas/.test(
      await events(),
    ),
  );
  await until('a percentage of nothing is none', async () =>
    /FailedGetResourceMetric .*failed to get cpu utilization: missing request for cpu in container caddy of Pod caddy-/.test(
      await events(),
    ),
  );
  // A container of the stand-ins uses 64Mi.
  const memory = { name: 'memory', target: { type: 'AverageValue', averageValue: '32Mi' } };
  const metrics = [{ type: 'Resource', resource: memory }];
  await apply(scaler('v2', { maxReplicas: 7, metrics }, target));
  await replicas('deployment', 7);
  await until('what there is and why there is no more', async () =>
    /ScalingLimited +True +TooManyReplicas/.test(await kubectl('describe', 'hpa', 'caddy')),
  );
  assert.match(await kubectl('get', 'hpa'), /caddy +Deployment\/caddy +memory: 67108864\/32Mi +1 +7 +\d /);

  const scale = { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' };
  const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const version = { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } };
  await apply({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'crews.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'crews', kind: 'Crew' },
      versions: [{ ...version, subresources: { scale } }],
    },
  });
  await kubectl('wait', '--for=condition=Established', 'crd/crews.example.com', '--timeout=60s');
  const crew = { apiVersion: 'example.com/v1', kind: 'Crew' };
  await apply({ ...crew, metadata: { name: 'caddy', namespace: 'default' }, spec: { replicas: 1 } });
  await apply(scaler('v2', { minReplicas: 3, maxReplicas: 5 }, crew));
  await replicas('crew', 3);
  await until('Pods cannot be found without a selector', async () =>
    /ScalingActive +False +InvalidSelector/.test(await kubectl('describe', 'hpa', 'caddy')),
  );
  await kubectl('delete', 'hpa/caddy', 'crd/crews.example.com');
}

test('controllers: kubectl delete namespace returns and leaves nothing', {
  skip,
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster();
  const { client, kubectl, apply } = cluster;
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await until('the service account', async () => {
    return (await kubectl('get', 'serviceaccounts', '-n', 'shop', '-o', 'name')).includes('default');
  });
  await apply(deployment('shop', 'web', 2));
  await kubectl('rollout', 'status', 'deployment/web', '-n', 'shop', '--timeout=60s');
  await kubectl('delete', 'namespace', 'shop', '--timeout=60s');
  assert.deepEqual((await client.list(pods, { namespace: 'shop' })).items, []);
  assert.deepEqual(
    (await client.list(namespaces)).items.filter(({ metadata }) => metadata?.name === 'shop'),
    [],
  );
});

test('controllers: what is labelled for view is what a viewer may see', {
  skip,
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster();
  const { kubectl } = cluster;
  await kubectl('create', 'clusterrolebinding', 'viewers', '--clusterrole=view', '--user=vera');
  await kubectl('create', 'clusterrolebinding', 'admins', '--clusterrole=admin', '--user=ada');
  const can = async (user: string, verb: string, resource: string): Promise<boolean> =>
    kubectl('auth', 'can-i', verb, resource, `--as=${user}`).then(
      (text) => text.trim() === 'yes',
      () => false, // kubectl exits with 1 for "no"
    );
  assert.deepEqual(
    [
      await can('vera', 'get', 'pods'),
      await can('vera', 'get', 'nodes'),
      await can('ada', 'create', 'roles'),
    ],
    [true, false, true],
  );
  await kubectl('create', 'clusterrole', 'nodes-too', '--verb=get', '--resource=nodes');
  await kubectl('label', 'clusterrole', 'nodes-too', 'rbac.authorization.k8s.io/aggregate-to-view=true');
  await until('view has the new rule', () => can('vera', 'get', 'nodes'));
  await until('and so have those that view adds up to', () => can('ada', 'get', 'nodes'));
  await kubectl('delete', 'clusterrole', 'nodes-too');
  await until('view has lost it', async () => !(await can('vera', 'get', 'nodes')));
  assert.equal(await can('vera', 'get', 'pods'), true);

  await kubectl('create', 'clusterrole', 'makers', '--verb=create,get', '--resource=clusterroles');
  await kubectl('create', 'clusterrolebinding', 'makers', '--clusterrole=makers', '--user=max');
  const selector = '--aggregation-rule=a=b';
  await assert.rejects(
    kubectl('create', 'clusterrole', 'sum', selector, '--as=max'),
    /must have cluster-admin privileges to use the aggregationRule/,
  );
  await kubectl('create', 'clusterrole', 'sum', selector);
});

function csr(name: string, signer: string, usages: readonly string[], names: RequestedNames): object {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name },
    spec: { request: certificateRequest(names).base64, signerName: `kubernetes.io/${signer}`, usages },
  };
}

test('controllers: who may approve and sign; kubelets are approved by themselves; what no signer signs fails', {
  skip,
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster();
  const { kubectl, write } = cluster;
  const state = (name: string): Promise<string> => kubectl('get', 'csr', name, '--no-headers');
  const refused = (want: RegExp, ...args: readonly string[]) => assert.rejects(kubectl(...args), want);
  const client = ['client auth'];
  await refused(
    /use of kubernetes.io\/kube-apiserver-client signer with system:masters group is not allowed/,
    ...[
      'create',
      '-f',
      write(csr('root', 'kube-apiserver-client', client, { organizations: ['system:masters'] })),
    ],
  );
  await refused(
    /legacy signerName is not allowed/,
    ...['create', '-f', write(csr('old', 'legacy-unknown', client, {}))],
  );

  await kubectl('create', '-f', write(csr('jane', 'kube-apiserver-client', client, { commonName: 'jane' })));
  await kubectl(
    ...['create', 'clusterrole', 'approver', '--verb=get,update,patch'],
    '--resource=certificatesigningrequests,certificatesigningrequests/approval,certificatesigningrequests/status',
  );
  await kubectl('create', 'clusterrolebinding', 'approver', '--clusterrole=approver', '--user=bob');
  await refused(
    /user not permitted to approve requests with signerName "kubernetes.io\/kube-apiserver-client"/,
    ...['certificate', 'approve', 'jane', '--as=bob'],
  );
  const failed = JSON.parse(await kubectl('get', 'csr', 'jane', '-o', 'json')) as { status: object };
  failed.status = { conditions: [{ type: 'Failed', status: 'True' }] };
  const status = '/apis/certificates.k8s.io/v1/certificatesigningrequests/jane/status';
  await refused(
    /user not permitted to sign requests with signerName/,
    ...['replace', '--raw', status, '-f', write(failed), '--as=bob'],
  );
  const role = 'system:certificates.k8s.io:kube-apiserver-client-approver';
  await kubectl('create', 'clusterrolebinding', 'signer', `--clusterrole=${role}`, '--user=bob');
  await kubectl('certificate', 'approve', 'jane', '--as=bob');
  await until('a certificate for jane', async () => /Approved,Issued/.test(await state('jane')));

  const node: RequestedNames = { commonName: 'system:node:new', organizations: ['system:nodes'] };
  const usages = ['digital signature', 'client auth'];
  await kubectl('create', '-f', write(csr('early', 'kube-apiserver-client-kubelet', usages, node)));
  await until('an administrator may do anything', async () => /Approved,Issued/.test(await state('early')));
  const own = ['--as=system:bootstrap:x', '--as-group=system:bootstrappers'];
  await kubectl(
    ...['create', 'clusterrolebinding', 'bootstrap', '--group=system:bootstrappers'],
    '--clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient',
  );
  await kubectl('create', 'clusterrole', 'asks', '--verb=create', '--resource=certificatesigningrequests');
  await kubectl('create', 'clusterrolebinding', 'asks', '--clusterrole=asks', '--group=system:bootstrappers');
  await kubectl('create', '-f', write(csr('new', 'kube-apiserver-client-kubelet', usages, node)), ...own);
  await until('the new node has its certificate', async () =>
    /system:bootstrap:x.*Approved,Issued/.test(await state('new')),
  );
  assert.match(await kubectl('get', 'csr', 'new', '-o', 'yaml'), /reason: AutoApproved/);

  await kubectl('create', '-f', write(csr('serving', 'kubelet-serving', ['server auth'], node)));
  await kubectl('certificate', 'approve', 'serving');
  await until('the signer refuses', async () => /Approved,Failed/.test(await state('serving')));
  const why = await kubectl('get', 'csr', 'serving', '-o', 'yaml');
  assert.match(why, /message: DNS or IP subjectAltName is required/);
});

const programs = await readyGoPrograms();
if (typeof programs === 'string') console.log(`skipped: ${programs}`);

/** What `test/clients/go/client wire` says, line by line. */
const wire = [
  'definition kept true',
  'definition established true',
  'definition updated true',
  'definitions listed true',
  'definitions as application/vnd.kubernetes.protobuf',
  'metadata of custom 2, revision true',
  'metadata of one w1 1',
  'metadata patched 2',
  'metadata watched true',
  'metadata as application/vnd.kubernetes.protobuf',
  'metadata left 1',
  'exact 0, not older 7',
  'of the future true true',
  'match of nothing true',
  'pages 7, to page-6 true, of 1 moment, downwards true',
  'initial events 7, their end true',
  'another uid true',
  'another revision true',
  'left of a label [page-2 page-4]',
  'left of a field [page-4]',
  'left of a dry run [page-4]',
  'Orphan leaves 2, without owner true',
  'Background leaves 0',
  'Foreground waits true',
  'Foreground leaves 0',
];

test('client-go: definitions and metadata as protobuf, revisions, pages, preconditions, collections, propagation', {
  skip: typeof programs === 'string' ? programs : false,
  timeout: 300_000,
}, async () => {
  assert.ok(typeof programs !== 'string');
  await using cluster = await startCluster();
  const said = await runOk(programs.client, [cluster.kubeconfig, 'wire']);
  assert.deepEqual(said.trim().split('\n'), wire);
});
