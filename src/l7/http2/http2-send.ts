import { giveBlock, takeBlock } from '../http1/byte-blocks.ts';
import { HpackEncoder } from './hpack-encode.ts';
import {
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADERS,
  frameBytesMax,
  OutputBuffer,
  windowBytesDefault,
  windowBytesMax,
} from './http2-frame.ts';
import type { Http2Stream } from './http2-stream.ts';

/** A frame that a window has cut to less than this is no work done for the peer. */
const dribbleBytes = 256;
/** Bytes of a body that wait for a window share blocks of at least this, however small they come. */
const pendingBlockBytes = 4096;

/** Payload of fewer bytes is gathered: it may be joined with what follows. */
const straightBytesMin = 4096;

/** The one header block that is being written: it is sent before another begins, on whatever connection. */
const headerBlock = new OutputBuffer();

/** The sending half of a session: header blocks, bodies as far as windows let them pass, the bytes that go out. */
export class Http2Sender {
  readonly out = new OutputBuffer();
  readonly encoder: HpackEncoder;
  /** The network takes no more: bodies wait. */
  blocked = false;
  connectionWindow = windowBytesDefault;
  /** Of new streams: the peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  initialWindow = windowBytesDefault;
  /** Takes payload that follows what is in `out` straight to the network, without gathering it first; undefined: there is no such way. */
  straight: ((payload: Buffer) => void) | undefined;
  /** DATA frames ever written, but for those that a window has made tiny. */
  dataFrames = 0;
  readonly #waiting = new Set<Http2Stream>();
  readonly #onEnded: (stream: Http2Stream) => void;

  /** @param onEnded END_STREAM of a stream has been written */
  constructor(huffman: boolean, onEnded: (stream: Http2Stream) => void) {
    this.encoder = new HpackEncoder(huffman);
    this.#onEnded = onEnded;
  }

  /** Begins a header block: its fields are written with `encoder` to what is returned, then `sendBlock` sends it. */
  beginBlock(): OutputBuffer {
    headerBlock.clear();
    this.encoder.begin(headerBlock);
    return headerBlock;
  }

  sendBlock(stream: Http2Stream, ended: boolean): void {
    const block = headerBlock;
    const length = block.at;
    let at = 0;
    let type = FRAME_HEADERS;
    do {
      const bytes = Math.min(length - at, frameBytesMax);
      let flags = at + bytes === length ? FLAG_END_HEADERS : 0;
      if (ended && type === FRAME_HEADERS) flags |= FLAG_END_STREAM;
      this.out.frame(type, flags, stream.id, bytes);
      this.out.bytes(block.data, at, at + bytes);
      at += bytes;
      type = FRAME_CONTINUATION;
    } while (at < length);
    if (ended) this.#onEnded(stream);
  }

  /**
   * Sends bytes of a body, or keeps a copy of what may not go now. False: something is kept, so the caller must stop
   * until `onDrain`; at most what it gave in one call is kept if it does.
   */
  data(stream: Http2Stream, data: Buffer, start: number, end: number): boolean {
    if (stream.closed || stream.localEnded) return true;
    const waits = stream.pendingBytes > 0 || this.blocked;
    const at = waits ? start : start + this.#frames(stream, data, start, end);
    if (at === end) return true;
    this.#keep(stream, data, at, end);
    this.#waiting.add(stream);
    return false;
  }

