import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterRestart, type Backoff, delayBefore, restartBackoff } from './restart-backoff.ts';

test('restart back-off: at once, then 10 s doubling to 5 min', () => {
  let backoff: Backoff | undefined;
  const delays: number[] = [];
  for (let restart = 0; restart < 8; restart++) {
    delays.push(delayBefore(backoff, 50, restartBackoff));
    backoff = afterRestart(backoff, 50, restartBackoff);
  }
  assert.deepEqual(delays, [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
});

test('restart back-off: ten minutes without trouble forget it', () => {
  const backoff = { delayMs: 300_000 };
  assert.equal(delayBefore(backoff, 600_000, restartBackoff), 0);
  assert.deepEqual(afterRestart(backoff, 600_000, restartBackoff), { delayMs: 10_000 });
});
