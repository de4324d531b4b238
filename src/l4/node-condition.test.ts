import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { nodes } from '../api/resource.ts';
import { silentLogger } from '../base/log.ts';
import type { SctpLack } from './dataplane.ts';
import { runNodeCondition } from './node-condition.ts';

const noSctp: SctpLack = { reason: 'KernelWithoutSCTP', message: 'the kernel does not track SCTP' };
const other = { type: 'Ready', status: 'True' };

function started() {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  api.seed(nodes, { metadata: { name: 'n' }, status: { conditions: [other] } });
  const stop = new AbortController();
  let lack: SctpLack | undefined;
  const node = () => api.find(nodes, 'n');
  const sources = { client: api, clock, intervalMs: 30_000, node, lack: () => Promise.resolve(lack) };
  return {
    api,
    clock,
    lacks: (next: SctpLack | undefined): void => {
      lack = next;
    },
    conditions: () => node()?.status?.conditions ?? [],
    run: () => runNodeCondition(sources, silentLogger, stop.signal),
    stop: () => stop.abort(),
  };
}

test('l4 node condition: it comes, stays without further writes, is taken back, and others’ stay', async () => {
  const { api, clock, lacks, conditions, run, stop } = started();
  lacks(noSctp);
  const running = run();
  await settle();
  const lost = {
    type: 'SCTPUnavailable',
    status: 'True',
    ...noSctp,
    lastHeartbeatTime: '2026-01-31T12:00:00Z',
    lastTransitionTime: '2026-01-31T12:00:00Z',
  };
  assert.deepEqual(conditions(), [lost, other], 'what a patch adds comes first');
  await clock.advance(90_000);
  assert.equal(api.writes.length, 1);
  lacks(undefined);
  await clock.advance(30_000);
  const [told] = conditions();
  assert.deepEqual(
    [told?.status, told?.reason, told?.lastTransitionTime],
    ['False', 'SCTPServed', '2026-01-31T12:02:00Z'],
  );
  stop();
  await running;
});

test('l4 node condition: a node that can do all is not written to', async () => {
  const { api, clock, run, stop } = started();
  const running = run();
  await clock.advance(60_000);
  assert.deepEqual(api.writes, []);
  stop();
  await running;
});

test('l4 node condition: a proxy that may not write nodes goes on without', async () => {
  const { api, lacks, conditions, run } = started();
  lacks(noSctp);
  api.failNext('patch', nodes, 'Forbidden');
  await run(); // ends by itself
  assert.deepEqual(conditions(), [other]);
});

test('l4 node condition: a write that failed is made up for', async () => {
  const { api, clock, lacks, conditions, run, stop } = started();
  lacks(noSctp);
  api.failNext('patch', nodes, 'Unavailable');
  const running = run();
  await clock.advance(30_000);
  assert.equal(conditions()[1]?.status, 'True');
  stop();
  await running;
});
