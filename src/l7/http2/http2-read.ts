import {
  connectionPreface,
  ENHANCE_YOUR_CALM,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  frameBytesMax,
  frameHeaderBytes,
  PROTOCOL_ERROR,
  readUint32,
} from './http2-frame.ts';
import { giveBlock, takeBlock } from '../http1/byte-blocks.ts';

/** What frames say. Bytes are valid until the call returns. */
export type FrameHandler = {
  /** A DATA frame begins: its whole payload, padding included, counts against the windows. */
  onData(streamId: number, payloadBytes: number): void;
  /** Bytes of DATA frames, perhaps of several that came together: then after `onDataEnd` of all but the last. */
  onDataBytes(streamId: number, data: Buffer, start: number, end: number): void;
  onDataEnd(streamId: number, paddingBytes: number, ended: boolean): void;
  /** A whole header block, however many frames it came in. */
  onHeaderBlock(streamId: number, data: Buffer, start: number, end: number, ended: boolean): void;
  onRstStream(streamId: number, code: number): void;
  onSettings(data: Buffer, start: number, end: number): void;
  onPing(data: Buffer, start: number, ack: boolean): void;
  onGoaway(lastStreamId: number, code: number): void;
  onWindowUpdate(streamId: number, increment: number): void;
  /** PRIORITY, an acknowledgement of settings, a type that nobody knows. */
  onIgnored(): void;
  /** The frame breaks the rules of one stream only. */
  onStreamFault(streamId: number, code: number): void;
  /** The bytes cannot be followed any more. Nothing is read after that. */
  onFault(code: number, reason: string): void;
};

/** Payloads of DATA frames that follow each other are joined to one where the next or what comes before has at most so many bytes. */
const joinedBytesMax = 4096;
const empty = Buffer.alloc(0);

/** `pad`: the padding's length is awaited. `data`: bytes of a DATA frame, passed on as they come. */
type State = 'preface' | 'frame' | 'pad' | 'data';

/**
 * Reads frames (RFC 9113 §4, §6): sizes, padding, flags, what must not be interleaved. What a frame means to its stream
 * is the session's business.
 */
export class FrameReader {
  /** Nothing is read any more. */
  stopped = false;
  /** Those that have come whole. */
  frames = 0;
  readonly #handler: FrameHandler;
  readonly #blockBytesMax: number;
  readonly #continuationsMax: number;
  /** The bytes being read: data[at, end). */
  #data: Buffer = empty;
  #at = 0;
  #end = 0;
  /** The beginning of a frame, or of the preface, whose rest has not come. Never of a DATA frame's payload. */
  #held: Buffer = empty;
  #heldBytes = 0;
  /** Payload that was read and not passed on, as more of the stream's may follow: data[runStart, runEnd). */
  #runStart = 0;
  #runEnd = 0;
  #state: State;
  #settled = false; // the first frame, which must be SETTINGS, has come
  #streamId = 0; // of the DATA frame being read
  #remaining = 0; // bytes of its data
  #padding = 0; // bytes of its padding that are to be skipped
  #paddingBytes = 0; // with the byte that tells its length
  #flags = 0;
  #blockStream = 0; // of a header block that has not ended; 0: none
  #blockFlags = 0;
  #block: Buffer[] = [];
  #blockBytes = 0;
  #continuations = 0;

  /**
   * @param blockBytesMax one header block, compressed. More: ENHANCE_YOUR_CALM
   * @param continuationsMax CONTINUATION frames of one block. More: ENHANCE_YOUR_CALM
   */
  constructor(
    handler: FrameHandler,
    options: { preface: boolean; blockBytesMax: number; continuationsMax: number },
  ) {
    this.#handler = handler;
    this.#state = options.preface ? 'preface' : 'frame';
    this.#blockBytesMax = options.blockBytesMax;
    this.#continuationsMax = options.continuationsMax;
  }

  /** The peer has sent its preface and settings. */
  get settled(): boolean {
    return this.#settled;
  }

  /** A header block or a frame has begun and not ended: the peer owes us the rest. */
  get unfinished(): boolean {
    return this.#blockStream !== 0 || this.#heldBytes > 0;
  }

