import type { ProxyContext } from '../proxy/context.ts';
import type { HeaderList } from './hpack-decode.ts';
import type { Http2Facts } from '../http1/http1-parse.ts';
import { CANCEL, PROTOCOL_ERROR, REFUSED_STREAM } from './http2-frame.ts';
import { responseOf, trailersOf } from './http2-head.ts';
import type { Http2UpstreamConnection, Http2User } from './http2-pool.ts';
import type { Http2Stream, StreamHandler } from './http2-stream.ts';
import { writeRequest } from './http2-write.ts';
import { webSocketOver } from './websocket.ts';
import type { UpstreamEndpoint } from '../balance/upstream.ts';
import type { UpstreamRequest, UpstreamRequestOwner } from '../balance/upstream-request.ts';

const empty = Buffer.alloc(0);

/** How an endpoint is known that speaks HTTP/2 without extended CONNECT and is asked for a WebSocket. */
const noWebSocket = 'ERR_HTTP2_NO_WEBSOCKET';

/** A request on a stream of a connection that it shares with others. */
export class Http2Request implements UpstreamRequest, StreamHandler, Http2User {
  readonly unframed = true;
  readonly keepsNothing = true;
  readonly endpoint: UpstreamEndpoint;
  deadlineMs = Number.POSITIVE_INFINITY;
  stallMs = Number.POSITIVE_INFINITY;
  readonly #context: ProxyContext;
  readonly #owner: UpstreamRequestOwner;
  #connection: Http2UpstreamConnection;
  #stream: Http2Stream | undefined;
  #over = false;
  #invalid = false;
  #paused = false;
  #heldBytes = 0; // of the body, that the owner has not taken because it is paused
  #trailers = '';
  /** The answer to a WebSocket's key; undefined: none is asked for. */
  #accept: string | undefined;
  #isTunnel = false;

  readonly #preamble: Buffer | undefined;

  constructor(
    context: ProxyContext,
    endpoint: UpstreamEndpoint,
    owner: UpstreamRequestOwner,
    preamble: Buffer | undefined,
  ) {
    this.#preamble = preamble;
    this.#context = context;
    this.endpoint = endpoint;
    this.#owner = owner;
    this.#connection = context.pool.http2.acquire(endpoint, preamble);
    this.#connection.join(this);
  }

  get connected(): boolean {
    return this.#connection.ready;
  }

  /** Also where only the stream was lost: that tells nothing of whether the endpoint is there. */
  get reused(): boolean {
    return this.#connection.lost === undefined || this.#connection.requests > 1;
  }

  onReady(): void {
    this.#owner.onUpstreamConnect();
  }

