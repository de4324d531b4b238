import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { kindNamed } from '../api/registry.ts';
import { assert as certain } from '../base/assert.ts';
import { parseCidr } from '../base/ip.ts';
import { openMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { keyOfObject, templateOf } from './objects.ts';
import { createServiceAllocator, type ServiceAllocator } from './service-allocator.ts';

const kind = kindNamed('', 'v1', 'Service');
certain(kind !== undefined, 'Service is served');

function setup(cidr = '10.43.0.0/24', range = { first: 30_000, last: 30_003 }) {
  const store = openMemoryStore();
  const serviceCidr = parseCidr(cidr);
  certain(serviceCidr !== undefined, 'a range');
  const allocator = createServiceAllocator(store, { serviceCidr, nodePortRange: range, random: () => 0 });
  return { store, allocator };
}

function service(spec: JsonObject): JsonObject {
  return { metadata: { name: 'web' }, spec };
}

async function keep(store: Store, name: string, object: JsonObject): Promise<void> {
  certain(kind !== undefined, 'Service is served');
  const key = keyOfObject(kind, 'default', name);
  await store.put(key, templateOf(kind, object), store.get(key)?.revision ?? 0);
}

function texts(allocator: ServiceAllocator, spec: JsonObject, old?: JsonObject): readonly string[] {
  const reservation = allocator.reserve(service(spec), old);
  reservation.release();
  return reservation.errors.map(({ field, message }) => `${field}: ${message}`);
}

test('allocator: an address above the static band, its families, and nothing for headless and ExternalName', () => {
  const { allocator } = setup();
  const web = service({ ports: [{ port: 80 }] });
  assert.deepEqual(allocator.reserve(web, undefined).errors, []);
  assert.deepEqual(web['spec'], {
    ports: [{ port: 80 }],
    clusterIP: '10.43.0.16',
    clusterIPs: ['10.43.0.16'],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
  });
  const headless = service({ clusterIP: 'None' });
  allocator.reserve(headless, undefined);
  assert.deepEqual((headless['spec'] as JsonObject)['clusterIPs'], ['None']);
  const external = service({ type: 'ExternalName', externalName: 'example.com' });
  allocator.reserve(external, undefined);
  assert.deepEqual(external['spec'], { type: 'ExternalName', externalName: 'example.com' });
});

test('allocator: what is stored or reserved is taken, what is released is free', async () => {
  const { store, allocator } = setup();
  const first = allocator.reserve(service({ clusterIP: '10.43.0.9' }), undefined);
  const clash = 'failed to allocate IP 10.43.0.9: provided IP is already allocated';
  const expected = `spec.clusterIPs: Invalid value: ["10.43.0.9"]: ${clash}`;
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), [expected]);
  first.release();
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), []);
  await keep(store, 'web', service({ clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9'] }));
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), [expected]);
  const entry = store.get('/services/default/web');
  await store.delete('/services/default/web', { before: '', after: '' }, entry?.revision ?? 0);
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), []);
});

test('allocator: an address outside the range is refused in the words of Kubernetes', () => {
  const { allocator } = setup();
  assert.deepEqual(texts(allocator, { clusterIP: '10.0.0.1' }), [
    'spec.clusterIPs: Invalid value: ["10.0.0.1"]: failed to allocate IP 10.0.0.1: the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 10.43.0.0/24',
  ]);
});

test('allocator: node ports per protocol, clashes and a full range', async () => {
  const { store, allocator } = setup();
  const both = service({
    type: 'NodePort',
    ports: [
      { port: 53, protocol: 'UDP' },
      { port: 53, protocol: 'TCP' },
    ],
  });
  allocator.reserve(both, undefined);
  assert.deepEqual(
    ((both['spec'] as JsonObject)['ports'] as JsonObject[]).map((port) => port['nodePort']),
    [30_000, 30_000],
  );
  await keep(store, 'dns', both);
  assert.deepEqual(texts(allocator, { type: 'NodePort', ports: [{ port: 80, nodePort: 30_000 }] }), [
    'spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated',
  ]);
  assert.deepEqual(texts(allocator, { type: 'NodePort', ports: [{ port: 80, nodePort: 99 }] }), [
    'spec.ports[0].nodePort: Invalid value: 99: provided port is not in the valid range. The range of valid ports is 30000-30003',
  ]);
  const many = [1, 2, 3, 4, 5].map((port) => ({ port }));
  assert.match(texts(allocator, { type: 'NodePort', ports: many }).join(), /range is full/);
});

test('allocator: an update keeps what it has, and drops what its new type does not use', () => {
  const { allocator } = setup();
  const old = service({
    type: 'NodePort',
    clusterIP: '10.43.0.20',
    clusterIPs: ['10.43.0.20'],
    ports: [{ port: 80, nodePort: 30_001 }],
  });
  const same = service({ type: 'NodePort', ports: [{ port: 80 }] });
  allocator.reserve(same, old);
  const spec = same['spec'] as JsonObject;
  assert.equal(spec['clusterIP'], '10.43.0.20');
  assert.deepEqual(spec['ports'], [{ port: 80, nodePort: 30_001 }]);

  const narrowed = service({
    type: 'ClusterIP',
    clusterIP: '10.43.0.20',
    ports: [{ port: 80, nodePort: 30_001 }],
  });
  allocator.reserve(narrowed, old);
  assert.deepEqual((narrowed['spec'] as JsonObject)['ports'], [{ port: 80 }]);

  const external = service({ type: 'ExternalName', externalName: 'a.b', clusterIP: '10.43.0.20' });
  allocator.reserve(external, old);
  assert.deepEqual(external['spec'], { type: 'ExternalName', externalName: 'a.b' });
});

test('allocator: a Local load balancer gets a health check port', () => {
  const { allocator } = setup();
  const local = service({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: [{ port: 80 }] });
  assert.deepEqual(allocator.reserve(local, undefined).errors, []);
  assert.equal((local['spec'] as JsonObject)['healthCheckNodePort'], 30_001);
});
