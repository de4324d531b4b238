import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { silentLogger } from '../../src/base/log.ts';
import { netTransport } from '../../src/l7/transport/net-transport.ts';
import { chooseTransport } from '../../src/l7/transport/transport-choice.ts';
import { importImages, planCluster, type TestCluster } from '../support/cluster.ts';
import { eventually, missingForCluster, runOk } from '../support/shell.ts';

const missing = missingForCluster();
const manifests = readFileSync(join(import.meta.dirname, '../../deploy/ingress.yaml'), 'utf8');

/**
 * deploy/ingress.yaml as people apply it, with another class and other ports than the cluster's own ingress has, which runs
 * beside it.
 */
function withClassAndPorts(): string {
  return manifests
    .replace('--ingress-class=fairlead', '--ingress-class=second')
    .replace(
      'kind: IngressClass\nmetadata:\n  name: fairlead',
      'kind: IngressClass\nmetadata:\n  name: second',
    )
    .replaceAll('fairlead.dev/ingress', 'example.com/second')
    .replace('port: 80\n', 'port: 8080\n')
    .replace('port: 443\n', 'port: 8443\n');
}

const application = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, labels: { app: echo } }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec: { containers: [{ name: echo, image: "fairlead.dev/echo:1", imagePullPolicy: Never, ports: [{ containerPort: 8080 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: echo }
spec: { selector: { app: echo }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: echo }
spec:
  ingressClassName: second
  rules:
    - host: second.example
      http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: echo, port: { number: 80 } } } }] }
`;

describe('deploy/ingress.yaml on a cluster of ours', { skip: missing ?? false, timeout: 600_000 }, () => {
  let cluster: TestCluster;
  const ask = (port: number): Promise<string> =>
    runOk('curl', [
      '-sS',
      '-m',
      '60',
      '-w',
      ' %{http_code}',
      '-H',
      'Host: second.example',
      `http://127.0.0.1:${port}/`,
    ]);

  before(async () => {
    cluster = await planCluster({ name: `deploy${process.pid}`, ingressClass: 'fairlead' });
    await cluster.up();
    await importImages(cluster, ['echo', 'fairlead']);
  });

  after(async () => {
    await cluster.down();
  });

  test('its image runs in Pods, serves its class, writes its status, and leaves the other class alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-deploy-'));
    try {
      writeFileSync(join(folder, 'ingress.yaml'), withClassAndPorts());
      writeFileSync(join(folder, 'application.yaml'), application);
      await cluster.kubectl(`apply -f ${folder}/ingress.yaml -f ${folder}/application.yaml`);
    } finally {
      rmSync(folder, { recursive: true });
    }
    await cluster.kubectl('rollout status -n fairlead deployment/fairlead-ingress --timeout=120s');
    await eventually(async () => assert.match(await ask(cluster.ports.lb), / 200$/));
    await eventually(async () => {
      const address = await cluster.kubectl(
        'get ingress echo -o jsonpath={.status.loadBalancer.ingress[0].ip}',
      );
      assert.match(address, /^10\.41\./);
    });
    assert.match(await ask(cluster.ports.http), / 404$/, "the cluster's own ingress does not serve it");
    const holder = await cluster.kubectl(
      'get lease -n fairlead fairlead-ingress -o jsonpath={.spec.holderIdentity}',
    );
    assert.match(holder, /^fairlead-ingress-/, 'one of the Pods leads');
  });

  test('confined by our seccomp profile of type Localhost its Pods serve by io_uring', async () => {
    const profile = 'fairlead-io-uring.json';
    const folder = join(cluster.dataDir, 'nodes/server-0/seccomp');
    mkdirSync(folder, { recursive: true });
    cpSync(join(import.meta.dirname, '../../deploy/seccomp', profile), join(folder, profile));
    const transportOf = async (pod: string): Promise<string | undefined> =>
      /"transport":"(\w+)"/.exec(await cluster.kubectl(`logs -n fairlead ${pod}`))?.[1];
    const podsWith = async (type: string): Promise<readonly string[]> => {
      const query =
        '{range.items[*]}{.spec.securityContext.seccompProfile.type}/{.metadata.name}{"\\n"}{end}';
      const text = await cluster.kubectl(`get pods -n fairlead -l app=fairlead-ingress -o jsonpath=${query}`);
      return text
        .split('\n')
        .filter((line) => line.startsWith(`${type}/`))
        .map((line) => line.slice(type.length + 1));
    };
    const securityContext = { seccompProfile: { type: 'Localhost', localhostProfile: profile } };
    const patch = JSON.stringify({ spec: { template: { spec: { securityContext } } } });
    await cluster.kubectl(`patch -n fairlead deployment fairlead-ingress -p ${patch}`);
    await cluster.kubectl('rollout status -n fairlead deployment/fairlead-ingress --timeout=120s');
    const pods = await podsWith('Localhost');
    assert.equal(pods.length, 2);
    const here = (await chooseTransport('auto', silentLogger)) === netTransport ? 'net' : 'uring';
    for (const pod of pods) {
      assert.equal(await transportOf(pod), here);
      const read = `require('fs').readFileSync('/proc/1/status','latin1').match(/Seccomp:.*/)[0]`;
      const confined = await cluster.kubectl(`exec -n fairlead ${pod} -- /usr/local/bin/node -p ${read}`);
      assert.match(confined, /Seccomp:\s2/, 'a filter is in force');
    }
    await eventually(async () => assert.match(await ask(cluster.ports.lb), / 200$/));
  });
});
