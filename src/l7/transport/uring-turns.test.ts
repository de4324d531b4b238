import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kernel, openKernel } from './uring-kernel.ts';
import type { Ring } from './uring-ring.ts';
import { RingTurns } from './uring-turns.ts';

/** Or why Node's event loop cannot be driven from outside here. */
function kernelHere(): Kernel | string {
  try {
    return openKernel();
  } catch (error) {
    return `no native functions: ${String(error)}`;
  }
}

const kernel = kernelHere();

test('nobody sleeps long while an end waits for what was sent before it: it is not held back until something else comes', {
  skip: typeof kernel === 'string' ? kernel : false,
}, async () => {
  assert.ok(typeof kernel !== 'string');
  const waits: number[] = [];
  const slept = Promise.withResolvers<void>();
  let awaits = true;
  const ring = {
    tellsAll: true,
    hasNews: false,
    poll: () => {},
    reap: () => 0,
    end: () => {},
    enter(waitMs: number) {
      waits.push(waitMs);
      if (waitMs > 0 && waitMs < 1) return;
      turns.close();
      slept.resolve();
    },
  };
  const turns = new RingTurns(kernel, ring as unknown as Ring, {
    flush: () => false,
    complete: () => {},
    awaitsConfirmation: () => awaits,
    confirm() {
      if (waits.length > 0) awaits = false;
    },
  });
  turns.addUser();
  turns.wake();
  await slept.promise;
  const [first = 0, second = 0] = waits;
  assert.ok(first > 0 && first < 1, 'a look comes soon');
  assert.ok(second < 0 || second > 1, 'and then nobody wakes us for nothing');
});
