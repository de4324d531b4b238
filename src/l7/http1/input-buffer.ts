/**
 * Bytes that have come in and are not yet consumed. Bytes of the current read are borrowed without a copy; `retain`
 * copies what is left before the read's buffer goes back to the transport.
 */
export class InputBuffer {
  data: Buffer = empty;
  start = 0;
  end = 0;
  #owned = false;

  get length(): number {
    return this.end - this.start;
  }

  /** Adds a read. With nothing left over, it is only borrowed. */
  offer(chunk: Buffer): void {
    if (this.start === this.end) {
      this.data = chunk;
      this.start = 0;
      this.end = chunk.length;
      this.#owned = false;
      return;
    }
    if (!this.#owned || this.data.length - this.end < chunk.length) this.#grow(chunk.length);
    chunk.copy(this.data, this.end);
    this.end += chunk.length;
  }

  /** To be called before a read's handler returns. */
  retain(): void {
    if (this.start === this.end) this.clear();
    else if (!this.#owned) this.#grow(0);
  }

  clear(): void {
    this.data = empty;
    this.start = 0;
    this.end = 0;
    this.#owned = false;
  }

  /** Doubles, so that many small reads cost linear time. */
  #grow(room: number): void {
    const length = this.end - this.start;
    const grown = Buffer.allocUnsafe(Math.max(1024, 2 * (length + room)));
    this.data.copy(grown, 0, this.start, this.end);
    this.data = grown;
    this.start = 0;
    this.end = length;
    this.#owned = true;
  }
}

const empty = Buffer.alloc(0);
