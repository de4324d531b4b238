import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { rfc3339 } from '../../base/clock.ts';
import { formatIndexes, planJob, trackingFinalizer } from './plan.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');

function jobOf(spec: object, status: object = {}): Job {
  const template = { spec: { containers: [], restartPolicy: 'Never' } };
  return { metadata: { name: 'sum', uid: 'u' }, spec: { template, ...spec }, status };
}

/** "Succeeded 2": phase and index; "leaving" is told to go, "unbound" too, before it had a node. Ended an hour ago. */
function podOf(text: string): Pod {
  const [phase = '', index] = text.split(' ');
  const leaving = phase === 'leaving' || phase === 'unbound';
  return {
    metadata: {
      name: text,
      creationTimestamp: '2026-01-01T00:00:00Z',
      finalizers: [trackingFinalizer],
      ...(leaving ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
      ...(index === undefined ? {} : { annotations: { 'batch.kubernetes.io/job-completion-index': index } }),
    },
    spec: { containers: [], nodeName: phase === 'unbound' ? '' : 'n1' },
    status: { phase: leaving || phase === 'unbound' ? 'Running' : phase },
  };
}

const over = {
  conditions: [{ type: 'Complete', status: 'True', lastTransitionTime: rfc3339(nowMs - 5000) }],
};

const cases: readonly {
  readonly name: string;
  readonly spec?: object;
  readonly status?: object;
  readonly pods: readonly string[];
  readonly create?: number;
  readonly remove?: number;
  readonly release?: number;
  readonly condition?: string;
  readonly expire?: boolean;
}[] = [
  { name: 'as many as parallelism at once', spec: { completions: 5, parallelism: 2 }, pods: [], create: 2 },
  {
    name: 'no more than are still needed',
    spec: { completions: 3, parallelism: 3 },
    pods: ['Succeeded', 'Succeeded'],
    create: 1,
  },
  { name: 'enough have succeeded', spec: { completions: 1 }, pods: ['Succeeded'], condition: 'Complete' },
  { name: 'a failure is tried again', spec: { completions: 1 }, pods: ['Failed'], create: 1 },
  {
    name: 'too many failures',
    spec: { completions: 1, backoffLimit: 1 },
    pods: ['Failed', 'Failed'],
    condition: 'Failed',
  },
  {
    name: 'one that was told to go counts as failed',
    spec: { completions: 1, backoffLimit: 0 },
    pods: ['leaving'],
    condition: 'Failed',
  },
  {
    name: 'one that was told to go is replaced at once',
    spec: { completions: 1, podReplacementPolicy: 'TerminatingOrFailed' },
    pods: ['leaving'],
    create: 1,
  },
  {
    name: 'podReplacementPolicy Failed waits until it is over',
    spec: { completions: 2, parallelism: 2, backoffLimit: 0, podReplacementPolicy: 'Failed' },
    pods: ['leaving'],
    create: 1,
  },
  {
    name: 'podReplacementPolicy Failed keeps the index of one that leaves',
    spec: {
      completions: 2,
      parallelism: 2,
      completionMode: 'Indexed',
      podReplacementPolicy: 'Failed',
    },
    pods: ['leaving 0', 'Running 1'],
  },
  {
    name: 'podReplacementPolicy Failed does not wait for one that no node has',
    spec: { completions: 1, podReplacementPolicy: 'Failed' },
    pods: ['unbound'],
    create: 1,
  },
  {
    name: 'the deadline stops what runs',
    spec: { completions: 1, activeDeadlineSeconds: 10 },
    status: { startTime: '2026-01-01T00:00:00Z' },
    pods: ['Running'],
    remove: 1,
    condition: 'Failed',
  },
  {
    name: 'parallelism shrinks',
    spec: { completions: 5, parallelism: 1 },
    pods: ['Running', 'Running'],
    remove: 1,
  },
  {
    name: 'a work queue ends with its last worker',
    spec: { parallelism: 2 },
    pods: ['Succeeded', 'Succeeded'],
    condition: 'Complete',
  },
  { name: 'a work queue does not refill', spec: { parallelism: 2 }, pods: ['Succeeded', 'Running'] },
  {
    name: 'suspended',
    spec: { completions: 1, suspend: true },
    pods: ['Running'],
    remove: 1,
    condition: 'Suspended',
  },
  {
    name: 'indexes that are missing',
    spec: { completions: 3, parallelism: 3, completionMode: 'Indexed' },
    pods: ['Succeeded 1'],
    create: 2,
  },
  {
    name: 'afterwards the Pods are let go',
    spec: { completions: 1 },
    status: over,
    pods: ['Succeeded'],
    release: 1,
  },
  {
    name: 'its time is over',
    spec: { completions: 1, ttlSecondsAfterFinished: 5 },
    status: over,
    pods: [],
    expire: true,
  },
  {
    name: 'its time is not over',
    spec: { completions: 1, ttlSecondsAfterFinished: 9 },
    status: over,
    pods: [],
  },
];

for (const {
  name,
  spec = {},
  status = {},
  pods,
  create = 0,
  remove = 0,
  release = 0,
  condition,
  expire = false,
} of cases) {
  test(`job: ${name}`, () => {
    const plan = planJob(jobOf(spec, status), pods.map(podOf), nowMs);
    const counts = [plan.create.length, plan.remove.length, plan.release.length, plan.expire];
    assert.deepEqual(counts, [create, remove, release, expire]);
    if (condition === undefined) return;
    assert.ok(
      plan.status.conditions?.some(({ type, status: holds }) => type === condition && holds === 'True'),
    );
  });
}

test('job: indexes as text', () => {
  assert.equal(formatIndexes(new Set([5, 0, 1, 2])), '0-2,5');
  assert.equal(formatIndexes(new Set()), undefined);
});
