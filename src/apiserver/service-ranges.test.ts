import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectsAt, stringAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import { serviceKind } from '../api/kinds/service.ts';
import { ipAddressKind, serviceCidrKind } from '../api/kinds/servicecidr.ts';
import type { JsonObject } from '../api/object.ts';
import { assert as certain } from '../base/assert.ts';
import { parseCidr } from '../base/ip.ts';
import { openMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { keyOfObject, parseEntry, prefixOf, templateOf } from './objects.ts';
import { createServiceAllocator } from './service-allocator.ts';
import { runServiceRanges } from './service-ranges.ts';

async function write(store: Store, kind: Kind, object: JsonObject): Promise<void> {
  const namespace = stringAt(object, 'metadata', 'namespace');
  const key = keyOfObject(kind, namespace, stringAt(object, 'metadata', 'name'));
  await store.put(key, templateOf(kind, object), store.get(key)?.revision ?? 0);
}

async function remove(store: Store, key: string): Promise<void> {
  const entry = store.get(key);
  certain(entry !== undefined, key);
  await store.delete(key, { before: '', after: '' }, entry.revision);
}

/** Resolves when `holds`; looks after each commit. */
async function until(store: Store, holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise<void>((resolve) => {
      const watching = store.watch('', store.revision, () => {
        watching.stop();
        resolve();
      });
    });
  }
}

const names = (store: Store): readonly string[] =>
  store.list(prefixOf(ipAddressKind)).entries.map(({ key }) => key.slice(prefixOf(ipAddressKind).length));

function service(name: string, ip: string): JsonObject {
  return { metadata: { name, namespace: 'default' }, spec: { clusterIP: ip, clusterIPs: [ip] } };
}

function range(name: string, cidr: string, change: JsonObject = {}): JsonObject {
  const finalizers = ['networking.k8s.io/service-cidr-finalizer'];
  return { metadata: { name, finalizers, ...change }, spec: { cidrs: [cidr] } };
}

async function running(work: (store: Store) => Promise<void>): Promise<void> {
  const store = openMemoryStore();
  const stop = new AbortController();
  const clock = new FakeClock();
  await write(store, serviceKind, service('before', '10.43.0.9'));
  const keeper = runServiceRanges(store, clock, stop.signal);
  try {
    await work(store);
  } finally {
    stop.abort();
    await keeper;
    await store.close();
  }
}

test('service ranges: an IPAddress comes and goes with the address of its Service', async () => {
  await running(async (store) => {
    await until(store, () => names(store).includes('10.43.0.9'));
    await write(store, serviceKind, service('web', '10.43.0.20'));
    await until(store, () => names(store).includes('10.43.0.20'));
    const entry = store.get(keyOfObject(ipAddressKind, '', '10.43.0.20'));
    certain(entry !== undefined, 'listed');
    const address = parseEntry(entry);
    assert.deepEqual(address['spec'], {
      parentRef: { resource: 'services', namespace: 'default', name: 'web' },
    });
    assert.deepEqual(ipAddressKind.validate?.(address), []);
    await write(store, serviceKind, service('web', '10.43.0.21'));
    await until(store, () => names(store).includes('10.43.0.21') && !names(store).includes('10.43.0.20'));
    await remove(store, keyOfObject(serviceKind, 'default', 'web'));
    await until(store, () => !names(store).includes('10.43.0.21'));
    // One that was made by hand is nobody's business but its author's.
    await write(store, ipAddressKind, { metadata: { name: '10.43.0.50' }, spec: {} });
    await write(store, serviceKind, service('more', '10.43.0.51'));
    await until(store, () => names(store).includes('10.43.0.51'));
    assert.deepEqual(names(store), ['10.43.0.50', '10.43.0.51', '10.43.0.9']);
  });
});

test('service ranges: ready at once, and kept while a Service needs them', async () => {
  await running(async (store) => {
    const key = keyOfObject(serviceCidrKind, '', 'more');
    const ready = (): string => {
      const entry = store.get(key);
      if (entry === undefined) return 'gone';
      const [condition] = objectsAt(parseEntry(entry), 'status', 'conditions');
      return `${stringAt(condition, 'status')} ${stringAt(condition, 'reason')}`;
    };
    await write(store, serviceCidrKind, range('more', '10.50.0.0/24'));
    await until(store, () => ready() === 'True ');
    await write(store, serviceKind, service('web', '10.50.0.7'));
    await until(store, () => names(store).includes('10.50.0.7'));
    await write(store, serviceCidrKind, range('more', '10.50.0.0/24', { deletionTimestamp: 'now' }));
    await until(store, () => ready() === 'False Terminating');
    await remove(store, keyOfObject(serviceKind, 'default', 'web'));
    await until(store, () => ready() === 'gone');
  });
});

test('service ranges: another range extends the pool, a reserved address is not given out', async () => {
  const store = openMemoryStore();
  const serviceCidr = parseCidr('10.43.0.0/30');
  certain(serviceCidr !== undefined, 'a range');
  const nodePortRange = { first: 30_000, last: 30_001 };
  const allocator = createServiceAllocator(store, {
    serviceCidrs: [serviceCidr],
    nodePortRange,
    random: () => 0,
  });
  const addressOf = (asked = ''): string => {
    const made: JsonObject = {
      metadata: { name: 'x' },
      spec: asked === '' ? {} : { clusterIP: asked, clusterIPs: [asked] },
    };
    const { errors } = allocator.reserve(made, undefined); // kept: what was given stays taken
    return errors[0]?.message ?? stringAt(made, 'spec', 'clusterIP');
  };
  assert.equal(addressOf(), '10.43.0.1');
  await write(store, ipAddressKind, { metadata: { name: '10.43.0.2' }, spec: {} });
  assert.match(addressOf(), /range is full/);
  assert.match(addressOf('10.43.0.2'), /provided IP is already allocated/);
  await write(store, serviceCidrKind, range('more', '10.50.0.0/24'));
  assert.equal(addressOf(), '10.50.0.16');
  assert.equal(addressOf('10.50.0.5'), '10.50.0.5');
  await write(store, serviceCidrKind, range('more', '10.50.0.0/24', { deletionTimestamp: 'now' }));
  assert.match(addressOf('10.50.0.6'), /not in the valid range/);
  allocator.stop();
});
