import { stringAt } from '../api/fields.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Entry, Store } from '../store/store.ts';
import { parseEntry, templateOfEntry } from './objects.ts';

/** Time between two passes, ms. An Event lives at most so much longer than its time. */
const passIntervalMs = 60_000;

/** Removes Events whose time is over, as etcd's leases do for Kubernetes. Runs until the signal aborts. */
export async function runEventExpiry(
  store: Store,
  clock: Clock,
  log: Logger,
  ttlMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(passIntervalMs, signal);
    } catch {
      return; // the signal
    }
    const expired = store
      .list('/events/')
      .entries.filter((entry) => lastSeenMs(entry) < clock.nowMs() - ttlMs);
    const removals = expired.map((entry) => store.delete(entry.key, templateOfEntry(entry), entry.revision));
    const failed = (await Promise.allSettled(removals)).filter(({ status }) => status === 'rejected').length;
    // Whoever changed an Event meanwhile has renewed it.
    if (expired.length > 0) log.debug('events expired', { removed: expired.length - failed });
  }
}

function lastSeenMs(entry: Entry): number {
  const event = parseEntry(entry);
  const times = [
    stringAt(event, 'series', 'lastObservedTime'),
    stringAt(event, 'lastTimestamp'),
    stringAt(event, 'eventTime'),
    stringAt(event, 'metadata', 'creationTimestamp'),
  ].map((text) => Date.parse(text));
  return Math.max(...times.filter((time) => Number.isFinite(time)), 0);
}
