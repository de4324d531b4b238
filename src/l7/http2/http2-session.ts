import { Allowance } from './allowance.ts';
import { type ClosedBy, ClosedStreams } from './closed-streams.ts';
import { HeaderList, HpackDecoder } from './hpack-decode.ts';
import {
  CANCEL,
  COMPRESSION_ERROR,
  connectionPreface,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLOW_CONTROL_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
  windowBytesDefault,
  windowBytesMax,
  writeGoaway,
  writePing,
  writeRstStream,
  writeSettings,
  writeSettingsAck,
  writeWindowUpdate,
} from './http2-frame.ts';
import { type FrameHandler, FrameReader } from './http2-read.ts';
import { Http2Sender } from './http2-send.ts';
import {
  defaultPeerSettings,
  type Http2Options,
  ownSettings,
  type PeerSettings,
  readSettings,
} from './http2-settings.ts';
import { Http2Stream } from './http2-stream.ts';

/** Who owns a session. */
export type SessionHandler = {
  /** Server: a request. The owner sets `stream.handler`, or resets the stream. */
  onRequest(stream: Http2Stream, fields: HeaderList, ended: boolean): void;
  /** The peer takes no more requests than it has; those beyond were given back by `onReset(REFUSED_STREAM)`. */
  onGoaway(code: number): void;
  /** The peer's settings have come or changed. */
  onSettings(): void;
  onPong(): void;
  /** A stream is gone from `streams`. */
  onStreamClosed(stream: Http2Stream): void;
  /** The connection is lost: GOAWAY is written, all streams are reset. Send what is in `send.out`, then close. */
  onFailure(code: number, reason: string): void;
};

const pingBytes = Buffer.from('fairlead', 'latin1');

/**
 * One connection of HTTP/2 (RFC 9113) as a state machine: bytes come in by `receive`, what must go out gathers in
 * `send.out`. It knows no socket and no clock. What a peer does wrong ends its stream or the connection as the RFC says;
 * what it does too often ends the connection with ENHANCE_YOUR_CALM.
 */
export class Http2Session implements FrameHandler {
  readonly send: Http2Sender;
  /** Open ones by id. */
  readonly streams = new Map<number, Http2Stream>();
  readonly peer: PeerSettings = defaultPeerSettings();
  readonly reader: FrameReader;
  failed = false;
  /** The peer, or we, have said that no new streams are taken. */
  goingAway = false;
  readonly #options: Http2Options;
  readonly #handler: SessionHandler;
  readonly #isServer: boolean;
  readonly #decoder = new HpackDecoder();
  readonly #fields: HeaderList;
  readonly #closed = new ClosedStreams();
  readonly #resets: Allowance;
  readonly #controlFrames: Allowance;
  #nowMs = 0;
  #lastPeerStream = 0;
  #nextStream = 1;
  #lastAccepted = Number.POSITIVE_INFINITY; // after our last GOAWAY
  #receiveWindow: number;
  #creditBytes = 0;
  #drainPing = false;
  #dataFramesRewarded = 0;
  #isEmpty = false; // the DATA frame that is being read

