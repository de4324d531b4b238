import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import {
  clusterIngressParameters,
  fairleadDefinitions,
  ingressParameters,
  staticResponses,
} from '../../src/api/fairlead-kinds.ts';
import type { Ingress } from '../../src/api/gen/networking-v1.ts';
import {
  configMaps,
  customResourceDefinitions,
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  services,
} from '../../src/api/resource.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { startApiServerProcess } from '../support/apiserver-process.ts';
import { enterNamespaceWith } from '../support/namespace.ts';
import { annotated, ask } from './annotation-harness.ts';
import {
  type Cluster,
  ingress,
  ourClass,
  podAddress,
  service,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const skip = (await enterNamespaceWith(podAddress)) ?? false;
const options = { timeout: 300_000, skip };

const deploy = join(import.meta.dirname, '../../deploy');

test('deploy/crds.yaml and the chart have our kinds as the program knows them', () => {
  const text = readFileSync(join(deploy, 'crds.yaml'), 'utf8');
  const written = parseAllDocuments(text).map((document) => document.toJS() as unknown);
  assert.deepEqual(written, JSON.parse(JSON.stringify(fairleadDefinitions)));
  assert.equal(readFileSync(join(deploy, 'helm/fairlead-ingress/crds/crds.yaml'), 'utf8'), text);
});

/** An API server that is a process of its own; our ingress has the rights of its role there and no more. */
async function start(t: TestContext, kinds: boolean): Promise<{ admin: ApiClient; cluster: Cluster }> {
  const server = await startApiServerProcess();
  t.after(() => server.stop());
  const admin = await server.client('fairlead-admin', ['system:masters']);
  if (kinds) await createKinds(admin);
  await admin.create(ingressClasses, ourClass());
  const cluster = await startIngress(t, await server.client('system:fairlead-ingress'), {
    publishService: undefined,
  });
  return { admin, cluster };
}

async function createKinds(admin: ApiClient): Promise<void> {
  for (const definition of fairleadDefinitions) await admin.create(customResourceDefinitions, definition);
}

/** All of the host goes to the StaticResponse of the name. */
function resourceIngress(name: string, host: string, response: string, kind = 'StaticResponse'): Ingress {
  const backend = { resource: { apiGroup: 'fairlead.dev', kind, name: response } };
  return ingress(name, { rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }] });
}

test(
  'resource backends: a StaticResponse answers with its status, headers and body, and follows its ConfigMap',
  options,
  async (t) => {
    const { admin, cluster } = await start(t, true);
    const { http } = cluster;
    const metadata = (name: string) => ({ name, namespace: 'default' });
    await admin.create(staticResponses, {
      metadata: metadata('sorry'),
      spec: {
        status: 503,
        headers: [
          { name: 'Retry-After', value: '60' },
          { name: 'Content-Type', value: 'text/html; charset=utf-8' },
        ],
        body: '<p>Später</p>',
      },
    });
    await admin.create(ingresses, resourceIngress('sorry', 'sorry.example', 'sorry'));
    await until(async () => (await ask(http, '/', { host: 'sorry.example' })).status === 503);
    const { headers, body } = await ask(http, '/any', { host: 'sorry.example' }, 'POST', 'body');
    assert.deepEqual(
      [headers['retry-after'], headers['content-type'], headers['content-length'], body],
      ['60', 'text/html; charset=utf-8', '14', '<p>Später</p>'],
    );
    assert.equal((await ask(http, '/', { host: 'sorry.example' }, 'HEAD')).body, '');
    await admin.create(ingresses, resourceIngress('page', 'page.example', 'page'));
    const reasons = async (): Promise<readonly string[]> =>
      (await admin.list(events, { namespace: 'default' })).items.map(
        ({ involvedObject, reason }) => `${involvedObject.name} ${reason}`,
      );
    await until(async () => (await reasons()).includes('page ResourceNotFound'));
    assert.equal((await ask(http, '/', { host: 'page.example' })).status, 503);
    await admin.create(staticResponses, {
      metadata: metadata('page'),
      spec: { bodyFrom: { configMapKeyRef: { name: 'pages', key: 'index' } } },
    });
    await until(async () => (await reasons()).includes('page InvalidResource'));
    const labels = { 'fairlead.dev/content': 'true' };
    await admin.create(configMaps, { metadata: { ...metadata('pages'), labels }, data: { index: 'one' } });
    const page = async (): Promise<string> => (await ask(http, '/', { host: 'page.example' })).body;
    await until(async () => (await page()) === 'one');
    await admin.patch(configMaps, 'default', 'pages', 'merge', { data: { index: 'two' } });
    await until(async () => (await page()) === 'two');
    await admin.create(ingresses, resourceIngress('bucket', 'bucket.example', 'x', 'Bucket'));
    await until(async () => (await reasons()).includes('bucket UnsupportedBackend'));
    await assert.rejects(
      admin.create(staticResponses, { metadata: metadata('bad'), spec: { status: 99, body: 'x' } }),
      /spec.status/,
    );
  },
);