  /** `data` may be changed: payloads are moved together in it. */
  read(data: Buffer): void {
    const from = this.#heldBytes > 0 ? this.#completeHeld(data) : 0;
    this.#readFrom(data, from, data.length);
    if (this.stopped) this.#dropHeld();
    else if (this.#at < this.#end) this.#hold(data, this.#at, this.#end);
    this.#data = empty;
  }

  #readFrom(data: Buffer, start: number, end: number): void {
    this.#data = data;
    this.#at = start;
    this.#end = end;
    while (!this.stopped && this.#step());
    this.#passRun();
  }

  /** Reads what was held with as much of `data` as it lacks; returns how much that is. */
  #completeHeld(data: Buffer): number {
    let taken = 0;
    while (this.#heldBytes > 0 && taken < data.length && !this.stopped) {
      const bytes = Math.min(this.#lacking(), data.length - taken);
      this.#hold(data, taken, taken + bytes);
      taken += bytes;
      this.#readFrom(this.#held, 0, this.#heldBytes);
      if (this.#at > 0) this.#dropHeld(); // else it wants more
    }
    return taken;
  }

  #dropHeld(): void {
    giveBlock(this.#held);
    this.#held = empty;
    this.#heldBytes = 0;
  }

  /** How many bytes what is held needs at least to be read. */
  #lacking(): number {
    const held = this.#held;
    const has = this.#heldBytes;
    if (this.#state === 'preface') return connectionPreface.length - has;
    if (has < frameHeaderBytes) return frameHeaderBytes - has;
    return frameHeaderBytes + ((held[0]! << 16) | (held[1]! << 8) | held[2]!) - has;
  }

  #hold(data: Buffer, start: number, end: number): void {
    const bytes = this.#heldBytes + end - start;
    if (bytes > this.#held.length) {
      const grown = takeBlock(bytes);
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      giveBlock(this.#held);
      this.#held = grown;
    }
    data.copy(this.#held, this.#heldBytes, start, end);
    this.#heldBytes = bytes;
  }

  #fault(code: number, reason: string): false {
    this.stopped = true;
    this.#handler.onFault(code, reason);
    return false;
  }

  /** False: more bytes are needed. */
  #step(): boolean {
    switch (this.#state) {
      case 'data':
        return this.#readData();
      case 'frame':
        return this.#readFrame();
      case 'pad':
        return this.#readPadLength();
      case 'preface':
        return this.#readPreface();
    }
  }

  #readPreface(): boolean {
    const at = this.#at;
    const length = Math.min(this.#end - at, connectionPreface.length);
    if (connectionPreface.compare(this.#data, at, at + length, 0, length) !== 0) {
      return this.#fault(PROTOCOL_ERROR, 'no connection preface');
    }
    if (length < connectionPreface.length) return false;
    this.#at = at + length;
    this.#state = 'frame';
    return true;
  }

  #readFrame(): boolean {
    const data = this.#data;
    const start = this.#at;
    const available = this.#end - start;
    if (available < frameHeaderBytes) return false;
    const length = (data[start]! << 16) | (data[start + 1]! << 8) | data[start + 2]!;
    const type = data[start + 3]!;
    const flags = data[start + 4]!;
    const streamId = readUint32(data, start + 5) & 0x7fffffff;
    if (length > frameBytesMax) return this.#fault(FRAME_SIZE_ERROR, 'a frame is too long');
    if (!this.#settled) {
      if (type !== FRAME_SETTINGS || (flags & FLAG_ACK) !== 0) {
        return this.#fault(PROTOCOL_ERROR, 'the first frame is not SETTINGS');
      }
    } else if (this.#blockStream !== 0) {
      if (type !== FRAME_CONTINUATION || streamId !== this.#blockStream) {
        return this.#fault(PROTOCOL_ERROR, 'a header block is interrupted');
      }
    }
    if (type === FRAME_DATA) return this.#beginData(streamId, length, flags);
    if (available < frameHeaderBytes + length) return false;
    if (!this.#passRun()) return false;
    this.#settled = true;
    this.frames += 1;
    const from = start + frameHeaderBytes;
    this.#at = from + length;
    return this.#dispatch(type, flags, streamId, data, from, from + length);
  }

  #beginData(streamId: number, length: number, flags: number): boolean {
    if (streamId === 0) return this.#fault(PROTOCOL_ERROR, 'DATA on stream 0');
    const padded = (flags & FLAG_PADDED) !== 0;
    if (padded && length === 0) return this.#fault(FRAME_SIZE_ERROR, 'no room for the length of padding');
    if (streamId !== this.#streamId && !this.#passRun()) return false;
    this.#at += frameHeaderBytes;
    this.#streamId = streamId;
    this.#flags = flags;
    this.#remaining = length;
    this.#padding = 0;
    this.#paddingBytes = 0;
    this.#state = padded ? 'pad' : 'data';
    this.#handler.onData(streamId, length);
    return true;
  }

  #readPadLength(): boolean {
    if (this.#at === this.#end) return false;
    const padding = this.#data[this.#at]!;
    this.#at += 1;
    if (padding >= this.#remaining) return this.#fault(PROTOCOL_ERROR, 'padding longer than its frame');
    this.#padding = padding;
    this.#paddingBytes = padding + 1;
    this.#remaining -= padding + 1;
    this.#state = 'data';
    return true;
  }

  #readData(): boolean {
    const start = this.#at;
    const taken = Math.min(this.#remaining, this.#end - start);
    if (taken > 0) {
      this.#remaining -= taken;
      this.#at = start + taken;
      if (!this.#addToRun(start, start + taken)) return false;
    }
    if (this.#remaining > 0) return false;
    const skipped = Math.min(this.#padding, this.#end - this.#at);
    this.#at += skipped;
    this.#padding -= skipped;
    if (this.#padding > 0) return false;
    this.#state = 'frame';
    this.frames += 1;
    const ended = (this.#flags & FLAG_END_STREAM) !== 0;
    if (ended && !this.#passRun()) return false;
    this.#handler.onDataEnd(this.#streamId, this.#paddingBytes, ended);
    return true;
  }

  /** False: reading has stopped. */
  #addToRun(start: number, end: number): boolean {
    const before = this.#runEnd - this.#runStart;
    if (before > 0) {
      if (end - start <= joinedBytesMax) {
        this.#data.copyWithin(this.#runEnd, start, end);
        this.#runEnd += end - start;
        return true;
      }
      if (before <= joinedBytesMax) {
        // What lies between the two, the second one's header, has been read.
        this.#data.copyWithin(start - before, this.#runStart, this.#runEnd);
        this.#runStart = start - before;
        this.#runEnd = end;
        return true;
      }
      if (!this.#passRun()) return false;
    }
    this.#runStart = start;
    this.#runEnd = end;
    return true;
  }

  /** False: reading has stopped. */
  #passRun(): boolean {
    const start = this.#runStart;
    const end = this.#runEnd;
    this.#runStart = 0;
    this.#runEnd = 0;
    if (start < end && !this.stopped) this.#handler.onDataBytes(this.#streamId, this.#data, start, end);
    return !this.stopped;
  }

  #dispatch(
    type: number,
    flags: number,
    streamId: number,
    data: Buffer,
    start: number,
    end: number,
  ): boolean {
    const handler = this.#handler;
    const length = end - start;
    switch (type) {
      case FRAME_HEADERS:
        return this.#headers(flags, streamId, data, start, end);
      case FRAME_CONTINUATION:
        return this.#continuation(flags, streamId, data, start, end);
      case FRAME_PRIORITY:
        if (streamId === 0) return this.#fault(PROTOCOL_ERROR, 'PRIORITY on stream 0');
        if (length !== 5) handler.onStreamFault(streamId, FRAME_SIZE_ERROR);
        else handler.onIgnored();
        return true;
      case FRAME_RST_STREAM:
        if (streamId === 0) return this.#fault(PROTOCOL_ERROR, 'RST_STREAM on stream 0');
        if (length !== 4) return this.#fault(FRAME_SIZE_ERROR, 'RST_STREAM of a wrong length');
        handler.onRstStream(streamId, readUint32(data, start));
        return true;
      case FRAME_SETTINGS:
        return this.#settings(flags, streamId, data, start, end);
      case FRAME_PUSH_PROMISE:
        return this.#fault(PROTOCOL_ERROR, 'PUSH_PROMISE, which is disabled');
      case FRAME_PING:
        if (streamId !== 0) return this.#fault(PROTOCOL_ERROR, 'PING on a stream');
        if (length !== 8) return this.#fault(FRAME_SIZE_ERROR, 'PING of a wrong length');
        handler.onPing(data, start, (flags & FLAG_ACK) !== 0);
        return true;
      case FRAME_GOAWAY:
        if (streamId !== 0) return this.#fault(PROTOCOL_ERROR, 'GOAWAY on a stream');
        if (length < 8) return this.#fault(FRAME_SIZE_ERROR, 'GOAWAY of a wrong length');
        handler.onGoaway(readUint32(data, start) & 0x7fffffff, readUint32(data, start + 4));
        return true;
      case FRAME_WINDOW_UPDATE:
        return this.#windowUpdate(streamId, data, start, length);
      default:
        handler.onIgnored(); // RFC 9113 §4.1
        return true;
    }
  }

  #settings(flags: number, streamId: number, data: Buffer, start: number, end: number): boolean {
    if (streamId !== 0) return this.#fault(PROTOCOL_ERROR, 'SETTINGS on a stream');
    if ((flags & FLAG_ACK) !== 0) {
      if (end > start) return this.#fault(FRAME_SIZE_ERROR, 'an acknowledgement with settings');
      this.#handler.onIgnored();
      return true;
    }
    if ((end - start) % 6 !== 0) return this.#fault(FRAME_SIZE_ERROR, 'SETTINGS of a wrong length');
    this.#handler.onSettings(data, start, end);
    return true;
  }

  #windowUpdate(streamId: number, data: Buffer, start: number, length: number): boolean {
    if (length !== 4) return this.#fault(FRAME_SIZE_ERROR, 'WINDOW_UPDATE of a wrong length');
    const increment = readUint32(data, start) & 0x7fffffff;
    if (increment > 0) this.#handler.onWindowUpdate(streamId, increment);
    else if (streamId === 0) return this.#fault(PROTOCOL_ERROR, 'WINDOW_UPDATE by 0');
    else this.#handler.onStreamFault(streamId, PROTOCOL_ERROR);
    return true;
  }

  #headers(flags: number, streamId: number, data: Buffer, from: number, to: number): boolean {
    if (streamId === 0) return this.#fault(PROTOCOL_ERROR, 'HEADERS on stream 0');
    let start = from;
    let end = to;
    if ((flags & FLAG_PADDED) !== 0) {
      if (start === end) return this.#fault(FRAME_SIZE_ERROR, 'no room for the length of padding');
      end -= data[start]!;
      start += 1;
    }
    if ((flags & FLAG_PRIORITY) !== 0) {
      if (to - start < 5) return this.#fault(FRAME_SIZE_ERROR, 'no room for a priority');
      start += 5; // priorities are deprecated (RFC 9113 §5.3.2)
    }
    if (start > end) return this.#fault(PROTOCOL_ERROR, 'padding longer than its frame');
    this.#blockFlags = flags;
    if ((flags & FLAG_END_HEADERS) !== 0) return this.#endBlock(streamId, data, start, end);
    this.#blockStream = streamId;
    this.#continuations = 0;
    this.#blockBytes = 0;
    return this.#keep(data, start, end);
  }

  #continuation(flags: number, streamId: number, data: Buffer, start: number, end: number): boolean {
    if (this.#blockStream === 0) return this.#fault(PROTOCOL_ERROR, 'CONTINUATION of nothing');
    this.#continuations += 1;
    if (this.#continuations > this.#continuationsMax) {
      return this.#fault(ENHANCE_YOUR_CALM, 'a header block in too many frames');
    }
    if (!this.#keep(data, start, end)) return false;
    if ((flags & FLAG_END_HEADERS) === 0) return true;
    const block = Buffer.concat(this.#block, this.#blockBytes);
    this.#block = [];
    this.#blockStream = 0;
    return this.#endBlock(streamId, block, 0, block.length);
  }

  #keep(data: Buffer, start: number, end: number): boolean {
    this.#blockBytes += end - start;
    if (this.#blockBytes > this.#blockBytesMax) {
      return this.#fault(ENHANCE_YOUR_CALM, 'a header block is too large');
    }
    this.#block.push(Buffer.from(data.subarray(start, end)));
    return true;
  }

  #endBlock(streamId: number, data: Buffer, start: number, end: number): boolean {
    if (end - start > this.#blockBytesMax) {
      return this.#fault(ENHANCE_YOUR_CALM, 'a header block is too large');
    }
    const ended = (this.#blockFlags & FLAG_END_STREAM) !== 0;
    this.#handler.onHeaderBlock(streamId, data, start, end, ended);
    return true;
  }
}
