import { bodyLate, renderOwnAnswer } from '../proxy/answers.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { Exchange } from '../proxy/exchange.ts';
import type { ExchangeClient, RequestFramer } from '../proxy/exchange-client.ts';
import { GrpcMessages } from './grpc-messages.ts';
import { grpcStatusOf } from './grpc-status.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import type { BodyKind, RequestHead } from '../http1/http1-parse.ts';
import { CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } from './http2-frame.ts';
import { trailersOf } from './http2-head.ts';
import type { Http2Link } from './http2-link.ts';
import type { Http2Session } from './http2-session.ts';
import type { HeaderList } from './hpack-decode.ts';
import type { Http2Stream, StreamHandler } from './http2-stream.ts';
import { writeResponse } from './http2-write.ts';
import { InputBuffer } from '../http1/input-buffer.ts';

/** A request's body on a stream: all bytes that come belong to it, and END_STREAM ends it. */
export class StreamFramer implements RequestFramer {
  readonly failure = undefined;
  readonly kind: BodyKind = 'close';
  #held = 0; // bytes that came and are not consumed
  #ended = false;

  get done(): boolean {
    return this.#ended && this.#held === 0;
  }

  received(bytes: number): void {
    this.#held += bytes;
  }

  end(): void {
    this.#ended = true;
  }

  consume(_data: Buffer, start: number, end: number): number {
    this.#held -= end - start;
    return end;
  }
}

const stopping = 'the proxy is stopping';

/** What a stream needs of its connection. */
export type StreamConnection = {
  readonly session: Http2Session;
  readonly link: Http2Link;
};

/** A client's request on a stream, and its answer. */
export class Http2ClientStream implements ExchangeClient, StreamHandler {
  readonly protocol = 'HTTP/2';
  readonly unframed = true;
  readonly facts: ClientFacts;
  readonly input = new InputBuffer(true);
  readonly framer = new StreamFramer();
  trailers = '';
  blocked = false;
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #context: ProxyContext;
  readonly #connection: StreamConnection;
  readonly #stream: Http2Stream;
  readonly #head: RequestHead;
  readonly #exchange: Exchange;
  /** Of a call of gRPC: what its client sends, and what it is answered. */
  readonly #messages: GrpcMessages | undefined;
  readonly #answered: GrpcMessages | undefined;
  #answerHead = ''; // of a call of gRPC
  #held = 0; // bytes of `input` that are not credited
  #finished = false; // what still comes of the request is thrown away

  /** `context.requestLines` must be those of `head`. */
  constructor(
    context: ProxyContext,
    connection: StreamConnection,
    stream: Http2Stream,
    head: RequestHead,
    facts: ClientFacts,
    ended: boolean,
  ) {
    this.#context = context;
    this.#connection = connection;
    this.#stream = stream;
    this.#head = head;
    this.facts = facts;
    if (head.http2?.grpc !== undefined) {
      this.#messages = new GrpcMessages();
      this.#answered = new GrpcMessages();
    }
    if (ended) this.framer.end();
    this.#exchange = new Exchange(context, this, head, context.nowMs());
  }

  start(): void {
    this.#exchange.start();
    this.#setDeadline();
  }

  /** As for a connection of HTTP/1: see ClientConnection. */
  #setDeadline(): void {
    if (this.#finished || this.#exchange.state === 'tunnel') return;
    const awaited = !this.framer.done && this.input.length === 0;
    this.deadlineMs =
      awaited || this.blocked ? this.#context.nowMs() + this.#waitMs() : Number.POSITIVE_INFINITY;
  }

