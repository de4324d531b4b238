import { renderRejection } from '../proxy/answers.ts';
import type { ClientHandler } from '../http1/client-connection.ts';
import type { ProxyContext } from '../proxy/context.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import type { HeaderList } from './hpack-decode.ts';
import { FIELD_CONTENT_LENGTH, type FieldLines } from '../http1/http1-fields.ts';
import type { ParseFailure } from '../http1/http1-parse.ts';
import { NO_ERROR, PROTOCOL_ERROR } from './http2-frame.ts';
import { requestOf } from './http2-head.ts';
import { Http2ClientStream, type StreamConnection } from './http2-client-stream.ts';
import { Http2Link } from './http2-link.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import type { Http2Stream, StreamHandler } from './http2-stream.ts';
import { writeResponse } from './http2-write.ts';
import { http2Options } from '../proxy/limits.ts';
import type { Connection } from '../transport/transport.ts';

/** A client's connection of HTTP/2: each stream is a request with an exchange of its own. */
export class Http2ClientConnection implements ClientHandler, SessionHandler, StreamConnection {
  readonly session: Http2Session;
  readonly link: Http2Link;
  readonly #context: ProxyContext;
  readonly #connection: Connection;
  readonly #facts: ClientFacts;
  readonly #onClosed: (client: ClientHandler) => void;
  /** The rest of a frame or head that has begun, at first the preface, is owed by then. */
  #owedMs: number;
  #frames = 0; // that had come when `#owedMs` was set
  /** The next request has to come by then, or after `drain` its second word, or after `#close` the peer's end. */
  #idleMs = Number.POSITIVE_INFINITY;
  #blockedMs = Number.POSITIVE_INFINITY; // since when the network takes no more
  #closing = false;

  constructor(
    context: ProxyContext,
    connection: Connection,
    facts: ClientFacts,
    onClosed: (client: ClientHandler) => void,
  ) {
    this.#context = context;
    this.#connection = connection;
    this.#facts = facts;
    this.#onClosed = onClosed;
    this.session = new Http2Session(http2Options(context.limits, 'server'), this);
    this.link = new Http2Link(this.session, connection);
    this.#owedMs = context.nowMs() + context.limits.clientHeaderTimeoutMs;
    this.link.schedule();
  }

  onConnect(): void {}

