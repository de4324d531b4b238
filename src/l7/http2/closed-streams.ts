/** How a stream came to its end, as far as frames that still come for it are judged by that. */
export type ClosedBy = 'end' | 'peer' | 'us';

const kept = 256;
const reasons: readonly ClosedBy[] = ['end', 'peer', 'us'];

/**
 * The streams that were closed last. Frames for one that we have reset may be on their way still and are ignored; for one
 * that has ended they are an error (RFC 9113 §5.1). Of streams before these nothing is known.
 */
export class ClosedStreams {
  readonly #ids = new Uint32Array(kept);
  readonly #reasons = new Uint8Array(kept);
  #next = 0;

  add(id: number, by: ClosedBy): void {
    this.#ids[this.#next] = id;
    this.#reasons[this.#next] = reasons.indexOf(by);
    this.#next = (this.#next + 1) % kept;
  }

  find(id: number): ClosedBy | undefined {
    const at = this.#ids.lastIndexOf(id);
    return at === -1 || id === 0 ? undefined : reasons[this.#reasons[at]!];
  }
}
