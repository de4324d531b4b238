import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Ingress } from '../../src/api/gen/networking-v1.ts';
import { startEtcd, withoutEtcd } from '../support/etcd.ts';
import {
  configMaps,
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  leases,
  secrets,
  services,
} from '../../src/api/resource.ts';
import { createAuthority } from '../../src/base/certificates.ts';
import { type ApiClient, isApiError } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { startRelay } from '../support/relay.ts';
import { type ApiServerProcess, startApiServerProcess } from '../support/apiserver-process.ts';
import {
  backendNames,
  conformanceCases,
  conformanceEvents,
  conformanceIngresses,
  conformanceServices,
  ingressWithOwnDefault,
  ownDefaultCases,
} from '../support/ingress-conformance.ts';
import { enterNamespaceWith } from '../support/namespace.ts';
import {
  type Cluster,
  get,
  hostRule,
  ingress,
  localhost,
  ourClass,
  podAddress,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const skip = (await enterNamespaceWith(podAddress)) ?? false;
const options = { timeout: 300_000, skip };
const publishService = { namespace: 'default', name: 'published' } as const;
const publishedAddress = { ip: '192.0.2.7', ports: [{ port: 80, protocol: 'TCP' }] } as const;

/** Everything that the suite asks about, made through the API. */
async function createObjects(t: TestContext, admin: ApiClient): Promise<void> {
  const backends = await Promise.all(
    backendNames.map(async (name) => startBackend(t, name, undefined, '0.0.0.0')),
  );
  await admin.create(ingressClasses, ourClass());
  await admin.create(ingressClasses, {
    metadata: { name: 'other' },
    spec: { controller: 'example.com/other' },
  });
  const backing = conformanceServices(
    podAddress,
    backends.map(({ port }) => port),
  );
  await Promise.all([
    ...backing.services.map((object) => admin.create(services, object)),
    ...backing.slices.map((object) => admin.create(endpointSlices, object)),
    ...['a', 'b'].map(async (name) => admin.create(secrets, await certificateSecret(name))),
  ]);
  await admin.create(services, {
    metadata: { name: publishService.name, namespace: publishService.namespace },
    spec: { type: 'LoadBalancer', ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
  });
  await admin.patch(
    services,
    publishService.namespace,
    publishService.name,
    'merge',
    { status: { loadBalancer: { ingress: [publishedAddress] } } },
    { subresource: 'status' },
  );
  // The one that is to win is there first; the last one tells that all are.
  const made = conformanceIngresses();
  const inOrder = [made.find(isWinner), made.at(-1)] as const;
  await admin.create(ingresses, inOrder[0]!);
  const others = made.filter((object) => !inOrder.includes(object));
  await Promise.all(others.map((object) => admin.create(ingresses, object)));
  await admin.create(ingresses, inOrder[1]!);
}

const isWinner = ({ metadata }: Ingress): boolean => metadata?.name === 'conflict-a';

async function certificateSecret(name: string) {
  const nowMs = Date.now();
  const notBefore = new Date(nowMs - 60_000);
  const notAfter = new Date(nowMs + 3_600_000);
  const authority = await createAuthority(`ca-${name}`, notBefore, notAfter);
  const host = `${name}.tls.example`;
  const pair = await authority.issue({
    commonName: host,
    dnsNames: [host],
    usage: 'server',
    notBefore,
    notAfter,
  });
  return {
    metadata: { name: `cert-${name}`, namespace: 'default' },
    type: 'kubernetes.io/tls',
    data: {
      'tls.crt': Buffer.from(pair.certificate).toString('base64'),
      'tls.key': Buffer.from(pair.key).toString('base64'),
    },
  };
}

async function answer(port: number, host: string, path: string): Promise<string> {
  const { status, body } = await get(port, path, false, { host });
  return status === 200 ? body : String(status);
}

const run = promisify(execFile);
const program = fileURLToPath(new URL('../../src/cmd/fairlead.ts', import.meta.url));

async function explain(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [program, 'explain', ...args]);
  return stdout;
}

/** All requests of the suite; the last Ingress made must be served already. */
async function checkRequests(t: TestContext, { http }: Cluster, cases = conformanceCases): Promise<void> {
  for (const { name, host, path, want } of cases) {
    await t.test(name, async () => {
      assert.equal(await answer(http, host, path), want, `${host}${path}`);
    });
  }
}

/** Subject of the certificate that `serverName` is shown, and who answers a request with that Host. */
async function overTls(port: number, serverName: string, host: string): Promise<readonly [string, string]> {
  const socket = connectTls({ port, host: localhost, servername: serverName, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const subject = String(socket.getPeerCertificate().subject.CN);
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(socket, 'end');
  socket.destroy();
  return [subject, text.slice(text.lastIndexOf('\n') + 1)];
}

/** Everything that the suite asks: `admin` is who changes the objects. */
async function checkAll(t: TestContext, admin: ApiClient, cluster: Cluster): Promise<void> {
  await checkRequests(t, cluster);
  await t.test('requests of one path are spread over the endpoints of its Service', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => answer(cluster.http, 'spread.example', '/')),
    );
    assert.deepEqual([...new Set(answers)].toSorted(), ['one', 'two']);
  });
  await checkTls(t, cluster);
  await checkStatuses(t, admin);
}

