import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { events } from '../api/resource.ts';
import { createRecorder } from './recorder.ts';

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'default', uid: 'u' } };

async function recording() {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const recorder = createRecorder(api, 'test', { timing: { clock, random: () => 0.5 } });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await settle();
  return {
    clock,
    api,
    recorder,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test('recorder: the same happening again raises the count of one Event', async () => {
  await using run = await recording();
  run.recorder.event(pod, 'Warning', 'Failed', 'no luck');
  await run.clock.advance(5000);
  run.recorder.event(pod, 'Warning', 'Failed', 'no luck');
  run.recorder.event(pod, 'Warning', 'Failed', 'no luck');
  await settle();
  const written = run.api.objects(events);
  assert.deepEqual(
    written.map(({ count, reason, lastTimestamp }) => [count, reason, lastTimestamp]),
    [[3, 'Failed', '2026-01-31T12:00:05Z']],
  );
});

test('recorder: an Event whose time was over is created anew', async () => {
  await using run = await recording();
  run.recorder.event(pod, 'Normal', 'Started', 'up');
  await settle();
  const [first] = run.api.objects(events);
  run.api.remove(events, `default/${first?.metadata?.name}`);
  await run.clock.advance(1000);
  run.recorder.event(pod, 'Normal', 'Started', 'up');
  await settle();
  assert.equal(run.api.objects(events).length, 1);
});

test('recorder: a server that refuses does not stop later Events', async () => {
  await using run = await recording();
  run.api.failNext('create', events, 'Forbidden');
  run.recorder.event(pod, 'Normal', 'First', 'lost');
  run.recorder.event(pod, 'Normal', 'Second', 'kept');
  await settle();
  assert.deepEqual(
    run.api.objects(events).map(({ reason }) => reason),
    ['Second'],
  );
});

test('recorder: nodes that see the same write one Event together and count in it', async () => {
  const clock = new FakeClock();
  const api = new FakeApi({ clock });
  const stop = new AbortController();
  const timing = { clock, random: () => 0.5 };
  const recorders = ['a', 'b', 'c'].map((host) =>
    createRecorder(api, 'test', { timing, shared: true, host: `node-${host}` }),
  );
  const running = recorders.map((recorder) => recorder.run(stop.signal));
  for (const recorder of recorders) recorder.event(pod, 'Warning', 'Failed', 'no luck');
  await settle(20);
  await clock.advance(5000);
  recorders[1]?.event(pod, 'Warning', 'Failed', 'no luck');
  recorders[1]?.event(pod, 'Warning', 'Failed', 'no luck');
  await settle(20);
  recorders[1]?.event(pod, 'Warning', 'Failed', 'something else');
  await settle(20);
  assert.deepEqual(
    api
      .objects(events)
      .map(
        ({ count, message, source, lastTimestamp }) => `${message} ${count} ${source?.host} ${lastTimestamp}`,
      )
      .toSorted(),
    ['no luck 5 node-b 2026-01-31T12:00:05Z', 'something else 1 node-b 2026-01-31T12:00:05Z'],
  );
  stop.abort();
  await Promise.all(running);
});
