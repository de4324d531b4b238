import type { ClientFacts } from './headers.ts';
import type { BodyKind } from '../http1/http1-parse.ts';
import type { InputBuffer } from '../http1/input-buffer.ts';

/** Finds the end of a request's body in the bytes that come in. BodyFramer for HTTP/1, StreamFramer for HTTP/2. */
export type RequestFramer = {
  /** The body has come to its end, and all of it is consumed. */
  readonly done: boolean;
  /** Why it is malformed; nothing after that may be passed on. */
  readonly failure: string | undefined;
  readonly kind: BodyKind;
  /** Returns the index just behind the last byte in data[start, end) that belongs to the body. */
  consume(data: Buffer, start: number, end: number): number;
};

/** What an exchange needs of the client: a connection of HTTP/1, or a stream of HTTP/2. */
export type ExchangeClient = {
  readonly facts: ClientFacts;
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  /** Bodies are plain data in both directions: the protocol frames them itself. */
  readonly unframed: boolean;
  /** What has come in and is not consumed yet. */
  readonly input: InputBuffer;
  /** Follows the request's body through `input`. */
  readonly framer: RequestFramer;
  /** Trailers of an unframed body that has ended, as lines with CRLF. */
  readonly trailers: string;
  /** True while the client takes no more bytes. */
  readonly blocked: boolean;
  /** Sends the head of an informational answer. */
  writeInformational(text: string, status: number): void;
  /** Sends the answer's head with the first bytes of its body. False: stop until `onClientDrain`. */
  writeHead(text: string, status: number, data: Buffer, start: number, end: number): boolean;
  /** False: stop until `onClientDrain`. */
  write(data: Buffer | string): boolean;
  /** The answer's body has been written. `trailers`: only for an unframed one. */
  endBody(trailers: string): void;
  /** Sends an answer of our own and ends the exchange. Only before anything else was written. `fields`, `body`: as in OwnAnswer. */
  answer(status: number, reason: string, fields: string, body?: Buffer): void;
  /** The answer is written to its end. */
  finish(keepAlive: boolean): void;
  /** Cuts what carries the answer: the client must notice that it is not whole. Told why, as an answer would be, where the protocol can. */
  abort(status: number, reason: string): void;
  /** Ends our direction of a tunnel. */
  endTunnel(): void;
  /** After bytes of `input` were consumed elsewhere than in `onClientData`. */
  afterInput(): void;
  /** The upgraded connection has moved bytes. */
  touch(): void;
};
