import { systemClock } from '../base/clock.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import { ApiError } from '../client/client.ts';
import { FailureCounts, retryBackoff, type Timing } from './backoff.ts';
import type { WorkQueue } from './work-queue.ts';

/** Success. `requeueAfter`: look again after `ms` although nothing may have changed (a deadline passes then). */
export type Outcome = { readonly kind: 'done' } | { readonly kind: 'requeueAfter'; readonly ms: number };

export const done: Outcome = { kind: 'done' };

export function requeueAfter(ms: number): Outcome {
  return { kind: 'requeueAfter', ms };
}

export type Reconciler<K extends string> = {
  readonly name: string;
  readonly queue: WorkQueue<K>;
  /** Keys worked on at once. */
  readonly concurrency: number;
  /** Brings the world to what the key's object asks for. Must be idempotent: it runs again after any failure. */
  reconcile(key: K, signal: AbortSignal): Promise<Outcome>;
};

/** From this many failures in a row on, a key's errors are worth an operator's look. */
const failuresBeforeWarning = 4;

/**
 * Works through the queue until the signal aborts. A Conflict is tried again at once (somebody else was first), other
 * errors with per-key exponential delays, for ever: the world may heal. Only bugs (AssertionFailure) end it.
 */
export async function runReconciler<K extends string>(
  reconciler: Reconciler<K>,
  signal: AbortSignal,
  options: { readonly log?: Logger; readonly timing?: Timing } = {},
): Promise<void> {
  const log = (options.log ?? silentLogger).child({ controller: reconciler.name });
  const failures = new FailureCounts<K>(retryBackoff, options.timing?.random ?? Math.random);
  const { queue } = reconciler;
  const onAbort = (): void => queue.close();
  signal.addEventListener('abort', onAbort, { once: true });

  async function work(): Promise<void> {
    while (!signal.aborted) {
      const key = await queue.next();
      if (key === undefined) return;
      try {
        const outcome = await reconciler.reconcile(key, signal);
        failures.forget(key);
        if (outcome.kind === 'requeueAfter') queue.addAfter(key, outcome.ms);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        retry(key, error);
      } finally {
        queue.done(key);
      }
    }
  }

  function retry(key: K, error: ApiError): void {
    const delayMs = failures.fail(key);
    const count = failures.failuresOf(key);
    if (error.code === 'Conflict' && count === 1) queue.add(key);
    else queue.addAfter(key, delayMs);
    if (count === failuresBeforeWarning && error.code !== 'Conflict') {
      log.warn('reconcile fails, retrying', { key, error });
    } else {
      log.debug('reconcile failed', { key, error });
    }
  }

  try {
    if (signal.aborted) return;
    await Promise.all(Array.from({ length: reconciler.concurrency }, () => work()));
  } finally {
    signal.removeEventListener('abort', onAbort);
    queue.close();
  }
}

/** The clock and chance of the running system. */
export const systemTiming: Timing = { clock: systemClock, random: Math.random };
