import { lend } from './lent-memory.ts';
import {
  addressOf,
  BIO_C_GET_BUF_MEM_PTR,
  BIO_C_SET_BUF_MEM_EOF_RETURN,
  memoryAt,
  type OpenSsl,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_ZERO_RETURN,
  textAt,
  versionNames,
} from './openssl.ts';
import type { Connection } from './transport.ts';

/** As many encrypted bytes are decrypted at once. */
export const inputBytes = 65_536;
/** What they can become: a record that began before, too. */
const plainBytes = inputBytes + 32_768;
/** Bytes to be encrypted gather till there are so many: four whole records. */
export const stagedBytesMax = 65_536;
/** Of a piece of encrypted bytes that is handed on. */
const outputBytes = 73_728;

/** Of struct buf_mem_st (BUF_MEM, openssl/buffer.h), in 32-bit words: its length, and where its bytes are. */
const bufMemBytes = 32;
const lengthWord = 0;
const dataWord = 2;

/** Who has given bytes to be encrypted. */
export type Writer = {
  /** To be done now: takes them by `takeStaged`. */
  encrypt(): void;
};

/** What OpenSSL makes of a call: it is through; it needs more input; the peer has ended its direction; it has failed. */
export type Outcome = 'done' | 'more' | 'ended' | 'failed';

/**
 * The memory that OpenSSL reads from and writes to, one for all connections of the process: each call to OpenSSL uses up its input, and its
 * output is taken before the next one. So a connection that rests costs what OpenSSL keeps of it and no buffers.
 */
export class OpenSslMemory {
  readonly openSsl: OpenSsl;
  /** SSL objects that have not been freed. */
  live = 0;
  readonly #input = Buffer.allocUnsafeSlow(inputBytes);
  readonly #inputAt = addressOf(this.#input);
  readonly #plain = Buffer.allocUnsafeSlow(plainBytes);
  readonly #plainAt = addressOf(this.#plain);
  readonly #staged = Buffer.allocUnsafeSlow(stagedBytesMax);
  readonly #stagedAt = addressOf(this.#staged);
  readonly #output = Buffer.allocUnsafeSlow(outputBytes);
  readonly #outputAt = addressOf(this.#output);
  readonly #reading: bigint;
  readonly #readingWords: Uint32Array;
  readonly #writing: bigint;
  readonly #writingWords: Uint32Array;
  #writer: Writer | undefined;
  #stagedLength = 0;

