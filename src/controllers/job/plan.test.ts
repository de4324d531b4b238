import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job } from '../../api/gen/batch-v1.ts';
import type { Pod } from '../../api/gen/core-v1.ts';
import { formatIndexes } from '../../api/kinds/job-indexes.ts';
import { rfc3339 } from '../../base/clock.ts';
import { planJob } from './plan.ts';
import { trackingFinalizer } from './pods.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');

function jobOf(spec: object, status: object = {}): Job {
  const template = { spec: { containers: [], restartPolicy: 'Never' } };
  return { metadata: { name: 'sum', uid: 'u' }, spec: { template, ...spec }, status };
}

/**
 * "Succeeded 2": phase and index; "leaving" is told to go, "unbound" too, before it had a node. "exit=3" is a container's
 * exit code, "is=Lost" a condition. Ended an hour ago.
 */
function podOf(text: string): Pod {
  const [phase = '', ...rest] = text.split(' ');
  const index = rest.find((word) => /^\d+$/.test(word));
  const exit = rest.find((word) => word.startsWith('exit='))?.slice(5);
  const holds = rest.find((word) => word.startsWith('is='))?.slice(3);
  const leaving = phase === 'leaving' || phase === 'unbound';
  return {
    metadata: {
      name: text,
      namespace: 'default',
      creationTimestamp: '2026-01-01T00:00:00Z',
      finalizers: [trackingFinalizer],
      ...(leaving ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
      ...(index === undefined ? {} : { annotations: { 'batch.kubernetes.io/job-completion-index': index } }),
    },
    spec: { containers: [], nodeName: phase === 'unbound' ? '' : 'n1' },
    status: {
      phase: leaving ? 'Running' : phase,
      ...(holds === undefined ? {} : { conditions: [{ type: holds, status: 'True' }] }),
      ...(exit === undefined
        ? {}
        : {
            containerStatuses: [
              {
                name: 'main',
                image: 'x',
                imageID: '',
                ready: false,
                restartCount: 0,
                state: { terminated: { exitCode: Number(exit), finishedAt: '2026-01-01T00:00:00Z' } },
              },
            ],
          }),
    },
  };
}

/** A podFailurePolicy for exit code 3 or, with a name, for a condition. */
function onFailure(action: string, condition?: string): object {
  const rule =
    condition === undefined
      ? { action, onExitCodes: { operator: 'In', values: [3] } }
      : { action, onPodConditions: [{ type: condition, status: 'True' }] };
  return { podFailurePolicy: { rules: [rule] }, podReplacementPolicy: 'Failed' };
}

const indexed = { completionMode: 'Indexed', completions: 3, parallelism: 3 };

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
  /** "reason: message" of that condition. */
  readonly reason?: string;
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
    condition: 'FailureTarget',
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
    condition: 'FailureTarget',
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
    name: 'an end that was decided waits for the last Pod',
    spec: { completions: 1 },
    status: {
      conditions: [{ type: 'FailureTarget', status: 'True', reason: 'DeadlineExceeded', message: 'late' }],
    },
    pods: ['leaving'],
    condition: 'FailureTarget',
  },
  {
    name: 'an end that was decided comes with the last Pod',
    spec: { completions: 1 },
    status: {
      conditions: [{ type: 'FailureTarget', status: 'True', reason: 'DeadlineExceeded', message: 'late' }],
    },
    pods: ['Succeeded'],
    condition: 'Failed',
    reason: 'DeadlineExceeded: late',
  },
  {
    name: 'a failure that is ignored does not count',
    spec: { completions: 1, backoffLimit: 0, ...onFailure('Ignore', 'DisruptionTarget') },
    pods: ['Failed is=DisruptionTarget'],
    create: 1,
  },
  {
    name: 'a failure that no rule fits counts',
    spec: { completions: 1, backoffLimit: 0, ...onFailure('Ignore', 'DisruptionTarget') },
    pods: ['Failed exit=3'],
    condition: 'Failed',
    reason: 'BackoffLimitExceeded: Job has reached the specified backoff limit',
  },
  {
    name: 'a failure that ends the Job',
    spec: { completions: 2, parallelism: 2, ...onFailure('FailJob') },
    pods: ['Failed exit=3', 'Running'],
    remove: 1,
    condition: 'FailureTarget',
    reason:
      'PodFailurePolicy: Container main for pod default/Failed exit=3 failed with exit code 3 matching FailJob rule at index 0',
  },
  {
    name: 'another exit code does not end it',
    spec: { completions: 1, ...onFailure('FailJob') },
    pods: ['Failed exit=4'],
    create: 1,
  },
  {
    name: 'what a failure means is known when the Pod is over',
    spec: { completions: 1, ...onFailure('FailJob', 'DisruptionTarget') },
    pods: ['leaving is=DisruptionTarget'],
  },
  {
    name: 'each index has its own limit',
    spec: { ...indexed, backoffLimitPerIndex: 1 },
    pods: ['Failed 0', 'Failed 0', 'Failed 1', 'Succeeded 2'],
    create: 1,
  },
  {
    name: 'a rule fails an index at once',
    spec: { ...indexed, backoffLimitPerIndex: 5, ...onFailure('FailIndex') },
    pods: ['Failed 0 exit=3', 'Failed 1 exit=4', 'Running 2'],
    create: 1,
  },
  {
    name: 'all indexes are over, some failed',
    spec: { ...indexed, backoffLimitPerIndex: 0 },
    pods: ['Failed 0', 'Succeeded 1', 'Succeeded 2'],
    condition: 'Failed',
    reason: 'FailedIndexes: Job has failed indexes',
  },
  {
    name: 'too many indexes failed',
    spec: { ...indexed, backoffLimitPerIndex: 0, maxFailedIndexes: 1 },
    pods: ['Failed 0', 'Failed 1', 'Running 2'],
    remove: 1,
    condition: 'FailureTarget',
    reason: 'MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes',
  },
  {
    name: 'success by the indexes that matter',
    spec: { ...indexed, successPolicy: { rules: [{ succeededIndexes: '0,2', succeededCount: 1 }] } },
    pods: ['Running 0', 'Running 1', 'Succeeded 2'],
    remove: 2,
    condition: 'SuccessCriteriaMet',
    reason: 'SuccessPolicy: Matched rules at index 0',
  },
  {
    name: 'success by a count, once the others are gone',
    spec: { ...indexed, successPolicy: { rules: [{ succeededIndexes: '0' }, { succeededCount: 1 }] } },
    pods: ['Failed 0', 'Succeeded 2'],
    condition: 'Complete',
    reason: 'SuccessPolicy: Matched rules at index 1',
  },
  {
    name: 'no success before all that is asked for',
    spec: { ...indexed, successPolicy: { rules: [{ succeededIndexes: '0,2' }] } },
    pods: ['Running 0', 'Running 1', 'Succeeded 2'],
  },
  {
    name: 'a Job that shrinks drops the indexes it has no more',
    spec: { ...indexed, completions: 2, parallelism: 2 },
    pods: ['Running 2', 'Running 0', 'Running 1'],
    remove: 1,
  },
  { name: 'a Job of another controller', spec: { managedBy: 'example.com/queue' }, pods: [] },
  {
    name: 'a Job of another controller lives no longer after its end',
    spec: { managedBy: 'example.com/queue', ttlSecondsAfterFinished: 5 },
    status: over,
    pods: [],
    expire: true,
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
  reason,
  expire = false,
} of cases) {
  test(`job: ${name}`, () => {
    const plan = planJob(jobOf(spec, status), pods.map(podOf), nowMs);
    const counts = [plan.create.length, plan.remove.length, plan.release.length, plan.expire];
    assert.deepEqual(counts, [create, remove, release, expire]);
    if (condition === undefined) return;
    const found = plan.status.conditions?.find(
      ({ type, status: holds }) => type === condition && holds === 'True',
    );
    assert.ok(found !== undefined, JSON.stringify(plan.status.conditions));
    if (reason !== undefined) assert.equal(`${found.reason}: ${found.message}`, reason);
  });
}

