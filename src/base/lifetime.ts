/** Something long-lived: runs until the signal aborts, then returns. Rejecting means that it failed. */
export type Task = {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
};

/**
 * Runs all tasks until `parent` aborts or one of them fails; the first failure cancels the others.
 * Returns when every task has stopped. Rejects with the first failure; a stop asked for by `parent` is not one.
 */
export async function runTogether(tasks: readonly Task[], parent: AbortSignal): Promise<void> {
  const group = new AbortController();
  const signal = AbortSignal.any([parent, group.signal]);
  const failures: unknown[] = [];
  const guarded = tasks.map(async (task) => {
    try {
      await task.run(signal);
    } catch (cause) {
      if (signal.aborted) return; // the stop itself, seen from inside
      failures.push(new Error(`${task.name} failed`, { cause }));
      group.abort(cause);
    }
  });
  await Promise.all(guarded);
  if (failures.length > 0) throw failures[0];
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
