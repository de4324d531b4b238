import type { KubeObject, ObjectKey } from '../api/object.ts';
import type { Resource } from '../api/resource.ts';
import { assert } from '../base/assert.ts';
import type { ApiClient } from '../client/client.ts';
import type { Informer } from './informer.ts';
import { type ReflectorOptions, type ReflectorStore, runReflector } from './reflector.ts';

export type InformerOptions<T> = ReflectorOptions<T>;

type Index<T> = {
  readonly valuesOf: (object: T) => readonly string[];
  /** Value to the objects under it; a value without objects has no entry. */
  readonly byValue: Map<string, Map<ObjectKey, T>>;
};

type Listener<T> = (key: ObjectKey, now: T | undefined, old: T | undefined) => void;

/** An informer of one resource: see the contract in informer.ts. Nothing runs until `run`. */
export function createInformer<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  const cache = new Cache<T>();
  const synced = Promise.withResolvers<void>();
  let running = false;
  const store: ReflectorStore<T> = {
    replaceAll(items) {
      cache.replaceAll(items);
      synced.resolve();
    },
    set: (key, object) => cache.set(key, object),
    remove: (key) => cache.remove(key),
  };
  return {
    get synced() {
      return cache.synced;
    },
    get size() {
      return cache.objects.size;
    },
    get: (key) => cache.objects.get(key),
    list: () => cache.objects.values(),
    byIndex: (index, value) => cache.byIndex(index, value),
    addIndex(index, valuesOf) {
      assert(!running, `index ${index} of ${resource.plural} added after run`);
      cache.indexes.set(index, { valuesOf, byValue: new Map() });
    },
    onChange(listener) {
      assert(!running, `listener of ${resource.plural} added after run`);
      cache.listeners.push(listener);
    },
    async whenSynced(signal) {
      if (cache.synced) return;
      signal.throwIfAborted();
      const { promise, reject } = Promise.withResolvers<never>();
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        await Promise.race([synced.promise, promise]);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    async run(signal) {
      assert(!running, `informer of ${resource.plural} run twice`);
      running = true;
      await runReflector(client, resource, store, options, signal);
    },
  };
}

/** Objects by key, with indexes that follow every change before listeners hear of it. */
class Cache<T extends KubeObject> {
  synced = false;
  readonly objects = new Map<ObjectKey, T>();
  readonly indexes = new Map<string, Index<T>>();
  readonly listeners: Listener<T>[] = [];

  /** Tells listeners only what differs from before, so a relist after 410 costs no reconciles where nothing changed. */
  replaceAll(items: ReadonlyMap<ObjectKey, T>): void {
    this.synced = true;
    for (const key of [...this.objects.keys()]) {
      if (!items.has(key)) this.remove(key);
    }
    for (const [key, object] of items) this.set(key, object);
  }

  set(key: ObjectKey, object: T): void {
    const old = this.objects.get(key);
    if (old !== undefined) {
      const version = object.metadata?.resourceVersion;
      if (version !== undefined && version === old.metadata?.resourceVersion) return;
    }
    this.objects.set(key, object);
    for (const index of this.indexes.values()) {
      if (old !== undefined) unindex(index, key, old);
      enindex(index, key, object);
    }
    for (const listener of this.listeners) listener(key, object, old);
  }

  remove(key: ObjectKey): void {
    const old = this.objects.get(key);
    if (old === undefined) return;
    this.objects.delete(key);
    for (const index of this.indexes.values()) unindex(index, key, old);
    for (const listener of this.listeners) listener(key, undefined, old);
  }

  byIndex(name: string, value: string): Iterable<T> {
    const index = this.indexes.get(name);
    assert(index !== undefined, `no index named ${name}`);
    return index.byValue.get(value)?.values() ?? [];
  }
}

function enindex<T>(index: Index<T>, key: ObjectKey, object: T): void {
  for (const value of index.valuesOf(object)) {
    const under = index.byValue.get(value);
    if (under === undefined) index.byValue.set(value, new Map([[key, object]]));
    else under.set(key, object);
  }
}

function unindex<T>(index: Index<T>, key: ObjectKey, object: T): void {
  for (const value of index.valuesOf(object)) {
    const under = index.byValue.get(value);
    under?.delete(key);
    if (under?.size === 0) index.byValue.delete(value);
  }
}
