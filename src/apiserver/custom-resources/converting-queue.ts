import { expired, failure, type FailureStatus, StatusError } from '../../api/status.ts';
import type { Entry } from '../../store/store.ts';

/** Events that wait for their conversion. Beyond it the watch ends, and the client watches again from where it was. */
export const convertingMax = 10_000;

/** Does things one after the other, each when its entries are converted. */
export function convertingQueue(
  convert: (entries: readonly Entry[]) => Promise<void>,
  fail: (status: FailureStatus) => void,
): { add(entries: readonly Entry[], then: () => void): void } {
  let tail: Promise<void> = Promise.resolve();
  let waiting = 0;
  return {
    add(entries, then) {
      waiting += entries.length;
      if (waiting > convertingMax) {
        fail(expired('the events of this watch come faster than they can be converted').status);
        return;
      }
      const before = tail;
      tail = (async () => {
        await before;
        await convert(entries);
        waiting -= entries.length;
        then();
      })().catch((error: unknown) => {
        fail(statusOf(error));
      });
    },
  };
}

function statusOf(error: unknown): FailureStatus {
  if (error instanceof StatusError) return error.status;
  return failure(500, 'InternalError', `Internal error occurred: ${String(error)}`).status;
}
