import { bodyLate, renderOwnAnswer, renderRejection } from '../proxy/answers.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { Exchange } from '../proxy/exchange.ts';
import type { ExchangeClient } from '../proxy/exchange-client.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import { BodyFramer } from './http1-body.ts';
import { CR, LF } from './http1-chars.ts';
import { checkPartialHead, findHeadEnd, parseRequestHead, type RequestHead } from './http1-parse.ts';
import { Http2ClientConnection } from '../http2/http2-client-connection.ts';
import { connectionPreface } from '../http2/http2-frame.ts';
import { InputBuffer } from './input-buffer.ts';
import { writeWithHead } from './join-head.ts';
import type { Connection, ConnectionHandler } from '../transport/transport.ts';

/** Bytes that a client may still send after an early answer. Beyond, it is cut and may miss the answer. */
export const lingerBytesMax = 1024 * 1024;

/** `linger`: our direction has ended, what still comes is thrown away. */
type State = 'head' | 'exchange' | 'linger' | 'closed';

/** A client's connection as its worker sees it. */
export type ClientHandler = ConnectionHandler & {
  /** Looks at deadlines. */
  tick(nowMs: number): void;
  /** The worker is stopping: no new request is taken, what is under way is finished. */
  drain(): void;
  /** The worker waits no longer: whoever can be told is told, then the connection ends. */
  giveUp(): void;
  /** Cuts it at once. */
  abort(): void;
};

/** Who keeps clients' connections. */
export type ClientOwner = {
  readonly onClosed: (client: ClientHandler) => void;
  /** From now on `by` is who stands for the connection. */
  readonly onReplaced: (client: ClientHandler, by: ClientHandler) => void;
};

/**
 * A client's connection of HTTP/1. Requests are read and answered one at a time, in the order of their arrival: pipelined ones
 * wait in `input`, and reading stops while something waits.
 */
export class ClientConnection implements ClientHandler, ExchangeClient {
  readonly protocol = 'HTTP/1.1';
  readonly unframed = false;
  readonly trailers = '';
  readonly facts: ClientFacts;
  readonly input = new InputBuffer();
  readonly framer = new BodyFramer();
  blocked = false;
  deadlineMs: number;
  readonly #context: ProxyContext;
  readonly #connection: Connection;
  readonly #owner: ClientOwner;
  #state: State = 'head';
  #exchange: Exchange | undefined;
  #scanned = 0; // bytes of the input in which no head ends
  #paused = false;
  #peerEnded = false;
  #pumping = false;
  #lingerBytes = 0;
  #isFirst = true; // no request has come
  /** The client speaks HTTP/2: who has the connection since. */
  #http2: Http2ClientConnection | undefined;

  constructor(context: ProxyContext, connection: Connection, facts: ClientFacts, owner: ClientOwner) {
    this.#context = context;
    this.#connection = connection;
    this.facts = facts;
    this.#owner = owner;
    this.deadlineMs = context.nowMs() + context.limits.clientHeaderTimeoutMs;
  }

  /** No request is under way and none has begun to arrive. */
  get idle(): boolean {
    return this.#state === 'head' && this.input.length === 0;
  }

