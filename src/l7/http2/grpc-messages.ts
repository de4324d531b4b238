import { readUint32 } from './http2-frame.ts';

/** Bytes before each message of gRPC: whether it is compressed, and its length. */
const prefixBytes = 5;

/** Follows the messages of a gRPC body, each with its length before it, to tell a pause between two from one within. */
export class GrpcMessages {
  #prefixAt = 0;
  #length = 0;
  #left = 0; // bytes of the message that are still to come

  /** A message has begun and is not whole. */
  get unfinished(): boolean {
    return this.#prefixAt > 0 || this.#left > 0;
  }

  /** data[start, end) has come. */
  receive(data: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#left > 0) {
        const bytes = Math.min(this.#left, end - at);
        this.#left -= bytes;
        at += bytes;
        continue;
      }
      if (this.#prefixAt === 0 && end - at >= prefixBytes) {
        this.#left = readUint32(data, at + 1);
        at += prefixBytes;
        continue;
      }
      if (this.#prefixAt > 0) this.#length = this.#length * 256 + data[at]!;
      this.#prefixAt += 1;
      at += 1;
      if (this.#prefixAt < prefixBytes) continue;
      this.#left = this.#length;
      this.#length = 0;
      this.#prefixAt = 0;
    }
  }
}
