import type { ClientFacts } from './headers.ts';
import type { BodyFramer } from './http1-body.ts';
import type { InputBuffer } from './input-buffer.ts';

/** What an exchange needs of the client's connection. */
export type ExchangeClient = {
  readonly facts: ClientFacts;
  /** What has come in and is not consumed yet. */
  readonly input: InputBuffer;
  /** Follows the request's body through `input`. */
  readonly framer: BodyFramer;
  /** True while the client takes no more bytes. */
  readonly blocked: boolean;
  /** False: stop until `onClientDrain`. */
  write(data: Buffer | string): boolean;
  /** Sends an answer of our own and ends the exchange. Only before anything else was written. `fields`: as in OwnAnswer. */
  answer(status: number, reason: string, fields: string): void;
  /** The answer is written to its end. */
  finish(keepAlive: boolean): void;
  /** Cuts the connection: the client must notice that the answer is not whole. */
  abort(): void;
  /** Ends our direction of a tunnel. */
  endTunnel(): void;
  /** After bytes of `input` were consumed elsewhere than in `onClientData`. */
  afterInput(): void;
  /** The upgraded connection has moved bytes. */
  touch(): void;
};