test('job: a Pod of an index tells how often the index has failed', () => {
  const spec = { ...indexed, completions: 1, backoffLimitPerIndex: 5, ...onFailure('Ignore', 'Lost') };
  const plan = planJob(jobOf(spec), ['Failed 0 exit=3', 'Failed 0 is=Lost', 'Failed 0'].map(podOf), nowMs);
  assert.partialDeepStrictEqual(plan.create[0]?.metadata?.annotations, {
    'batch.kubernetes.io/job-index-failure-count': '2',
    'batch.kubernetes.io/job-index-ignored-failure-count': '1',
  });
  assert.equal(plan.status.failed, 2);
  assert.equal(plan.status.failedIndexes, '');
});

test('job: with a limit per index each one waits for itself', () => {
  const late = podOf('Failed 0 exit=1');
  const ended = { exitCode: 1, finishedAt: rfc3339(nowMs - 4000) };
  const [status] = late.status?.containerStatuses ?? [];
  const failedNow: Pod = {
    ...late,
    status: { ...late.status, containerStatuses: [{ ...status, state: { terminated: ended } }] as never },
  };
  const plan = planJob(jobOf({ ...indexed, backoffLimitPerIndex: 3 }), [failedNow, podOf('Failed 1')], nowMs);
  const indexes = plan.create.map(({ spec }) => spec?.hostname);
  assert.deepEqual(indexes, ['sum-1', 'sum-2']);
  assert.equal(plan.recheckAfterMs, 6000);
});

test('job: indexes as text', () => {
  assert.equal(formatIndexes(new Set([5, 0, 1, 2])), '0-2,5');
  assert.equal(formatIndexes(new Set()), undefined);
});
