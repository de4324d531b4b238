import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { after, before, test } from 'node:test';
import { endpointSlices, services } from '../../src/api/resource.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { type Kubectl, kubectlOf } from '../support/kubectl.ts';
import { enterNewNetworkNamespace } from '../support/namespace.ts';
import { eventually, runOk } from '../support/shell.ts';

/** APIServices: the list, and a group version that a real HTTPS server at a Pod's address answers for. */

const podAddress = '10.42.9.7';
const group = 'metrics.example.com';
const kubectls = findKubectls();
const [found] = kubectls.slice(-1);
const missing = found === undefined ? 'no kubectl on PATH' : await enterNewNetworkNamespace();
const skip = missing ?? false;

let server: TestApiServer;
let client: ApiClient;
let k: Kubectl;
let extension: Server;
let caBundle: string;
let answers = true;

before(async () => {
  if (skip !== false) return;
  await runOk('ip', ['link', 'set', 'lo', 'up']);
  await runOk('ip', ['address', 'add', `${podAddress}/32`, 'dev', 'lo']);
  server = await startApiServer();
  const kubeconfig = server.kubeconfig('admin', server.admin);
  client = createApiClient(await loadKubeconfig(kubeconfig));
  k = kubectlOf(found?.path ?? '', kubeconfig, server.folder);
  caBundle = Buffer.from(server.pki.server.caCert).toString('base64');
  extension = await startExtension();
});
after(async () => {
  if (skip !== false) return;
  extension.closeAllConnections();
  await new Promise((resolve) => extension.close(resolve));
  client.close();
  await server.stop();
});

/** Serves `loads`, each of which tells who asked. */
async function startExtension(): Promise<Server> {
  const nowMs = Date.now();
  const pair = await server.pki.authority.issue({
    commonName: 'extension',
    dnsNames: ['metrics.kube-system.svc'],
    addresses: [],
    usage: 'server',
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + 3_600_000),
  });
  const made = createServer(
    { cert: pair.certificate, key: pair.key, ca: server.pki.server.caCert, requestCert: true },
    (request, response) => {
      const body = answers ? answerOf(request) : undefined;
      response.writeHead(body === undefined ? 500 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body ?? {}));
    },
  );
  made.on('upgrade', (request, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.write(`${String(request.headers['x-remote-user'])} ${request.url}\n`);
    socket.pipe(socket);
  });
  made.listen(0, podAddress);
  await once(made, 'listening');
  return made;
}

function answerOf(request: IncomingMessage): object | undefined {
  const apiVersion = `${group}/v1beta1`;
  const [path = ''] = (request.url ?? '').split('?');
  if (path === `/apis/${group}/v1beta1`) {
    const resource = {
      name: 'loads',
      singularName: 'load',
      namespaced: true,
      kind: 'Load',
      shortNames: ['ld'],
    };
    const resources = [{ ...resource, verbs: ['get', 'list'] }];
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersion, resources };
  }
  if (path.startsWith(metricsPath)) return metricsOf(path);
  if (path.startsWith('/openapi/')) return openApiOf(path);
  const metadata = { name: 'one', namespace: 'default' };
  const proof = (request.socket as TLSSocket).getPeerCertificate();
  const load = {
    apiVersion,
    kind: 'Load',
    metadata,
    user: request.headers['x-remote-user'],
    groups: request.headers['x-remote-group'],
    proof: (request.socket as TLSSocket).authorized ? proof.subject.CN : 'none',
    authorization: request.headers.authorization ?? 'none',
    path: request.url,
  };
  return path.endsWith('/loads') ? { apiVersion, kind: 'LoadList', metadata: {}, items: [load] } : load;
}

const metricsPath = '/apis/metrics.k8s.io/v1beta1';

/** As a metrics-server answers, with Nodes alone. */
function metricsOf(path: string): object {
  const groupVersion = 'metrics.k8s.io/v1beta1';
  if (path === metricsPath) {
    const nodes = { name: 'nodes', singularName: '', namespaced: false, kind: 'NodeMetrics' };
    const resources = [{ ...nodes, verbs: ['get', 'list'] }];
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
  }
  return { kind: 'NodeMetricsList', apiVersion: groupVersion, metadata: { selfLink: 'theirs' }, items: [] };
}

