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
  #chunks: Buffer[] = [];
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Copies data[start, end). */
  add(data: Buffer, start: number, end: number): void {
    if (this.overflown) return;
    this.length += end - start;
    if (this.length > this.#bytesMax) {
      this.overflown = true;
      this.length = 0;
      this.#chunks = [];
      return;
    }
    this.#chunks.push(Buffer.from(data.subarray(start, end)));
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks, this.length);
  }
}
