import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { isJsonObject, type JsonObject, objectKey } from '../../src/api/object.ts';
import {
  events,
  ingressClasses,
  ingresses,
  leases,
  nodes,
  type Resource,
  services,
} from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { ingressCommand } from '../../src/cmd/ingress.ts';
import { controllersDefaults, runControllers } from '../../src/controllers/run.ts';
import { proxyDefaults } from '../../src/l4/config.ts';
import { runProxy } from '../../src/l4/run.ts';
import { FakeApi } from '../support/fake-api.ts';
import { serviceOf } from '../support/services.ts';
import { eventually } from '../support/shell.ts';
import { hostRule, ingress, ourClass, startIngress, until } from './ingress-harness.ts';
import { machineOf } from './l4-machine.ts';

const readManifests = (file: string): readonly unknown[] =>
  parseAllDocuments(readFileSync(new URL(`../../deploy/${file}`, import.meta.url), 'utf8')).map(
    (document) => document.toJS() as unknown,
  );
const manifests = readManifests('ingress.yaml');

function manifest(kind: string, name: string, among = manifests): JsonObject {
  const found = among.find(
    (item) =>
      isJsonObject(item) &&
      item['kind'] === kind &&
      isJsonObject(item['metadata']) &&
      item['metadata']['name'] === name,
  );
  assert.ok(isJsonObject(found), `${kind} ${name}`);
  return found;
}

function at(object: unknown, ...path: readonly (string | number)[]): unknown {
  let value: unknown = object;
  for (const step of path) {
    value = Array.isArray(value) ? value[Number(step)] : isJsonObject(value) ? value[step] : undefined;
  }
  return value;
}

/** "verb group/resource" of every rule of a role. */
function rightsOf(role: JsonObject): ReadonlySet<string> {
  const rights = new Set<string>();
  const rules = role['rules'] as readonly Record<string, readonly string[]>[];
  for (const { apiGroups = [], resources = [], verbs = [] } of rules) {
    for (const group of apiGroups) {
      for (const resource of resources) for (const verb of verbs) rights.add(`${verb} ${group}/${resource}`);
    }
  }
  return rights;
}

/** The API in memory, noting which right each call needs. */
function recording(api: FakeApi, used: Set<string>): ApiClient {
  const note = (verb: string, { group, plural }: Resource, subresource?: string): void => {
    used.add(`${verb} ${group}/${plural}${subresource === undefined ? '' : `/${subresource}`}`);
  };
  return {
    get: (resource, namespace, name) => (note('get', resource), api.get(resource, namespace, name)),
    list: (resource, ...rest) => (note('list', resource), api.list(resource, ...rest)),
    watch: (resource, ...rest) => (note('watch', resource), api.watch(resource, ...rest)),
    create: (resource, object, options) => (
      note('create', resource, options?.subresource), api.create(resource, object, options)
    ),
    replace: (resource, object, options) => (
      note('update', resource, options?.subresource), api.replace(resource, object, options)
    ),
    patch: (resource, namespace, name, kind, body, options) => (
      note('patch', resource, options?.subresource), api.patch(resource, namespace, name, kind, body, options)
    ),
    delete: (resource, ...rest) => (note('delete', resource), api.delete(resource, ...rest)),
    raw: (path) => api.raw(path),
    close: () => api.close(),
  };
}

test('deploy: the roles allow what the ingress asks for, and nothing else', {
  timeout: 300_000,
}, async (t) => {
  const api = new FakeApi();
  const used = new Set<string>();
  api.seed(ingressClasses, ourClass());
  api.seed(services, {
    metadata: { name: 'fairlead-ingress', namespace: 'fairlead' },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } },
  });
  api.seed(ingresses, ingress('web', { rules: [hostRule('a.example', 'nowhere')] }));
  const lease = { namespace: 'fairlead', name: 'fairlead-ingress' };
  await startIngress(t, recording(api, used), {
    publishService: { namespace: 'fairlead', name: 'fairlead-ingress' },
    leaderElection: {
      ...lease,
      identity: 'one',
      leaseDurationMs: 1000,
      renewDeadlineMs: 100,
      retryPeriodMs: 20,
    },
  });
  await until(() => api.objects(events).length > 0);
  await until(() => api.find(ingresses, 'default/web')?.status?.loadBalancer !== undefined);
  // Another process takes the Lease: statuses and Events stop; when it is gone, the same Event is counted up.
  const key = objectKey(lease.namespace, lease.name);
  api.update(leases, key, { spec: { holderIdentity: 'two', leaseDurationSeconds: 1 } });
  await until(() => api.find(leases, key)?.spec?.holderIdentity === 'one');
  await until(() => used.has('patch /events'));
  const allowed = new Set([
    ...rightsOf(manifest('ClusterRole', 'fairlead-ingress')),
    ...rightsOf(manifest('Role', 'fairlead-ingress-lease')),
  ]);
  assert.deepEqual([...used].toSorted(), [...allowed].toSorted());
});