/** Of version 2 a document with more in it than the group version that is asked for. */
function openApiOf(path: string): object | undefined {
  const place = `apis/${group}/v1beta1`;
  const schema = {
    description: 'Load is how busy something is.',
    type: 'object',
    properties: { user: { description: 'Who asked.', type: 'string' } },
    'x-kubernetes-group-version-kind': [{ group, version: 'v1beta1', kind: 'Load' }],
  };
  const name = 'com.example.Load';
  const operation = (reference: object): object => ({
    get: {
      responses: { 200: { description: 'OK', ...reference } },
      'x-kubernetes-action': 'get',
      'x-kubernetes-group-version-kind': { group, version: 'v1beta1', kind: 'Load' },
    },
  });
  const named = `/${place}/namespaces/{namespace}/loads/{name}`;
  switch (path) {
    case '/openapi/v3':
      return { paths: { [place]: { serverRelativeURL: `/openapi/v3/${place}?hash=1` } } };
    case `/openapi/v3/${place}`: {
      const content = { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } };
      return {
        openapi: '3.0.0',
        info: { title: 'metrics', version: '1' },
        paths: { [named]: operation({ content }) },
        components: { schemas: { [name]: schema } },
      };
    }
    case '/openapi/v2':
      return {
        swagger: '2.0',
        info: { title: 'metrics', version: '1' },
        paths: { [named]: operation({ schema: { $ref: `#/definitions/${name}` } }), '/version/': {} },
        definitions: { [name]: schema, 'com.example.Unused': { type: 'object' } },
      };
    default:
      return undefined;
  }
}

function apiService(spec: object, name = `v1beta1.${group}`): object {
  const [version = '', ...rest] = name.split('.');
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name },
    spec: { group: rest.join('.'), version, groupPriorityMinimum: 100, versionPriority: 100, ...spec },
  };
}

const service = { namespace: 'kube-system', name: 'metrics' };

async function available(want: RegExp): Promise<void> {
  await eventually(async () => assert.match(await k.ok(`get apiservice v1beta1.${group}`), want), {
    everyMs: 100,
  });
}

test('APIServices: the local ones are listed, and those of definitions come and go', { skip }, async () => {
  const list = await k.ok('get apiservices');
  assert.match(list, /NAME +SERVICE +AVAILABLE +AGE/);
  assert.match(list, /^v1\. +Local +True /m);
  assert.match(list, /^v1\.apps +Local +True /m);
  const definition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'gears.example.org' },
    spec: {
      group: 'example.org',
      scope: 'Namespaced',
      names: { plural: 'gears', kind: 'Gear' },
      versions: [
        { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } },
      ],
    },
  };
  await k.ok(`create -f ${k.file(definition)}`);
  await eventually(async () => assert.match(await k.ok('get apiservice v1.example.org'), /Local +True/));
  await k.ok('delete crd gears.example.org');
  await eventually(async () => assert.match(await k.fails('get apiservice v1.example.org'), /not found/));
});

test('APIServices: a Service answers for a group version, as the user who asked', { skip }, async () => {
  await k.ok(`create -f ${k.file(apiService({ service, caBundle }))}`);
  await available(/kube-system\/metrics +False \(ServiceNotFound\)/);
  assert.match(await k.fails(`get --raw /apis/${group}/v1beta1/loads`), /not found|ServiceUnavailable/);
  await client.create(services, {
    metadata: service,
    spec: { ports: [{ port: 443, targetPort: 6443 }] },
  });
  await available(/False \(MissingEndpoints\)/);
  const { port } = extension.address() as AddressInfo;
  await client.create(endpointSlices, {
    metadata: { ...service, labels: { 'kubernetes.io/service-name': 'metrics' } },
    addressType: 'IPv4',
    ports: [{ name: '', port, protocol: 'TCP' }],
    endpoints: [{ addresses: [podAddress] }],
  });
  await available(/kube-system\/metrics +True /);
  assert.match(await k.ok('api-resources'), new RegExp(`loads +ld +${group}/v1beta1 +true +Load`));
  assert.match(await k.ok('get ld one'), /NAME +AGE\none /);
  const load = JSON.parse(await k.ok('get loads one -o json')) as Record<string, unknown>;
  assert.deepEqual(
    [load['user'], load['groups'], load['proof'], load['authorization'], load['path']],
    [
      'fairlead-admin',
      'system:masters, system:authenticated',
      'kube-apiserver-kubelet-client',
      'none',
      `/apis/${group}/v1beta1/namespaces/default/loads/one`,
    ],
  );
  assert.match(await k.ok('get loads -A -o name'), new RegExp(`load.${group}/one`));
  assert.match(
    await k.fails('get loads --as=eve'),
    /loads.metrics.example.com is forbidden: User "eve" cannot list/,
  );
  assert.match(
    await k.ok('get configmap extension-apiserver-authentication -n kube-system -o yaml'),
    /requestheader-allowed-names: '\["kube-apiserver-kubelet-client"\]'/,
  );
});