  /**
   * The worker is stopping. A connection ends after its answer; an idle one may carry a request at this very moment, which ending it now
   * would lose, so it is waited for a little.
   */
  drain(): void {
    if (!this.idle) return;
    this.deadlineMs = Math.min(this.deadlineMs, this.#context.nowMs() + this.#context.limits.drainIdleMs);
  }

  giveUp(): void {
    this.abort(); // behind a part of an answer nothing else can be said
  }

  onConnect(): void {}

  onData(data: Buffer): void {
    if (this.#http2 !== undefined) {
      this.#http2.onData(data);
      return;
    }
    if (this.#state === 'linger') {
      this.#lingerBytes += data.length;
      if (this.#lingerBytes > lingerBytesMax) this.abort();
      return;
    }
    if (this.#state === 'closed') return;
    this.input.offer(data);
    if (this.#state === 'exchange') {
      this.#exchange?.onClientData();
      this.#setExchangeDeadline();
    } else {
      this.#pump();
    }
    this.#settleInput();
  }

  afterInput(): void {
    if (this.#state === 'exchange') this.#setExchangeDeadline();
    this.#settleInput();
  }

  /** Keeps what is left of a read, and reads on only if nothing waits in front of it. */
  #settleInput(): void {
    this.input.retain();
    const wait = this.input.length > 0 && this.#state !== 'head';
    const blockedHead = this.#state === 'head' && this.blocked && this.input.length > 0;
    this.#setPaused((wait && this.#state === 'exchange') || blockedHead);
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    if (paused) this.#connection.pause();
    else this.#connection.resume();
  }

  /** Reads requests for as long as they are whole and answered at once. */
  #pump(): void {
    if (this.#pumping) return; // an answer given at once brings us here from inside the loop
    this.#pumping = true;
    while (this.#state === 'head' && this.input.length > 0 && !this.blocked) {
      if (!this.#readHead()) break;
    }
    this.#pumping = false;
    if (this.#state === 'head' && this.#peerEnded && !this.blocked) this.#endGently();
  }

  /** False: more bytes are needed. */
  #readHead(): boolean {
    const { input } = this;
    const { limits, requestLines } = this.#context;
    // An empty line in front of a request is skipped (RFC 9112 §2.2).
    while (input.data[input.start] === CR && input.data[input.start + 1] === LF && input.length >= 2) {
      input.start += 2;
      this.#scanned = 0;
    }
    const from = input.start + Math.max(0, this.#scanned - 3);
    const end = findHeadEnd(input.data, from, input.end);
    const length = (end === -1 ? input.end : end) - input.start;
    if (length > limits.headBytesMax) {
      this.#reject(431, 'the request head is too large');
      return true;
    }
    if (end === -1) {
      if (this.#scanned === 0) this.deadlineMs = this.#context.nowMs() + limits.clientHeaderTimeoutMs;
      const failure = checkPartialHead(input.data, input.start, input.start + this.#scanned, input.end);
      this.#scanned = input.length;
      if (failure !== undefined) this.#reject(failure.status, failure.reason);
      return false;
    }
    const head = parseRequestHead(input.data, input.start, end, requestLines);
    if (head.kind === 'failure') {
      if (head.status === 505 && this.#isFirst && this.#isPreface(end)) {
        this.#speakHttp2();
        return false;
      }
      this.#reject(head.status, head.reason);
      return true;
    }
    if (head.target.length > limits.targetBytesMax) {
      this.#reject(414, 'the request target is too long');
      return true;
    }
    input.start = end;
    this.#begin(head);
    return true;
  }

  /** Prior knowledge (RFC 9113 §3.3): the preface reads like the head of a request. Only its beginning is looked at. */
  #isPreface(end: number): boolean {
    const { data, start } = this.input;
    const length = end - start;
    return length < connectionPreface.length && connectionPreface.compare(data, start, end, 0, length) === 0;
  }

  #speakHttp2(): void {
    const { onClosed, onReplaced } = this.#owner;
    const http2 = new Http2ClientConnection(this.#context, this.#connection, this.facts, onClosed);
    const { data, start, end } = this.input;
    this.#http2 = http2;
    this.#state = 'closed';
    onReplaced(this, http2);
    http2.onData(data.subarray(start, end));
    this.input.clear();
  }

  #begin(head: RequestHead): void {
    this.#scanned = 0;
    this.#isFirst = false;
    this.#state = 'exchange';
    this.framer.begin(head.body, head.contentLength);
    const exchange = new Exchange(this.#context, this, head, this.#context.nowMs());
    this.#exchange = exchange;
    exchange.start();
    if (this.#exchange === exchange) this.#setExchangeDeadline();
  }

  /** The client must make progress while its body is awaited or while it does not read; else the endpoint must. */
  #setExchangeDeadline(): void {
    if (this.#state !== 'exchange' || this.#exchange?.state === 'tunnel') return;
    const awaited = !this.framer.done && this.input.length === 0;
    this.deadlineMs =
      awaited || this.blocked
        ? this.#context.nowMs() + this.#context.limits.clientBodyTimeoutMs
        : Number.POSITIVE_INFINITY;
  }

  /** While it takes nothing of what is held for it, only taking some is a sign of life. */
  touch(): void {
    if (this.blocked) return;
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.tunnelIdleTimeoutMs;
  }

  writeInformational(text: string): void {
    this.write(text);
  }

  writeHead(text: string, _status: number, data: Buffer, start: number, end: number): boolean {
    return writeWithHead(this, text, data, start, end);
  }

  endBody(): void {} // its framing has told

  get copies(): boolean {
    return this.#connection.copies === true;
  }

  write(data: Buffer | string): boolean {
    const flowing = this.#connection.write(data);
    if (!flowing && !this.blocked) {
      this.blocked = true;
      this.#setExchangeDeadline();
      if (this.#exchange?.state === 'tunnel') {
        this.deadlineMs = this.#context.nowMs() + this.#context.limits.clientBodyTimeoutMs;
      }
    }
    return flowing;
  }

  onDrain(): void {
    if (this.#http2 !== undefined) {
      this.#http2.onDrain();
      return;
    }
    this.blocked = false;
    if (this.#state === 'exchange') {
      if (this.#exchange?.state === 'tunnel') this.touch();
      else this.#setExchangeDeadline();
      this.#exchange?.onClientDrain();
      return;
    }
    this.#pump();
    this.#settleInput();
  }

  /** A head that cannot be understood: nothing behind it can be, either. */
  #reject(status: number, reason: string): void {
    this.#context.metrics.count(status, 0, undefined);
    this.input.clear();
    this.write(renderRejection(status, reason, 'close', this.#context.date()));
    this.#endGently();
  }

  answer(status: number, reason: string, fields: string, body?: Buffer): void {
    const head = this.#exchange?.head;
    const { input, framer } = this;
    // A body that has come already is skipped; one that is still to come ends the connection.
    if (!framer.done) input.start = framer.consume(input.data, input.start, input.end);
    const keepAlive = head?.keepAlive === true && framer.done && status !== 400 && !this.#context.draining;
    const connection = keepAlive ? 'keep-alive' : 'close';
    const minorVersion = head?.minorVersion ?? 1;
    this.write(
      renderOwnAnswer({
        status,
        reason,
        withBody: head?.method !== 'HEAD',
        connection,
        minorVersion,
        fields,
        date: this.#context.date(),
        body,
      }),
    );
    this.finish(keepAlive);
  }

  finish(keepAlive: boolean): void {
    this.#exchange = undefined;
    if (this.#state === 'closed') return;
    if (!keepAlive || this.#context.draining) {
      this.#endGently();
      return;
    }
    this.#state = 'head';
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.clientIdleTimeoutMs;
    if (this.input.length > 0 || this.#peerEnded) this.#pump();
    if (!this.#pumping) this.#settleInput();
  }

  /** Ends our direction and reads on for a while: closing with unread bytes would take the answer back (a reset). */
  #endGently(): void {
    this.#state = 'linger';
    this.#exchange = undefined;
    this.input.clear();
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.clientBodyTimeoutMs;
    this.#connection.end();
    this.#setPaused(false);
  }

  onFinish(): void {
    if (this.#state === 'linger')
      this.deadlineMs = this.#context.nowMs() + this.#context.limits.lingerTimeoutMs;
  }

  endTunnel(): void {
    if (this.#exchange?.state === 'tunnel') {
      this.#connection.end();
      this.touch();
    } else {
      this.#endGently();
    }
  }

  abort(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#state = 'closed';
    this.#connection.destroy();
    exchange?.onClientClose();
  }

  onEnd(): void {
    if (this.#http2 !== undefined) {
      this.#http2.onEnd();
      return;
    }
    this.#peerEnded = true;
    if (this.#state === 'exchange') this.#exchange?.onClientEnd();
    else if (this.#state === 'head') {
      if (this.input.length > 0) this.#reject(400, 'the request ended within its head');
      else this.#endGently();
    }
  }

  onClose(): void {
    if (this.#http2 !== undefined) {
      this.#http2.onClose();
      return;
    }
    const exchange = this.#exchange;
    this.#state = 'closed';
    this.#exchange = undefined;
    exchange?.onClientClose();
    this.#owner.onClosed(this);
  }

  tick(nowMs: number): void {
    if (this.deadlineMs <= nowMs) this.#timeOut();
  }

  #timeOut(): void {
    const exchange = this.#exchange;
    if (this.#state === 'head' && this.input.length > 0) {
      this.#reject(408, 'the request head did not arrive in time');
    } else if (this.#state === 'head') {
      this.#endGently();
    } else if (exchange !== undefined && exchange.state !== 'tunnel' && !this.blocked) {
      exchange.giveUp(408, bodyLate);
    } else {
      this.abort();
    }
  }
}