test('our kinds may be absent, and may come later', options, async (t) => {
  const { admin, cluster } = await start(t, false);
  const { http } = cluster;
  await admin.create(ingresses, resourceIngress('late', 'late.example', 'late'));
  await until(async () => (await ask(http, '/', { host: 'late.example' })).status === 503);
  await createKinds(admin);
  await admin.create(staticResponses, {
    metadata: { name: 'late', namespace: 'default' },
    spec: { body: 'here' },
  });
  await until(async () => (await ask(http, '/', { host: 'late.example' })).body === 'here');
});

test(
  'IngressClass parameters: what they say holds for Ingresses that do not say otherwise, and follows changes',
  options,
  async (t) => {
    const { admin, cluster } = await start(t, true);
    const { http } = cluster;
    const echo = await startBackend(t, 'echo', undefined, '0.0.0.0');
    await admin.create(services, service('echo'));
    await admin.create(endpointSlices, slice('echo', 0, echo.port, podAddress));
    await admin.create(clusterIngressParameters, {
      metadata: { name: 'usual' },
      spec: { annotations: { 'body-size': '10', 'deny-source-range': '10.0.0.0/8' } },
    });
    await admin.create(ingressParameters, {
      metadata: { name: 'closed', namespace: 'default' },
      spec: {
        annotations: { 'deny-source-range': '127.0.0.0/8', 'permanent-redirect': '/x', 'body-size': 'much' },
      },
    });
    const reference = {
      apiGroup: 'fairlead.dev',
      kind: 'ClusterIngressParameters',
      name: 'usual',
      scope: 'Cluster',
    };
    await admin.create(ingressClasses, {
      metadata: { name: 'usual' },
      spec: { controller: 'fairlead.dev/ingress', parameters: reference },
    });
    const own = {
      apiGroup: 'fairlead.dev',
      kind: 'IngressParameters',
      name: 'closed',
      namespace: 'default',
      scope: 'Namespace',
    };
    await admin.create(ingressClasses, {
      metadata: { name: 'closed' },
      spec: { controller: 'fairlead.dev/ingress', parameters: own },
    });
    const foreign = { apiGroup: 'example.com', kind: 'Config', name: 'x', scope: 'Cluster' };
    await admin.create(ingressClasses, {
      metadata: { name: 'foreign' },
      spec: { controller: 'fairlead.dev/ingress', parameters: foreign },
    });
    const of = (className: string, made: Ingress): Ingress => ({
      ...made,
      spec: { ...made.spec, ingressClassName: className },
    });
    await admin.create(ingresses, of('usual', annotated('a', 'a.example', {})));
    await admin.create(ingresses, of('usual', annotated('b', 'b.example', { 'body-size': '20' })));
    await admin.create(ingresses, of('closed', annotated('c', 'c.example', {})));
    await admin.create(ingresses, of('foreign', annotated('d', 'd.example', {})));
    const post = async (host: string): Promise<number> =>
      (await ask(http, '/', { host }, 'POST', 'x'.repeat(15))).status;
    await until(async () => (await post('d.example')) === 200);
    assert.deepEqual(
      [await post('a.example'), await post('b.example'), await post('c.example')],
      [413, 200, 403],
    );
    const told = async (): Promise<readonly string[]> =>
      (await admin.list(events, {})).items
        .filter(({ reason }) => reason === 'InvalidParameters')
        .map(
          ({ involvedObject, message = '' }) =>
            `${involvedObject.name} ${/: ([a-z-]+ is for|.*body-size|Config of)/.exec(message)?.[1] ?? message}`,
        );
    await until(async () => (await told()).length === 3);
    assert.match(
      (await told()).toSorted().join('; '),
      /^closed .*body-size; closed permanent-redirect is for; foreign Config of$/,
    );
    await admin.patch(clusterIngressParameters, undefined, 'usual', 'merge', {
      spec: { annotations: { 'body-size': '30' } },
    });
    await until(async () => (await post('a.example')) === 200);
  },
);
