import { CHAR_TOKEN, CHAR_VALUE, COLON, CR, charClass, LF } from './http1-chars.ts';
import {
  FIELD_CONNECTION,
  FIELD_CONTENT_LENGTH,
  FIELD_HOST,
  FIELD_TRANSFER_ENCODING,
  fieldOf,
} from './http1-fields.ts';
import type { BodyKind } from './http1-parse.ts';

/** Bytes of one chunk-size line with its extensions. Beyond: malformed. */
export const chunkLineBytesMax = 256;
/** Bytes of all trailer fields together. Beyond: malformed. */
export const trailerBytesMax = 8192;
/** Hexadecimal digits of a chunk size: keeps the number exact. Beyond: malformed. */
const chunkSizeDigitsMax = 12;
/** Longer than every field name that is forbidden in a trailer; of longer names only the length is kept. */
const trailerNameBytes = 64;

const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const STATE_SIZE = 0;
const STATE_EXTENSION = 1;
const STATE_SIZE_LF = 2;
const STATE_DATA = 3;
const STATE_DATA_CR = 4;
const STATE_DATA_LF = 5;
const STATE_TRAILER_START = 6;
const STATE_TRAILER_NAME = 7;
const STATE_TRAILER_VALUE = 8;
const STATE_TRAILER_LF = 9;
const STATE_END_LF = 10;

/**
 * Follows one message body through the bytes of a connection and says where it ends. Bytes are passed on as they are;
 * chunk framing is checked strictly first, so both sides of the proxy see the same body. Reused from body to body.
 */
export class BodyFramer {
  done = true;
  /** Why the body is malformed; nothing after that may be passed on. */
  failure: string | undefined;
  #kind: BodyKind = 'none';
  #remaining = 0; // of the content length, or of the current chunk
  #state = STATE_SIZE;
  #digits = 0;
  #lineBytes = 0;
  #extension: 'name' | 'in-name' | 'value' | 'in-value' | 'quoted' | 'escaped' | 'end' = 'name';
  #trailerBytes = 0;
  #name: Buffer | undefined; // of a trailer; few bodies have any
  #nameLength = 0;

  begin(kind: BodyKind, contentLength: number): void {
    this.#kind = kind;
    this.#remaining = kind === 'length' ? contentLength : 0;
    this.done = kind === 'none';
    this.failure = undefined;
    this.#state = STATE_SIZE;
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#trailerBytes = 0;
  }

  get kind(): BodyKind {
    return this.#kind;
  }

