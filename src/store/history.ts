import type { Revision, StoreEvent } from './store.ts';

/** The newest events, at most `eventsMax`; older ones are forgotten and raise the compacted revision. */
export class History {
  readonly #eventsMax: number;
  #events: StoreEvent[] = [];
  #compacted: Revision;

  constructor(eventsMax: number, compacted: Revision) {
    this.#eventsMax = eventsMax;
    this.#compacted = compacted;
  }

  /** Events at and below this revision are gone. */
  get compacted(): Revision {
    return this.#compacted;
  }

  append(events: readonly StoreEvent[]): void {
    for (const event of events) this.#events.push(event);
    // A quarter of slack, so that forgetting moves the array once in many appends.
    if (this.#events.length > this.#eventsMax * 1.25) {
      this.#forget(this.#events.length - this.#eventsMax);
    }
  }

  /** Events above `revision`, oldest first. The caller has checked that they are not compacted. */
  above(revision: Revision): readonly StoreEvent[] {
    return this.#events.slice(this.#firstAbove(revision));
  }

  compact(revision: Revision): void {
    this.#forget(this.#firstAbove(revision));
    this.#compacted = Math.max(this.#compacted, revision);
  }

  #forget(count: number): void {
    const last = this.#events[count - 1];
    if (last === undefined) return;
    this.#events = this.#events.slice(count);
    this.#compacted = last.revision;
  }

  #firstAbove(revision: Revision): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