test('deploy: the roles of layer 4 allow what proxy and controllers ask for, and nothing else', {
  timeout: 300_000,
}, async () => {
  const layer4 = readManifests('layer4.yaml');
  const api = new FakeApi();
  const balanced = { type: 'LoadBalancer', externalIPs: ['192.0.2.50'] };
  const sctp = { ports: [{ port: 2905, protocol: 'SCTP' }] };
  const nodeNames = ['node-0', 'node-1'];
  for (const [index, name] of nodeNames.entries()) {
    const addresses = [{ type: 'InternalIP', address: `10.41.0.${2 + index}` }];
    api.seed(nodes, {
      metadata: { name },
      status: { addresses, conditions: [{ type: 'Ready', status: 'True' }] },
    });
  }
  api.seed(services, serviceOf('first', '10.43.0.5', balanced), serviceOf('second', '10.43.0.6', balanced));
  api.seed(services, serviceOf('tel', '10.43.0.7', sctp));
  const stop = new AbortController();
  const byProxy = new Set<string>();
  const byControllers = new Set<string>();
  const machine = machineOf({ tracksSctp: false });
  const running = [
    ...nodeNames.map((nodeName) => {
      const config = { ...proxyDefaults, nodeName, healthAddress: undefined };
      return runProxy(config, recording(api, byProxy), silentLogger, stop.signal, machine);
    }),
    runControllers(
      { ...controllersDefaults, controllers: ['servicelb', 'service-protocol'] },
      recording(api, byControllers),
      silentLogger,
      stop.signal,
    ),
  ];
  const conditionsOf = (name: string) =>
    api.find(services, `default/${name}`)?.status?.conditions?.map(({ type, reason }) => [type, reason]);
  const clash = ['LoadBalancerPortsError', 'PortUnavailable'];
  try {
    await eventually(() => {
      assert.deepEqual(conditionsOf('tel'), [['fairlead.dev/SCTPUnavailable', 'NoNodeServesSCTP']]);
      assert.deepEqual(conditionsOf('second'), [clash]);
      const counts = api.objects(events).map(({ reason, count }) => `${reason} ${count}`);
      assert.deepEqual(counts.toSorted(), ['AddressTaken 2', 'PortUnavailable 1', 'SCTPNotSupported 2']);
      return Promise.resolve();
    });
    // The port is given back and taken again: the controller counts up its Event.
    for (const [type, want] of [
      ['ClusterIP', undefined],
      ['LoadBalancer', [clash]],
    ] as const) {
      api.update(services, 'default/first', { spec: { type } });
      await eventually(() => Promise.resolve(assert.deepEqual(conditionsOf('second'), want)));
    }
    await eventually(() => Promise.resolve(assert.ok(byControllers.has('patch /events'))));
  } finally {
    stop.abort();
    await Promise.all(running);
  }
  for (const [name, used] of [
    ['fairlead-proxy', byProxy],
    ['fairlead-layer4', byControllers],
  ] as const) {
    const allowed = rightsOf(manifest('ClusterRole', name, layer4));
    assert.deepEqual([...used].toSorted(), [...allowed].toSorted(), name);
    const binding = manifest('ClusterRoleBinding', name, layer4);
    assert.equal(at(binding, 'roleRef', 'name'), name);
    manifest('ServiceAccount', String(at(binding, 'subjects', 0, 'name')), layer4);
  }
});

test('deploy: names, ports, options and selectors fit each other', () => {
  const deployment = manifest('Deployment', 'fairlead-ingress');
  const labels = at(deployment, 'spec', 'template', 'metadata', 'labels');
  for (const selector of [
    at(deployment, 'spec', 'selector', 'matchLabels'),
    at(manifest('Service', 'fairlead-ingress'), 'spec', 'selector'),
    at(manifest('PodDisruptionBudget', 'fairlead-ingress'), 'spec', 'selector', 'matchLabels'),
  ]) {
    assert.deepEqual(selector, labels);
  }
  assert.ok(Number(at(deployment, 'spec', 'replicas')) > 1, 'a budget of one needs a second one');
  assert.equal(at(manifest('IngressClass', 'fairlead'), 'spec', 'controller'), 'fairlead.dev/ingress');
  const container = at(deployment, 'spec', 'template', 'spec', 'containers', 0);
  const [command, ...args] = at(container, 'args') as readonly string[];
  const known = new Set(ingressCommand().options.map(({ long }) => long));
  assert.equal(command, ingressCommand().name());
  for (const arg of args) assert.ok(known.has(arg.split('=')[0] ?? ''), arg);
  assert.ok(args.includes('--lease=fairlead/fairlead-ingress'));
  for (const kind of ['ClusterRoleBinding', 'RoleBinding']) {
    const binding = manifests.find((item) => isJsonObject(item) && item['kind'] === kind);
    assert.equal(
      at(binding, 'subjects', 0, 'name'),
      at(deployment, 'spec', 'template', 'spec', 'serviceAccountName'),
    );
    manifest(String(at(binding, 'roleRef', 'kind')), String(at(binding, 'roleRef', 'name')));
  }
});