  /** Returns the index just behind the last byte in data[start, end) that belongs to the body. */
  consume(data: Buffer, start: number, end: number): number {
    if (this.done || this.failure !== undefined) return start;
    if (this.#kind === 'close') return end;
    if (this.#kind === 'chunked') return this.#consumeChunked(data, start, end);
    const taken = Math.min(this.#remaining, end - start);
    this.#remaining -= taken;
    if (this.#remaining === 0) this.done = true;
    return start + taken;
  }

  /** The connection has ended: true if the body is whole. */
  finish(): boolean {
    if (this.#kind === 'close' && this.failure === undefined) this.done = true;
    return this.done;
  }

  #consumeChunked(data: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && !this.done) {
      if (this.#state === STATE_DATA) {
        const taken = Math.min(this.#remaining, end - at);
        this.#remaining -= taken;
        at += taken;
        if (this.#remaining === 0) this.#state = STATE_DATA_CR;
        continue;
      }
      const problem = this.#step(data[at]!);
      if (problem !== undefined) {
        this.failure = problem;
        return at;
      }
      at += 1;
    }
    return at;
  }

  #step(byte: number): string | undefined {
    switch (this.#state) {
      case STATE_SIZE:
        return this.#stepSize(byte);
      case STATE_EXTENSION:
        this.#lineBytes += 1;
        if (this.#lineBytes > chunkLineBytesMax) return 'chunk extension too long';
        return this.#stepExtension(byte);
      case STATE_SIZE_LF:
        if (byte !== LF) return 'malformed chunk size line';
        this.#digits = 0;
        this.#lineBytes = 0;
        this.#state = this.#remaining === 0 ? STATE_TRAILER_START : STATE_DATA;
        return undefined;
      case STATE_DATA_CR:
        if (byte !== CR) return 'chunk longer than its size';
        this.#state = STATE_DATA_LF;
        return undefined;
      case STATE_DATA_LF:
        if (byte !== LF) return 'chunk longer than its size';
        this.#state = STATE_SIZE;
        return undefined;
      default:
        return this.#stepTrailer(byte);
    }
  }

  #stepSize(byte: number): string | undefined {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits += 1;
      if (this.#digits > chunkSizeDigitsMax) return 'chunk size too large';
      this.#remaining = this.#remaining * 16 + digit;
      return undefined;
    }
    if (this.#digits === 0) return 'malformed chunk size';
    if (byte === CR) this.#state = STATE_SIZE_LF;
    else if (byte === SEMICOLON) {
      this.#state = STATE_EXTENSION;
      this.#extension = 'name';
    } else return 'malformed chunk size';
    return undefined;
  }

  /**
   * By the grammar and without the white space that it only tolerates (RFC 9112 §7.1.1): a quote that one reader closes and
   * another does not would put the boundary elsewhere.
   */
  #stepExtension(byte: number): string | undefined {
    const isToken = (charClass[byte]! & CHAR_TOKEN) !== 0;
    const isText = (charClass[byte]! & CHAR_VALUE) !== 0;
    switch (this.#extension) {
      case 'name':
      case 'value':
        if (isToken) this.#extension = this.#extension === 'name' ? 'in-name' : 'in-value';
        else if (byte === QUOTE && this.#extension === 'value') this.#extension = 'quoted';
        else return 'malformed chunk extension';
        return undefined;
      case 'quoted':
        if (byte === QUOTE) this.#extension = 'end';
        else if (byte === BACKSLASH) this.#extension = 'escaped';
        else if (!isText) return 'malformed chunk extension';
        return undefined;
      case 'escaped':
        this.#extension = 'quoted';
        return isText ? undefined : 'malformed chunk extension';
      default:
        if (isToken && this.#extension !== 'end') return undefined;
        if (byte === EQUALS && this.#extension === 'in-name') this.#extension = 'value';
        else if (byte === SEMICOLON) this.#extension = 'name';
        else if (byte === CR) this.#state = STATE_SIZE_LF;
        else return 'malformed chunk extension';
        return undefined;
    }
  }

  #stepTrailer(byte: number): string | undefined {
    this.#trailerBytes += 1;
    if (this.#trailerBytes > trailerBytesMax) return 'trailer too long';
    switch (this.#state) {
      case STATE_TRAILER_START:
        if (byte === CR) {
          this.#state = STATE_END_LF;
          return undefined;
        }
        this.#nameLength = 0;
        this.#state = STATE_TRAILER_NAME;
        return this.#stepTrailerName(byte);
      case STATE_TRAILER_NAME:
        return this.#stepTrailerName(byte);
      case STATE_TRAILER_VALUE:
        if (byte === CR) this.#state = STATE_TRAILER_LF;
        else if ((charClass[byte]! & CHAR_VALUE) === 0) return 'malformed trailer';
        return undefined;
      case STATE_TRAILER_LF:
        if (byte !== LF) return 'malformed trailer';
        this.#state = STATE_TRAILER_START;
        return undefined;
      default:
        if (byte !== LF) return 'malformed end of chunks';
        this.done = true;
        return undefined;
    }
  }

  #stepTrailerName(byte: number): string | undefined {
    this.#name ??= Buffer.alloc(trailerNameBytes);
    if (byte === COLON && this.#nameLength > 0) {
      this.#state = STATE_TRAILER_VALUE;
      return this.#nameLength <= trailerNameBytes && isForbidden(this.#name, this.#nameLength)
        ? 'framing field in a trailer'
        : undefined;
    }
    if ((charClass[byte]! & CHAR_TOKEN) === 0) return 'malformed trailer';
    if (this.#nameLength < trailerNameBytes) this.#name[this.#nameLength] = byte;
    this.#nameLength += 1;
    return undefined;
  }
}

/** Fields that must not come in a trailer, since a server that merges trailers would believe them (RFC 9110 §6.5.1). */
function isForbidden(name: Buffer, length: number): boolean {
  const field = fieldOf(name, 0, length);
  return (
    field === FIELD_HOST ||
    field === FIELD_CONTENT_LENGTH ||
    field === FIELD_TRANSFER_ENCODING ||
    field === FIELD_CONNECTION
  );
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