test('OpenAPI of another server is served beside ours, to kubectl explain by both versions', {
  skip,
}, async () => {
  for (const { path } of kubectls) {
    const each = kubectlOf(path, server.kubeconfig('admin', server.admin), server.folder);
    assert.match(await each.ok('explain loads'), /Load is how busy something is\./);
    assert.match(await each.ok('explain loads.user'), /Who asked\./);
    assert.match(await each.ok('explain pods.spec'), /containers/);
  }
  const { paths, definitions } = JSON.parse(await k.ok('get --raw /openapi/v2')) as {
    paths: Record<string, unknown>;
    definitions: Record<string, unknown>;
  };
  assert.deepEqual(
    Object.keys(paths).filter((path) => path.includes(group)),
    [`/apis/${group}/v1beta1/namespaces/{namespace}/loads/{name}`],
  );
  assert.ok(Object.hasOwn(definitions, 'com.example.Load'));
  assert.ok(!Object.hasOwn(definitions, 'com.example.Unused'), 'only what the group version leads to');
});

test('an upgrade for another server reaches it as the user who asked', { skip }, async () => {
  const path = `/apis/${group}/v1beta1/namespaces/default/loads/one/follow?tty=true`;
  const sending = request({
    ...{ host: '127.0.0.1', port: server.port, path, ca: server.pki.server.caCert },
    ...{ cert: server.admin.certificate, key: server.admin.key },
    headers: { connection: 'Upgrade', upgrade: 'echo' },
  });
  sending.end();
  const [answer, socket] = (await once(sending, 'upgrade')) as [IncomingMessage, Duplex];
  assert.equal(answer.statusCode, 101);
  socket.write('one\n');
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.endsWith('one\n')) break;
  }
  assert.equal(text, `fairlead-admin ${path}\none\n`);
});

test('APIServices: a server that fails, one that cannot be trusted, and none any more', {
  skip,
}, async () => {
  answers = false;
  await k.ok(`label apiservice v1beta1.${group} look=again`);
  await available(/False \(FailedDiscoveryCheck\)/);
  answers = true;
  await available(/True /);
  const other = Buffer.from((await server.pki.serving('other')).certificate).toString('base64');
  await k.ok(`apply -f ${k.file(apiService({ service, caBundle: other }))}`);
  await available(/False \(FailedDiscoveryCheck\)/);
  assert.match(
    await k.fails(`get --raw /apis/${group}/v1beta1/loads`),
    /error trying to reach service|ServiceUnavailable/,
  );
  await k.ok(`replace -f ${k.file(apiService({ service, insecureSkipTLSVerify: true }))}`);
  await available(/True /);
  await k.ok('get loads');
  await k.ok(`delete apiservice v1beta1.${group}`);
  assert.match(await k.fails(`get --raw /apis/${group}/v1beta1/loads`), /NotFound|not find/);
});

test('APIServices: a metrics-server takes metrics.k8s.io over, and gives it back', { skip }, async () => {
  const name = 'v1beta1.metrics.k8s.io';
  const pods = /^pods +metrics.k8s.io\/v1beta1 +true +PodMetrics/m;
  await eventually(async () => assert.match(await k.ok(`get apiservice ${name}`), /Local +True/));
  assert.match(await k.ok('api-resources'), pods);
  await k.ok(`apply -f ${k.file(apiService({ service, caBundle }, name))}`);
  await eventually(async () => assert.match(await k.ok(`get apiservice ${name}`), /metrics +True/));
  assert.match(await k.ok(`get --raw ${metricsPath}/nodes`), /theirs/);
  const resources = await k.ok('api-resources');
  assert.match(resources, /^nodes +metrics.k8s.io\/v1beta1 +false +NodeMetrics/m);
  assert.doesNotMatch(resources, pods);
  await k.ok(`delete apiservice ${name}`);
  await eventually(async () => assert.match(await k.ok(`get apiservice ${name}`), /Local +True/));
  assert.match(await k.ok(`get --raw ${metricsPath}/nodes`), /"items":\[\]/);
});

test('APIServices: what cannot be one is refused', { skip }, async () => {
  assert.match(
    await k.fails(`create -f ${k.file(apiService({ service }, 'v1.apps'))}`),
    /already exists|this server serves the group version itself/,
  );
  assert.match(
    await k.fails(
      `patch apiservice v1.apps --type=merge -p {"spec":{"service":{"namespace":"a","name":"b"}}}`,
    ),
    /this server serves the group version itself/,
  );
  const refusal = await k.fails(
    `create -f ${k.file(apiService({ service: { name: 'x' }, caBundle, insecureSkipTLSVerify: true, versionPriority: 0 }))}`,
  );
  assert.match(refusal, /spec.service.namespace: Required value/);
  assert.match(
    refusal,
    /spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present/,
  );
  assert.match(refusal, /spec.versionPriority: Invalid value: 0: must be positive and less than 1000/);
});