  #keep(stream: Http2Stream, data: Buffer, start: number, end: number): void {
    stream.pendingBytes += end - start;
    let at = start;
    let block = stream.pending.at(-1);
    while (at < end) {
      if (block === undefined || stream.pendingEnd === block.length) {
        block = takeBlock(Math.max(pendingBlockBytes, end - at));
        stream.pending.push(block);
        stream.pendingEnd = 0;
      }
      const bytes = Math.min(end - at, block.length - stream.pendingEnd);
      data.copy(block, stream.pendingEnd, at, at + bytes);
      stream.pendingEnd += bytes;
      at += bytes;
    }
  }

  /** Ends our direction behind all that was given to `data`. `trailers`: lines with CRLF, or ''. */
  end(stream: Http2Stream, trailers: string): void {
    if (stream.closed || stream.localEnded) return;
    if (stream.pendingBytes > 0) stream.ending = trailers;
    else this.#end(stream, trailers);
  }

  #end(stream: Http2Stream, trailers: string): void {
    if (trailers !== '') {
      const block = this.beginBlock();
      writeLines(this.encoder, block, trailers);
      this.sendBlock(stream, true);
      return;
    }
    if (!this.out.endLastFrame(stream.id, !stream.endsByData))
      this.out.frame(FRAME_DATA, FLAG_END_STREAM, stream.id, 0);
    this.#onEnded(stream);
  }

  /** Writes as much as windows allow, into the last frame where it can be; returns the bytes written. */
  #frames(stream: Http2Stream, data: Buffer, start: number, end: number): number {
    const total = Math.min(end - start, this.connectionWindow, stream.sendWindow);
    if (total <= 0) return 0;
    const isDribble = total < dribbleBytes && total < end - start;
    const { straight } = this;
    const isLarge = straight !== undefined && total >= straightBytesMin;
    let at = isLarge ? start : start + this.out.extendLastFrame(stream.id, data, start, start + total);
    while (at < start + total) {
      const bytes = Math.min(frameBytesMax, start + total - at);
      if (isLarge && bytes >= straightBytesMin) {
        this.out.frameHeader(FRAME_DATA, 0, stream.id, bytes);
        straight(data.subarray(at, at + bytes));
      } else {
        this.out.frame(FRAME_DATA, 0, stream.id, bytes);
        this.out.bytes(data, at, at + bytes);
      }
      at += bytes;
      if (!isDribble) this.dataFrames += 1;
    }
    this.connectionWindow -= total;
    stream.sendWindow -= total;
    return total;
  }

  /** The connection's window has opened, or the network takes bytes again: each waiting stream gets its turn. */
  pump(): void {
    let turns = this.#waiting.size;
    for (const stream of this.#waiting) {
      if (turns === 0 || this.connectionWindow <= 0 || this.blocked) return;
      turns -= 1;
      this.#waiting.delete(stream);
      this.#waiting.add(stream); // behind the others, if it must wait on
      this.pumpStream(stream);
    }
  }

  pumpStream(stream: Http2Stream): void {
    if (stream.pendingBytes === 0 || this.blocked) return;
    while (stream.pending.length > 0) {
      const first = stream.pending[0]!;
      const end = stream.pending.length === 1 ? stream.pendingEnd : first.length;
      const sent = this.#frames(stream, first, stream.pendingStart, end);
      stream.pendingBytes -= sent;
      stream.pendingStart += sent;
      if (stream.pendingStart < end) return;
      stream.pending.shift();
      giveBlock(first);
      stream.pendingStart = 0;
    }
    this.#waiting.delete(stream);
    if (stream.ending !== undefined) this.#end(stream, stream.ending);
    else stream.handler?.onDrain();
  }

  forget(stream: Http2Stream): void {
    this.#waiting.delete(stream);
    for (const block of stream.pending) giveBlock(block);
    stream.pending = [];
    stream.pendingBytes = 0;
  }

  /** False: the window has grown beyond what RFC 9113 §6.9.1 allows. */
  growConnectionWindow(bytes: number): boolean {
    this.connectionWindow += bytes;
    return this.connectionWindow <= windowBytesMax;
  }
}

/** Writes trailers: field lines, each with CRLF. */
export function writeLines(encoder: HpackEncoder, out: OutputBuffer, lines: string): void {
  if (encoder.again(out, 'trailers', lines, 0)) return;
  let at = 0;
  while (at < lines.length) {
    const end = lines.indexOf('\r\n', at);
    encoder.line(out, lines.slice(at, end));
    at = end + 2;
  }
  encoder.keep(out, 'trailers');
}
