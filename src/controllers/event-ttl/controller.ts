import type { Event } from '../../api/gen/core-v1.ts';
import { events } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { ApiError, isApiError } from '../../client/client.ts';
import type { ControllerContext } from '../context.ts';

/** Events are removed this long after they last happened. kube-apiserver's --event-ttl. */
export const eventTtlMs = 60 * 60 * 1000;
/** An Event may outlive its time by this. Nobody waits for it, so looking now and then beats a cache of all Events. */
const sweepIntervalMs = 5 * 60 * 1000;

/** Removes old Events, where the API server has no time to live of its own. */
export function eventTtlController(context: ControllerContext): Task {
  const { client, log, timing } = context;

  async function sweep(signal: AbortSignal): Promise<void> {
    const { items } = await client.list(events, { signal });
    for (const event of items.filter((candidate) => isExpired(candidate, timing.clock.nowMs()))) {
      const { namespace, name = '', uid } = event.metadata ?? {};
      try {
        await client.delete(events, namespace, name, { uid, signal });
      } catch (error) {
        // A conflict: it happened again and is a new Event now.
        if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
      }
    }
  }

  return {
    name: 'event-ttl',
    async run(signal) {
      while (!signal.aborted) {
        try {
          await timing.clock.sleep(sweepIntervalMs, signal);
          await sweep(signal);
        } catch (error) {
          if (signal.aborted) return;
          if (!(error instanceof ApiError)) throw error;
          log.debug('event sweep failed, trying again later', { error });
        }
      }
    },
  };
}

export function isExpired(event: Event, nowMs: number): boolean {
  const last = event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? undefined;
  const time = Date.parse(last ?? event.metadata?.creationTimestamp ?? '');
  return nowMs - time > eventTtlMs;
}
