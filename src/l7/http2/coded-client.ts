import { bodyTranslator } from './body-translate.ts';
import { type Coding, renderCodedHead } from '../policy/compression.ts';
import { Compressor, type CompressorOwner } from '../policy/compressor.ts';
import type { ExchangeClient, RequestFramer } from '../proxy/exchange-client.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import type { InputBuffer } from '../http1/input-buffer.ts';

/**
 * A client whose answer is coded on its way: it takes plain bytes and passes coded ones to the client behind it, no faster than that one
 * reads. The exchange may be over before the last coded bytes are: then this goes on alone until `finish` can be passed on.
 */
export class CodedClient implements ExchangeClient, CompressorOwner {
  readonly facts: ClientFacts;
  readonly protocol: ExchangeClient['protocol'];
  readonly unframed = true;
  readonly input: InputBuffer;
  readonly framer: RequestFramer;
  readonly #client: ExchangeClient;
  readonly #coding: Coding;
  readonly #onRoom: () => void;
  readonly #chunker;
  readonly #compressor: Compressor | undefined;
  /** It takes nothing more until `onRoom`. */
  full = false;
  #trailers = '';
  #ended = false;
  #keepAlive: boolean | undefined; // of `finish`, once it was called

  /** @param onRoom after a write that was answered false: more is taken again */
  private constructor(client: ExchangeClient, coding: Coding, flushes: boolean, onRoom: () => void) {
    this.#client = client;
    this.#coding = coding;
    this.#onRoom = onRoom;
    this.facts = client.facts;
    this.protocol = client.protocol;
    this.input = client.input;
    this.framer = client.framer;
    this.#chunker = bodyTranslator(true, client.unframed, 'chunked');
    this.#compressor = Compressor.open(coding, flushes, this);
  }

  /** undefined: too much is being coded already. `flushes`: see Compressor. */
  static open(
    client: ExchangeClient,
    coding: Coding,
    flushes: boolean,
    onRoom: () => void,
  ): CodedClient | undefined {
    const coded = new CodedClient(client, coding, flushes, onRoom);
    return coded.#compressor === undefined ? undefined : coded;
  }

  get trailers(): string {
    return this.#client.trailers;
  }

  get blocked(): boolean {
    return this.full || this.#client.blocked;
  }

  writeInformational(text: string, status: number): void {
    this.#client.writeInformational(text, status);
  }

  writeHead(text: string, status: number, data: Buffer, start: number, end: number): boolean {
    const head = renderCodedHead(text, this.#coding, !this.#client.unframed);
    const flowing = this.#client.writeHead(head, status, data, start, start);
    if (!flowing) this.#compressor?.pause();
    return end === start || this.write(data.subarray(start, end));
  }

  write(data: Buffer | string): boolean {
    const flowing =
      this.#compressor?.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data) === true;
    if (!flowing) this.full = true;
    return flowing;
  }

  onCoded(data: Buffer): void {
    const bytes = this.#chunker?.translate(data, 0, data.length) ?? data;
    if (!this.#client.write(bytes)) this.#compressor?.pause();
  }

  onRoom(): void {
    if (!this.full) return;
    this.full = false;
    this.#onRoom();
  }

  /** The client behind takes more. False: this does not yet, and tells by `onRoom`. */
  onClientDrain(): boolean {
    this.#compressor?.resume();
    return !this.full;
  }

  endBody(trailers: string): void {
    this.#trailers = trailers;
    this.#compressor?.end();
  }

  onCodedEnd(): void {
    const end = this.#chunker?.finish(this.#trailers) ?? '';
    if (end !== '') this.#client.write(end);
    this.#client.endBody(this.#trailers);
    this.#ended = true;
    if (this.#keepAlive !== undefined) this.#client.finish(this.#keepAlive);
  }

  onCodingFailed(): void {
    this.#client.abort(500, 'the answer could not be compressed'); // the client must notice that it is not whole
  }

  finish(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    if (this.#ended) this.#client.finish(keepAlive);
  }

  answer(status: number, reason: string, fields: string): void {
    this.#compressor?.destroy();
    this.#client.answer(status, reason, fields);
  }

  abort(status: number, reason: string): void {
    this.#compressor?.destroy();
    this.#client.abort(status, reason);
  }

  /** The client is gone: nobody needs what is still to come. */
  destroy(): void {
    this.#compressor?.destroy();
  }

  endTunnel(): void {
    this.#client.endTunnel();
  }

  afterInput(): void {
    this.#client.afterInput();
  }

  touch(): void {
    this.#client.touch();
  }
}
