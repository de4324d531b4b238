import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod } from '../api/gen/core-v1.ts';
import { type Action, type PlanInput, planPod } from './plan.ts';
import type { ContainerProbes } from './probe-state.ts';
import { restartBackoff } from './restart-backoff.ts';
import { emptyRuntimePod, type RuntimeContainer, type RuntimePod } from './runtime-pod.ts';

const nowMs = 1_000_000;
const image = 'busybox';
const main: Container = { name: 'main', image };
const init: Container = { name: 'init', image };
const sidecar: Container = { name: 'beside', image, restartPolicy: 'Always' };

function pod(spec: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return { metadata: { name: 'p', uid: 'u' }, spec: { containers: [main], ...spec } };
}

function container(name: string, change: Partial<RuntimeContainer> = {}): RuntimeContainer {
  return {
    id: `${name}-0`,
    sandboxId: 's0',
    name,
    attempt: 0,
    state: 'running',
    createdAtMs: nowMs - 5_000,
    startedAtMs: nowMs - 5_000,
    finishedAtMs: undefined,
    exitCode: 0,
    reason: '',
    message: '',
    image,
    imageRef: 'sha256:1',
    specHash: image,
    resources: '{}',
    ...change,
  };
}

const exited = (name: string, exitCode: number, change: Partial<RuntimeContainer> = {}) =>
  container(name, { state: 'exited', exitCode, finishedAtMs: nowMs - 1_000, ...change });
const sandbox = { id: 's0', attempt: 0, ready: true, createdAtMs: nowMs - 6_000, ips: ['10.42.0.2'] };
const runtime = (...containers: readonly RuntimeContainer[]): RuntimePod => ({
  sandboxes: [sandbox],
  containers,
});
const healthy: ContainerProbes = { started: true, ready: true, unhealthy: undefined };
const unhealthy: ContainerProbes = { started: true, ready: false, unhealthy: 'liveness' };

/** An action in one word or two. */
function brief(action: Action): string {
  switch (action.kind) {
    case 'create-sandbox':
      return `create sandbox ${action.attempt}`;
    case 'stop-sandbox':
      return `stop ${action.sandboxId}`;
    case 'start-container':
      return `start ${action.container.name} ${action.attempt}`;
    case 'stop-container':
      return `stop ${action.container.id}: ${action.why}${action.graceSeconds === undefined ? '' : ` in ${action.graceSeconds} s`}`;
    case 'resize-container':
      return `resize ${action.container.id}`;
    case 'remove-container':
      return `remove ${action.containerId}`;
  }
}

type Case = {
  readonly name: string;
  readonly pod?: Pod;
  readonly runtime: RuntimePod;
  readonly probes?: Readonly<Record<string, ContainerProbes>>;
  readonly backoffMs?: number;
  readonly resized?: Readonly<Record<string, string>>;
  readonly want: readonly string[];
  readonly waiting?: readonly string[];
  readonly completed?: boolean;
};