async function checkTls(t: TestContext, { https, http }: Cluster): Promise<void> {
  await t.test('TLS: SNI chooses among the certificates of one port', async () => {
    assert.deepEqual(await overTls(https, 'a.tls.example', 'a.tls.example'), ['a.tls.example', 'one']);
    assert.deepEqual(await overTls(https, 'b.tls.example', 'b.tls.example'), ['b.tls.example', 'two']);
  });
  await t.test('TLS: if SNI and Host differ, SNI chooses the certificate and Host the route', async () => {
    assert.deepEqual(await overTls(https, 'a.tls.example', 'b.tls.example'), ['a.tls.example', 'two']);
  });
  await t.test('TLS: without a secretName the host is served with a certificate of ours', async () => {
    assert.deepEqual(await overTls(https, 'c.tls.example', 'c.tls.example'), ['c.tls.example', 'three']);
  });
  await t.test('TLS hosts are served over plain HTTP too unless an annotation redirects', async () => {
    assert.equal(await answer(http, 'a.tls.example', '/'), 'one');
  });
}

async function checkDefaultBackend(t: TestContext, admin: ApiClient, cluster: Cluster): Promise<void> {
  const { http } = cluster;
  await admin.create(ingresses, ingressWithOwnDefault());
  await until(async () => (await answer(http, 'own-default.example', '/one')) === 'one');
  await checkRequests(t, cluster, ownDefaultCases);
  await t.test('an Ingress without rules is the default backend of all that matches nothing', async () => {
    const backend = { service: { name: 'two', port: { number: 80 } } };
    await admin.create(ingresses, ingress('everybody', { defaultBackend: backend }));
    await until(async () => (await answer(http, 'nobody.example', '/x')) === 'two');
    assert.equal(await answer(http, 'foo.example', '/'), 'one');
    assert.equal(await answer(http, 'paths-1.example', '/bar'), 'two');
    await admin.delete(ingresses, 'default', 'everybody');
    await until(async () => (await answer(http, 'nobody.example', '/x')) === 'three');
    await admin.delete(ingresses, 'default', 'own-default');
    await until(async () => (await answer(http, 'nobody.example', '/x')) === '404');
  });
}

