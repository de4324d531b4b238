import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { ApiError } from '../client/client.ts';
import { done, type Outcome, requeueAfter, runReconciler } from './reconciler.ts';
import { WorkQueue } from './work-queue.ts';

async function running(reconcile: (key: string, call: number) => Promise<Outcome>) {
  const clock = new FakeClock();
  const queue = new WorkQueue(clock);
  const calls: string[] = [];
  const stop = new AbortController();
  const finished = runReconciler(
    {
      name: 'test',
      queue,
      concurrency: 2,
      reconcile: (key) => {
        calls.push(key);
        return reconcile(key, calls.length);
      },
    },
    stop.signal,
    { timing: { clock, random: () => 0 } },
  );
  await settle();
  return {
    clock,
    queue,
    calls,
    finished,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await finished;
    },
  };
}

test('reconciler: a key added twice before its pass runs once', async () => {
  await using run = await running(() => Promise.resolve(done));
  run.queue.add('a');
  run.queue.add('b');
  run.queue.add('b');
  await settle();
  assert.deepEqual(run.calls, ['a', 'b']);
});

test('reconciler: keys of a higher rank come first, those of one rank in their order', () => {
  const ranks: Record<string, number> = { c: 7, d: 7, e: -1 };
  const queue = new WorkQueue(new FakeClock(), (key) => ranks[key] ?? 0);
  for (const key of ['e', 'a', 'c', 'b', 'd', 'a']) queue.add(key);
  ranks['b'] = 9;
  queue.add('b');
  assert.equal(queue.size, 5);
  const taken = Array.from({ length: 6 }, () => queue.take());
  assert.deepEqual(taken, ['b', 'c', 'd', 'a', 'e', undefined]);
});

test('reconciler: a key added during its pass runs again after it, never beside it', async () => {
  const gate = Promise.withResolvers<Outcome>();
  await using run = await running((_key, call) => (call === 1 ? gate.promise : Promise.resolve(done)));
  run.queue.add('a');
  await settle();
  run.queue.add('a');
  await settle();
  assert.deepEqual(run.calls, ['a']);
  gate.resolve(done);
  await settle();
  assert.deepEqual(run.calls, ['a', 'a']);
});

test('reconciler: a conflict is tried again at once, other errors after a delay', async () => {
  await using run = await running((_key, call) => {
    if (call === 1) return Promise.reject(new ApiError('Conflict', 'changed'));
    if (call === 2) return Promise.reject(new ApiError('Unavailable', 'gone'));
    return Promise.resolve(done);
  });
  run.queue.add('a');
  await settle();
  assert.equal(run.calls.length, 2);
  await run.clock.advance(1000);
  assert.equal(run.calls.length, 3);
});

test('reconciler: requeueAfter runs again when the time has come', async () => {
  await using run = await running((_key, call) => Promise.resolve(call === 1 ? requeueAfter(500) : done));
  run.queue.add('a');
  await run.clock.advance(499);
  assert.equal(run.calls.length, 1);
  await run.clock.advance(1);
  assert.equal(run.calls.length, 2);
});

test('reconciler: an error that is no ApiError is a bug and ends it', async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue(clock);
  queue.add('a');
  const reconcile = () => Promise.reject(new TypeError('bug'));
  await assert.rejects(
    runReconciler({ name: 'test', queue, concurrency: 1, reconcile }, new AbortController().signal),
    TypeError,
  );
});