  constructor(options: Http2Options, handler: SessionHandler) {
    const isServer = options.role === 'server';
    this.#options = options;
    this.#handler = handler;
    this.#isServer = isServer;
    this.#fields = new HeaderList(options.headBytesMax, options.fieldsMax);
    this.#resets = new Allowance(options.resetsBurst, options.resetsPerSecond);
    this.#controlFrames = new Allowance(options.controlFramesBurst, options.controlFramesPerSecond);
    this.send = new Http2Sender(isServer, (stream) => this.#localEnded(stream));
    this.reader = new FrameReader(this, {
      preface: isServer,
      blockBytesMax: options.headBytesMax,
      continuationsMax: options.continuationsMax,
    });
    this.#receiveWindow = options.connectionWindowBytes;
    const { out } = this.send;
    if (!isServer) out.bytes(connectionPreface, 0, connectionPreface.length);
    writeSettings(out, ownSettings(options));
    if (options.connectionWindowBytes > windowBytesDefault) {
      writeWindowUpdate(out, 0, options.connectionWindowBytes - windowBytesDefault);
    }
  }

  receive(data: Buffer, nowMs: number): void {
    this.#nowMs = nowMs;
    this.reader.read(data);
  }

  /** Client: a new stream, or undefined if none can be opened now or ever. Its head is to be sent at once. */
  open(): Http2Stream | undefined {
    const most = Math.min(this.peer.streamsMax, this.#options.streamsMax);
    if (this.failed || this.goingAway || this.streams.size >= most || this.#nextStream > windowBytesMax) {
      return undefined;
    }
    const stream = new Http2Stream(
      this.#nextStream,
      this.#options.streamWindowBytes,
      this.send.initialWindow,
    );
    this.#nextStream += 2;
    this.streams.set(stream.id, stream);
    return stream;
  }

  /** Ends a stream at once; its handler hears nothing more. Harmless on a closed one. */
  reset(stream: Http2Stream, code: number): void {
    if (stream.closed || this.failed) return;
    writeRstStream(this.send.out, stream.id, code);
    this.#close(stream, 'us');
  }

  /** The owner has taken `bytes` of a body: the peer may send as many more. */
  credit(stream: Http2Stream, bytes: number): void {
    if (bytes === 0 || stream.closed) return; // what a closed stream held was credited when it closed
    stream.heldBytes -= bytes;
    this.#creditConnection(bytes);
    if (stream.remoteEnded) return;
    stream.creditBytes += bytes;
    if (2 * stream.creditBytes < this.#options.streamWindowBytes) return;
    writeWindowUpdate(this.send.out, stream.id, stream.creditBytes);
    stream.receiveWindow += stream.creditBytes;
    stream.creditBytes = 0;
  }

  #creditConnection(bytes: number): void {
    this.#creditBytes += bytes;
    if (2 * this.#creditBytes < this.#options.connectionWindowBytes) return;
    writeWindowUpdate(this.send.out, 0, this.#creditBytes);
    this.#receiveWindow += this.#creditBytes;
    this.#creditBytes = 0;
  }

  /** The network takes bytes again. */
  unblock(): void {
    this.send.blocked = false;
    this.send.pump();
  }

  /** Asks for a sign of life; `onPong` tells of it. */
  ping(): void {
    writePing(this.send.out, 0, pingBytes, 0);
  }

  /**
   * Server: takes no new requests but those that are on their way: the peer is told at once, and the last number of a
   * stream only when it has answered a PING, so that no request is lost between (RFC 9113 §6.8).
   */
  drain(): void {
    if (this.failed || this.goingAway) return;
    this.goingAway = true;
    writeGoaway(this.send.out, windowBytesMax, NO_ERROR, '');
    this.#drainPing = true;
    this.ping();
  }

  /** No request of the peer can still be accepted, and none is open. */
  get drained(): boolean {
    return this.goingAway && !this.#drainPing && this.streams.size === 0;
  }

  /** Ends the connection with an error. */
  fail(code: number, reason: string): void {
    if (this.failed) return;
    this.failed = true;
    this.reader.stopped = true;
    writeGoaway(this.send.out, this.#lastPeerStream, code, reason);
    this.lose(code);
    this.#handler.onFailure(code, reason);
  }

  /** All streams end: the connection is gone or about to be. */
  lose(code: number): void {
    this.failed = true;
    this.reader.stopped = true;
    for (const stream of this.streams.values()) this.#close(stream, 'us', code);
  }

  // Frames

  onFault(code: number, reason: string): void {
    this.fail(code, reason);
  }

  onStreamFault(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    if (stream !== undefined) this.#streamError(stream, code);
    else if (this.#isIdle(streamId)) this.fail(code, 'a frame for a stream that was never opened');
    else {
      writeRstStream(this.send.out, streamId, code); // RFC 9113 §6.3 makes no difference for streams that are closed
      this.#count(this.#resets, 'too many frames for closed streams');
    }
  }

  onIgnored(): void {
    this.#countControl();
  }

  onData(streamId: number, payloadBytes: number): void {
    this.#receiveWindow -= payloadBytes;
    if (this.#receiveWindow < 0) {
      this.fail(FLOW_CONTROL_ERROR, 'more data than the connection window allows');
      return;
    }
    this.#isEmpty = payloadBytes === 0;
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      this.#creditConnection(payloadBytes);
      this.#frameForClosed(streamId, 'DATA');
      return;
    }
    stream.receiveWindow -= payloadBytes;
    stream.heldBytes += payloadBytes;
    if (stream.remoteEnded) this.#streamError(stream, STREAM_CLOSED);
    else if (stream.receiveWindow < 0) this.#streamError(stream, FLOW_CONTROL_ERROR);
    else if (!this.#isServer && !stream.headDone) this.#streamError(stream, PROTOCOL_ERROR);
  }

  onDataBytes(streamId: number, data: Buffer, start: number, end: number): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined || stream.remoteEnded) return;
    stream.receivedBytes += end - start;
    if (stream.expectedBytes !== -1 && stream.receivedBytes > stream.expectedBytes) {
      this.#streamError(stream, PROTOCOL_ERROR); // RFC 9113 §8.1.1
      return;
    }
    stream.handler?.onBody(data, start, end);
  }

  onDataEnd(streamId: number, paddingBytes: number, ended: boolean): void {
    // A frame that neither carries nor ends anything costs the peer nothing. Many end each message by an empty one.
    if (this.#isEmpty && !ended) this.#countControl();
    const stream = this.streams.get(streamId);
    if (stream === undefined || stream.remoteEnded) return;
    this.credit(stream, paddingBytes);
    if (ended) this.#remoteEnded(stream);
  }

  onHeaderBlock(streamId: number, data: Buffer, start: number, end: number, ended: boolean): void {
    const fields = this.#fields;
    // Decoded whatever becomes of it: the table must follow.
    if (!this.#decoder.decode(data, start, end, fields)) {
      this.fail(COMPRESSION_ERROR, 'a header block cannot be decoded');
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream !== undefined) this.#laterHead(stream, fields, ended);
    else if (!this.#isServer || streamId <= this.#lastPeerStream) this.#frameForClosed(streamId, 'HEADERS');
    else if ((streamId & 1) === 0) this.fail(PROTOCOL_ERROR, 'a request on an even stream');
    else this.#request(streamId, fields, ended);
  }

  #request(streamId: number, fields: HeaderList, ended: boolean): void {
    this.#lastPeerStream = streamId;
    if (streamId > this.#lastAccepted) return; // the peer has been told, and asks again elsewhere
    if (this.streams.size >= this.#options.streamsMax) {
      writeRstStream(this.send.out, streamId, REFUSED_STREAM);
      this.#closed.add(streamId, 'us');
      this.#count(this.#resets, 'too many streams at once');
      return;
    }
    const stream = new Http2Stream(streamId, this.#options.streamWindowBytes, this.send.initialWindow);
    this.streams.set(streamId, stream);
    stream.headDone = true;
    stream.remoteEnded = ended;
    this.#handler.onRequest(stream, fields, ended);
    if (ended && !stream.closed) this.#endIsRight(stream);
  }

  /** An answer's head, or trailers. */
  #laterHead(stream: Http2Stream, fields: HeaderList, ended: boolean): void {
    if (stream.remoteEnded) {
      this.#streamError(stream, STREAM_CLOSED);
    } else if (!stream.headDone) {
      stream.handler?.onHead(fields, ended);
      if (stream.closed || !ended) return;
      if (stream.headDone) this.#remoteEnded(stream);
      else this.#streamError(stream, PROTOCOL_ERROR); // an informational head cannot be the last (RFC 9113 §8.1)
    } else if (!ended) {
      this.#streamError(stream, PROTOCOL_ERROR); // RFC 9113 §8.1
    } else {
      stream.handler?.onTrailers(fields);
      if (!stream.closed) this.#remoteEnded(stream);
    }
  }

  #remoteEnded(stream: Http2Stream): void {
    if (!this.#endIsRight(stream)) return;
    stream.remoteEnded = true;
    stream.handler?.onEnd();
    if (stream.localEnded && !stream.closed) this.#close(stream, 'end');
  }

  #endIsRight(stream: Http2Stream): boolean {
    if (stream.expectedBytes === -1 || stream.receivedBytes === stream.expectedBytes) return true;
    this.#streamError(stream, PROTOCOL_ERROR); // RFC 9113 §8.1.1
    return false;
  }

  #localEnded(stream: Http2Stream): void {
    stream.localEnded = true;
    this.#resets.give(0.5); // a request was answered: the peer is in earnest
    if (stream.remoteEnded && !stream.closed) this.#close(stream, 'end');
  }

  onRstStream(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.#isIdle(streamId)) this.fail(PROTOCOL_ERROR, 'RST_STREAM for a stream that was never opened');
      else this.#countControl();
      return;
    }
    this.#close(stream, 'peer', code);
    if (this.#isServer) this.#count(this.#resets, 'too many requests taken back');
  }

  onSettings(data: Buffer, start: number, end: number): void {
    this.#countControl();
    const before = this.peer.initialWindow;
    const code = readSettings(data, start, end, this.#options.role, this.peer);
    if (code !== undefined) {
      this.fail(code, 'a setting that is not allowed');
      return;
    }
    this.send.encoder.setTableBytesMax(this.peer.headerTableBytes);
    this.send.initialWindow = this.peer.initialWindow;
    for (const stream of this.streams.values()) {
      stream.sendWindow += this.peer.initialWindow - before;
      if (stream.sendWindow > windowBytesMax) {
        this.fail(FLOW_CONTROL_ERROR, 'a window is too large');
        return;
      }
    }
    writeSettingsAck(this.send.out);
    if (this.peer.initialWindow > before) this.send.pump();
    this.#handler.onSettings();
  }

  onPing(data: Buffer, start: number, ack: boolean): void {
    this.#countControl();
    if (this.failed) return;
    if (!ack) {
      writePing(this.send.out, FLAG_ACK, data, start);
      return;
    }
    if (this.#drainPing) this.endDrain();
    this.#handler.onPong();
  }

  /** The peer has seen our first GOAWAY, or has had time enough: now it learns which requests were taken. */
  endDrain(): void {
    if (!this.#drainPing || this.failed) return;
    this.#drainPing = false;
    this.#lastAccepted = this.#lastPeerStream;
    writeGoaway(this.send.out, this.#lastPeerStream, NO_ERROR, '');
  }

  onGoaway(lastStreamId: number, code: number): void {
    this.#countControl();
    if (this.#isServer) return; // we open no streams towards a client
    this.goingAway = true;
    for (const stream of this.streams.values()) {
      if (stream.id > lastStreamId) this.#close(stream, 'us', REFUSED_STREAM);
    }
    this.#handler.onGoaway(code);
  }

  onWindowUpdate(streamId: number, increment: number): void {
    this.#rewardWork();
    this.#countControl();
    if (streamId === 0) {
      if (this.send.growConnectionWindow(increment)) this.send.pump();
      else this.fail(FLOW_CONTROL_ERROR, 'the connection window is too large');
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.#isIdle(streamId))
        this.fail(PROTOCOL_ERROR, 'WINDOW_UPDATE for a stream that was never opened');
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > windowBytesMax) this.#streamError(stream, FLOW_CONTROL_ERROR);
    else this.send.pumpStream(stream);
  }

  /** Whoever is sent data answers it with WINDOW_UPDATE, perhaps on both levels. */
  #rewardWork(): void {
    const { dataFrames } = this.send;
    this.#controlFrames.give(2 * (dataFrames - this.#dataFramesRewarded));
    this.#dataFramesRewarded = dataFrames;
  }

  #frameForClosed(streamId: number, name: string): void {
    if (this.failed) return;
    if (this.#isIdle(streamId)) {
      this.fail(PROTOCOL_ERROR, `${name} for a stream that was never opened`);
      return;
    }
    const by = this.#closed.find(streamId);
    if (by === 'us') {
      this.#countControl(); // it may not have known yet
    } else if (by === 'peer') {
      writeRstStream(this.send.out, streamId, STREAM_CLOSED);
      this.#count(this.#resets, 'too many frames for closed streams');
    } else if (by === 'end') this.fail(STREAM_CLOSED, `${name} for a stream that has ended`);
    else this.fail(PROTOCOL_ERROR, `${name} for a stream of the past`);
  }

  #isIdle(streamId: number): boolean {
    if (!this.#isServer) return (streamId & 1) === 0 || streamId >= this.#nextStream;
    return (streamId & 1) === 0 || streamId > this.#lastPeerStream;
  }

  /** The peer's fault, so it counts like a reset of its own: a peer can also make us reset its streams (CVE-2025-8671). */
  #streamError(stream: Http2Stream, code: number): void {
    if (stream.closed) return;
    writeRstStream(this.send.out, stream.id, code);
    this.#close(stream, 'us', code);
    if (this.#isServer) this.#count(this.#resets, 'too many broken requests');
  }

  /** For the owner: what the peer sent on the stream is against the rules. The handler hears of it. */
  refuse(stream: Http2Stream, code: number): void {
    this.#streamError(stream, code);
  }

  #countControl(): void {
    this.#count(this.#controlFrames, 'too many frames that carry nothing');
  }

  #count(allowance: Allowance, reason: string): void {
    if (!allowance.take(this.#nowMs)) this.fail(ENHANCE_YOUR_CALM, reason);
  }

  /** `code` given: the handler is told. */
  #close(stream: Http2Stream, by: ClosedBy, code?: number): void {
    if (stream.closed) return;
    stream.closed = true;
    this.streams.delete(stream.id);
    this.#closed.add(stream.id, by);
    this.send.forget(stream);
    // What peers still send about a stream that has ended well is no flood.
    if (by === 'end') this.#controlFrames.give(2);
    if (stream.heldBytes > 0 && !this.failed) this.#creditConnection(stream.heldBytes);
    stream.heldBytes = 0;
    if (code !== undefined) stream.handler?.onReset(code === NO_ERROR ? CANCEL : code);
    this.#handler.onStreamClosed(stream);
  }
}
