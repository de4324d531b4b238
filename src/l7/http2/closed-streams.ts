/** How a stream came to its end, as far as frames that still come for it are judged by that. */
export type ClosedBy = 'end' | 'peer' | 'us';

const kept = 256;

/**
 * The streams that were closed last. Frames for one that we have reset may be on their way still and are ignored; for one
 * that has ended they are an error (RFC 9113 §5.1). Of streams before these nothing is known. Grows as streams come: most
 * connections that rest have had few.
 */
export class ClosedStreams {
  readonly #ids: number[] = [];
  readonly #reasons: ClosedBy[] = [];
  #next = 0;

  add(id: number, by: ClosedBy): void {
    this.#ids[this.#next] = id;
    this.#reasons[this.#next] = by;
    this.#next = (this.#next + 1) % kept;
  }

  find(id: number): ClosedBy | undefined {
    return this.#reasons[this.#ids.lastIndexOf(id)];
  }
}
