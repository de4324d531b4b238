import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atRest } from './after-start.ts';

test('a component that works is not stopped to give memory back: it is looked at again until it is at rest', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let usedMs = 3000;
  let calls = 0;
  atRest(
    () => usedMs,
    () => {
      calls += 1;
    },
  );
  for (const addedMs of [900, 400]) {
    usedMs += addedMs;
    t.mock.timers.tick(1000);
    assert.equal(calls, 0);
  }
  usedMs += 20;
  t.mock.timers.tick(1000);
  assert.equal(calls, 1);
  t.mock.timers.tick(60_000);
  assert.equal(calls, 1);
});
