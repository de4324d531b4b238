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

test('nobody sleeps while an end waits for what was sent before it: it is not held back until something else comes', {
  skip: typeof kernel === 'string' ? kernel : false,
}, async () => {
  assert.ok(typeof kernel !== 'string');
  const waits: string[] = [];
  const slept = Promise.withResolvers<void>();
  let awaits = true;
  const ring = {
    tellsAll: true,
    hasNews: false,
    poll: () => {},
    reap: () => 0,
    end: () => {},
    enter(waitMs: number) {
      waits.push(waitMs === 0 ? 'look' : 'sleep');
      if (waitMs === 0) return;
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
  assert.deepEqual(waits.slice(0, 2), ['look', 'sleep']);
});
