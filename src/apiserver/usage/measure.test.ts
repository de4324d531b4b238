import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { silentLogger } from '../../base/log.ts';
import { createUsageMeter } from './measure.ts';

/** A kubelet whose Pod uses half a core from the beginning of time, and is there from `startMs` on. */
function kubelet(clock: FakeClock, options: { startMs?: number; status?: number; padding?: number } = {}) {
  let looks = 0;
  const get = (): Promise<IncomingMessage> => {
    looks++;
    const answer = new IncomingMessage(new Socket());
    answer.statusCode = options.status ?? 200;
    const time = new Date(clock.nowMs()).toISOString();
    const cpu = { time, usageCoreNanoSeconds: clock.nowMs() * 1e6 * 0.5 };
    const containers = [{ name: 'x', cpu, memory: { time, workingSetBytes: 1024 } }];
    const isThere = clock.nowMs() >= (options.startMs ?? 0);
    const pods = isThere ? [{ podRef: { namespace: 'a', name: 'web' }, containers }] : [];
    answer.push(JSON.stringify({ pods, padding: ' '.repeat(options.padding ?? 0) }));
    answer.push(null);
    return Promise.resolve(answer);
  };
  return { meter: createUsageMeter({ get }, clock, silentLogger), looks: () => looks };
}

test('usage: who asks first waits for a second look, whoever asks later is told of the time since', async () => {
  const clock = new FakeClock();
  const { meter, looks } = kubelet(clock);
  const first = meter.measure('n');
  assert.equal(meter.measure('n'), first, 'those who ask at once share the looks');
  await clock.advance(1_000);
  const usage = await first;
  assert.deepEqual([usage?.windowMs, looks()], [1_000, 2]);
  assert.equal(usage?.pods.get('a/web')?.containers[0]?.nanoCores, 500_000_000);
  await clock.advance(20_000);
  assert.deepEqual([(await meter.measure('n'))?.windowMs, looks()], [20_000, 3]);
  await clock.advance(61_000);
  const late = meter.measure('n');
  await clock.advance(1_000);
  assert.deepEqual([(await late)?.windowMs, looks()], [1_000, 5], 'too long ago');
});

test('usage: a Pod that is new is looked at twice', async () => {
  const clock = new FakeClock();
  const { meter } = kubelet(clock, { startMs: clock.nowMs() + 500 });
  const asked = meter.measure('n');
  await clock.advance(1_000);
  await clock.advance(1_000);
  assert.equal((await asked)?.pods.get('a/web')?.windowMs, 1_000);
});

test('usage: a kubelet that fails or tells too much has none', async () => {
  const clock = new FakeClock();
  assert.equal(await kubelet(clock, { status: 500 }).meter.measure('n'), undefined);
  assert.equal(await kubelet(clock, { padding: 8 * 1024 * 1024 }).meter.measure('n'), undefined);
});

test('usage: nodes that are gone are forgotten', async () => {
  const clock = new FakeClock();
  const { meter, looks } = kubelet(clock);
  const asked = meter.measure('n');
  await clock.advance(1_000);
  await asked;
  meter.keep(new Set(['other']));
  const again = meter.measure('n');
  await clock.advance(1_000);
  await again;
  assert.equal(looks(), 4);
});