  onNoStream(): void {
    this.#connection = this.#context.pool.http2.acquire(this.endpoint, this.#preamble);
    this.#connection.join(this);
    if (this.#connection.ready) this.onReady();
  }

  onConnectFailed(error: string | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#owner.onUpstreamClose(error);
  }

  onTimeout(): void {
    this.#owner.onUpstreamTimeout();
  }

  onLost(): void {
    if (!this.#over) this.#owner.onUpstreamLost();
  }

  send(text: string, facts: Http2Facts | undefined, data: Buffer, start: number, end: number): boolean {
    const { session, link } = this.#connection;
    const asks = this.#owner.head.upgrade?.toLowerCase() === 'websocket';
    if (asks && !session.peer.extendedConnect) {
      queueMicrotask(() => this.#refuseUpgrade());
      return true;
    }
    const socket = asks ? webSocketOver(text) : undefined;
    this.#accept = socket?.accept;
    const stream = session.open();
    if (stream === undefined) {
      // The peer has just said that it takes fewer: the owner must not be told from inside its own call.
      queueMicrotask(() => this.onReset(REFUSED_STREAM));
      return true;
    }
    this.#connection.requests += 1;
    this.#stream = stream;
    stream.handler = this;
    // gRPC over HTTP/2, "Requests": servers written in Go never see another end.
    stream.endsByData = facts?.grpc !== undefined;
    const block = session.send.beginBlock();
    writeRequest(
      session.send.encoder,
      block,
      socket?.text ?? text,
      this.endpoint.tls === undefined ? 'http' : 'https',
      facts,
      socket && 'websocket',
    );
    session.send.sendBlock(stream, false);
    const flowing = end === start || session.send.data(stream, data, start, end);
    link.schedule();
    return flowing;
  }

  write(data: Buffer | string): boolean {
    const stream = this.#stream;
    if (stream === undefined) return true;
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    const flowing = this.#connection.session.send.data(stream, bytes, 0, bytes.length);
    this.#connection.link.schedule();
    return flowing;
  }

  #refuseUpgrade(): void {
    if (this.#over) return;
    this.#over = true;
    this.#connection.leave(this);
    this.#context.pool.notReached(this.endpoint, noWebSocket);
    this.#owner.onUpgradeRefused('the backend speaks HTTP/2 and takes no WebSocket over it (RFC 8441)');
  }

  /** What asks for a tunnel has no body that could end. */
  endBody(trailers: string): void {
    if (this.#accept === undefined) this.#end(trailers);
  }

  #end(trailers: string): void {
    if (this.#stream === undefined) return;
    this.#connection.session.send.end(this.#stream, trailers);
    this.#connection.link.schedule();
  }

  endTunnel(): void {
    this.#end('');
    if (this.#stream?.remoteEnded === true) queueMicrotask(() => this.#tunnelEnded());
  }

  /** Both directions have. */
  #tunnelEnded(): void {
    if (this.#over) return;
    this.#over = true;
    this.#connection.leave(this);
    this.#owner.onUpstreamClose(undefined);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#credit();
  }

  #credit(): void {
    if (this.#stream === undefined || this.#heldBytes === 0) return;
    const bytes = this.#heldBytes;
    this.#heldBytes = 0;
    this.#connection.session.credit(this.#stream, bytes);
    this.#connection.link.schedule();
  }

  complete(): void {
    this.destroy(); // resets the stream only if it has not ended in both directions
  }

  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#stream !== undefined && !this.#stream.closed) {
      // An answer that has ended makes the rest of the request needless; what has ended on both sides closes by itself.
      if (!this.#stream.remoteEnded || !this.#stream.localEnded)
        this.#connection.session.reset(this.#stream, CANCEL);
      this.#connection.link.schedule();
    }
    this.#connection.leave(this);
  }

  onHead(fields: HeaderList, ended: boolean): void {
    const stream = this.#stream!;
    this.#connection.heard = true;
    const { responseLines } = this.#context;
    const { method } = this.#owner.head;
    const head = responseOf(fields, ended, this.#owner.head, responseLines, this.#accept);
    if (head.kind === 'malformed') {
      this.#refuse();
    } else if (head.status === 101) {
      stream.headDone = true;
      this.#isTunnel = true;
      this.#owner.onUpgraded(head, empty, 0, 0);
    } else if (head.status < 200) {
      this.#owner.onInformational(head);
    } else {
      stream.headDone = true;
      const none = head.body === 'none' || method === 'HEAD';
      if (none || head.body === 'length') stream.expectedBytes = none ? 0 : head.contentLength;
      this.#owner.onAnswer(head, empty, 0, 0, false);
    }
  }

  #refuse(): void {
    this.#invalid = true;
    this.#connection.session.refuse(this.#stream!, PROTOCOL_ERROR);
  }

  onBody(data: Buffer, start: number, end: number): void {
    this.#heldBytes += end - start;
    this.#connection.heard = true;
    if (this.#isTunnel) this.#owner.onTunnelData(data.subarray(start, end));
    else this.#owner.onAnswerBody(data, start, end, false);
    if (!this.#paused) this.#credit();
  }

  onTrailers(fields: HeaderList): void {
    const trailers = trailersOf(fields);
    if (typeof trailers === 'string') this.#trailers = trailers;
    else this.#refuse();
  }

  onEnd(): void {
    if (this.#over) return;
    if (!this.#isTunnel) this.#owner.onAnswerEnd(this.#trailers);
    else if (this.#stream?.localEnded === true) this.#tunnelEnded();
    else this.#owner.onTunnelEnd();
  }

  onDrain(): void {
    this.#owner.onUpstreamDrain();
  }

  onReset(code: number): void {
    if (this.#over) return;
    this.#over = true;
    const { lost, session } = this.#connection;
    this.#connection.leave(this);
    if (this.#invalid) this.#owner.onAnswerInvalid();
    else if (lost !== undefined) this.#owner.onUpstreamClose(lost);
    else if (code === REFUSED_STREAM) this.#owner.onUpstreamRefused(session.goingAway);
    else this.#owner.onUpstreamClose('ECONNRESET');
  }
}
