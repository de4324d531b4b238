import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Pod, PodStatus } from '../api/gen/core-v1.ts';
import { silentLogger } from '../base/log.ts';
import type { PodDeps } from './pod-deps.ts';
import { PodFailure } from './pod-failure.ts';
import { PodWorker } from './pod-worker.ts';

/** A Pod on a node whose registry never answers; what its worker tells the API server. */
async function pullingPod(t: TestContext, spec: Partial<Pod['spec']> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'fairlead-pod-worker-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const clock = new FakeClock();
  const pulling = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<PodStatus>();
  const events: string[] = [];
  let ready = true;
  const deps = {
    clock,
    log: silentLogger,
    paths: { nodeDir: root, runDir: root },
    node: {
      name: 'n',
      ips: ['10.41.0.2'],
      allocatable: {},
      memoryCapacityBytes: 2 ** 30,
      clusterDns: { domain: 'cluster.local', nameservers: [] },
      hostDns: { servers: [], searches: [], options: [] },
      cgroupRoot: '/fairlead',
      hasSelinux: false,
    },
    client: {
      patch: async (_kind: unknown, _ns: unknown, _name: unknown, _type: unknown, patch: Pod) => {
        if (patch.status?.phase === 'Failed') failed.resolve(patch.status);
        return { metadata: { resourceVersion: '2' }, status: patch.status };
      },
    },
    view: {
      podOf: async () => ({
        sandboxes: [{ id: 's', ready, attempt: 0, ips: ['10.42.0.5'], createdAtMs: 0 }],
        containers: [],
      }),
    },
    cri: {
      imageStatus: async () => ({ image: undefined }),
      stopPodSandbox: async () => {
        ready = false;
        return {};
      },
      pullImage: (_request: unknown, { signal }: { signal: AbortSignal }) => {
        pulling.resolve();
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
    },
    watched: { acquire: async () => {}, configMap: () => undefined, secret: () => undefined },
    tokens: { renew: async () => undefined, get: () => undefined },
    services: { list: () => [] },
    registryReachable: async () => true,
    event: (_pod: Pod, _type: string, reason: string) => events.push(reason),
    drain: async () => {},
  } as unknown as PodDeps;
  const pod: Pod = {
    metadata: { name: 'p', namespace: 'default', uid: 'u', resourceVersion: '1' },
    spec: { containers: [{ name: 'main', image: 'registry.example/x:1' }], ...spec },
  };
  const worker = new PodWorker(deps, { drainTimeoutMs: 0, settleMs: 0 }, pod, () => new Map() as never);
  const stop = new AbortController();
  const running = worker.run(stop.signal);
  t.after(() => {
    stop.abort();
    return running;
  });
  await pulling.promise;
  return { worker, clock, failed: failed.promise, events };
}

test('pod worker: an eviction does not wait for the pull of an image', async (t) => {
  const { worker, failed, events } = await pullingPod(t);
  worker.evict('Usage of EmptyDir volume "v" exceeds the limit "1Mi". ');
  const { reason, message } = await failed;
  assert.deepEqual([reason, message], ['Evicted', 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ']);
  assert.deepEqual(events, ['Pulling', 'Evicted'], 'the pull that was given up is no failed pull');
});

test('pod worker: an active deadline does not wait for the pull of an image', async (t) => {
  const { clock, failed, events } = await pullingPod(t, { activeDeadlineSeconds: 30 });
  await clock.advance(30_000);
  assert.equal((await failed).reason, 'DeadlineExceeded');
  assert.deepEqual(events, ['Pulling', 'DeadlineExceeded']);
});

test('pod failure: a deadline beyond what a timer can hold does not fire at once', async () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  const failure = new PodFailure(
    {
      clock: {
        nowMs: () => clock.nowMs(),
        monotonicMs: () => clock.monotonicMs(),
        sleep: (ms, signal) => clock.sleep(ms, signal),
        after: (ms, run) => {
          asked.push(ms);
          return clock.after(ms, run);
        },
      },
      event: () => {},
      node: { hasSelinux: false } as PodDeps['node'],
    },
    () => {},
  );
  const startTime = new Date(clock.nowMs()).toISOString();
  const containers = [{ name: 'main' }];
  failure.keepDeadline({ spec: { containers, activeDeadlineSeconds: 2_147_483_647 }, status: { startTime } });
  assert.ok(asked.every((ms) => ms <= 2_147_483_647));
  failure.keepDeadline({ spec: { containers, activeDeadlineSeconds: 100_000 }, status: { startTime } });
  await clock.advance(99_999_000);
  assert.equal(failure.signal.aborted, false);
  await clock.advance(1_000);
  assert.equal(failure.known?.reason, 'DeadlineExceeded');
  assert.equal(clock.pending, 0);
});

test('pod worker: a container that started as its Pod was told to go was reported as running to the end', async () => {
  const root = await mkdtemp(join(tmpdir(), 'fairlead-pod-worker-'));
  await mkdir(join(root, 'pod-logs'));
  const container = { id: 'c', sandboxId: 's', name: 'main', attempt: 0, startedAtMs: 0, exitCode: 137 };
  const parts = { createdAtMs: 0, reason: 'Error', message: '', image: '', imageRef: '', specHash: '' };
  let looks = 0;
  let ready = true;
  const written: PodStatus[] = [];
  const deps = {
    clock: new FakeClock(),
    log: silentLogger,
    paths: { nodeDir: root, runDir: root },
    node: { name: 'n', ips: [], hasSelinux: false, cgroupRoot: '/fairlead' },
    client: {
      patch: async (_kind: unknown, _ns: unknown, _name: unknown, _type: unknown, patch: Pod) => {
        written.push(patch.status ?? {});
        return { metadata: { resourceVersion: '2' }, status: patch.status };
      },
      delete: async () => ({}),
    },
    view: {
      podOf: async () => {
        // Not there at the first look; from then on it runs until its sandbox is stopped.
        const state = ready ? 'running' : 'exited';
        const containers = looks++ === 0 ? [] : [{ ...container, ...parts, resources: '', state }];
        return { sandboxes: [{ id: 's', ready, attempt: 0, ips: [], createdAtMs: 0 }], containers };
      },
    },
    cri: {
      stopPodSandbox: async () => {
        ready = false;
        return {};
      },
      removePodSandbox: async () => ({}),
      removeContainer: async () => ({}),
    },
    watched: { release: () => {} },
    tokens: { release: () => {} },
    event: () => {},
  } as unknown as PodDeps;
  const pod: Pod = {
    metadata: { name: 'p', namespace: 'default', uid: 'u', resourceVersion: '1', deletionTimestamp: '' },
    spec: { containers: [{ name: 'main' }] },
  };
  const worker = new PodWorker(deps, { drainTimeoutMs: 0, settleMs: 0 }, pod, () => new Map() as never);
  await worker.run(new AbortController().signal);
  await rm(root, { recursive: true, force: true });
  const states = written.flatMap(({ containerStatuses = [] }) => containerStatuses.map(({ state }) => state));
  assert.deepEqual(
    states.map((state) => Object.keys(state ?? {})),
    [['terminated']],
  );
});
