import { giveBlock, takeBlock } from './byte-blocks.ts';
import type { ReusePolicy } from '../balance/upstream.ts';

/** Requests that may be sent twice (RFC 9110 §9.2.2). */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'PUT':
    case 'DELETE':
    case 'OPTIONS':
    case 'TRACE':
      return true;
    default:
      return false;
  }
}

/** An HTTP/1.0 request has its connection to itself; one that must not be sent twice avoids stale ones. */
export function reusePolicy(minorVersion: 0 | 1, repeatable: boolean): ReusePolicy {
  if (minorVersion === 0) return 'new';
  return repeatable ? 'any' : 'recent';
}

/** The part of a request's body that was sent, kept for sending it again. Beyond the bound it is given up. */
export class ReplayBuffer {
  overflown = false;
  length = 0;
  #dropped = false;
  #block: Buffer | undefined;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Copies data[start, end). */
  add(data: Buffer, start: number, end: number): void {
    if (this.#dropped || start === end) return;
    const length = this.length + end - start;
    if (length > this.#bytesMax) {
      this.overflown = true;
      this.drop();
      return;
    }
    if (length > (this.#block?.length ?? 0)) this.#grow(length);
    data.copy(this.#block!, this.length, start, end);
    this.length = length;
  }

  #grow(bytes: number): void {
    const grown = takeBlock(bytes);
    this.#block?.copy(grown, 0, 0, this.length);
    if (this.#block !== undefined) giveBlock(this.#block);
    this.#block = grown;
  }

  /** A copy, which others may keep. */
  bytes(): Buffer {
    return this.#block === undefined ? Buffer.alloc(0) : Buffer.from(this.#block.subarray(0, this.length));
  }

  /** It will not be sent again: its memory serves others, and nothing more is added. */
  drop(): void {
    this.#dropped = true;
    if (this.#block !== undefined) giveBlock(this.#block);
    this.#block = undefined;
    this.length = 0;
  }
}
