import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { objectAt, objectsAt, stringAt, stringsAt } from '../../src/api/fields.ts';
import type { JsonObject, KubeObject } from '../../src/api/object.ts';
import type { Resource } from '../../src/api/resource.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { type Kubectl, kubectlOf } from '../support/kubectl.ts';
import { startWebhook, type TestWebhook } from '../support/webhook.ts';

/** CustomResourceDefinitions whose versions a webhook turns into each other: a real HTTPS server on loopback. */

const [found] = findKubectls().slice(-1);
const skip = found === undefined ? 'no kubectl on PATH' : false;
const group = 'stable.example.com';

let server: TestApiServer;
let client: ApiClient;
let k: Kubectl;
let webhook: TestWebhook;

before(async () => {
  if (skip !== false) return;
  server = await startApiServer();
  const kubeconfig = server.kubeconfig('admin', server.admin);
  k = kubectlOf(found?.path ?? '', kubeconfig, server.folder);
  client = createApiClient(await loadKubeconfig(kubeconfig));
  webhook = await startWebhook(server.pki);
  webhook.handle('/convert', (request) => answer(request, convert));
});
after(async () => {
  if (skip !== false) return;
  await webhook.stop();
  client.close();
  await server.stop();
});

type Site = KubeObject & { readonly spec?: Readonly<Record<string, unknown>> };

function sites(version: string): Resource<Site> {
  return { group, version, plural: 'sites', kind: 'Site', namespaced: true };
}

/** v1 has one host and port in a text, v2 has them apart. */
function convert(object: JsonObject, apiVersion: string): JsonObject {
  const spec = objectAt(object, 'spec') ?? {};
  const [host = '', port = ''] = stringAt(spec, 'address').split(':');
  return {
    ...object,
    apiVersion,
    spec: apiVersion.endsWith('/v1')
      ? { address: `${stringAt(spec, 'host')}:${stringAt(spec, 'port')}` }
      : { host, port, extra: 'dropped by the schema' },
  };
}

function answer(
  request: JsonObject,
  change: (object: JsonObject, apiVersion: string) => JsonObject,
): JsonObject {
  const convertedObjects = objectsAt(request, 'objects').map((object) =>
    change(object, stringAt(request, 'desiredAPIVersion')),
  );
  return review(request, { convertedObjects, result: { status: 'Success' } });
}

function review(request: JsonObject, response: JsonObject): JsonObject {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'ConversionReview',
    response: { uid: stringAt(request, 'uid'), ...response },
  };
}

