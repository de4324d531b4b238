import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod, PodStatus } from '../api/gen/core-v1.ts';
import type { Waiting } from './container-status.ts';
import { compilePodStatus } from './pod-status.ts';
import type { ContainerProbes } from './probe-state.ts';
import { emptyRuntimePod, type RuntimeContainer, type RuntimePod } from './runtime-pod.ts';

const nowMs = Date.parse('2026-01-01T00:01:00Z');
const main: Container = { name: 'main', image: 'busybox' };
const init: Container = { name: 'init', image: 'busybox' };

function pod(spec: Partial<NonNullable<Pod['spec']>> = {}, status?: PodStatus): Pod {
  return { metadata: { name: 'p', uid: 'u', generation: 1 }, spec: { containers: [main], ...spec }, status };
}

function container(name: string, change: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return {
    id: `${name}-${change.attempt ?? 0}`,
    sandboxId: 's0',
    name,
    attempt: 0,
    state: 'running',
    createdAtMs: nowMs - 50_000,
    startedAtMs: nowMs - 50_000,
    finishedAtMs: undefined,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'docker.io/library/busybox:latest',
    imageRef: 'sha256:1',
    specHash: 'busybox',
    resources: '{}',
    ...change,
  };
}

const exited = (name: string, exitCode: number, change: Partial<RuntimeContainer> = {}) =>
  container(name, { state: 'exited', exitCode, finishedAtMs: nowMs - 1_000, ...change });
const sandbox = { id: 's0', attempt: 0, ready: true, createdAtMs: nowMs - 60_000, ips: ['10.42.0.2'] };
const runtime = (...containers: readonly RuntimeContainer[]): RuntimePod => ({
  sandboxes: [sandbox],
  containers,
});
const ready: ContainerProbes = { started: true, ready: true, unhealthy: undefined };

type Options = {
  readonly ready?: readonly string[];
  readonly waiting?: Readonly<Record<string, Waiting>>;
  readonly resized?: Readonly<Record<string, string>>;
  readonly resizePending?: { readonly reason: 'Deferred' | 'Infeasible'; readonly message: string };
  readonly resizeError?: string;
  readonly terminated?: boolean;
  readonly failure?: { readonly reason: string; readonly message: string };
};

function compile(of: Pod, runtimePod: RuntimePod, options: Options = {}): PodStatus {
  return compilePodStatus({
    pod: of,
    runtime: runtimePod,
    probes: new Map((options.ready ?? []).map((id) => [id, ready])),
    waiting: new Map(Object.entries(options.waiting ?? {})),
    hostIps: ['10.41.0.2'],
    nowMs,
    resized: new Map(Object.entries(options.resized ?? {})),
    resizePending: options.resizePending,
    resizeError: options.resizeError,
    terminated: options.terminated ?? false,
    failure: options.failure,
  });
}

const conditions = (status: PodStatus) =>
  (status.conditions ?? []).filter((one) => one.status === 'True').map(({ type }) => type);

for (const { name, of, runtimePod, options, phase, isTrue } of [
  {
    name: 'nothing yet',
    of: pod(),
    runtimePod: emptyRuntimePod,
    phase: 'Pending',
    isTrue: ['Initialized', 'PodScheduled'],
  },
  {
    name: 'running, not ready',
    of: pod(),
    runtimePod: runtime(container('main')),
    phase: 'Running',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'PodScheduled'],
  },
  {
    name: 'ready',
    of: pod(),
    runtimePod: runtime(container('main')),
    options: { ready: ['main-0'] },
    phase: 'Running',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'],
  },
  {
    name: 'ready but for a readiness gate',
    of: pod({ readinessGates: [{ conditionType: 'example/open' }] }),
    runtimePod: runtime(container('main')),
    options: { ready: ['main-0'] },
    phase: 'Running',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'ContainersReady', 'PodScheduled'],
  },
  {
    name: 'its init container runs',
    of: pod({ initContainers: [init] }),
    runtimePod: runtime(container('init')),
    phase: 'Pending',
    isTrue: ['PodReadyToStartContainers', 'PodScheduled'],
  },
  {
    name: 'crashed and waiting',
    of: pod(),
    runtimePod: runtime(exited('main', 1)),
    options: { waiting: { main: { reason: 'CrashLoopBackOff', message: 'x' } } },
    phase: 'Running',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'PodScheduled'],
  },
  {
    name: 'done',
    of: pod({ restartPolicy: 'Never' }),
    runtimePod: runtime(exited('main', 0)),
    phase: 'Succeeded',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'PodScheduled'],
  },
  {
    name: 'failed',
    of: pod({ restartPolicy: 'Never' }),
    runtimePod: runtime(exited('main', 2)),
    phase: 'Failed',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'PodScheduled'],
  },
  {
    name: 'its init container failed for good',
    of: pod({ restartPolicy: 'Never', initContainers: [init] }),
    runtimePod: runtime(exited('init', 2)),
    phase: 'Failed',
    isTrue: ['PodReadyToStartContainers', 'PodScheduled'],
  },
  {
    name: 'stopped by a deletion',
    of: pod(),
    runtimePod: runtime(exited('main', 137)),
    options: { terminated: true },
    phase: 'Failed',
    isTrue: ['PodReadyToStartContainers', 'Initialized', 'PodScheduled'],
  },
  {
    name: 'given up by the node',
    of: pod(),
    runtimePod: emptyRuntimePod,
    options: { failure: { reason: 'UnsupportedVolume', message: 'm' } },
    phase: 'Failed',
    isTrue: ['Initialized', 'PodScheduled'],
  },
] satisfies readonly {
  name: string;
  of: Pod;
  runtimePod: RuntimePod;
  options?: Options;
  phase: string;
  isTrue: string[];
}[]) {
  test(`pod status: ${name}`, () => {
    const status = compile(of, runtimePod, options);
    assert.equal(status.phase, phase);
    assert.deepEqual(conditions(status), isTrue);
  });
}