const cases: readonly Case[] = [
  { name: 'a new Pod gets a sandbox first', runtime: emptyRuntimePod, want: ['create sandbox 0'] },
  { name: 'then its container', runtime: runtime(), want: ['start main 0'] },
  { name: 'a running container needs nothing', runtime: runtime(container('main')), want: [] },
  {
    name: 'a container that was created and never started is removed',
    runtime: runtime(container('main', { state: 'created' })),
    want: ['remove main-0'],
  },
  {
    name: 'a container in unknown state is stopped',
    runtime: runtime(container('main', { state: 'unknown' })),
    want: ['stop main-0: unknown-state'],
  },
  {
    name: 'an ended container restarts at once the first time',
    runtime: runtime(exited('main', 1)),
    want: ['start main 1'],
  },
  {
    name: 'the next time it waits for its back-off',
    runtime: runtime(exited('main', 1)),
    backoffMs: 10_000,
    want: [],
    waiting: ['main'],
  },
  {
    name: 'a container that ran for long restarts at once again',
    runtime: runtime(exited('main', 1, { startedAtMs: nowMs - 700_000 })),
    backoffMs: 300_000,
    want: ['start main 1'],
  },
  {
    name: 'OnFailure leaves a success alone, and the Pod is complete',
    pod: pod({ restartPolicy: 'OnFailure' }),
    runtime: runtime(exited('main', 0)),
    want: ['stop s0'],
    completed: true,
  },
  {
    name: 'Never leaves a failure alone',
    pod: pod({ restartPolicy: 'Never' }),
    runtime: runtime(exited('main', 3)),
    want: ['stop s0'],
    completed: true,
  },
  {
    name: 'a complete Pod stops its sidecar before its sandbox',
    pod: pod({ restartPolicy: 'Never', initContainers: [sidecar] }),
    runtime: runtime(exited('main', 0), container('beside')),
    want: ['stop beside-0: completed'],
    completed: true,
  },
  {
    name: 'a failed liveness probe stops the container',
    runtime: runtime(container('main')),
    probes: { 'main-0': unhealthy },
    want: ['stop main-0: unhealthy'],
  },
  {
    name: 'a failed liveness probe stops the container with a grace of its own',
    pod: pod({
      containers: [{ ...main, livenessProbe: { tcpSocket: { port: 80 }, terminationGracePeriodSeconds: 3 } }],
    }),
    runtime: runtime(container('main')),
    probes: { 'main-0': unhealthy },
    want: ['stop main-0: unhealthy in 3 s'],
  },
  {
    name: 'a changed image stops the container',
    runtime: runtime(container('main', { specHash: 'busybox:old' })),
    want: ['stop main-0: changed'],
  },
  {
    name: 'init containers come first',
    pod: pod({ initContainers: [init] }),
    runtime: runtime(),
    want: ['start init 0'],
  },
  {
    name: 'and are waited for',
    pod: pod({ initContainers: [init] }),
    runtime: runtime(container('init')),
    want: [],
  },
  {
    name: 'after them the main containers',
    pod: pod({ initContainers: [init] }),
    runtime: runtime(exited('init', 0)),
    want: ['start main 0'],
  },
  {
    name: 'a failed init container is tried again',
    pod: pod({ initContainers: [init] }),
    runtime: runtime(exited('init', 1)),
    want: ['start init 1'],
  },
  {
    name: 'with Never it is the end of the Pod',
    pod: pod({ initContainers: [init], restartPolicy: 'Never' }),
    runtime: runtime(exited('init', 1)),
    want: ['stop s0'],
    completed: true,
  },
  {
    name: 'a sidecar that has not started holds up the others',
    pod: pod({ initContainers: [sidecar] }),
    runtime: runtime(container('beside')),
    want: [],
  },
  {
    name: 'a started sidecar lets them go on',
    pod: pod({ initContainers: [sidecar, init] }),
    runtime: runtime(container('beside')),
    probes: { 'beside-0': healthy },
    want: ['start init 0'],
  },
  {
    name: 'a sidecar that ended restarts beside running main containers',
    pod: pod({ initContainers: [sidecar, init] }),
    runtime: runtime(container('main'), exited('beside', 0), exited('init', 0)),
    want: ['start beside 1'],
  },
  {
    name: 'init containers are not looked at again when the main ones run',
    pod: pod({ initContainers: [init] }),
    runtime: runtime(container('main')),
    want: [],
  },
  {
    name: 'a sandbox that is not ready is stopped and replaced',
    runtime: { sandboxes: [{ ...sandbox, ready: false }], containers: [exited('main', 137)] },
    want: ['stop s0', 'create sandbox 1'],
  },
  {
    name: 'in a new sandbox the container starts with the next attempt',
    runtime: { sandboxes: [{ ...sandbox, id: 's1', attempt: 1 }], containers: [exited('main', 137)] },
    want: ['start main 1'],
  },
  {
    name: 'in a new sandbox init containers run again',
    pod: pod({ initContainers: [init] }),
    runtime: {
      sandboxes: [{ ...sandbox, id: 's1', attempt: 1 }],
      containers: [exited('main', 137), exited('init', 0)],
    },
    want: ['start init 1'],
  },
  {
    name: 'a Pod whose status is final does not run again',
    pod: { ...pod(), status: { phase: 'Failed' } },
    runtime: emptyRuntimePod,
    want: [],
    completed: true,
  },
  {
    name: 'an ephemeral container starts beside what runs',
    pod: pod({ ephemeralContainers: [{ name: 'debugger', image }] }),
    runtime: runtime(container('main')),
    want: ['start debugger 0'],
  },
  {
    name: 'an ephemeral container waits for no init container',
    pod: pod({ initContainers: [init], ephemeralContainers: [{ name: 'debugger', image }] }),
    runtime: runtime(container('init')),
    want: ['start debugger 0'],
  },
  {
    name: 'an ephemeral container that has ended does not start again',
    pod: pod({ ephemeralContainers: [{ name: 'debugger', image }] }),
    runtime: runtime(container('main'), exited('debugger', 1)),
    want: [],
  },
  {
    name: 'an ephemeral container of an earlier sandbox does not start again',
    pod: pod({ ephemeralContainers: [{ name: 'debugger', image }] }),
    runtime: runtime(container('main'), exited('debugger', 1, { sandboxId: 'old' })),
    want: [],
  },
  {
    name: 'an ephemeral container does not keep a Pod from its end',
    pod: pod({ restartPolicy: 'Never', ephemeralContainers: [{ name: 'debugger', image }] }),
    runtime: runtime(exited('main', 0), container('debugger')),
    want: ['stop debugger-0: completed'],
    completed: true,
  },
  {
    name: 'other resources reach a running container',
    pod: pod({ containers: [{ ...main, resources: { requests: { cpu: '2' } } }] }),
    runtime: runtime(container('main', { resources: '{"requests":{"cpu":"1"}}' })),
    want: ['resize main-0'],
  },
  {
    name: 'resources that it has been given since are not given again',
    pod: pod({ containers: [{ ...main, resources: { requests: { cpu: '2' } } }] }),
    runtime: runtime(container('main', { resources: '{"requests":{"cpu":"1"}}' })),
    resized: { 'main-0': '{"requests":{"cpu":"2"}}' },
    want: [],
  },
  {
    name: 'a resizePolicy may ask for a restart',
    pod: pod({
      containers: [
        {
          ...main,
          resources: { limits: { memory: '2Mi' } },
          resizePolicy: [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }],
        },
      ],
    }),
    runtime: runtime(container('main', { resources: '{"limits":{"memory":"1Mi"}}' })),
    want: ['stop main-0: changed'],
  },
  {
    name: 'a container of which nobody knows its resources is left alone',
    pod: pod({ containers: [{ ...main, resources: { requests: { cpu: '2' } } }] }),
    runtime: runtime(container('main', { resources: '' })),
    want: [],
  },
];

for (const { name, want, waiting, completed, ...rest } of cases) {
  test(`plan: ${name}`, () => {
    const input: PlanInput = {
      pod: rest.pod ?? pod(),
      runtime: rest.runtime,
      nowMs,
      probes: new Map(Object.entries(rest.probes ?? {})),
      backoffs: new Map(rest.backoffMs === undefined ? [] : [['main', { delayMs: rest.backoffMs }]]),
      limits: restartBackoff,
      resized: new Map(Object.entries(rest.resized ?? {})),
    };
    const plan = planPod(input);
    assert.deepEqual(plan.actions.map(brief), want);
    assert.deepEqual([...plan.waiting.keys()], waiting ?? []);
    assert.equal(plan.completed, completed ?? false);
  });
}

test('plan: every kind of action is covered', () => {
  const seen = new Set(cases.flatMap(({ want }) => want.map((text) => text.split(' ')[0])));
  assert.deepEqual(seen, new Set(['create', 'start', 'remove', 'resize', 'stop']));
});
