import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { leases, nodes } from '../api/resource.ts';
import { aborted } from '../base/lifetime.ts';
import { silentLogger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { NodeInput } from './node-object.ts';
import { runLease, writeNodeStatus } from './node-registration.ts';

const node = { metadata: { name: 'n', uid: 'u' } };
const leaseDurationSeconds = 12;

test('node lease: a renewal that gets no answer is given up in time for the next one', async () => {
  const api = new FakeApi();
  const clock = new FakeClock();
  const stop = new AbortController();
  let lost = 0;
  let asked = 0;
  const client: Pick<ApiClient, 'patch' | 'create'> = {
    create: (resource, object) => api.create(resource, object),
    async patch(resource, namespace, name, kind, body, options = {}) {
      asked++;
      if (lost > 0) {
        lost--;
        await aborted(options.signal ?? stop.signal); // as where the packets are lost: only its own end ends it
        options.signal?.throwIfAborted();
      }
      return api.patch(resource, namespace, name, kind, body, options);
    },
  };
  const running = runLease(client, node, { leaseDurationSeconds }, clock, silentLogger, stop.signal);
  const renewedAt = (): string => api.find(leases, 'kube-node-lease/n')?.spec?.renewTime ?? '';
  await settle();
  assert.equal(renewedAt(), '2026-01-31T12:00:00.000000Z');
  lost = 1;
  await clock.advance(3000); // the next renewal begins, and hangs
  assert.equal(asked, 2);
  await clock.advance(2999);
  assert.equal(asked, 2);
  await clock.advance(201); // given up after a quarter of the duration, tried again 200 ms later
  assert.equal(asked, 3);
  assert.equal(renewedAt(), '2026-01-31T12:00:06.200000Z');
  stop.abort();
  await running;
});

test('node lease: while the API server is away it is asked less and less often, never less than a quarter of the duration', async () => {
  const api = new FakeApi();
  const clock = new FakeClock();
  const stop = new AbortController();
  const askedAt: number[] = [];
  const client: Pick<ApiClient, 'patch' | 'create'> = {
    create: (resource, object) => api.create(resource, object),
    patch(...call) {
      askedAt.push(clock.monotonicMs());
      return api.patch(...call);
    },
  };
  api.disconnect({ down: true });
  const startedAt = clock.monotonicMs();
  const running = runLease(client, node, { leaseDurationSeconds }, clock, silentLogger, stop.signal);
  await clock.advance(12_400);
  assert.deepEqual(
    askedAt.map((at) => at - startedAt),
    [0, 200, 600, 1400, 3000, 6000, 9000, 12_000],
  );
  api.reconnect();
  await clock.advance(3000);
  assert.equal(api.find(leases, 'kube-node-lease/n')?.spec?.renewTime, '2026-01-31T12:00:15.000000Z');
  stop.abort();
  await running;
});

const input: NodeInput = {
  name: 'n',
  ips: ['10.41.0.2', 'fd41::2'],
  labels: {},
  machine: {
    architecture: 'amd64',
    cpus: 2,
    memoryBytes: 1 << 30,
    storageBytes: 1 << 30,
    kernelVersion: '6.1',
    osImage: 'Debian',
    machineId: 'm',
    bootId: 'b',
    systemUuid: 's',
    hasSelinux: false,
  },
  runtimeVersion: 'containerd://1.6.20',
  images: [],
  notReady: undefined,
  nowMs: 0,
};

test('node status: conditions that others wrote stay, addresses that are gone do not', async () => {
  const api = new FakeApi();
  const other = { type: 'SCTPUnavailable', status: 'True' };
  const addresses = [{ type: 'InternalIP', address: '10.41.0.9' }];
  api.seed(nodes, { metadata: { name: 'n' }, status: { conditions: [other], addresses } });
  await writeNodeStatus(api, input, undefined, new FakeClock(), new AbortController().signal);
  const { status } = api.find(nodes, 'n') ?? {};
  assert.deepEqual(
    status?.conditions?.map(({ type }) => type),
    ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready', 'SCTPUnavailable'],
  );
  assert.deepEqual(
    status?.addresses?.map(({ address }) => address),
    ['10.41.0.2', 'fd41::2', 'n'],
  );
});
