import type { ProxyContext } from '../proxy/context.ts';
import { BodyFramer } from './http1-body.ts';
import { findHeadEnd, type Http2Facts, parseResponseHead, type ResponseHead } from './http1-parse.ts';
import { InputBuffer } from './input-buffer.ts';
import { writeWithHead } from './join-head.ts';
import type {
  ReusePolicy,
  UpstreamConnection,
  UpstreamEndpoint,
  UpstreamOwner,
} from '../balance/upstream.ts';
import type { UpstreamRequest, UpstreamRequestOwner } from '../balance/upstream-request.ts';

type State = 'head' | 'body' | 'tunnel' | 'over';

/** A request that has a connection of HTTP/1.1 to itself. Bodies go through as they are framed. */
export class Http1Request implements UpstreamRequest, UpstreamOwner {
  readonly unframed = false;
  readonly endpoint: UpstreamEndpoint;
  readonly #context: ProxyContext;
  readonly #owner: UpstreamRequestOwner;
  readonly #upstream: UpstreamConnection;
  readonly #input = new InputBuffer();
  readonly #framer = new BodyFramer();
  #state: State = 'head';
  #head: ResponseHead | undefined;
  #paused = false;
  #leftover = false; // more came than the answer announced, so the endpoint is not believed again

  constructor(
    context: ProxyContext,
    endpoint: UpstreamEndpoint,
    owner: UpstreamRequestOwner,
    policy: ReusePolicy,
    preamble: Buffer | undefined,
  ) {
    this.#context = context;
    this.endpoint = endpoint;
    this.#owner = owner;
    this.#upstream = context.pool.acquire(endpoint, this, policy, context.nowMs(), preamble);
  }

  get connected(): boolean {
    return this.#upstream.connected;
  }

  get reused(): boolean {
    return this.#upstream.reused;
  }

  get keepsNothing(): boolean {
    return this.#upstream.connection.keepsNothing === true;
  }

  get deadlineMs(): number {
    return this.#upstream.deadlineMs;
  }

  set deadlineMs(deadlineMs: number) {
    this.#upstream.deadlineMs = deadlineMs;
  }

  get stallMs(): number {
    return this.#upstream.stallMs;
  }

  set stallMs(stallMs: number) {
    this.#upstream.stallMs = stallMs;
  }

  send(text: string, _facts: Http2Facts | undefined, data: Buffer, start: number, end: number): boolean {
    return writeWithHead(this.#upstream.connection, text, data, start, end);
  }

  write(data: Buffer | string): boolean {
    return this.#upstream.connection.write(data);
  }

  endBody(): void {} // its framing has told

  endTunnel(): void {
    this.#upstream.connection.end();
  }

  pause(): void {
    this.#paused = true;
    this.#upstream.connection.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#upstream.connection.resume();
  }

  complete(clean: boolean): void {
    this.#state = 'over';
    const reusable = this.#head?.keepAlive === true && !this.#leftover && clean;
    if (reusable && this.#owner.head.minorVersion === 1) {
      if (this.#paused) this.#upstream.connection.resume();
      this.#context.pool.release(this.#upstream, this.#context.nowMs());
    } else {
      this.#upstream.destroy();
    }
  }

  destroy(): void {
    this.#state = 'over';
    this.#upstream.destroy();
  }

  onUpstreamConnect(): void {
    this.#owner.onUpstreamConnect();
  }

  onUpstreamDrain(): void {
    this.#owner.onUpstreamDrain();
  }

  onUpstreamTimeout(): void {
    this.#owner.onUpstreamTimeout();
  }

  onUpstreamLost(): void {
    this.#owner.onUpstreamLost();
  }

  onUpstreamData(data: Buffer): void {
    if (this.#state === 'body') {
      const framer = this.#framer;
      const end = framer.consume(data, 0, data.length);
      if (framer.done) this.#leftover = end < data.length;
      if (framer.failure === undefined) this.#owner.onAnswerBody(data, 0, end, framer.done);
      else this.#broken(data, 0, end);
    } else if (this.#state === 'head') {
      this.#input.offer(data);
      this.#readHeads();
      this.#input.retain();
    } else if (this.#state === 'tunnel') {
      this.#owner.onTunnelData(data);
    }
  }

  /** What came before the body broke is passed on. */
  #broken(data: Buffer, start: number, end: number): void {
    if (end > start) this.#owner.onAnswerBody(data, start, end, false);
    if (this.#state !== 'over') this.#owner.onAnswerInvalid();
  }

  #readHeads(): void {
    const { limits, responseLines } = this.#context;
    const input = this.#input;
    while (this.#state === 'head' && input.length > 0) {
      const end = findHeadEnd(input.data, input.start, input.end);
      if (end === -1) {
        if (input.length > limits.responseHeadBytesMax) this.#owner.onAnswerInvalid();
        return;
      }
      const { method } = this.#owner.head;
      const head = parseResponseHead(input.data, input.start, end, method, responseLines);
      input.start = end;
      if (head.kind === 'failure') {
        this.#owner.onAnswerInvalid();
        return;
      }
      if (head.status === 101) this.#beginTunnel(head);
      else if (head.status < 200) this.#owner.onInformational(head);
      else this.#beginBody(head);
    }
  }

  #beginTunnel(head: ResponseHead): void {
    const input = this.#input;
    const { data, start, end } = input;
    this.#state = 'tunnel';
    input.clear();
    this.#owner.onUpgraded(head, data, start, end);
  }

  #beginBody(head: ResponseHead): void {
    const framer = this.#framer;
    const input = this.#input;
    framer.begin(head.body, head.contentLength);
    this.#head = head;
    this.#state = 'body';
    const { data, start } = input;
    const end = framer.consume(data, start, input.end);
    this.#leftover = framer.done && end < input.end;
    input.clear();
    this.#owner.onAnswer(head, data, start, end, framer.done);
    if (framer.failure !== undefined && this.#isBody()) this.#owner.onAnswerInvalid();
  }

  /** The owner may have ended it meanwhile. */
  #isBody(): boolean {
    return this.#state === 'body';
  }

  onUpstreamEnd(): void {
    if (this.#state === 'tunnel') this.#owner.onTunnelEnd();
    else if (this.#state === 'body' && this.#framer.finish()) this.#owner.onAnswerEnd('');
    else this.#owner.onUpstreamClose('closed');
  }

  onUpstreamClose(error: string | undefined): void {
    if (this.#state === 'body' && error === undefined && this.#framer.finish()) this.#owner.onAnswerEnd('');
    else this.#owner.onUpstreamClose(error);
  }
}
