/**
 * The real Traefik, by its own manifests, beside our ingress. Where it is not built (docs/other-ingress-controllers.md tells how)
 * this is skipped; ingress-other-controllers.test.ts has a stand-in.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { endpointSlices, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { startApiServerProcess } from '../support/apiserver-process.ts';
import { kubectlOf } from '../support/kubectl.ts';
import { enterNamespaceWith } from '../support/namespace.ts';
import {
  get,
  hostRule,
  ingress,
  ourClass,
  podAddress,
  service,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const binary = process.env['FAIRLEAD_TEST_TRAEFIK'];
const source = process.env['FAIRLEAD_TEST_TRAEFIK_SOURCE'];
const missing =
  'no Traefik: name its program in FAIRLEAD_TEST_TRAEFIK, its sources in FAIRLEAD_TEST_TRAEFIK_SOURCE';
const skip =
  binary === undefined || source === undefined ? missing : ((await enterNamespaceWith(podAddress)) ?? false);

const port = 8099;
const account = 'traefik-ingress-controller'; // as its manifests name it

/** An IngressRoute with a Middleware, which its custom resources are for. */
const ownKinds = [
  {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'Middleware',
    metadata: { name: 'strip', namespace: 'default' },
    spec: { stripPrefix: { prefixes: ['/api'] } },
  },
  {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'IngressRoute',
    metadata: { name: 'route', namespace: 'default' },
    spec: {
      entryPoints: ['web'],
      routes: [
        {
          match: 'Host(`crd.example`) && PathPrefix(`/api`)',
          kind: 'Rule',
          middlewares: [{ name: 'strip' }],
          services: [{ name: 'web', port: 80 }],
        },
      ],
    },
  },
];

test('Traefik serves its class, its custom resources and statuses beside our ingress, and across a restart of the API server', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const server = await startApiServerProcess();
  t.after(() => server.stop());
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-traefik-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const admin = await server.client('fairlead-admin', ['system:masters']);
  const kubeconfig = await server.kubeconfig('fairlead-admin', ['system:masters']);
  const k = kubectlOf('kubectl', kubeconfig, folder);
  const manifests = join(source ?? '', 'docs/content/reference/dynamic-configuration');
  await k.ok(`apply --server-side -f ${join(manifests, 'kubernetes-crd-definition-v1.yml')}`);
  await k.ok(`apply -f ${join(manifests, 'kubernetes-crd-rbac.yml')}`);
  await k.ok(`create serviceaccount ${account}`);
  const backend = await startBackend(
    t,
    'web',
    (request, response) => response.end(`web ${request.url}`),
    '0.0.0.0',
  );
  await admin.create(services, service('web'));
  await admin.create(endpointSlices, slice('web', 0, backend.port, podAddress));
  await k.ok(`apply -f ${k.file(...ownKinds)}`);
  for (const [name, ip] of [
    ['theirs', '192.0.2.80'],
    ['ours', '192.0.2.1'],
  ] as const) {
    await admin.create(services, { ...service(name), spec: { ...service(name).spec, type: 'LoadBalancer' } });
    const status = { loadBalancer: { ingress: [{ ip }] } };
    await admin.patch(services, 'default', name, 'merge', { status }, { subresource: 'status' });
  }
  await admin.create(ingressClasses, ourClass());
  const theirClass = { metadata: { name: 'traefik' }, spec: { controller: 'traefik.io/ingress-controller' } };
  await admin.create(ingressClasses, theirClass);
  const rules = (host: string) => ({ rules: [hostRule(host, 'web')] });
  await admin.create(
    ingresses,
    ingress('theirs', { ...rules('theirs.example'), ingressClassName: 'traefik' }),
  );
  await admin.create(ingresses, ingress('ours', rules('ours.example')));
  const ours = await startIngress(t, await server.client('system:fairlead-ingress'), {
    publishService: { namespace: 'default', name: 'ours' },
  });
  const config = await loadKubeconfig(kubeconfig);
  const ca = join(folder, 'ca.crt');
  writeFileSync(ca, config.certificateAuthority ?? '');
  const token = await k.ok(`create token ${account}`);
  const api = (provider: string): readonly string[] => [
    `--providers.${provider}.endpoint=${config.server}`,
    `--providers.${provider}.token=${token}`,
    `--providers.${provider}.certauthfilepath=${ca}`,
  ];
  const child = spawn(
    binary ?? '',
    [
      ...['--global.checknewversion=false', '--global.sendanonymoususage=false'],
      `--entrypoints.web.address=127.0.0.1:${port}`,
      ...api('kubernetesingress'),
      '--providers.kubernetesingress.ingressclass=traefik',
      '--providers.kubernetesingress.ingressendpoint.publishedservice=default/theirs',
      ...api('kubernetescrd'),
    ],
    { stdio: 'ignore' },
  );
  const closed = once(child, 'close');
  t.after(async () => {
    child.kill();
    await closed;
  });

  const answer = async (at: number, host: string, path = '/'): Promise<string> => {
    try {
      const { status, body } = await get(at, path, false, { host });
      return status === 200 ? body : String(status);
    } catch {
      return 'nobody listens yet';
    }
  };
  await until(async () => (await answer(port, 'theirs.example')) === 'web /');
  await until(async () => (await answer(port, 'crd.example', '/api/x')) === 'web /x');
  assert.equal(await answer(port, 'ours.example'), '404');
  assert.equal(await answer(ours.http, 'ours.example'), 'web /');
  assert.equal(await answer(ours.http, 'theirs.example'), '404');
  const addressOf = async (name: string): Promise<unknown> =>
    (await admin.get(ingresses, 'default', name)).status?.loadBalancer?.ingress?.[0]?.ip;
  await until(async () => (await addressOf('theirs')) === '192.0.2.80');
  await until(async () => (await addressOf('ours')) === '192.0.2.1');
  const { metadata } = await admin.get(ingresses, 'default', 'theirs');
  assert.deepEqual(
    metadata?.managedFields?.map(({ manager, subresource = '' }) => `${manager} ${subresource}`.trim()),
    ['fairlead-test', 'traefik status'],
  );

  await server.kill();
  assert.equal(await answer(port, 'theirs.example'), 'web /', 'it serves by what it knows');
  await server.startAgain();
  const later = ingress('later', { ...rules('later.example'), ingressClassName: 'traefik' });
  await until(async () => {
    try {
      await admin.create(ingresses, later);
      return true;
    } catch {
      return false; // the client finds out that its connection is gone
    }
  });
  await until(async () => (await answer(port, 'later.example')) === 'web /');
});
