import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CronJob, Job } from '../../api/gen/batch-v1.ts';
import { planCronJob } from './plan.ts';

const nowMs = Date.parse('2026-01-01T12:00:30Z');
const minuteMs = 60_000;

function cronJobOf(spec: object, lastScheduleTime = '2026-01-01T11:59:00Z'): CronJob {
  const template = { spec: { containers: [], restartPolicy: 'Never' } };
  return {
    metadata: { name: 'tick', namespace: 'a', uid: 'u' },
    spec: { schedule: '* * * * *', jobTemplate: { spec: { template } }, ...spec },
    status: { lastScheduleTime },
  };
}

function jobOf(name: string, condition?: 'Complete' | 'Failed'): Job {
  const conditions = condition === undefined ? [] : [{ type: condition, status: 'True' }];
  const template = { spec: { containers: [] } };
  return {
    metadata: { name },
    spec: { template },
    status: { startTime: `2026-01-01T11:0${name.slice(-1)}:00Z`, conditions },
  };
}

const due = `tick-${Math.floor(Date.parse('2026-01-01T12:00:00Z') / minuteMs)}`;

const cases: readonly {
  readonly name: string;
  readonly spec?: object;
  readonly last?: string;
  readonly jobs?: readonly Job[];
  readonly create?: string;
  readonly remove?: readonly string[];
  readonly warning?: string;
}[] = [
  { name: 'a Job is due', create: due },
  { name: 'nothing is due', last: '2026-01-01T12:00:00Z' },
  { name: 'suspended', spec: { suspend: true } },
  { name: 'of many missed times the last one runs', last: '2026-01-01T02:00:00Z', create: due },
  {
    name: 'Forbid waits',
    spec: { concurrencyPolicy: 'Forbid' },
    jobs: [jobOf('tick-1')],
    warning: 'JobAlreadyActive',
  },
  {
    name: 'Replace stops the old one',
    spec: { concurrencyPolicy: 'Replace' },
    jobs: [jobOf('tick-1')],
    create: due,
    remove: ['tick-1'],
  },
  {
    name: 'too late',
    spec: { startingDeadlineSeconds: 10, schedule: '0 12 * * *' },
    last: '2025-12-31T12:00:00Z',
  },
  {
    name: 'the history is short',
    spec: { suspend: true, successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 0 },
    jobs: [jobOf('tick-2', 'Complete'), jobOf('tick-1', 'Complete'), jobOf('tick-3', 'Failed')],
    remove: ['tick-1', 'tick-3'],
  },
];

for (const { name, spec = {}, last, jobs = [], create, remove = [], warning } of cases) {
  test(`cronjob: ${name}`, () => {
    const plan = planCronJob(cronJobOf(spec, last), jobs, nowMs);
    assert.equal(plan.create?.metadata?.name, create);
    assert.deepEqual(
      plan.remove.map(({ metadata }) => metadata?.name),
      remove,
    );
    assert.equal(plan.warning?.reason, warning);
  });
}

test('cronjob: looked at again at the next time', () => {
  assert.equal(planCronJob(cronJobOf({}), [], nowMs).recheckAfterMs, 30_000);
});
