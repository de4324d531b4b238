import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { eventually, type RunResult, run, runOk } from '../support/shell.ts';

/** The API server alone, as each kubectl that is installed meets it. No controllers, no nodes. */

const kubectls = findKubectls();
const skip = kubectls.length === 0 ? 'no kubectl on PATH' : false;
const newest = kubectls.at(-1)?.path ?? 'kubectl';

let server: TestApiServer;
let admin: string;

before(async () => {
  if (skip !== false) return;
  server = await startApiServer();
  admin = server.kubeconfig('admin', server.admin);
  manifest('web.yaml', webManifest);
});
after(async () => {
  if (skip === false) await server.stop();
});

const webManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: caddy, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 80}]}
`;

function manifest(name: string, text: string): string {
  const path = join(server.folder, name);
  writeFileSync(path, text);
  return path;
}

type Kubectl = {
  /** Must succeed; standard output without the line end. */
  ok(line: string): Promise<string>;
  /** Must fail; standard error. */
  fails(line: string): Promise<string>;
};

/** Arguments are split at spaces; a part in '…' stays whole. */
function kubectl(path: string, kubeconfig: string, namespace: string): Kubectl {
  const args = (line: string): readonly string[] => [
    `--cache-dir=${join(server.folder, 'cache', namespace)}`,
    `--kubeconfig=${kubeconfig}`,
    `--namespace=${namespace}`,
    ...[...line.matchAll(/'([^']*)'|\S+/g)].map((part) => part[1] ?? part[0]),
  ];
  return {
    ok: async (line) => (await runOk(path, args(line))).trim(),
    async fails(line) {
      const result: RunResult = await run(path, args(line));
      assert.notEqual(result.code, 0, `should have failed: ${line}\n${result.stdout}`);
      return result.stderr;
    },
  };
}

for (const { version, path } of kubectls) {
  test(`kubectl ${version}: the verbs of every day`, { skip }, async () => {
    const namespace = `v${version.replaceAll(/[^0-9]/g, '-')}`;
    const k = kubectl(path, admin, namespace);
    const web = join(server.folder, 'web.yaml');
    assert.match(await k.ok(`create namespace ${namespace}`), /created/);

    assert.match(await k.ok(`apply -f ${web}`), /deployment.apps\/web created\nservice\/web created/);
    assert.match(await k.ok(`apply -f ${web}`), /deployment.apps\/web unchanged\nservice\/web unchanged/);
    assert.match(await k.ok('get deployments -o wide'), /NAME +READY.*\nweb +0\/2/);
    assert.match(await k.ok('get service web'), /web +NodePort +10\.43\.\d+\.\d+ +<none> +80:3\d{4}\/TCP/);
    assert.match(await k.ok('get deployment web -o yaml'), /progressDeadlineSeconds: 600/);
    assert.match(await k.ok('describe deployment web'), /Selector: +app=web/);
    assert.match(await k.ok('describe service web'), /IP: +10\.43\./);

    await k.ok('scale deployment web --replicas=3');
    await k.ok('label deployment web tier=front');
    await k.ok('annotate deployment web note=hello');
    await k.ok(
      `patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"caddy:2"}]}}}}'`,
    );
    await k.ok(`patch deployment web --type=json -p '[{"op":"replace","path":"/spec/replicas","value":5}]'`);
    await k.ok(`patch deployment web --type=merge -p '{"metadata":{"labels":{"tier":null}}}'`);
    assert.equal(
      await k.ok(
        `get deployment web -o 'jsonpath={.spec.replicas} {.metadata.labels} {.spec.template.spec.containers[*].image}'`,
      ),
      '5 {"app":"web"} caddy:2',
    );
    assert.match(await k.ok('rollout restart deployment/web'), /restarted/);
    assert.match(await k.ok('rollout history deployment/web'), /No rollout history|REVISION/);

    assert.match(await k.ok('run shell --image=alpine --dry-run=server'), /created \(server dry run\)/);
    assert.match(await k.ok('run shell --image=alpine'), /pod\/shell created/);
    assert.match(await k.ok('get pods -o wide -l run=shell'), /shell +0\/1 +Pending +0 /);
    assert.equal(await k.ok('get pods --field-selector=status.phase=Running -o name'), '');
    assert.match(await k.ok('get pod shell -o yaml'), /kube-api-access-/);
    assert.match(await k.ok('get all'), /pod\/shell[^]*service\/web[^]*deployment.apps\/web/);
    assert.match(await k.ok('delete pod shell'), /deleted/);

    assert.equal(await k.ok('auth can-i create pods'), 'yes');
    assert.match(await k.ok('api-resources'), /deployments +deploy +apps\/v1 +true +Deployment/);
    assert.match(await k.ok('explain service.spec.ports'), /nodePort/);
    assert.match(await k.ok('version'), /v1\.36\.0\+fairlead/);
    await k.ok('create configmap settings --from-literal=a=b');
    assert.equal(await k.ok(`get configmap settings -o 'jsonpath={.data.a}'`), 'b');
    await k.ok('create deployment other --image=caddy');
    await k.ok('expose deployment web --name=again --port=8080');

    assert.match(await k.ok(`delete -f ${web}`), /"web" deleted/);
    assert.match(await k.fails('get deployment web'), /deployments\.apps "web" not found/);
  });
}