function definition(storage: 'v1' | 'v2', path = '/convert'): object {
  const text = { type: 'string' };
  const schema = (properties: object): object => ({
    openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties } } },
  });
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `sites.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'sites', kind: 'Site' },
      conversion: {
        strategy: 'Webhook',
        webhook: {
          conversionReviewVersions: ['v1'],
          clientConfig: { url: webhook.url(path), caBundle: webhook.caBundle },
        },
      },
      versions: [
        {
          ...{ name: 'v1', served: true, storage: storage === 'v1', schema: schema({ address: text }) },
          additionalPrinterColumns: [{ name: 'Address', type: 'string', jsonPath: '.spec.address' }],
        },
        {
          ...{ name: 'v2', served: true, storage: storage === 'v2' },
          schema: schema({ host: text, port: { ...text, default: '80' } }),
          selectableFields: [{ jsonPath: '.spec.host' }],
          additionalPrinterColumns: [{ name: 'Host', type: 'string', jsonPath: '.spec.host' }],
        },
      ],
    },
  };
}

function site(version: string, name: string, spec: object): object {
  const metadata = { name, namespace: 'default', labels: { site: name } };
  return { apiVersion: `${group}/${version}`, kind: 'Site', metadata, spec };
}

const apply = (object: object, ...flags: readonly string[]): Promise<string> =>
  k.ok(`apply ${flags.join(' ')} -f ${k.file(object)}`);

test('conversion by webhook: every verb in every version, stored in one', { skip }, async () => {
  await apply(definition('v1'));
  await apply(site('v1', 'one', { address: 'a.example.com:81' }));
  await apply(site('v2', 'two', { host: 'b.example.com' }));
  const specs = async (version: string): Promise<unknown> =>
    (await client.list(sites(version), { namespace: 'default' })).items.map(({ apiVersion, spec }) => ({
      apiVersion,
      spec,
    }));
  assert.deepEqual(await specs('v1'), [
    { apiVersion: `${group}/v1`, spec: { address: 'a.example.com:81' } },
    { apiVersion: `${group}/v1`, spec: { address: 'b.example.com:80' } },
  ]);
  assert.deepEqual(await specs('v2'), [
    { apiVersion: `${group}/v2`, spec: { host: 'a.example.com', port: '81' } },
    { apiVersion: `${group}/v2`, spec: { host: 'b.example.com', port: '80' } },
  ]);
  assert.match(await k.ok('get sites'), /NAME +HOST\none +a.example.com\ntwo +b.example.com/);
  assert.match(await k.ok('get sites.v1.stable.example.com one'), /NAME +ADDRESS\none +a.example.com:81/);
  assert.match(
    await k.ok('get sites --field-selector=spec.host=b.example.com -o name'),
    /^site.stable.example.com\/two$/,
  );

  await k.ok(`patch sites.v2.stable.example.com one --type=merge -p {"spec":{"port":"8080"}}`);
  assert.equal((await client.get(sites('v1'), 'default', 'one')).spec?.['address'], 'a.example.com:8080');
  await apply(site('v2', 'two', { host: 'c.example.com', port: '90' }), '--server-side', '--force-conflicts');
  assert.equal((await client.get(sites('v1'), 'default', 'two')).spec?.['address'], 'c.example.com:90');
  await apply(site('v1', 'two', { address: 'd.example.com:91' }));
  await k.ok('label sites.v2.stable.example.com two seen=yes');
  assert.deepEqual((await client.get(sites('v2'), 'default', 'two')).spec, {
    host: 'd.example.com',
    port: '91',
  });
  await k.ok('delete sites.v2.stable.example.com one');
  assert.deepEqual(
    (await client.list(sites('v1'))).items.map(({ metadata }) => metadata?.name),
    ['two'],
  );
});

test('conversion by webhook: a watch shows every change in its version', { skip }, async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const { resourceVersion } = await client.list(sites('v2'), { namespace: 'default' });
  const watching = (async () => {
    const events = client.watch(sites('v2'), resourceVersion, { namespace: 'default', signal: stop.signal });
    for await (const event of events) {
      if (event.type === 'BOOKMARK') continue;
      seen.push(`${event.type} ${event.object.apiVersion} ${String(event.object.spec?.['host'])}`);
      if (event.type === 'DELETED') break;
    }
  })();
  await apply(site('v1', 'three', { address: 'x.example.com:1' }));
  await apply(site('v1', 'three', { address: 'y.example.com:1' }));
  await k.ok('delete sites.v1.stable.example.com three');
  await watching;
  stop.abort();
  assert.deepEqual(seen, [
    `ADDED ${group}/v2 x.example.com`,
    `MODIFIED ${group}/v2 y.example.com`,
    `DELETED ${group}/v2 y.example.com`,
  ]);
});

test('conversion by webhook: another storage version; what is stored in the old one stays readable', {
  skip,
}, async () => {
  await apply(definition('v2'));
  assert.deepEqual((await client.get(sites('v2'), 'default', 'two')).spec, {
    host: 'd.example.com',
    port: '91',
  });
  await apply(site('v1', 'four', { address: 'e.example.com:5' }));
  const before = webhook.calls.length;
  assert.deepEqual((await client.get(sites('v2'), 'default', 'four')).spec, {
    host: 'e.example.com',
    port: '5',
  });
  assert.equal(webhook.calls.length, before, 'what is stored as it is asked for is not converted');
  const { status } = JSON.parse(await k.ok(`get crd sites.${group} -o json`)) as { status: JsonObject };
  assert.deepEqual(stringsAt(status, 'storedVersions'), ['v1', 'v2']);
});

const broken: readonly {
  readonly name: string;
  readonly answer: (request: JsonObject) => JsonObject;
  readonly want: RegExp;
}[] = [
  {
    name: 'a refusal',
    answer: (request) => review(request, { result: { status: 'Failed', message: 'no way back' } }),
    want: /Error from server: conversion webhook for stable.example.com\/v2, Kind=Site failed: no way back/,
  },
  {
    name: 'too few objects',
    answer: (request) => review(request, { convertedObjects: [], result: { status: 'Success' } }),
    want: /webhook returned 0 objects, expected 1/,
  },
  {
    name: 'another version',
    answer: (request) => answer(request, (object) => object),
    want: /invalid groupVersion \(expected stable.example.com\/v1, received stable.example.com\/v2\)/,
  },
  {
    name: 'another name',
    answer: (request) =>
      answer(request, (object, apiVersion) => ({ ...object, apiVersion, metadata: { name: 'other' } })),
    want: /must preserve metadata.name/,
  },
  {
    name: 'another uid of the review',
    answer: (request) => ({ ...answer(request, convert), response: { uid: 'x' } }),
    want: /expected response.uid=/,
  },
];

for (const { name, answer: handler, want } of broken) {
  test(`conversion by webhook: ${name}`, { skip }, async () => {
    webhook.handle('/broken', handler);
    await apply(definition('v2', '/broken'));
    assert.match(await k.fails('get sites.v1.stable.example.com four'), want);
    assert.match(await k.ok('get sites.v2.stable.example.com four -o name'), /four/);
    await apply(definition('v2'));
    await k.ok('get sites.v1.stable.example.com four');
  });
}

test('conversion by webhook: a definition without a usable webhook is refused', { skip }, async () => {
  const bad = structuredClone(definition('v1')) as { spec: { conversion: Record<string, unknown> } };
  bad.spec.conversion = { strategy: 'Webhook' };
  assert.match(
    await k.fails(`apply -f ${k.file(bad)}`),
    /spec.conversion.webhook: Required value: required when strategy is set to Webhook/,
  );
  bad.spec.conversion = {
    strategy: 'Webhook',
    webhook: { conversionReviewVersions: ['v9'], clientConfig: { url: 'http://a' } },
  };
  assert.match(
    await k.fails(`apply -f ${k.file(bad)}`),
    /'https' is the only allowed URL scheme[^]*must include at least one of v1, v1beta1/,
  );
});
