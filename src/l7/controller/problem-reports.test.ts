import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import type { Problem } from './problem.ts';
import { ProblemReports, settleMs } from './problem-reports.ts';

const problem = (message: string): Problem => ({
  ingress: { metadata: { name: 'x', namespace: 'default' } },
  reason: 'ServiceNotFound',
  message,
});

test('l7 problems: reported once when they last, not when they pass', async () => {
  const clock = new FakeClock();
  const reported: string[] = [];
  const reports = new ProblemReports(clock, ({ message }) => reported.push(message));
  reports.update([problem('stays'), problem('passes')]);
  await clock.advance(settleMs / 2);
  reports.update([problem('stays')]);
  await clock.advance(settleMs);
  assert.deepEqual(reported, ['stays']);
  reports.update([problem('stays')]);
  await clock.advance(settleMs * 2);
  assert.deepEqual(reported, ['stays']);
  reports.update([]);
  reports.update([problem('stays')]);
  await clock.advance(settleMs);
  assert.deepEqual(reported, ['stays', 'stays']);
  reports.stop();
  assert.equal(clock.pending, 0);
});
