import { History } from './history.ts';
import { compareKeys, SortedIndex } from './sorted-index.ts';
import {
  type Entry,
  type Listing,
  type ListRange,
  type Revision,
  StoreError,
  type StoreEvent,
  type Watching,
} from './store.ts';

export type CommittedOptions = {
  /** Events kept for watches that resume. A watch that is further behind gets `Expired` and lists again. */
  readonly historyEventsMax?: number;
};

export const committedDefaults = { historyEventsMax: 8192 } as const satisfies CommittedOptions;

type Watcher = { readonly prefix: string; readonly sink: (events: readonly StoreEvent[]) => void };

/** What is committed, with its recent past and those who watch it: the half of a Store that reads. */
export class Committed {
  readonly #index = new SortedIndex();
  readonly #history: History;
  readonly #watchers = new Set<Watcher>();
  #revision: Revision;

  /** @param compacted where history begins; the events up to `revision` are then given to `remember` */
  constructor(
    initial: Iterable<Entry>,
    revision: Revision,
    options: CommittedOptions = {},
    compacted: Revision = revision,
  ) {
    this.#index.load(initial);
    this.#revision = revision;
    this.#history = new History(options.historyEventsMax ?? committedDefaults.historyEventsMax, compacted);
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

  /** Past events, up to the present revision, that the state contains already. */
  remember(events: readonly StoreEvent[]): void {
    this.#history.append(events);
  }

  /** Changes the state by events of rising revisions; nobody is told before `announce`. */
  apply(events: readonly StoreEvent[]): void {
    for (const event of events) {
      if (event.type === 'put') this.#index.set(event.entry);
      else this.#index.remove(event.key);
      this.#revision = event.revision;
    }
    this.#history.append(events);
  }

  announce(events: readonly StoreEvent[]): void {
    for (const watcher of this.#watchers) {
      const matching = events.filter((event) => event.key.startsWith(watcher.prefix));
      if (matching.length > 0) watcher.sink(matching);
    }
  }

  /** The medium is at `revision` though nothing of ours was written there. */
  advance(revision: Revision): void {
    this.#revision = Math.max(this.#revision, revision);
  }

  /** Nobody watches any more. */
  stopWatchers(): void {
    this.#watchers.clear();
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
}

/** One allocation of the exact size: values live long, and slices of Node's shared pool would keep whole slabs alive. */
export function joinValue(before: string, revision: Revision, after: string): Buffer {
  const text = `${before}${revision}${after}`;
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}
