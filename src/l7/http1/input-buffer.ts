import { giveBlock, takeBlock } from './byte-blocks.ts';

/**
 * Bytes that have come in and are not yet consumed. Bytes of the current read are borrowed without a copy; `retain`
 * copies what is left before the read's buffer goes back to the transport.
 */
export class InputBuffer {
  data: Buffer = empty;
  start = 0;
  end = 0;
  #owned = false;
  #lent = false; // somebody may keep a part of what is owned
  readonly #gives: boolean;

  /** @param gives memory of its own serves others once it is empty: whoever keeps a part of it says so by `lend` */
  constructor(gives = false) {
    this.#gives = gives;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Adds a read. With nothing left over, it is only borrowed. */
  offer(chunk: Buffer): void {
    if (this.start === this.end) {
      this.#release();
      this.data = chunk;
      this.start = 0;
      this.end = chunk.length;
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
    this.#release();
    this.data = empty;
    this.start = 0;
    this.end = 0;
  }

  /** Parts of `data` may be kept by others: its memory is left to the garbage collector. */
  lend(): void {
    this.#lent = true;
  }

  #release(): void {
    if (this.#owned && this.#gives && !this.#lent) giveBlock(this.data);
    this.#owned = false;
    this.#lent = false;
  }

  /** Doubles, so that many small reads cost linear time. */
  #grow(room: number): void {
    const length = this.end - this.start;
    const grown = this.#gives
      ? takeBlock(length + room) // the next larger size is twice this one's
      : Buffer.allocUnsafe(Math.max(1024, 2 * (length + room)));
    this.data.copy(grown, 0, this.start, this.end);
    this.#release();
    this.data = grown;
    this.start = 0;
    this.end = length;
    this.#owned = true;
  }
}

const empty = Buffer.alloc(0);
