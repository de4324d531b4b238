/** Coding of bodies by node:zlib, in the thread pool. A shell. */
import {
  type BrotliCompress,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  type Gzip,
  type ZstdCompress,
} from 'node:zlib';
import type { Coding } from './compression.ts';

/** Coders at work in one process. Beyond, answers go as they are: each holds up to a megabyte. */
export const compressorsMax = 256;

let working = 0;

/** Told of what a coder has made. */
export type CompressorOwner = {
  /** Stop it by `pause` when there is no room for more. */
  onCoded(data: Buffer): void;
  /** It takes more again. */
  onRoom(): void;
  /** All is coded and told. */
  onCodedEnd(): void;
  onCodingFailed(error: Error): void;
};

/** One body on its way into a coding. Bounded: it takes no more than about 64 KiB ahead of what has come out. */
export class Compressor {
  readonly #stream: Gzip | BrotliCompress | ZstdCompress;
  readonly #flushes: boolean;
  #pendingWrites = 0;
  #released = false;

  private constructor(coding: Coding, flushes: boolean, owner: CompressorOwner) {
    working += 1;
    this.#flushes = flushes;
    this.#stream = createStream(coding);
    this.#stream.on('data', (data: Buffer) => owner.onCoded(data));
    this.#stream.on('drain', () => owner.onRoom());
    this.#stream.on('end', () => {
      this.destroy();
      owner.onCodedEnd();
    });
    this.#stream.on('error', (error) => {
      this.destroy();
      owner.onCodingFailed(error);
    });
  }

  /** undefined: too many are at work. `flushes`: what is written comes out soon, as for streams of events. */
  static open(coding: Coding, flushes: boolean, owner: CompressorOwner): Compressor | undefined {
    return working >= compressorsMax ? undefined : new Compressor(coding, flushes, owner);
  }

  /** Copies. False: stop until `onRoom`. */
  write(data: Buffer): boolean {
    this.#pendingWrites += 1;
    return this.#stream.write(Buffer.from(data), () => {
      this.#pendingWrites -= 1;
      // Only when nothing more waits: a flush between any two writes would cost much of the gain.
      if (this.#flushes && this.#pendingWrites === 0 && !this.#stream.writableEnded) this.#stream.flush();
    });
  }

  end(): void {
    this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  destroy(): void {
    if (this.#released) return;
    this.#released = true;
    working -= 1;
    this.#stream.destroy();
  }
}

/** Quick rather than small: the answer is coded anew for each request. */
function createStream(coding: Coding): Gzip | BrotliCompress | ZstdCompress {
  switch (coding) {
    case 'gzip':
      return createGzip({ level: 5 });
    case 'br':
      return createBrotliCompress({
        params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 18 },
      });
    case 'zstd':
      return createZstdCompress({
        params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_windowLog]: 18 },
      });
  }
}
