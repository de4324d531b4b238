/**
 * The store: one revisioned map from keys to bytes. It knows no kinds and never reads a value.
 *
 * A value carries the revision of its own last write inside (an object's resourceVersion). So that nobody encodes an
 * object twice, a writer hands over the bytes before and after that place; the store, which alone knows the revision,
 * joins `before + revision in decimal + after`. Readers get bytes that can be sent as they are.
 */

/** Store-wide, strictly increasing; 0 is before the first write. */
export type Revision = number;

/** The bytes of a value around the place where its revision is written. */
export type ValueTemplate = { readonly before: string; readonly after: string };

export type Entry = {
  readonly key: string;
  readonly value: Buffer;
  /** Of the write that made this value. */
  readonly revision: Revision;
};

export type StoreEvent = {
  readonly type: 'put' | 'delete';
  readonly key: string;
  readonly revision: Revision;
  /** The entry written; for a delete its final state, with the delete's own revision inside. */
  readonly entry: Entry;
  /** What stood there before; undefined for a creation. */
  readonly previous: Entry | undefined;
};

export type StoreErrorCode =
  | 'Exists'
  | 'Conflict'
  | 'Missing'
  | 'Claimed'
  | 'Overtaken'
  | 'Expired'
  | 'Closed'
  | 'Failed';

/** A refusal by the store. `Failed`: the medium did not take the write, `cause` says why; nothing was changed. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  /** What the store has under the key, where that explains the refusal. */
  readonly current: Entry | undefined;

  constructor(
    code: StoreErrorCode,
    message: string,
    options: { readonly current?: Entry | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.current = options.current;
  }
}

export function isStoreError(error: unknown, code: StoreErrorCode): error is StoreError {
  return error instanceof StoreError && error.code === code;
}

/**
 * Names of which each has one owner, such as addresses: taken and given back in the same step as the write that they come
 * with, or that write is refused (`Claimed`) once what took them can be read. Only a store that several processes write to keeps
 * them, at most `claimsMax` of a write: a process alone knows what is taken.
 */
export type Claims = {
  readonly taken: readonly string[];
  readonly released: readonly string[];
  readonly turn?: Turn | undefined;
};

/**
 * For what is judged by many objects together: the write is made only if no write with this turn was made after the revision
 * that was judged by, else it is refused (`Overtaken`) once that write can be read.
 */
export type Turn = { readonly name: string; readonly seen: Revision };

/** With the write itself and what it compares below 128, which is what etcd takes in a transaction. */
export const claimsMax = 100;

export type ListRange = {
  /** Only keys greater than this one. */
  readonly after?: string | undefined;
  /** At most so many entries. */
  readonly limit?: number | undefined;
  /** The state as of this revision; `Expired` when the history no longer reaches back so far. */
  readonly atRevision?: Revision | undefined;
};

export type Listing = {
  readonly entries: readonly Entry[];
  /** The revision that the listing shows. */
  readonly revision: Revision;
  /** Entries left beyond `limit`. */
  readonly remaining: number;
};

export type Watching = {
  /** No event is delivered after this returns. */
  stop(): void;
};

export type Store = {
  /** Of the last committed write. Reads and events never show anything newer. */
  readonly revision: Revision;
  /** Watches and listings must start at or above this one. */
  readonly compactedRevision: Revision;
  get(key: string): Entry | undefined;
  /** Keys that start with `prefix`, in code unit order. */
  list(prefix: string, range?: ListRange): Listing;
  /** How many keys start with `prefix`. */
  count(prefix: string): number;
  /**
   * Writes and resolves after commit. `expected` 0: the key must not exist (`Exists`); else it must be at this revision
   * (`Conflict`, or `Missing`). Of two writes of a key at the same time one is refused; which one is up to the store.
   */
  put(key: string, value: ValueTemplate, expected: Revision, claims?: Claims): Promise<Entry>;
  /** Removes the key at `expected`. `final` is the value that the delete event carries. */
  delete(key: string, final: ValueTemplate, expected: Revision, claims?: Claims): Promise<Entry>;
  /**
   * Delivers every committed event above `after` under `prefix`, in order, a batch a call: those of the past within the
   * call of watch itself, later ones right after their commit. `sink` must not throw nor block. `Expired` when
   * `after` is compacted or lies in the future.
   */
  watch(prefix: string, after: Revision, sink: (events: readonly StoreEvent[]) => void): Watching;
  /**
   * Only where other processes write to the same medium: resolves when reads show `revision`, without one all that had been
   * committed by anybody when it was called. Rejects (`Failed`) when that does not come to pass in time.
   */
  catchUp?(revision?: Revision): Promise<void>;
  /** Forgets history up to and including `revision`. */
  compact(revision: Revision): void;
  /** Commits what waits, then refuses everything. Idempotent. */
  close(): Promise<void>;
};
