import { Committed, type CommittedOptions, joinValue } from './committed.ts';
import { refusalOf } from './expectation.ts';
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

export type EngineOptions = CommittedOptions;

type Pending = {
  readonly event: StoreEvent;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: StoreError) => void;
};

/**
 * A Store over a medium. Writes of one event-loop turn wait in `#pending` and are committed together in the next check
 * phase: one transaction however many writers there were. Reads and watches see a write only when it is committed;
 * expectations of further writes are checked against the waiting ones too.
 */
export class StoreEngine implements Store {
  readonly #medium: Medium;
  readonly #committed: Committed;
  #nextRevision: Revision;
  #pending: Pending[] = [];
  /** Keys written by waiting writes; undefined: deleted. */
  readonly #overlay = new Map<string, Entry | undefined>();
  #state: 'open' | 'closed' = 'open';

  constructor(medium: Medium, initial: Iterable<Entry>, revision: Revision, options: EngineOptions = {}) {
    this.#medium = medium;
    this.#committed = new Committed(initial, revision, options);
    this.#nextRevision = revision + 1;
  }

  get revision(): Revision {
    return this.#committed.revision;
  }

  get compactedRevision(): Revision {
    return this.#committed.compactedRevision;
  }

  get(key: string): Entry | undefined {
    return this.#committed.get(key);
  }

  count(prefix: string): number {
    return this.#committed.count(prefix);
  }

  list(prefix: string, range?: ListRange): Listing {
    return this.#committed.list(prefix, range);
  }

  put(key: string, value: ValueTemplate, expected: Revision): Promise<Entry> {
    return this.#write('put', key, value, expected);
  }

  delete(key: string, final: ValueTemplate, expected: Revision): Promise<Entry> {
    return this.#write('delete', key, final, expected);
  }

  watch(prefix: string, after: Revision, sink: (events: readonly StoreEvent[]) => void): Watching {
    return this.#committed.watch(prefix, after, sink);
  }

  compact(revision: Revision): void {
    this.#committed.compact(revision);
  }

  close(): Promise<void> {
    if (this.#state === 'open') {
      this.#flush();
      this.#state = 'closed';
      this.#committed.stopWatchers();
      this.#medium.close();
    }
    return Promise.resolve();
  }

  #write(type: StoreEvent['type'], key: string, value: ValueTemplate, expected: Revision): Promise<Entry> {
    if (this.#state === 'closed') return Promise.reject(new StoreError('Closed', 'the store is closed'));
    const previous = this.#overlay.has(key) ? this.#overlay.get(key) : this.#committed.get(key);
    const refusal = refusalOf(type, key, previous, expected);
    if (refusal !== undefined) return Promise.reject(refusal);
    const revision = this.#nextRevision++;
    const entry: Entry = { key, value: joinValue(value.before, revision, value.after), revision };
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
    this.#committed.apply(events);
    for (const write of batch) write.resolve(write.event.entry);
    this.#committed.announce(events);
  }
}
