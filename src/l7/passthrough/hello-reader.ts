import { type ClientHello, parseClientHello } from './client-hello.ts';

/** Of a ClientHello's body. With keys of several kinds one has less than 4 KiB. */
export const helloBytesMax = 16_384;
/** Records that it is spread over. */
export const helloRecordsMax = 64;

/** What a connection begins with. */
export type HelloState =
  | { readonly kind: 'more' }
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  /** No ClientHello that all would read alike. */
  | { readonly kind: 'failure'; readonly reason: string };

const recordHeaderBytes = 5;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
/** Of a record (RFC 8446 §5.1). */
const fragmentBytesMax = 16_384;
const messageHeaderBytes = 4;

const more: HelloState = { kind: 'more' };

/**
 * Takes a ClientHello out of the records that it comes in, piece by piece; each byte is looked at once. It keeps at most
 * helloBytesMax. What comes behind is not looked at: what its sender may send before an answer concerns its server.
 */
export class HelloReader {
  readonly #header = Buffer.alloc(recordHeaderBytes);
  #headerLength = 0;
  #fragmentLeft = 0;
  #records = 0;
  readonly #messageHeader = Buffer.alloc(messageHeaderBytes);
  #messageHeaderLength = 0;
  /** undefined: how long it is is not known yet. */
  #body: Buffer | undefined;
  #bodyLength = 0;
  #state: HelloState = more;

  get state(): HelloState {
    return this.#state;
  }

  /** The next bytes of the connection. After anything but `more` it looks at nothing any more. */
  push(data: Buffer): HelloState {
    let at = 0;
    while (this.#state === more && at < data.length) {
      if (this.#fragmentLeft === 0) this.#readHeader(data[at++]!);
      else if (this.#body === undefined) this.#readMessageHeader(data[at++]!);
      else at = this.#readBody(this.#body, data, at);
    }
    return this.#state;
  }

  /** Bytes that cannot become a record's header end it at once: whoever speaks something else is not kept waiting. */
  #readHeader(byte: number): void {
    this.#header[this.#headerLength] = byte;
    this.#headerLength += 1;
    const [type, major] = this.#header;
    if (type !== HANDSHAKE) return this.#fail('it does not begin with a handshake of TLS');
    if (this.#headerLength > 1 && major !== 3)
      return this.#fail('a record has a version that is none of TLS');
    if (this.#headerLength < recordHeaderBytes) return;
    this.#headerLength = 0;
    this.#records += 1;
    this.#fragmentLeft = this.#header.readUInt16BE(3);
    if (this.#fragmentLeft === 0) this.#fail('a record of its handshake is empty');
    else if (this.#fragmentLeft > fragmentBytesMax) this.#fail('a record is too long');
    else if (this.#records > helloRecordsMax) this.#fail('it is spread over too many records');
  }

  #readMessageHeader(byte: number): void {
    this.#messageHeader[this.#messageHeaderLength] = byte;
    this.#messageHeaderLength += 1;
    this.#fragmentLeft -= 1;
    if (this.#messageHeader[0] !== CLIENT_HELLO)
      return this.#fail('its handshake does not begin with a ClientHello');
    if (this.#messageHeaderLength < messageHeaderBytes) return;
    const length = this.#messageHeader.readUIntBE(1, 3);
    if (length > helloBytesMax) this.#fail('it is too long');
    else this.#body = Buffer.alloc(length);
    if (length === 0) this.#fail('it is empty');
  }

  #readBody(body: Buffer, data: Buffer, at: number): number {
    const count = Math.min(data.length - at, this.#fragmentLeft, body.length - this.#bodyLength);
    data.copy(body, this.#bodyLength, at, at + count);
    this.#bodyLength += count;
    this.#fragmentLeft -= count;
    if (this.#bodyLength < body.length) return at + count;
    this.#body = undefined;
    // A server cannot have keys for what follows before it has answered (RFC 8446 §5.1).
    if (this.#fragmentLeft > 0) this.#fail('its record holds more than it');
    else this.#state = parseClientHello(body);
    return at + count;
  }

  #fail(reason: string): void {
    this.#body = undefined;
    this.#state = { kind: 'failure', reason };
  }
}