  /** A call of gRPC may be silent for long, but not in the middle of a message, nor while we hold bytes for its client. */
  #waitMs(): number {
    const { clientBodyTimeoutMs, tunnelIdleTimeoutMs } = this.#context.limits;
    const isIdle = !this.blocked && this.#messages?.unfinished === false && this.#exchange.mayBeSilent;
    return isIdle ? tunnelIdleTimeoutMs : clientBodyTimeoutMs;
  }

  onTimeout(): void {
    if (this.#exchange.state !== 'tunnel' && !this.blocked && !this.#finished)
      this.#exchange.giveUp(408, bodyLate);
    else this.#end(CANCEL);
    this.#connection.link.schedule();
  }

  // Events of the stream

  onHead(): void {} // a client sends one head only

  onBody(data: Buffer, start: number, end: number): void {
    if (this.#finished) {
      this.#connection.session.credit(this.#stream, end - start);
      return;
    }
    this.framer.received(end - start);
    this.#messages?.receive(data, start, end);
    this.#held += end - start;
    this.input.offer(data.subarray(start, end));
    this.#exchange.onClientData();
    this.#settle();
  }

  /** Gives the client room for what was consumed, and keeps what was not. */
  #settle(): void {
    if (this.#finished) return;
    if (this.#exchange.keepsInput) this.input.lend();
    this.input.retain();
    const consumed = this.#held - this.input.length;
    this.#held = this.input.length;
    if (consumed > 0) {
      this.#connection.session.credit(this.#stream, consumed);
      this.#connection.link.schedule();
    }
    this.#setDeadline();
  }

  onTrailers(fields: HeaderList): void {
    const trailers = trailersOf(fields);
    if (typeof trailers === 'string') this.trailers = trailers;
    else this.#connection.session.refuse(this.#stream, PROTOCOL_ERROR);
  }

  onEnd(): void {
    if (this.#finished) return;
    this.framer.end();
    if (this.#exchange.state === 'tunnel') this.#exchange.onClientEnd();
    else this.#exchange.onClientData();
    this.#settle();
  }

  onDrain(): void {
    if (this.#finished) return;
    this.blocked = false;
    if (this.#exchange.state === 'tunnel') this.touch();
    else this.#setDeadline();
    this.#exchange.onClientDrain();
  }

  onReset(): void {
    this.#exchange.onClientClose();
  }

  // What the exchange asks for

  afterInput(): void {
    this.#settle();
  }

  /** As for a connection of HTTP/1: see ClientConnection. */
  touch(): void {
    if (this.blocked) return;
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.tunnelIdleTimeoutMs;
  }

  writeInformational(text: string, status: number): void {
    this.#writeHead(text, status);
  }

  writeHead(text: string, status: number, data: Buffer, start: number, end: number): boolean {
    if (this.#answered !== undefined) {
      this.#answerHead = text;
      this.#answered.receive(data, start, end);
    }
    // An upgrade is an answer like any other here; the key's answer means nothing without one (RFC 8441 §5).
    if (status === 101) this.#writeHead(withoutAccept(text), 200);
    else this.#writeHead(text, status);
    return end === start || this.#writeData(data, start, end);
  }

  #writeHead(text: string, status: number): void {
    const { send } = this.#connection.session;
    const block = send.beginBlock();
    writeResponse(send.encoder, block, text, status);
    send.sendBlock(this.#stream, false);
    this.#connection.link.schedule();
  }

  write(data: Buffer | string): boolean {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    this.#answered?.receive(bytes, 0, bytes.length);
    return this.#writeData(bytes, 0, bytes.length);
  }

  #writeData(data: Buffer, start: number, end: number): boolean {
    const flowing = this.#connection.session.send.data(this.#stream, data, start, end);
    this.#connection.link.schedule();
    if (!flowing && !this.blocked) {
      this.blocked = true;
      if (this.#exchange.state === 'tunnel') this.deadlineMs = this.#context.nowMs() + this.#waitMs();
    }
    this.#setDeadline();
    return flowing;
  }

  endBody(trailers: string): void {
    this.#connection.session.send.end(this.#stream, trailers);
    this.#connection.link.schedule();
  }

  answer(status: number, reason: string, fields: string, body?: Buffer): void {
    const isGrpc = this.#head.http2?.grpc !== undefined && status >= 400;
    const withBody = this.#head.method !== 'HEAD' && !isGrpc;
    const date = this.#context.date();
    const all = isGrpc ? `${fields}${grpcFields(status, reason)}` : fields;
    const text = isGrpc
      ? `HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nDate: ${date}\r\n${all}\r\n`
      : renderOwnAnswer({
          status,
          reason,
          withBody,
          connection: 'keep-alive',
          minorVersion: 1,
          fields,
          date,
          body,
        });
    const headEnd = text.indexOf('\r\n\r\n') + 4;
    this.#writeHead(text.slice(0, headEnd), isGrpc ? 200 : status);
    if (text.length > headEnd) this.write(text.slice(headEnd));
    this.endBody('');
    this.finish();
  }

  finish(): void {
    this.#finished = true;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.input.lend(); // this may be called while it is read
    this.input.clear();
    if (this.#stream.closed) return;
    this.#connection.session.credit(this.#stream, this.#held);
    this.#held = 0;
    if (this.#stream.localEnded)
      this.#end(NO_ERROR); // closed already, had the request been whole (RFC 9113 §8.1)
    else this.#awaitWindow();
  }

  /** All of the answer is given to the session, and waits for the client to take it. */
  #awaitWindow(): void {
    this.blocked = true;
    this.deadlineMs = this.#context.nowMs() + this.#waitMs();
  }

  /** The worker stops: the request is answered where no answer has begun, else cut. */
  giveUp(): void {
    const { state, responded } = this.#exchange;
    if (state !== 'over' && !responded) this.#exchange.giveUp(503, stopping);
    else if (state === 'relaying' && this.#stream.pendingBytes === 0) this.abort(503, stopping);
    else this.#end(INTERNAL_ERROR);
  }

  /**
   * A call of gRPC ends by a status in its trailers, if only whole messages were passed on: a part of one must not look like the last.
   * Whatever else is cut is reset.
   */
  abort(status: number, reason: string): void {
    if (!isGrpcAnswer.test(this.#answerHead) || this.#answered?.unfinished !== false) {
      this.#end(INTERNAL_ERROR);
      return;
    }
    this.endBody(grpcFields(status, reason));
    this.finish();
  }

  #end(code: number): void {
    this.#connection.session.reset(this.#stream, code);
    this.#connection.link.schedule();
    this.#exchange.onClientClose();
  }

  endTunnel(): void {
    this.endBody('');
  }
}

const isGrpcAnswer = /^HTTP\/1\.1 200 [^]*\r\ncontent-type:[ \t]*application\/grpc[ \t]*[+;\r]/i;

function withoutAccept(text: string): string {
  return text.replace(/\r\nsec-websocket-accept:[^\r]*/i, '');
}

/** An answer without a message is trailers alone (gRPC over HTTP/2, "Trailers-Only"). */
function grpcFields(status: number, reason: string): string {
  return `grpc-status: ${grpcStatusOf(status)}\r\ngrpc-message: ${reason.replaceAll('%', '%25')}\r\n`;
}