async function checkStatuses(t: TestContext, admin: ApiClient): Promise<void> {
  await t.test('status.loadBalancer names the address with its ports, of our Ingresses only', async () => {
    const addressesOf = async (name: string): Promise<unknown> =>
      (await admin.get(ingresses, 'default', name)).status?.loadBalancer?.ingress;
    await until(async () => (await addressesOf('tls')) !== undefined);
    for (const { metadata } of conformanceIngresses()) {
      const name = metadata?.name ?? '';
      if (/^class-(annotation-other|other|ghost)$/.test(name)) continue;
      await until(async () => (await addressesOf(name)) !== undefined);
      assert.deepEqual(await addressesOf(name), [publishedAddress], name);
    }
    assert.equal(await addressesOf('class-other'), undefined);
    assert.equal(await addressesOf('class-annotation-other'), undefined);
  });
  await t.test('Events tell of what cannot be served', async () => {
    const found = async (): Promise<readonly string[]> =>
      (await admin.list(events, { namespace: 'default' })).items.map(
        ({ involvedObject, reason }) => `${involvedObject.name} ${reason}`,
      );
    for (const [name, reason] of conformanceEvents) {
      await until(async () => (await found()).includes(`${name} ${reason}`));
    }
    assert.deepEqual(
      (await found()).filter((line) => line.startsWith('class-other') || line.startsWith('conflict-a')),
      [],
    );
  });
}

async function start(
  t: TestContext,
): Promise<{ server: ApiServerProcess; admin: ApiClient; own: ApiClient }> {
  // A foreign API server is one on an etcd, as most clusters have it; without etcd ours on SQLite stands in.
  if (withoutEtcd !== false) t.diagnostic(withoutEtcd);
  const etcd = withoutEtcd === false ? await startEtcd() : undefined;
  const server = await startApiServerProcess({ storeArguments: etcd?.storeArguments ?? [] });
  t.after(async () => {
    await server.stop();
    await etcd?.stop();
  });
  const admin = await server.client('fairlead-admin', ['system:masters']);
  // The rights that a cluster of ours gives its ingress, and no more.
  const own = await server.client('system:fairlead-ingress');
  return { server, admin, own };
}

async function served(cluster: Cluster, host: string, want: string): Promise<void> {
  await until(async () => (await answer(cluster.http, host, '/')) === want);
}

test('Ingress conformance, objects before the controller', options, async (t) => {
  const { admin, own, server } = await start(t);
  await createObjects(t, admin);
  const cluster = await startIngress(t, own, { publishService });
  await checkAll(t, admin, cluster);
  await t.test(
    'fairlead explain URL tells the same from the running ingress and from the objects',
    async () => {
      const address = `${localhost}:${cluster.health}`;
      const kubeconfig = await server.kubeconfig('fairlead-admin', ['system:masters']);
      for (const from of [
        ['--address', address],
        ['--kubeconfig', kubeconfig],
      ]) {
        const told = await explain('http://conflict.example/x', ...from);
        assert.match(
          told,
          /=> Prefix conflict.example\/ -> default\/one:80 \(Ingress default\/conflict-a\): matches\n/,
        );
        assert.match(
          told,
          /Ingress default\/conflict-b: .* is already routed by Ingress default\/conflict-a\n/,
        );
        assert.match(told, /^RESULT {5}to the one endpoint of default\/one:80$/m);
        const unknown = await explain('http://class-ghost.example/', ...from);
        assert.match(unknown, /there is no IngressClass "ghost"[^]*RESULT {5}404/);
      }
    },
  );
  await t.test('while the API server is away every route stays', async (inner) => {
    await server.kill();
    await checkRequests(inner, cluster);
  });
  await t.test('after its restart changes arrive again', async () => {
    await server.startAgain();
    const added: Ingress = ingress('added', { rules: [hostRule('added.example', 'one')] });
    await until(async () => {
      try {
        await admin.create(ingresses, added);
        return true;
      } catch {
        return false; // the client finds out that its connection is gone
      }
    });
    await served(cluster, 'added.example', 'one');
    await admin.delete(ingresses, 'default', 'added');
    await served(cluster, 'added.example', '404');
  });
  await checkDefaultBackend(t, admin, cluster);
});

test('Ingress conformance, the controller before the objects', options, async (t) => {
  const { admin, own } = await start(t);
  const cluster = await startIngress(t, own, { publishService });
  assert.equal(await answer(cluster.http, 'foo.example', '/'), '404');
  await createObjects(t, admin);
  await served(cluster, 'c.tls.example', 'three'); // the Ingress made last
  await checkAll(t, admin, cluster);
  await checkDefaultBackend(t, admin, cluster);
});