test('kubectl get --watch shows what happens', { skip }, async () => {
  const k = kubectl(newest, admin, 'default');
  const words = ['get', 'configmaps', '--watch', '-o', 'name', '--field-selector=metadata.name=seen'];
  const watching = spawn(newest, [`--kubeconfig=${admin}`, ...words], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let shown = '';
  watching.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
  });
  const linesAre = (count: number): Promise<void> =>
    eventually(() => assert.equal(shown, 'configmap/seen\n'.repeat(count)));
  try {
    await k.ok('create configmap seen');
    await linesAre(1);
    await k.ok('label configmap seen step=two');
    await linesAre(2);
    await k.ok('delete configmap seen');
    await linesAre(3);
  } finally {
    watching.kill();
  }
});

test('refusals have the words of Kubernetes', { skip }, async () => {
  const joe = kubectl(newest, server.kubeconfig('joe', await server.pki.client('joe')), 'default');
  const k = kubectl(newest, admin, 'default');
  assert.match(
    await joe.fails('get pods'),
    /pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "default"/,
  );
  assert.match(
    await joe.fails('get nodes'),
    /nodes is forbidden: User "joe" cannot list resource "nodes" in API group "" at the cluster scope/,
  );
  assert.match(
    await joe.fails('get deployment web'),
    /deployments\.apps "web" is forbidden: User "joe" cannot get resource "deployments" in API group "apps"/,
  );
  assert.match(await k.fails('run pod --image=x -n nowhere'), /namespaces "nowhere" not found/);
  const clash = manifest(
    'clash.yaml',
    'apiVersion: v1\nkind: Service\nmetadata: {name: clash}\nspec: {clusterIP: 10.43.0.1, ports: [{port: 80}]}',
  );
  assert.match(
    await k.fails(`apply -f ${clash}`),
    /The Service "clash" is invalid: spec\.clusterIPs: Invalid value: \["10\.43\.0\.1"\]: failed to allocate IP 10\.43\.0\.1: provided IP is already allocated/,
  );
});

test('a service account acts by its token and by its rights only', { skip }, async () => {
  const k = kubectl(newest, admin, 'default');
  await k.ok('create serviceaccount robot');
  const token = await k.ok('create token robot');
  const robot = kubectl(newest, server.kubeconfig('robot', { token }), 'default');
  assert.match(await robot.fails('get pods'), /system:serviceaccount:default:robot/);
  await k.ok('create rolebinding robot --clusterrole=view --serviceaccount=default:robot');
  await robot.ok('get pods');
  assert.match(await robot.fails('get secrets'), /cannot list resource "secrets"/);
  assert.equal(await k.ok('auth can-i list pods --as=system:serviceaccount:default:robot'), 'yes');
  await k.ok('delete serviceaccount robot');
  assert.match(await robot.fails('get pods'), /Unauthorized|logged in/);
});

test('what the kubelet refuses to stream is told by every kubectl', { skip }, async () => {
  const kubelet = await startKubelet();
  try {
    const k = kubectl(newest, admin, 'default');
    await k.ok(`create -f ${manifest('node.json', JSON.stringify(nodeAt(kubelet.port)))}`);
    await k.ok(
      `patch node n1 --subresource=status -p '${JSON.stringify({ status: nodeAt(kubelet.port).status })}'`,
    );
    await k.ok('run target --image=alpine');
    const binding = manifest(
      'binding.json',
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: 'target' },
        target: { kind: 'Node', name: 'n1' },
      }),
    );
    await k.ok(`create --raw /api/v1/namespaces/default/pods/target/binding -f ${binding}`);
    await k.ok(`patch pod target --subresource=status -p '{"status":{"phase":"Running"}}'`);

    assert.equal(await k.ok('logs target --tail=5'), 'log line of the kubelet');
    const streams = [
      [
        'exec target -- echo hello world',
        'SPDY/3.1 /exec/default/target/target?command=echo&command=hello&command=world&stdout=true&stderr=true',
      ],
      ['attach target', 'SPDY/3.1 /attach/default/target/target?stdout=true&stderr=true'],
      ['port-forward pod/target :80', 'SPDY/3.1 /portForward/default/target'],
    ] as const;
    for (const { path } of kubectls) {
      const each = kubectl(path, admin, 'default');
      for (const [line, want] of streams) {
        kubelet.seen.length = 0;
        assert.match(await each.fails(line), /the kubelet was here/);
        // From 1.30 on kubectl tries WebSocket, then SPDY; both come to the kubelet as SPDY.
        assert.deepEqual([...new Set(kubelet.seen)], [want], path);
      }
    }
    await k.ok('delete pod target --force --grace-period=0');
  } finally {
    await kubelet.stop();
  }
});

function nodeAt(port: number) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    },
  };
}

/** Stands in for a kubelet: notes each upgrade and refuses it with a text that kubectl shows. */
async function startKubelet(): Promise<{ port: number; seen: string[]; stop(): Promise<void> }> {
  const pair = await server.pki.serving('system:node:n1');
  const seen: string[] = [];
  const kubelet = createServer(
    {
      cert: pair.certificate,
      key: pair.key,
      ca: server.pki.server.caCert,
      requestCert: true,
      rejectUnauthorized: true,
    },
    (request, response) => {
      response.end(request.url?.startsWith('/containerLogs/') ? 'log line of the kubelet\n' : '');
    },
  );
  kubelet.on('upgrade', (request, socket) => {
    seen.push(`${request.headers.upgrade} ${request.url}`);
    const text = 'the kubelet was here';
    socket.end(
      `HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
    );
  });
  await new Promise<void>((resolve) => void kubelet.listen(0, '127.0.0.1', resolve));
  return {
    port: (kubelet.address() as AddressInfo).port,
    seen,
    stop: () =>
      new Promise((resolve) => {
        kubelet.closeAllConnections();
        kubelet.close(() => resolve());
      }),
  };
}
