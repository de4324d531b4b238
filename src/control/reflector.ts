import type { KubeObject, ObjectKey } from '../api/object.ts';
import { keyOf } from '../api/object.ts';
import type { Resource } from '../api/resource.ts';
import { systemClock } from '../base/clock.ts';
import { type Logger, silentLogger } from '../base/log.ts';
import { type ApiClient, isApiError, type ListOptions, type WatchEvent } from '../client/client.ts';
import { backoffMs, connectBackoff, type Timing } from './backoff.ts';

/** Where a reflector puts what it hears: the consumer's narrow view of a store. */
export type ReflectorStore<T> = {
  /** The complete state: what is not in it is gone. */
  replaceAll(items: ReadonlyMap<ObjectKey, T>): void;
  set(key: ObjectKey, object: T): void;
  remove(key: ObjectKey, last: T): void;
};

export type ReflectorOptions<T> = {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Applied to every object before it is stored, to keep only what is needed. May change its argument. */
  readonly transform?: ((object: T) => T) | undefined;
  /** The kind may be none that the server knows, or one that we may not read: then there are none of it, until it is there. */
  readonly mayBeAbsent?: boolean | undefined;
  readonly log?: Logger | undefined;
  readonly timing?: Timing | undefined;
};

/** A watch that ended this soon without one event counts as a failure, else a broken server would be hammered. */
const shortWatchMs = 1000;

/**
 * Keeps `store` equal to the server's state of one resource until the signal aborts. Never rejects: closed streams are
 * resumed from the last known version, 410 leads to a new list, everything else is retried with growing, jittered delays.
 */
export async function runReflector<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  store: ReflectorStore<T>,
  options: ReflectorOptions<T>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random } = options.timing ?? { clock: systemClock, random: Math.random };
  const log = options.log ?? silentLogger;
  const scope: ListOptions = {
    namespace: options.namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
    signal,
  };
  const transform = options.transform ?? ((object: T): T => object);
  let version: string | undefined; // undefined: list first
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (version === undefined) {
        const listed = await client.list(resource, scope);
        const items = new Map<ObjectKey, T>();
        for (const item of listed.items) items.set(keyOf(item), transform(item));
        store.replaceAll(items);
        version = listed.resourceVersion;
        if (failures > 0) log.info('listing works again', { resource: resource.plural });
        failures = 0;
      }
      const startedAtMs = clock.monotonicMs();
      let events = 0;
      for await (const event of client.watch(resource, version, scope)) {
        version = applyEvent(store, event, transform) ?? version;
        events++;
        if (failures > 0) log.info('watch works again', { resource: resource.plural });
        failures = 0;
      }
      if (events > 0 || clock.monotonicMs() - startedAtMs >= shortWatchMs) continue;
      failures++;
    } catch (error) {
      if (signal.aborted) return;
      if (isApiError(error, 'Expired')) version = undefined;
      if (options.mayBeAbsent === true && isAbsent(error)) {
        version = undefined;
        store.replaceAll(new Map());
      }
      failures++;
      // Once when it starts and then only in detail: a server that is away for an hour must not fill the log.
      if (failures === 2) log.warn('cannot list or watch, retrying', { resource: resource.plural, error });
      else log.debug('list or watch failed', { resource: resource.plural, error });
      if (failures === 1 && isApiError(error, 'Expired')) continue;
    }
    try {
      await clock.sleep(backoffMs(Math.max(failures, 1), connectBackoff, random), signal);
    } catch {
      return; // aborted
    }
  }
}

/** Returns the version that the watch can be resumed from. */
function applyEvent<T extends KubeObject>(
  store: ReflectorStore<T>,
  event: WatchEvent<T>,
  transform: (object: T) => T,
): string | undefined {
  if (event.type === 'BOOKMARK') return event.resourceVersion === '' ? undefined : event.resourceVersion;
  const version = event.object.metadata?.resourceVersion;
  const key = keyOf(event.object);
  const object = transform(event.object);
  if (event.type === 'DELETED') store.remove(key, object);
  else store.set(key, object);
  return version;
}

function isAbsent(error: unknown): boolean {
  return isApiError(error, 'NotFound') || isApiError(error, 'Forbidden');
}
