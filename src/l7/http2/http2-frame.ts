/** Frames of HTTP/2 (RFC 9113 §4, §6) as numbers, and how they are written. Reading is in http2-session.ts. */

import { giveBlock, takeBlock } from '../http1/byte-blocks.ts';

export const FRAME_DATA = 0;
export const FRAME_HEADERS = 1;
export const FRAME_PRIORITY = 2;
export const FRAME_RST_STREAM = 3;
export const FRAME_SETTINGS = 4;
export const FRAME_PUSH_PROMISE = 5;
export const FRAME_PING = 6;
export const FRAME_GOAWAY = 7;
export const FRAME_WINDOW_UPDATE = 8;
export const FRAME_CONTINUATION = 9;

export const FLAG_END_STREAM = 0x1;
export const FLAG_ACK = 0x1;
export const FLAG_END_HEADERS = 0x4;
export const FLAG_PADDED = 0x8;
export const FLAG_PRIORITY = 0x20;

export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const SETTINGS_TIMEOUT = 4;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const CONNECT_ERROR = 10;
export const ENHANCE_YOUR_CALM = 11;
export const INADEQUATE_SECURITY = 12;
export const HTTP_1_1_REQUIRED = 13;

export const SETTINGS_HEADER_TABLE_SIZE = 1;
export const SETTINGS_ENABLE_PUSH = 2;
export const SETTINGS_MAX_CONCURRENT_STREAMS = 3;
export const SETTINGS_INITIAL_WINDOW_SIZE = 4;
export const SETTINGS_MAX_FRAME_SIZE = 5;
export const SETTINGS_MAX_HEADER_LIST_SIZE = 6;
/** RFC 8441. */
export const SETTINGS_ENABLE_CONNECT_PROTOCOL = 8;

/** Bytes of every frame's header. */
export const frameHeaderBytes = 9;
/** The smallest and the default SETTINGS_MAX_FRAME_SIZE; we neither allow nor send more. */
export const frameBytesMax = 16_384;
/** The largest SETTINGS_MAX_FRAME_SIZE that a peer may set. */
export const frameBytesMaxAllowed = 16_777_215;
/** Flow-control windows begin with this size. */
export const windowBytesDefault = 65_535;
/** No window may grow beyond (RFC 9113 §6.9.1). */
export const windowBytesMax = 0x7fffffff;

/** What a client sends before all else (RFC 9113 §3.4). */
export const connectionPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export type Setting = readonly [id: number, value: number];

const empty = Buffer.alloc(0);
/** What is sent in most turns. */
const turnBytes = 16_384;
/** The same where bodies are. */
const bodyTurnBytes = 131_072;

/**
 * Bytes on their way out, gathered until `take`. What was taken is never written to again, so the network may keep it;
 * a new block is made when the current one is full.
 */
export class OutputBuffer {
  data: Buffer = empty;
  /** Where the next byte goes. */
  at = 0;
  #taken = 0; // bytes of `data` that were handed out
  #lastFrame = -1; // where the last frame begins, if it was not handed out