  onData(data: Buffer): void {
    if (this.#closing) return;
    this.session.receive(data, this.#context.nowMs());
    this.#flush();
    this.#setOwed();
  }

  #flush(): void {
    this.link.flush();
    if (!this.session.send.blocked) this.#blockedMs = Number.POSITIVE_INFINITY;
    else if (this.#blockedMs === Number.POSITIVE_INFINITY) this.#blockedMs = this.#context.nowMs();
  }

  /** Whoever sends no whole frame for as long as a head may take is cut. */
  #setOwed(): void {
    const { reader } = this.session;
    const owes = reader.unfinished || !reader.settled;
    if (owes && reader.frames === this.#frames && this.#owedMs !== Number.POSITIVE_INFINITY) return;
    this.#frames = reader.frames;
    this.#owedMs = owes
      ? this.#context.nowMs() + this.#context.limits.clientHeaderTimeoutMs
      : Number.POSITIVE_INFINITY;
  }

  #setIdle(): void {
    if (this.#closing || this.session.goingAway) return;
    this.#idleMs =
      this.session.streams.size > 0
        ? Number.POSITIVE_INFINITY
        : this.#context.nowMs() + this.#context.limits.clientIdleTimeoutMs;
  }

  onDrain(): void {
    this.link.onDrain();
    this.#blockedMs = Number.POSITIVE_INFINITY;
    this.#flush();
  }

  onFinish(): void {}

  onEnd(): void {
    // A client that has ended its direction can send no WINDOW_UPDATE, either: its requests are given up.
    this.abort();
  }

  onClose(): void {
    this.session.lose(NO_ERROR);
    this.#onClosed(this);
  }

  onRequest(stream: Http2Stream, fields: HeaderList, ended: boolean): void {
    const context = this.#context;
    const head = requestOf(fields, ended, context.requestLines);
    if (head.kind === 'malformed') {
      this.session.refuse(stream, PROTOCOL_ERROR);
    } else if (head.kind === 'failure') {
      this.#reject(stream, head);
    } else if (head.target.length > context.limits.targetBytesMax) {
      this.#reject(stream, { kind: 'failure', status: 431, reason: 'the request target is too long' });
    } else {
      const isTunnel = head.upgrade !== undefined;
      this.#idleMs = Number.POSITIVE_INFINITY;
      if (!isTunnel && hasLength(context.requestLines)) stream.expectedBytes = head.contentLength;
      const client = new Http2ClientStream(context, this, stream, head, this.#facts, ended);
      stream.handler = client;
      context.metrics.http2Streams += 1;
      client.start();
    }
  }

  /** Answers a request that nothing can be made of; the rest of it is thrown away. */
  #reject(stream: Http2Stream, { status, reason }: ParseFailure): void {
    this.#context.metrics.count(status, 0, undefined);
    const text = renderRejection(status, reason, 'keep-alive', this.#context.date());
    const headEnd = text.indexOf('\r\n\r\n') + 4;
    const { send } = this.session;
    stream.handler = discards;
    writeResponse(send.encoder, send.beginBlock(), text.slice(0, headEnd), status);
    send.sendBlock(stream, false);
    const body = Buffer.from(text.slice(headEnd), 'latin1');
    send.data(stream, body, 0, body.length);
    send.end(stream, '');
    if (!stream.remoteEnded) this.session.reset(stream, NO_ERROR);
  }

  onStreamClosed(stream: Http2Stream): void {
    if (stream.handler instanceof Http2ClientStream) this.#context.metrics.http2Streams -= 1;
    if (this.session.drained) this.#close();
    else this.#setIdle();
  }

  onGoaway(): void {}

  onSettings(): void {
    this.#setIdle();
  }

  onPong(): void {
    if (this.session.drained) this.#close();
  }

  onFailure(code: number): void {
    if (code !== NO_ERROR) this.#context.metrics.http2Cut += 1;
    this.link.flush();
    this.#close();
  }

  /** The last bytes leave; whatever comes is thrown away for a moment, for a reset would take them back. */
  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.link.flush();
    this.#connection.end();
    this.#owedMs = Number.POSITIVE_INFINITY;
    this.#idleMs = this.#context.nowMs() + this.#context.limits.lingerTimeoutMs;
  }

  tick(nowMs: number): void {
    const { limits } = this.#context;
    if (this.#owedMs <= nowMs) {
      this.session.fail(NO_ERROR, 'a frame or head did not arrive in time');
    } else if (this.#idleMs <= nowMs) {
      if (this.#closing) this.abort();
      else if (this.session.goingAway) this.#endDrain();
      else this.session.fail(NO_ERROR, 'idle for too long');
    } else if (nowMs - this.#blockedMs >= limits.clientBodyTimeoutMs) {
      this.abort();
      return;
    }
    for (const { handler } of this.session.streams.values()) {
      if (handler instanceof Http2ClientStream && handler.deadlineMs <= nowMs) handler.onTimeout();
    }
    this.#flush();
  }

  /** The client has had time to learn that it must not begin anything. */
  #endDrain(): void {
    this.#idleMs = Number.POSITIVE_INFINITY;
    this.session.endDrain();
    if (this.session.drained) this.#close();
  }

  /** The worker is stopping: the client is told, and what it has begun is finished. */
  drain(): void {
    this.session.drain();
    this.#idleMs = this.#context.nowMs() + this.#context.limits.lingerTimeoutMs;
    this.link.flush();
    if (this.session.drained) this.#close();
  }

  giveUp(): void {
    if (this.#closing) return;
    this.session.endDrain();
    for (const { handler } of [...this.session.streams.values()]) {
      if (handler instanceof Http2ClientStream) handler.giveUp();
    }
    this.session.fail(NO_ERROR, 'the proxy is stopping');
  }

  abort(): void {
    this.#closing = true;
    this.session.lose(NO_ERROR);
    this.#connection.destroy();
  }
}

const discards: StreamHandler = {
  onHead() {},
  onBody() {},
  onTrailers() {},
  onEnd() {},
  onDrain() {},
  onReset() {},
};

function hasLength(lines: FieldLines): boolean {
  return lines.fields.subarray(0, lines.count).includes(FIELD_CONTENT_LENGTH);
}
