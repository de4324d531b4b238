import type { UpstreamRequest } from '../balance/upstream-request.ts';
import { type BodyTranslator, bodyTranslator } from '../http2/body-translate.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import { ReplayBuffer } from '../http1/replay.ts';
import type { ExchangeClient } from './exchange-client.ts';

/** Why nothing of a body may go on: the status and reason to answer with. */
export type BodyRefusal = readonly [status: 400 | 413, reason: string];

/** A request on its way to an endpoint: its head, and its body as it comes in. Once more for each endpoint that is tried. */
export class ExchangeSending {
  /** All of the request has gone to the endpoint. */
  ended = false;
  /** The endpoint takes no more for now. */
  blocked = false;
  /** Of the body, as the client frames it. */
  bodyBytes = 0;
  /** undefined: the body is never sent again. */
  replay: ReplayBuffer | undefined;
  readonly #client: ExchangeClient;
  readonly #head: RequestHead;
  /** undefined, as nearly always: the body goes on as it comes. */
  #translator: BodyTranslator | undefined;
  /** What was taken of the client's input and is to be sent. */
  #from = 0;
  #to = 0;

  constructor(client: ExchangeClient, head: RequestHead) {
    this.#client = client;
    this.#head = head;
  }

  /** Keeps what is sent of the body, so that it can be sent again. */
  keep(bytesMax: number): void {
    this.replay ??= new ReplayBuffer(bytesMax);
  }

  /** The body is beyond what can be sent again. */
  get overflown(): boolean {
    return this.replay?.overflown === true;
  }

  /** Takes what has come of the body, for `begin` or `more` to send at once. Given: it must not go on. */
  take(bytesMax: number): BodyRefusal | undefined {
    const { input, framer } = this.#client;
    const { start } = input;
    const end = framer.done ? start : framer.consume(input.data, start, input.end);
    if (framer.failure !== undefined) return [400, framer.failure];
    this.bodyBytes += end - start;
    if (this.bodyBytes > bytesMax) return [413, 'the request body is too large'];
    this.#from = start;
    this.#to = end;
    input.start = end;
    return undefined;
  }

  /** Sends the head `text`, what was sent of the body to another endpoint, and what was taken. */
  begin(upstream: UpstreamRequest, text: string): void {
    this.ended = false;
    this.#translator = bodyTranslator(this.#client.unframed, upstream.unframed, this.#head.body);
    const { replay } = this;
    if (replay !== undefined && replay.length > 0) {
      this.blocked = !this.#sendHead(upstream, text, replay.bytes(), 0, replay.length);
      this.more(upstream);
      return;
    }
    const { data } = this.#client.input;
    this.blocked = !this.#sendHead(upstream, text, data, this.#from, this.#to);
    replay?.add(data, this.#from, this.#to);
    this.#endIfWhole(upstream);
  }

  /** Sends what was taken. */
  more(upstream: UpstreamRequest): void {
    const { data } = this.#client.input;
    const from = this.#from;
    const to = this.#to;
    this.replay?.add(data, from, to);
    if (to > from) {
      const bytes = this.#translator?.translate(data, from, to) ?? data.subarray(from, to);
      this.blocked = bytes.length > 0 && !upstream.write(bytes);
    }
    this.#endIfWhole(upstream);
  }

  #sendHead(upstream: UpstreamRequest, text: string, data: Buffer, start: number, end: number): boolean {
    const { http2 } = this.#head;
    const body = this.#translator?.translate(data, start, end);
    if (body === undefined) return upstream.send(text, http2, data, start, end);
    return upstream.send(text, http2, body, 0, body.length);
  }

  #endIfWhole(upstream: UpstreamRequest): void {
    if (!this.#client.framer.done) return;
    this.ended = true;
    const trailers = this.#client.unframed ? this.#client.trailers : (this.#translator?.trailers ?? '');
    const end = this.#translator?.finish(trailers) ?? '';
    if (end !== '') upstream.write(end);
    upstream.endBody(trailers);
  }
}
