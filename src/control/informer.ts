import type { KubeObject, ObjectKey } from '../api/object.ts';

/**
 * A local, always-current copy of one resource: list, then watch, for ever. Recovers from closed streams, an unreachable
 * server (keeps serving the last known objects) and 410 Expired (lists again) by itself.
 * Objects are shared: never change one.
 */
export type Informer<T extends KubeObject> = {
  /** True after the first complete list. */
  readonly synced: boolean;
  get(key: ObjectKey): T | undefined;
  list(): Iterable<T>;
  readonly size: number;
  /** Objects under an index added by `addIndex`, in no certain order. */
  byIndex(index: string, value: string): Iterable<T>;
  /** Must be called before `run`. An object is listed under each value that `valuesOf` returns. */
  addIndex(index: string, valuesOf: (object: T) => readonly string[]): void;
  /**
   * Called synchronously after the copy has changed; `old` undefined: added, `now` undefined: deleted.
   * Listeners only mark keys dirty. Must be called before `run`.
   */
  onChange(listener: (key: ObjectKey, now: T | undefined, old: T | undefined) => void): void;
  /** Resolves when synced. */
  whenSynced(signal: AbortSignal): Promise<void>;
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
};