  get length(): number {
    return this.at - this.#taken;
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    if (this.data.length - this.at >= bytes) return;
    const waiting = this.at - this.#taken;
    // Bodies come in frames of 16 KiB: several of them share a block, and what waits is copied at most once.
    const least = bytes > turnBytes / 4 ? bodyTurnBytes : turnBytes;
    const grown = takeBlock(Math.max(least, 2 * waiting + bytes));
    this.data.copy(grown, 0, this.#taken, this.at);
    if (this.#taken === 0) giveBlock(this.data);
    this.data = grown;
    if (this.#lastFrame !== -1) this.#lastFrame -= this.#taken;
    this.#taken = 0;
    this.at = waiting;
  }

  byte(value: number): void {
    this.reserve(1);
    this.data[this.at++] = value;
  }

  bytes(data: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    data.copy(this.data, this.at, start, end);
    this.at += end - start;
  }

  /** A frame's header; room for its payload is reserved, too. */
  frame(type: number, flags: number, streamId: number, payloadBytes: number): void {
    this.reserve(frameHeaderBytes + payloadBytes);
    this.frameHeader(type, flags, streamId, payloadBytes);
  }

  /** A frame's header, whose payload is gathered here later, or goes another way. */
  frameHeader(type: number, flags: number, streamId: number, payloadBytes: number): void {
    this.reserve(frameHeaderBytes);
    writeFrameHeader(this.data, this.at, type, flags, streamId, payloadBytes);
    this.#lastFrame = this.at;
    this.at += frameHeaderBytes;
  }

  /**
   * Puts as much of data[start, end) as it can take into the last frame, if that is one of DATA of the stream and has not left yet.
   * Returns the bytes taken.
   */
  extendLastFrame(streamId: number, data: Buffer, start: number, end: number): number {
    const last = this.#lastFrame;
    if (last === -1 || this.data[last + 3] !== FRAME_DATA) return 0;
    if (readUint32(this.data, last + 5) !== streamId) return 0;
    const length = this.at - last - frameHeaderBytes;
    const taken = Math.min(end - start, frameBytesMax - length);
    if (taken <= 0) return 0;
    this.bytes(data, start, start + taken);
    writeFrameHeader(this.data, this.#lastFrame, FRAME_DATA, 0, streamId, length + taken);
    return taken;
  }

  /**
   * Sets END_STREAM in the last frame, if that is one of the stream that can bear it and has not left yet.
   * @param inHead a frame of HEADERS may bear it, too
   */
  endLastFrame(streamId: number, inHead: boolean): boolean {
    const at = this.#lastFrame;
    if (at === -1 || (readUint32(this.data, at + 5) & 0x7fffffff) !== streamId) return false;
    const type = this.data[at + 3]!;
    if (type !== FRAME_DATA && (type !== FRAME_HEADERS || !inHead)) return false;
    this.data[at + 4]! |= FLAG_END_STREAM;
    return true;
  }

  /** Forgets what is gathered: for a buffer that nothing is taken from. */
  clear(): void {
    this.at = 0;
    this.#taken = 0;
    this.#lastFrame = -1;
  }

  uint32(value: number): void {
    this.reserve(4);
    const { data, at } = this;
    data[at] = value >>> 24;
    data[at + 1] = value >>> 16;
    data[at + 2] = value >>> 8;
    data[at + 3] = value;
    this.at += 4;
  }

  /** Nobody keeps what was taken: its memory serves others, so that few blocks serve any number of connections. */
  recycle(): void {
    if (this.at > this.#taken) return;
    giveBlock(this.data);
    this.data = empty;
    this.clear();
  }

  /** All that is gathered; undefined if there is nothing. */
  take(): Buffer | undefined {
    if (this.at === this.#taken) return undefined;
    const taken = this.data.subarray(this.#taken, this.at);
    this.#taken = this.at;
    this.#lastFrame = -1;
    return taken;
  }
}

export function writeFrameHeader(
  data: Buffer,
  at: number,
  type: number,
  flags: number,
  streamId: number,
  payloadBytes: number,
): void {
  data[at] = payloadBytes >>> 16;
  data[at + 1] = payloadBytes >>> 8;
  data[at + 2] = payloadBytes;
  data[at + 3] = type;
  data[at + 4] = flags;
  data[at + 5] = (streamId >>> 24) & 0x7f;
  data[at + 6] = streamId >>> 16;
  data[at + 7] = streamId >>> 8;
  data[at + 8] = streamId;
}

export function readUint32(data: Buffer, at: number): number {
  return ((data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!) >>> 0;
}

export function writeSettings(out: OutputBuffer, settings: readonly Setting[]): void {
  out.frame(FRAME_SETTINGS, 0, 0, settings.length * 6);
  for (const [id, value] of settings) {
    out.byte(id >>> 8);
    out.byte(id);
    out.uint32(value);
  }
}

export function writeSettingsAck(out: OutputBuffer): void {
  out.frame(FRAME_SETTINGS, FLAG_ACK, 0, 0);
}

export function writeWindowUpdate(out: OutputBuffer, streamId: number, increment: number): void {
  out.frame(FRAME_WINDOW_UPDATE, 0, streamId, 4);
  out.uint32(increment);
}

export function writeRstStream(out: OutputBuffer, streamId: number, code: number): void {
  out.frame(FRAME_RST_STREAM, 0, streamId, 4);
  out.uint32(code);
}

/** `opaque`: the 8 bytes at data[start]. */
export function writePing(out: OutputBuffer, flags: number, data: Buffer, start: number): void {
  out.frame(FRAME_PING, flags, 0, 8);
  out.bytes(data, start, start + 8);
}

/** `debug` is ASCII and for people. */
export function writeGoaway(out: OutputBuffer, lastStreamId: number, code: number, debug: string): void {
  out.frame(FRAME_GOAWAY, 0, 0, 8 + debug.length);
  out.uint32(lastStreamId);
  out.uint32(code);
  out.at += out.data.write(debug, out.at, 'latin1');
}
