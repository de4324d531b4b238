import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { stringify } from 'yaml';
import type { TokenRequest } from '../../src/api/gen/authentication-v1.ts';
import type { KubeObject } from '../../src/api/object.ts';
import {
  clusterRoleBindings,
  clusterRoles,
  customResourceDefinitions,
  ingressClasses,
  ingresses,
  namespaces,
  type Resource,
  roleBindings,
  roles,
  serviceAccounts,
  services,
} from '../../src/api/resource.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { startApiServerProcess } from '../support/apiserver-process.ts';
import { hostRule, ingress, ourClass, startIngress, until } from './ingress-harness.ts';

const script = join(import.meta.dirname, '../clients/ingress-controller.js');
const installed = existsSync(join(import.meta.dirname, '../clients/node_modules/@kubernetes/client-node'));
const skip = installed ? false : '@kubernetes/client-node is missing: run npm ci in test/clients';

const namespace = 'stand-in';
const controller = 'example.com/stand-in';

type Route = KubeObject & { readonly status?: { readonly address?: string } };
const routes: Resource<Route> = {
  group: 'stand-in.example',
  version: 'v1',
  plural: 'routes',
  kind: 'Route',
  namespaced: true,
};

/** What the manifests of such a controller bring. */
async function install(admin: ApiClient): Promise<void> {
  const subjects = [{ kind: 'ServiceAccount', name: 'stand-in', namespace }];
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      properties: { status: { type: 'object', properties: { address: { type: 'string' } } } },
    },
  };
  await admin.create(namespaces, { metadata: { name: namespace } });
  await admin.create(customResourceDefinitions, {
    metadata: { name: 'routes.stand-in.example' },
    spec: {
      group: 'stand-in.example',
      scope: 'Namespaced',
      names: { plural: 'routes', kind: 'Route' },
      versions: [{ name: 'v1', served: true, storage: true, schema, subresources: { status: {} } }],
    },
  });
  await admin.create(serviceAccounts, { metadata: { name: 'stand-in', namespace } });
  await admin.create(clusterRoles, {
    metadata: { name: 'stand-in' },
    rules: [
      {
        apiGroups: ['networking.k8s.io'],
        resources: ['ingresses', 'ingressclasses'],
        verbs: ['get', 'list', 'watch'],
      },
      { apiGroups: ['networking.k8s.io'], resources: ['ingresses/status'], verbs: ['patch'] },
    ],
  });
  await admin.create(clusterRoleBindings, {
    metadata: { name: 'stand-in' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'stand-in' },
    subjects,
  });
  await admin.create(roles, {
    metadata: { name: 'stand-in', namespace },
    rules: [
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create', 'get', 'update'] },
      { apiGroups: [''], resources: ['services'], verbs: ['get'] },
      { apiGroups: ['stand-in.example'], resources: ['routes'], verbs: ['list'] },
      { apiGroups: ['stand-in.example'], resources: ['routes/status'], verbs: ['patch'] },
    ],
  });
  await admin.create(roleBindings, {
    metadata: { name: 'stand-in', namespace },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'stand-in' },
    subjects,
  });
  await admin.create(ingressClasses, { metadata: { name: 'stand-in' }, spec: { controller } });
  await admin.create(services, {
    metadata: { name: 'stand-in', namespace },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  });
  await publish(admin, namespace, 'stand-in', '192.0.2.80');
  await admin.create(routes, { metadata: { name: 'one', namespace } });
}

/** As the controller of load balancers does. */
async function publish(admin: ApiClient, inNamespace: string, name: string, ip: string): Promise<void> {
  const status = { loadBalancer: { ingress: [{ ip }] } };
  await admin.patch(services, inNamespace, name, 'merge', { status }, { subresource: 'status' });
}

test('another Ingress controller has its class, CRDs, Lease and statuses beside ours, and neither touches the other’s', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const server = await startApiServerProcess();
  t.after(() => server.stop());
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-stand-in-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const admin = await server.client('fairlead-admin', ['system:masters']);
  await install(admin);
  await admin.create(ingressClasses, ourClass());
  await admin.create(services, {
    metadata: { name: 'ours', namespace: 'default' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  });
  await publish(admin, 'default', 'ours', '192.0.2.1');
  await startIngress(t, await server.client('system:fairlead-ingress'), {
    publishService: { namespace: 'default', name: 'ours' },
  });

  const config = await loadKubeconfig(await server.kubeconfig('fairlead-admin', ['system:masters']));
  const token = await tokenOf(admin);
  const kubeconfig = join(folder, 'kubeconfig.yaml');
  writeFileSync(kubeconfig, kubeconfigWith(config.server, config.certificateAuthority ?? '', token));
  const child = spawn(process.execPath, [script, kubeconfig, controller], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  t.after(async () => {
    child.kill();
    await closed;
  });
  const told: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => told.push(line));
  await until(() => told.includes('watches'));
  assert.deepEqual(told.slice(0, 4), ['leads', 'secrets 403', 'address 192.0.2.80', 'route one']);
  assert.equal((await admin.get(routes, namespace, 'one')).status?.address, '192.0.2.80');

  const rules = { rules: [hostRule('a.example', 'nowhere')] };
  await admin.create(ingresses, ingress('theirs', { ...rules, ingressClassName: 'stand-in' }));
  await until(() => told.includes('ingress theirs'));
  await admin.create(ingresses, ingress('ours', rules));
  const addressOf = async (name: string): Promise<unknown> =>
    (await admin.get(ingresses, 'default', name)).status?.loadBalancer?.ingress?.[0]?.ip;
  await until(async () => (await addressOf('ours')) === '192.0.2.1');
  assert.equal(await addressOf('theirs'), '192.0.2.80');
  const { metadata } = await admin.get(ingresses, 'default', 'theirs');
  const writers = (metadata?.managedFields ?? []).map(
    ({ manager, subresource }) => `${manager} ${subresource ?? ''}`,
  );
  assert.equal(writers.length, 2, `its maker and its controller: ${writers.join(', ')}`);
  assert.ok(!told.includes('ingress ours'));
});

const tokenRequests: Resource<TokenRequest> = {
  group: '',
  version: 'v1',
  plural: 'serviceaccounts',
  kind: 'TokenRequest',
  namespaced: true,
};

async function tokenOf(admin: ApiClient): Promise<string> {
  const { status } = await admin.create<TokenRequest>(
    tokenRequests,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: 'stand-in', namespace },
      spec: { audiences: [] },
    },
    { subresource: 'token' },
  );
  assert.ok(status?.token !== undefined);
  return status.token;
}

function kubeconfigWith(server: string, authority: string, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'it',
    clusters: [
      {
        name: 'it',
        cluster: { server, 'certificate-authority-data': Buffer.from(authority).toString('base64') },
      },
    ],
    users: [{ name: 'it', user: { token } }],
    contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
  });
}
