import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findKubectls } from '../support/apiserver.ts';
import { certificateRequest } from '../support/certificate-request.ts';
import { eventually, run, runOk } from '../support/shell.ts';
import { startCluster } from './in-process-cluster.ts';

/**
 * Every verb of every kubectl that is here, with what it prints. Those that need containers (exec, attach, cp, logs, debug,
 * port-forward, run -it) are in apiserver-streams, kubelet, kubelet-resize and course.
 */

/** A line and what it must print; `from`: the first minor version that has it; `fails`: it is to end with an error. */
type Step = {
  readonly line: string;
  readonly want?: RegExp;
  readonly from?: number;
  readonly fails?: true;
};

const workload: readonly Step[] = [
  { line: 'create deployment web --image=nginx --replicas=2', want: /deployment.apps\/web created/ },
  { line: 'rollout status deployment/web --timeout=60s', want: /successfully rolled out/ },
  { line: 'annotate deployment web note=hello', want: /annotated?/ },
  { line: 'label pods -l app=web tier=front', want: /labell?ed/ },
  { line: 'expose deployment web --port=80 --name=front', want: /service\/front exposed/ },
  { line: 'autoscale deployment web --min=1 --max=3', want: /autoscaled/ },
  { line: 'scale deployment web --current-replicas=2 --replicas=3', want: /scaled/ },
  { line: `patch deployment web -p {"spec":{"replicas":2}}`, want: /patched/ },
  { line: `patch deployment web --type=merge -p {"spec":{"minReadySeconds":0}}`, want: /patched/ },
  {
    line: 'patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":1}]',
    want: /patched/,
  },
  {
    line: 'patch deployment web --subresource=scale --type=merge -p {"spec":{"replicas":2}}',
    want: /patched/,
    from: 24,
  },
  { line: 'get deployment web --subresource=scale', want: /DESIRED[\s\S]*web\s+2\s+\d/, from: 24 },
  {
    line: 'patch deployment web --type=json -p [{"op":"remove","path":"/spec/none"}]',
    want: /The request is invalid: the server rejected our request due to an error in our request: .*\/spec\/none/,
    fails: true,
  },
  {
    line: 'patch deployment web -p {"spec":{"selector":{"matchLabels":{"app":"db"}}}}',
    want: /\* spec.selector: Invalid value: \{"matchLabels":\{"app":"db"\}\}: field is immutable/,
    fails: true,
  },
  {
    line: 'wait --for=jsonpath={.status.replicas}=2 deployment/web --timeout=30s',
    want: /condition met/,
    from: 23,
  },
  { line: 'set env deployment/web A=B', want: /env updated/ },
  { line: 'set image deployment/web nginx=nginx:2', want: /image updated/ },
  { line: 'set resources deployment/web --limits=cpu=200m', want: /resource requirements updated/ },
  { line: 'set serviceaccount deployment web default', want: /serviceaccount updated/ },
  { line: 'set selector service front app=web', want: /selector updated/ },
  { line: 'rollout pause deployment/web', want: /paused/ },
  { line: 'rollout resume deployment/web', want: /resumed/ },
  { line: 'rollout restart deployment/web', want: /restarted/ },
  { line: 'rollout status deployment/web --timeout=60s', want: /successfully rolled out/ },
  { line: 'rollout history deployment/web', want: /REVISION/ },
  { line: 'rollout history deployment/web --revision=1', want: /revision #1\nPod Template:/ },
  { line: 'rollout undo deployment/web', want: /rolled back/ },
  { line: 'wait --for=condition=Available deployment/web --timeout=60s', want: /condition met/ },
  { line: 'describe deployment web', want: /StrategyType:\s+RollingUpdate/ },
  { line: 'describe pods -l app=web', want: /Controlled By:\s+ReplicaSet\/web/ },
  { line: 'get all', want: /deployment.apps\/web/ },
  { line: 'get pods -o wide', want: /NOMINATED NODE/ },
  { line: 'get pods -o name', want: /pod\/web-/ },
  { line: 'get pods -o custom-columns=N:.metadata.name', want: /^N\n[\s\S]*web-/ },
  { line: 'get pods -o jsonpath={.items[*].kind}', want: /^Pod( Pod)*$/ },
  { line: 'get pods --chunk-size=1', want: /web-/ },
  { line: 'get pods -A --sort-by=.metadata.name', want: /web-/ },
  { line: 'get deployment web -o yaml --show-managed-fields', want: /manager: kubectl/, from: 21 },
  { line: 'get pods --watch --request-timeout=1', want: /web-/ },
  { line: 'events --for deployment/web', want: /ScalingReplicaSet/, from: 26 },
  {
    line: 'drain agent-0 --ignore-daemonsets --force --pod-selector=app=web --timeout=60s',
    want: /(drained|evicted)/,
  },
  { line: 'uncordon agent-0', want: /uncordoned/ },
  { line: 'cordon agent-0', want: /cordoned/ },
  { line: 'uncordon agent-0', want: /uncordoned/ },
  { line: 'taint nodes agent-0 a=b:NoSchedule', want: /tainted/ },
  { line: 'taint nodes agent-0 a-', want: /untainted/ },
  { line: 'top pods', want: /NAME\s+CPU\(cores\)\s+MEMORY\(bytes\)[\s\S]*\nweb-\S+\s+250m\s+64Mi/ },
  { line: 'top pods -A -l app=web --containers', want: /default\s+web-\S+\s+nginx\s+250m\s+64Mi/ },
  { line: 'top pods --sort-by=memory', want: /web-\S+\s+250m\s+64Mi/ },
  { line: 'top pods -l app=nothing', want: /No resources found/ },
  { line: 'run lone --image=busybox --restart=Never', want: /pod\/lone created/ },
  { line: 'delete pod lone --wait --timeout=60s', want: /deleted/ },
  { line: 'delete deployment,service -l app=web', want: /"web" deleted/ },
  { line: 'create deployment kept --image=nginx', want: /created/ },
  { line: 'rollout status deployment/kept --timeout=60s', want: /successfully rolled out/ },
  { line: 'delete deployment kept --cascade=orphan', want: /deleted/ },
  { line: 'get replicasets -l app=kept -o name', want: /^replicaset.apps\/kept-\w+\n$/ },
  { line: 'delete replicasets -l app=kept --cascade=foreground --timeout=60s', want: /deleted/ },
  { line: 'get replicasets,pods -l app=kept -o name', want: /^$/ },
  { line: 'create deployment quick --image=nginx', want: /created/ },
  { line: 'delete deployment quick --cascade=background', want: /deleted/ },
  { line: 'wait --for=delete pods -l app=quick --timeout=60s', want: /condition met|no matching|^$/ },
];

const objects: readonly Step[] = [
  { line: 'create configmap c --from-literal=a=b', want: /created/ },
  { line: 'create secret generic s --from-literal=a=b', want: /created/ },
  { line: 'create secret docker-registry r --docker-username=u --docker-password=p', want: /created/ },
  { line: 'create namespace n', want: /created/ },
  { line: 'create quota q --hard=pods=100', want: /created/ },
  { line: 'create serviceaccount a', want: /created/ },
  { line: 'create token a', want: /^ey/, from: 24 },
  {
    line: 'create token a --duration=1m',
    want: /TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 60: may not/,
    from: 24,
    fails: true,
  },
  {
    line: 'create token a --duration=9000h',
    want: /requested expiration of 32400000 seconds shortened to 31536000 seconds/,
    from: 24,
  },
  { line: 'create role r --verb=get --resource=pods', want: /created/ },
  { line: 'create rolebinding b --role=r --serviceaccount=default:a', want: /created/ },
  { line: 'set subject rolebinding b --user=alice', want: /subjects updated/ },
  { line: 'create clusterrole kubectl-verbs --verb=get,list --resource=pods', want: /created/ },
  { line: 'create clusterrolebinding kubectl-verbs --clusterrole=kubectl-verbs --user=bob', want: /created/ },
  // Older ones ask for batch/v1beta1 and policy/v1beta1, which Kubernetes does not serve any more.
  { line: 'create cronjob every --image=busybox --schedule=@yearly -- date', want: /created/, from: 21 },
  { line: 'create job now --from=cronjob/every', want: /created/, from: 21 },
  { line: 'create job once --image=busybox -- date', want: /created/ },
  { line: 'create ingress i --rule=foo.com/bar=web:80', want: /created/ },
  { line: 'create poddisruptionbudget p --selector=app=other --min-available=1', want: /created/, from: 21 },
  { line: 'create priorityclass urgent --value=1000', want: /created/ },
  { line: 'create service clusterip s1 --tcp=80:80', want: /created/ },
  { line: 'create service nodeport s2 --tcp=80:80', want: /created/ },
  { line: 'create service loadbalancer s3 --tcp=80:80', want: /created/ },
  { line: 'create service externalname s4 --external-name=example.com', want: /created/ },
  { line: 'apply -f FILE', want: /configmap\/applied created/ },
  { line: 'apply view-last-applied configmap/applied', want: /a: first/ },
  { line: 'apply edit-last-applied configmap/applied', want: /edited|no changes/i },
  { line: 'apply set-last-applied -f FILE', want: /configured|no changes/ },
  { line: 'diff -f FILE', want: /^$/ },
  { line: 'edit configmap applied', want: /edited/ },
  { line: 'diff -f FILE', want: /a: (first|second)/, fails: true },
  { line: 'replace -f FILE', want: /replaced/ },
  { line: 'replace --force -f FILE', want: /replaced/ },
  { line: 'apply --server-side --force-conflicts -f FILE', want: /serverside-applied/ },
  { line: 'delete -f FILE', want: /deleted/ },
  { line: 'get roles,rolebindings,cronjobs,jobs,ingresses,pdb,priorityclasses,quota', want: /urgent/ },
  { line: 'describe service s1', want: /Type:\s+ClusterIP/ },
  { line: 'describe namespace n', want: /Status:\s+Active/ },
  { line: 'describe node server-0', want: /Allocatable:/ },
];

const server: readonly Step[] = [
  { line: 'api-resources', want: /servicecidrs.*ServiceCIDR/ },
  { line: 'api-resources --verbs=list --namespaced -o name', want: /pods/ },
  { line: 'api-versions', want: /networking.k8s.io\/v1/ },
  { line: 'version', want: /Server Version/ },
  { line: 'cluster-info', want: /is running at/ },
  { line: 'cluster-info dump', want: /NodeList/ },
  { line: 'auth can-i create pods', want: /yes/ },
  { line: 'auth can-i --list', want: /\*\.\*/ },
  { line: 'auth whoami', want: /fairlead-admin/, from: 28 },
  { line: 'explain pods.spec.containers', want: /FIELDS?:[\s\S]*image[\s\S]*The image, as in docker.io/ },
  { line: 'explain service.spec.clusterIP', want: /Its address within the cluster/ },
  { line: 'explain deployments --recursive', want: /revisionHistoryLimit/ },
  {
    line: 'get componentstatuses',
    want: /controller-manager\s+Healthy\s+ok[\s\S]*etcd-0[\s\S]*scheduler\s+Healthy/,
  },
  {
    line: 'get endpoints',
    want: /Warning: v1 Endpoints is deprecated in v1.33\+; use discovery.k8s.io\/v1 EndpointSlice/,
  },
  {
    line: 'get priorityclasses',
    want: /system-cluster-critical +2000000000 +false[\s\S]*system-node-critical +2000001000 +false/,
  },
  { line: 'get servicecidrs', want: /kubernetes\s+10\.43\.0\.0\/16/ },
  { line: 'get ipaddresses', want: /10\.43\.0\.1\s+services\/default\/kubernetes/ },
  { line: 'get storageclasses,csidrivers,csinodes,volumeattachments', want: /No resources found/ },
  { line: 'get --raw /readyz', want: /ok/ },
  { line: 'top nodes', want: /server-0\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%/ },
  { line: 'top node agent-0 --no-headers', want: /^agent-0\s/ },
  { line: 'get --raw /apis/metrics.k8s.io/v1beta1/nodes/agent-0', want: /"kind":"NodeMetrics"/ },
  { line: 'get nodes.metrics.k8s.io', want: /NAME\s+CPU\s+MEMORY\s+WINDOW\nagent-0\s/ },
  { line: 'get apiservices v1beta1.metrics.k8s.io', want: /Local\s+True/ },
];

for (const { version, path } of findKubectls()) {
  const minor = Number(version.split('.')[1] ?? '99');
  test(`kubectl ${version}: every verb`, { timeout: 300_000 }, async () => {
    await using cluster = await startCluster();
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-verbs-'));
    const file = join(folder, 'applied.json');
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data: { a: 'first' } };
    writeFileSync(file, JSON.stringify(map));
    const env = { KUBE_EDITOR: 'sed -i s/first/second/', HOME: folder };
    const perform = async (steps: readonly Step[]): Promise<void> => {
      for (const { line, want, from = 0, fails } of steps) {
        if (minor < from) continue;
        const args = line.split(' ').map((word) => (word === 'FILE' ? file : word));
        const all = [`--kubeconfig=${cluster.kubeconfig}`, `--cache-dir=${folder}/cache`, ...args];
        const attempt = async (): Promise<void> => {
          const { code, stdout, stderr } = await run(path, all, { env });
          const printed = stdout + stderr;
          const isWatch = line.includes('--watch'); // ends by its own timeout, which some versions call a failure
          if (!isWatch) assert.equal(code !== 0, fails === true, `kubectl ${line}: ${code}\n${printed}`);
          if (want !== undefined) assert.match(printed, want, `kubectl ${line}`);
        };
        // A kubelet that is too busy to tell in time is left out of what `top` shows.
        await (line.startsWith('top ') ? eventually(attempt) : attempt());
      }
    };
    try {
      await Promise.all([
        perform(workload),
        perform(objects),
        perform(server),
        certificates(path, cluster.kubeconfig, folder),
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

/** Asks for a certificate, has it approved, and signs in with it; another one is denied. */
async function certificates(path: string, kubeconfig: string, folder: string): Promise<void> {
  const kubectl = (...args: readonly string[]): Promise<string> =>
    runOk(path, [`--kubeconfig=${kubeconfig}`, `--cache-dir=${folder}/cache`, ...args]);
  const requestFor = async (name: string): Promise<string> => {
    const { base64, key } = certificateRequest({ commonName: name, organizations: ['dev'] });
    const file = join(folder, `${name}.json`);
    writeFileSync(join(folder, `${name}.key`), key);
    writeFileSync(
      file,
      JSON.stringify({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name },
        spec: {
          request: base64,
          signerName: 'kubernetes.io/kube-apiserver-client',
          usages: ['client auth'],
          expirationSeconds: 3600,
        },
      }),
    );
    return kubectl('apply', '-f', file);
  };
  assert.match(await requestFor('jane'), /certificatesigningrequest.certificates.k8s.io\/jane created/);
  await requestFor('joe');
  assert.match(
    await kubectl('get', 'csr', 'jane'),
    /jane\s.*kube-apiserver-client\s+fairlead-admin\s+60m\s+Pending/,
  );
  assert.match(await kubectl('certificate', 'deny', 'joe'), /joe denied/);
  assert.match(await kubectl('certificate', 'approve', 'jane'), /jane approved/);
  const issued = await eventually(async () => {
    const text = await kubectl('get', 'csr', 'jane', '-o', 'jsonpath={.status.certificate}');
    assert.notEqual(text, '', 'the certificate of jane is there');
    return Buffer.from(text, 'base64').toString();
  });
  assert.match(await kubectl('get', 'csr'), /jane\s.*Approved,Issued[\s\S]*joe\s.*Denied/);
  assert.match(await kubectl('describe', 'csr', 'jane'), /Common Name:\s+jane[\s\S]*Organization:\s+dev/);
  writeFileSync(join(folder, 'jane.crt'), issued);
  await kubectl('create', 'clusterrolebinding', 'devs', '--clusterrole=view', '--group=dev');
  const jane = join(folder, 'jane.yaml');
  writeFileSync(jane, readFileSync(kubeconfig));
  const config = ['config', `--kubeconfig=${jane}`];
  await runOk(path, [
    ...config,
    'set-credentials',
    'test',
    `--client-certificate=${folder}/jane.crt`,
    `--client-key=${folder}/jane.key`,
    '--embed-certs',
  ]);
  const asJane = (...args: readonly string[]) =>
    run(path, [`--kubeconfig=${jane}`, `--cache-dir=${folder}/jane`, ...args]);
  assert.match((await asJane('get', 'services')).stdout, /kubernetes/);
  assert.match((await asJane('get', 'nodes')).stderr, /User "jane" cannot list resource "nodes"/);
}
