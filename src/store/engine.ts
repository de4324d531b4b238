import { History } from './history.ts';
import { compareKeys, SortedIndex } from './sorted-index.ts';
import {
  type Entry,
  type Listing,
  type ListRange,
  type Revision,
  type Store,
  StoreError,
  type StoreEvent,
  type ValueTemplate,
  type Watching,
} from './store.ts';

/** What is left to an implementation: keeping batches. Everything else is the same for all of them. */
export type Medium = {
  /** Keeps all events or throws and keeps none. */
  commit(events: readonly StoreEvent[]): void;
  close(): void;
};

export type EngineOptions = {
  /** Events kept for watches that resume. A watch that is further behind gets `Expired` and lists again. */
  readonly historyEventsMax?: number;
};

export const engineDefaults = { historyEventsMax: 8192 } as const satisfies EngineOptions;

type Pending = {
  readonly event: StoreEvent;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: StoreError) => void;
};

type Watcher = { readonly prefix: string; readonly sink: (events: readonly StoreEvent[]) => void };

/**
 * A Store over a medium. Writes of one event-loop turn wait in `#pending` and are committed together in the next check
 * phase: one transaction however many writers there were. Reads and watches see a write only when it is committed;
 * expectations of further writes are checked against the waiting ones too.
 */
export class StoreEngine implements Store {
  readonly #medium: Medium;
  readonly #index = new SortedIndex();
  readonly #history: History;
  readonly #watchers = new Set<Watcher>();
  #revision: Revision;
  #nextRevision: Revision;
  #pending: Pending[] = [];
  /** Keys written by waiting writes; undefined: deleted. */
  readonly #overlay = new Map<string, Entry | undefined>();
  #state: 'open' | 'closed' = 'open';

  constructor(medium: Medium, initial: Iterable<Entry>, revision: Revision, options: EngineOptions = {}) {
    this.#medium = medium;
    this.#index.load(initial);
    this.#revision = revision;
    this.#nextRevision = revision + 1;
    this.#history = new History(options.historyEventsMax ?? engineDefaults.historyEventsMax, revision);
  }

  get revision(): Revision {
    return this.#revision;
  }

  get compactedRevision(): Revision {
    return this.#history.compacted;
  }

  get(key: string): Entry | undefined {
    return this.#index.get(key);
  }

  count(prefix: string): number {
    return this.#index.count(prefix);
  }

  list(prefix: string, range: ListRange = {}): Listing {
    const revision = range.atRevision ?? this.#revision;
    this.#requireHistory(revision);
    const current = this.#index.under(prefix, range.after);
    const all = revision === this.#revision ? current : this.#rewind(current, prefix, range.after, revision);
    const limit = range.limit ?? all.length;
    const entries = all.length > limit ? all.slice(0, limit) : all;
    return { entries, revision, remaining: all.length - entries.length };
  }

  put(key: string, value: ValueTemplate, expected: Revision): Promise<Entry> {
    return this.#write('put', key, value, expected);
  }

  delete(key: string, final: ValueTemplate, expected: Revision): Promise<Entry> {
    return this.#write('delete', key, final, expected);
  }

  watch(prefix: string, after: Revision, sink: (events: readonly StoreEvent[]) => void): Watching {
    this.#requireHistory(after);
    const past = this.#history.above(after).filter((event) => event.key.startsWith(prefix));
    const watcher: Watcher = { prefix, sink };
    this.#watchers.add(watcher);
    if (past.length > 0) sink(past);
    return { stop: () => void this.#watchers.delete(watcher) };
  }

  compact(revision: Revision): void {
    this.#history.compact(Math.min(revision, this.#revision));
  }

  close(): Promise<void> {
    if (this.#state === 'open') {
      this.#flush();
      this.#state = 'closed';
      this.#watchers.clear();
      this.#medium.close();
    }
    return Promise.resolve();
  }

  #requireHistory(revision: Revision): void {
    if (revision < this.#history.compacted || revision > this.#revision) {
      throw new StoreError(
        'Expired',
        `revision ${revision} is not between ${this.#history.compacted} and ${this.#revision}`,
      );
    }
  }

  /** Undoes what happened to `current` after `revision`. Costs the events since then, not the size of the store. */
  #rewind(current: Entry[], prefix: string, after: string | undefined, revision: Revision): Entry[] {
    const then = new Map(current.map((entry) => [entry.key, entry]));
    for (const event of this.#history.above(revision).toReversed()) {
      if (!event.key.startsWith(prefix) || (after !== undefined && event.key <= after)) continue;
      if (event.previous === undefined) then.delete(event.key);
      else then.set(event.key, event.previous);
    }
    return [...then.values()].sort((a, b) => compareKeys(a.key, b.key));
  }

  #write(type: StoreEvent['type'], key: string, value: ValueTemplate, expected: Revision): Promise<Entry> {
    if (this.#state === 'closed') return Promise.reject(new StoreError('Closed', 'the store is closed'));
    const previous = this.#overlay.has(key) ? this.#overlay.get(key) : this.#index.get(key);
    const refusal = refusalOf(type, key, previous, expected);
    if (refusal !== undefined) return Promise.reject(refusal);
    const revision = this.#nextRevision++;
    const entry: Entry = { key, value: join(value, revision), revision };
    const event: StoreEvent = { type, key, revision, entry, previous };
    this.#overlay.set(key, type === 'put' ? entry : undefined);
    return new Promise((resolve, reject) => {
      if (this.#pending.length === 0) setImmediate(() => this.#flush());
      this.#pending.push({ event, resolve, reject });
    });
  }

  #flush(): void {
    const batch = this.#pending;
    if (batch.length === 0) return;
    this.#pending = [];
    this.#overlay.clear();
    const events = batch.map((write) => write.event);
    try {
      this.#medium.commit(events);
    } catch (cause) {
      for (const write of batch) {
        write.reject(new StoreError('Failed', `the write of ${write.event.key} was not kept`, { cause }));
      }
      return;
    }
    for (const event of events) {
      if (event.type === 'put') this.#index.set(event.entry);
      else this.#index.remove(event.key);
      this.#revision = event.revision;
    }
    this.#history.append(events);
    for (const write of batch) write.resolve(write.event.entry);
    for (const watcher of this.#watchers) {
      const matching = events.filter((event) => event.key.startsWith(watcher.prefix));
      if (matching.length > 0) watcher.sink(matching);
    }
  }
}

function refusalOf(
  type: StoreEvent['type'],
  key: string,
  current: Entry | undefined,
  expected: Revision,
): StoreError | undefined {
  if (type === 'put' && expected === 0) {
    return current === undefined ? undefined : new StoreError('Exists', `${key} exists`, { current });
  }
  if (current === undefined) return new StoreError('Missing', `${key} does not exist`);
  if (current.revision === expected) return undefined;
  return new StoreError('Conflict', `${key} is at revision ${current.revision}, not ${expected}`, {
    current,
  });
}

/** One allocation of the exact size: values live long, and slices of Node's shared pool would keep whole slabs alive. */
function join(value: ValueTemplate, revision: Revision): Buffer {
  const text = `${value.before}${revision}${value.after}`;
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}