test('pod status: addresses, times and quality of service', () => {
  const status = compile(pod(), runtime(container('main')));
  assert.deepEqual(status.podIPs, [{ ip: '10.42.0.2' }]);
  assert.deepEqual(status.hostIPs, [{ ip: '10.41.0.2' }]);
  assert.equal(status.startTime, '2026-01-01T00:01:00Z');
  assert.equal(status.qosClass, 'BestEffort');
  assert.equal(compile(pod({ hostNetwork: true }), runtime(container('main'))).podIP, '10.41.0.2');
});

test('pod status: a condition keeps its time while it does not change', () => {
  const first = compile(pod(), runtime(container('main')));
  const old = first.conditions?.map((one) => ({ ...one, lastTransitionTime: '2025-01-01T00:00:00Z' })) ?? [];
  const later = compile(pod({}, { ...first, conditions: old }), runtime(container('main')), {
    ready: ['main-0'],
  });
  const times = Object.fromEntries(later.conditions?.map((one) => [one.type, one.lastTransitionTime]) ?? []);
  assert.equal(times['Initialized'], '2025-01-01T00:00:00Z');
  assert.equal(times['Ready'], '2026-01-01T00:01:00Z');
});

test('pod status: the state before the present one is shown', () => {
  const status = compile(
    pod(),
    runtime(container('main', { attempt: 1 }), exited('main', 7, { reason: 'OOMKilled', message: 'bye' })),
  );
  const [shown] = status.containerStatuses ?? [];
  assert.equal(shown?.restartCount, 1);
  assert.equal(shown?.state?.running?.startedAt, '2026-01-01T00:00:10Z');
  assert.deepEqual(shown?.lastState?.terminated, {
    exitCode: 7,
    reason: 'OOMKilled',
    message: 'bye',
    startedAt: '2026-01-01T00:00:10Z',
    finishedAt: '2026-01-01T00:00:59Z',
    containerID: 'containerd://main-0',
  });
});

test('pod status: what ended stays shown when the runtime has forgotten it', () => {
  const never = { restartPolicy: 'Never' };
  const before = compile(pod(never), runtime(exited('main', 0)));
  const after = compile(pod(never, before), emptyRuntimePod);
  assert.equal(after.phase, 'Succeeded');
  assert.equal(after.containerStatuses?.[0]?.state?.terminated?.exitCode, 0);
});

test('pod status: a resize is in progress until the container has what it was given', () => {
  const resources = { limits: { cpu: '2' }, requests: { cpu: '2' } };
  const of = pod({ containers: [{ ...main, resources }] });
  const old = '{"limits":{"cpu":"1"},"requests":{"cpu":"1"}}';
  const running = runtime(container('main', { resources: old }));
  const before = compile(of, running, { resizeError: 'no room' });
  const found = before.conditions?.find(({ type }) => type === 'PodResizeInProgress');
  assert.deepEqual([found?.status, found?.reason, found?.message], ['True', 'Error', 'no room']);
  assert.deepEqual(before.containerStatuses?.[0]?.allocatedResources, { cpu: '2' });
  assert.deepEqual(before.containerStatuses?.[0]?.resources, JSON.parse(old));
  const after = compile(of, running, { resized: { 'main-0': JSON.stringify(resources) } });
  assert.equal(
    after.conditions?.find(({ type }) => type === 'PodResizeInProgress'),
    undefined,
  );
  assert.deepEqual(after.containerStatuses?.[0]?.resources, resources);
});

test('pod status: a resize that is not granted says why', () => {
  const resizePending = { reason: 'Infeasible', message: 'too much' } as const;
  const { conditions: found } = compile(pod(), runtime(container('main')), { resizePending });
  const pending = found?.find(({ type }) => type === 'PodResizePending');
  assert.deepEqual([pending?.reason, pending?.message], ['Infeasible', 'too much']);
});

test('pod status: ephemeral containers have a list of their own and are never ready', () => {
  const of = pod({ ephemeralContainers: [{ name: 'debugger', image: 'busybox' }] });
  const [shown] =
    compile(of, runtime(container('main'), container('debugger'))).ephemeralContainerStatuses ?? [];
  assert.equal(shown?.name, 'debugger');
  assert.equal(shown?.ready, false);
  assert.ok(shown?.state?.running !== undefined);
});
