import type { BodyKind } from '../http1/http1-parse.ts';

/**
 * Bodies between HTTP/1.1, which frames those of unknown length as chunks, and HTTP/2, whose frames are its own. All else goes
 * through as it is.
 */
export type BodyTranslator = {
  /** What data[start, end) is on the other side; may be empty. */
  translate(data: Buffer, start: number, end: number): Buffer;
  /** What ends the body there; '' for nothing. `trailers`: lines with CRLF, or ''. */
  finish(trailers: string): string;
  /** Those that came in chunked framing, as lines with CRLF. */
  readonly trailers: string;
};

/**
 * undefined: bytes go through as they are.
 * @param fromUnframed the body comes by HTTP/2
 * @param toUnframed the body goes by HTTP/2
 */
export function bodyTranslator(
  fromUnframed: boolean,
  toUnframed: boolean,
  body: BodyKind,
): BodyTranslator | undefined {
  if (fromUnframed === toUnframed || body !== 'chunked') return undefined;
  return fromUnframed ? chunker : new Dechunker();
}

const chunker: BodyTranslator = {
  translate(data, start, end) {
    const length = end - start;
    if (length === 0) return empty; // a chunk of 0 would end the body
    const size = `${length.toString(16)}\r\n`;
    const chunk = Buffer.allocUnsafe(size.length + length + 2);
    chunk.write(size, 0, 'latin1');
    data.copy(chunk, size.length, start, end);
    chunk.write('\r\n', size.length + length, 'latin1');
    return chunk;
  },
  finish: (trailers) => `0\r\n${trailers}\r\n`,
  trailers: '',
};

const empty = Buffer.alloc(0);
const CR = 0x0d;
const LF = 0x0a;

/** Takes the framing off. BodyFramer has checked it already, so nothing is checked here. */
class Dechunker implements BodyTranslator {
  trailers = '';
  #state: 'size' | 'data' | 'data-end' | 'trailers' = 'size';
  #size = '';
  #remaining = 0;
  #rest = '';

  translate(data: Buffer, start: number, end: number): Buffer {
    const pieces: Buffer[] = [];
    let at = start;
    while (at < end) {
      if (this.#state === 'data') {
        const taken = Math.min(this.#remaining, end - at);
        pieces.push(data.subarray(at, at + taken));
        this.#remaining -= taken;
        at += taken;
        if (this.#remaining === 0) this.#state = 'data-end';
      } else if (this.#state === 'trailers') {
        this.#rest += data.toString('latin1', at, end);
        at = end;
      } else {
        const byte = data[at]!;
        at += 1;
        if (byte === LF) this.#endLine();
        else if (byte !== CR && this.#state === 'size') this.#size += String.fromCharCode(byte);
      }
    }
    // The last two bytes are the empty line.
    if (this.#rest.endsWith('\r\n')) this.trailers = this.#rest.slice(0, -2);
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  #endLine(): void {
    if (this.#state === 'data-end') {
      this.#state = 'size';
      return;
    }
    this.#remaining = Number.parseInt(this.#size, 16); // an extension behind the size is no digit
    this.#size = '';
    this.#state = this.#remaining === 0 ? 'trailers' : 'data';
  }

  finish(): string {
    return '';
  }
}