test('of two controllers one writes statuses; when it stops the other one goes on', options, async (t) => {
  const { admin, server } = await start(t);
  await createObjects(t, admin);
  const lease = { namespace: 'kube-system', name: 'fairlead-ingress' };
  const retry = { leaseDurationMs: 3000, renewDeadlineMs: 2000, retryPeriodMs: 50 };
  const stopFirst = new AbortController();
  const [first, second] = [
    await server.client('system:fairlead-ingress'),
    await server.client('system:fairlead-ingress'),
  ];
  const one = await startIngress(
    t,
    first,
    { publishService, leaderElection: { ...lease, ...retry, identity: 'one' } },
    stopFirst.signal,
  );
  const holder = async (): Promise<string | undefined> => {
    const found = await admin.list(leases, { namespace: lease.namespace });
    return found.items.find(({ metadata }) => metadata?.name === lease.name)?.spec?.holderIdentity;
  };
  await until(async () => (await holder()) === 'one');
  const two = await startIngress(t, second, {
    publishService,
    leaderElection: { ...lease, ...retry, identity: 'two' },
  });
  assert.equal(await answer(one.http, 'foo.example', '/'), 'one');
  await checkRequests(t, two); // one that does not lead serves as well
  stopFirst.abort();
  await until(async () => (await holder()) === 'two');
  await admin.create(ingresses, ingress('later', { rules: [hostRule('later.example', 'one')] }));
  await until(
    async () => (await admin.get(ingresses, 'default', 'later')).status?.loadBalancer !== undefined,
  );
  await served(two, 'later.example', 'one');
  await checkAll(t, admin, two);
  await checkDefaultBackend(t, admin, two);
});

/** More than an API server of ours remembers: 8,192 and a quarter. */
const forgottenEvents = 11_000;
const writersMax = 32;

test('a controller that was cut off for longer than the API server remembers lists again, and serves meanwhile', {
  timeout: 300_000,
  skip,
}, async (t) => {
  const { admin, server } = await start(t);
  await createObjects(t, admin);
  const config = await loadKubeconfig(await server.kubeconfig('system:fairlead-ingress'));
  const relay = await startRelay(Number(new URL(config.server).port));
  t.after(() => relay.close());
  const own = createApiClient(
    { ...config, server: `https://127.0.0.1:${relay.port}` },
    { userAgent: 'fairlead-test' },
  );
  t.after(() => own.close());
  const cluster = await startIngress(t, own, { publishService });
  await admin.create(ingresses, ingress('goes', { rules: [hostRule('goes.example', 'one')] }));
  await served(cluster, 'goes.example', 'one');
  // A write that is cut off is made again only when it has timed out.
  const hasStatus = async (): Promise<boolean> =>
    (await admin.get(ingresses, 'default', 'goes')).status?.loadBalancer?.ingress !== undefined;
  await until(hasStatus);
  await checkStatuses(t, admin);
  const { resourceVersion } = await admin.list(ingresses, {});
  relay.cut();
  await admin.delete(ingresses, 'default', 'goes');
  await admin.create(ingresses, ingress('comes', { rules: [hostRule('comes.example', 'two')] }));
  let left = forgottenEvents;
  const write = async (_: unknown, writer: number): Promise<void> => {
    const name = `busy-${writer}`;
    await admin.create(configMaps, { metadata: { name, namespace: 'default' }, data: {} });
    while (left > 0) {
      left -= 1;
      await admin.patch(configMaps, 'default', name, 'merge', { data: { n: String(left) } });
    }
  };
  await Promise.all(Array.from({ length: writersMax }).map(write));
  await assert.rejects(async () => {
    for await (const _ of admin.watch(ingresses, resourceVersion, {})) break;
  }, isExpired);
  assert.equal(await answer(cluster.http, 'goes.example', '/'), 'one', 'it serves by what it knows');
  relay.mend();
  await served(cluster, 'comes.example', 'two');
  assert.equal(await answer(cluster.http, 'goes.example', '/'), '404');
  await checkAll(t, admin, cluster);
  await checkDefaultBackend(t, admin, cluster);
});

const isExpired = (error: unknown): boolean => isApiError(error, 'Expired');