  /** Throws if OpenSSL's memory BIOs are not what they are known as. */
  constructor(openSsl: OpenSsl) {
    this.openSsl = openSsl;
    lend(this.#plain);
    lend(this.#output);
    this.#reading = openSsl.BIO_new_mem_buf(this.#inputAt, inputBytes);
    openSsl.BIO_ctrl(this.#reading, BIO_C_SET_BUF_MEM_EOF_RETURN, -1n, 0n);
    this.#writing = openSsl.BIO_new(openSsl.BIO_s_mem());
    this.#readingWords = this.#bufMemOf(this.#reading);
    this.#writingWords = this.#bufMemOf(this.#writing);
    if (this.#readingWords[lengthWord] !== inputBytes || !this.#isWhereInputIs()) {
      throw new Error('OpenSSL keeps memory in another form than is known');
    }
    this.#readingWords[lengthWord] = 0;
  }

  #bufMemOf(bio: bigint): Uint32Array {
    const { openSsl } = this;
    const place = Buffer.allocUnsafeSlow(8);
    openSsl.BIO_ctrl(bio, BIO_C_GET_BUF_MEM_PTR, 0n, addressOf(place));
    const address = place.readBigUInt64LE();
    if (address === 0n) throw new Error('OpenSSL has no memory');
    return new Uint32Array(memoryAt(address, bufMemBytes));
  }

  #isWhereInputIs(): boolean {
    const words = this.#readingWords;
    return (BigInt(words[dataWord + 1]!) << 32n) + BigInt(words[dataWord]!) === this.#inputAt;
  }

  /** An SSL, to be freed by `end`, once. */
  begin(context: bigint): bigint {
    const { openSsl } = this;
    const ssl = openSsl.SSL_new(context);
    if (ssl === 0n) throw new Error(`no memory for TLS: ${this.takeFailure()}`);
    openSsl.BIO_up_ref(this.#reading);
    openSsl.BIO_up_ref(this.#writing);
    openSsl.SSL_set_bio(ssl, this.#reading, this.#writing);
    this.live += 1;
    return ssl;
  }

  end(ssl: bigint): void {
    this.live -= 1;
    this.openSsl.SSL_free(ssl);
  }

  /** As `TLSv1.3`. */
  versionOf(ssl: bigint): string {
    return versionNames.get(this.openSsl.SSL_version(ssl)) ?? '';
  }

  /** What ALPN has agreed on; '' for nothing. */
  protocolOf(ssl: bigint): string {
    const at = this.#outputAt;
    this.openSsl.SSL_get0_alpn_selected(ssl, at, at + 8n);
    const length = this.#output.readUInt32LE(8);
    if (length === 0) return '';
    return Buffer.from(memoryAt(this.#output.readBigUInt64LE(), length)).toString('latin1');
  }

  /** Gives OpenSSL bytes from `from` on, at most inputBytes: the next calls use them up. */
  feed(data: Buffer, from: number): void {
    const length = Math.min(data.length - from, inputBytes);
    data.copy(this.#input, 0, from, from + length);
    const words = this.#readingWords;
    words[lengthWord] = length;
    words[dataWord] = Number(BigInt.asUintN(32, this.#inputAt));
    words[dataWord + 1] = Number(this.#inputAt >> 32n);
  }

  shakeHands(ssl: bigint): Outcome {
    this.#forgetFailures();
    return this.#outcome(ssl, this.openSsl.SSL_accept(ssl));
  }

  /** Decrypts what there is; `plain`, valid till the next call, is told besides the outcome, which is not `done`. */
  read(ssl: bigint): { readonly outcome: Outcome; readonly plain: Buffer } {
    this.#forgetFailures();
    let length = 0;
    let outcome: Outcome = 'more';
    // Without read-ahead OpenSSL holds no further record once its input is empty: then it needs not be asked again.
    while (this.#readingWords[lengthWord] !== 0) {
      const at = length === 0 ? this.#plainAt : this.#plainAt + BigInt(length);
      const count = this.openSsl.SSL_read(ssl, at, plainBytes - length);
      if (count > 0) length += count;
      else {
        outcome = this.#outcome(ssl, count);
        break;
      }
    }
    return { outcome, plain: this.#plain.subarray(0, length) };
  }

  /** Gathers bytes for a connection. What has gathered for another one is encrypted before. A string is Latin-1. */
  stage(writer: Writer, data: Buffer | string): void {
    const { length } = data;
    for (let done = 0; done < length; ) {
      if (this.#writer !== writer || this.#stagedLength === stagedBytesMax) {
        this.#writer?.encrypt();
        this.#writer = writer;
      }
      const at = this.#stagedLength;
      const taken = Math.min(length - done, stagedBytesMax - at);
      if (typeof data !== 'string') data.copy(this.#staged, at, done, done + taken);
      else this.#staged.write(done === 0 ? data : data.slice(done), at, taken, 'latin1');
      this.#stagedLength += taken;
      done += taken;
    }
  }

  /** How many bytes have gathered for it, to be encrypted by `write` now or dropped. */
  takeStaged(writer: Writer): number {
    if (this.#writer !== writer) return 0;
    const length = this.#stagedLength;
    this.#writer = undefined;
    this.#stagedLength = 0;
    return length;
  }

  /** Encrypts as many of the bytes that were staged. False: it has failed. */
  write(ssl: bigint, length: number): boolean {
    this.#forgetFailures();
    return this.openSsl.SSL_write(ssl, this.#stagedAt, length) === length;
  }

  /** Ends our direction: close_notify. */
  shutDown(ssl: bigint): void {
    this.#forgetFailures();
    this.openSsl.SSL_shutdown(ssl);
  }

  /** Hands on what OpenSSL has to say. False: the connection has more queued than it should. */
  send(to: Connection): boolean {
    let isBelowMark = true;
    while (this.#writingWords[lengthWord] !== 0) {
      const count = this.openSsl.BIO_read(this.#writing, this.#outputAt, outputBytes);
      if (count > 0) isBelowMark = to.write(this.#output.subarray(0, count));
      // Reading leaves the word as it was; a write sets it anew.
      if (count < outputBytes) this.#writingWords[lengthWord] = 0;
    }
    return isBelowMark;
  }

  /** Why the last call failed, as node:tls tells it. */
  takeFailure(): string {
    const { openSsl } = this;
    const reason = textAt(openSsl.ERR_reason_error_string(openSsl.ERR_peek_error()));
    openSsl.ERR_clear_error();
    return `ERR_SSL_${(reason === '' ? 'failed' : reason).toUpperCase().replaceAll(' ', '_')}`;
  }

  /** What other calls, or node:crypto, have left would be taken for a failure of the next one: SSL_get_error(3). */
  #forgetFailures(): void {
    if (this.openSsl.ERR_peek_error() !== 0n) this.openSsl.ERR_clear_error();
  }

  #outcome(ssl: bigint, result: number): Outcome {
    if (result > 0) return 'done';
    const error = this.openSsl.SSL_get_error(ssl, result);
    if (error === SSL_ERROR_WANT_READ) return 'more';
    return error === SSL_ERROR_ZERO_RETURN ? 'ended' : 'failed';
  }
}
