import type { HeaderList } from './hpack-decode.ts';

/** Who owns a stream's events. After `onReset`, or once both directions have ended, nothing more comes. */
export type StreamHandler = {
  /** A client's side only: the head of an answer, also an informational one. */
  onHead(fields: HeaderList, ended: boolean): void;
  /** Bytes of the body; valid until this returns. They count against the window until `Http2Session.credit`. */
  onBody(data: Buffer, start: number, end: number): void;
  onTrailers(fields: HeaderList): void;
  /** The peer's direction has ended, and its length is what was announced. */
  onEnd(): void;
  /** All that was given to `send` has gone to the network's buffer. */
  onDrain(): void;
  /** The stream is gone: by the peer, by an error of the peer that was answered, or with its connection. */
  onReset(code: number): void;
};

/** One request and its answer on a connection of HTTP/2 (RFC 9113 §5.1). Plain state; the rules are the session's. */
export class Http2Stream {
  readonly id: number;
  handler: StreamHandler | undefined;
  /** END_STREAM has come. */
  remoteEnded = false;
  /** END_STREAM is written. */
  localEnded = false;
  closed = false;
  /** Owner's word: our direction must not end with its head, but with a frame of DATA, though it be empty. */
  endsByData = false;
  /** Owner's word: the head that is not informational has come, so the next one holds trailers. */
  headDone = false;
  /** Owner's word: bytes of the peer's body as Content-Length tells; -1: not told. */
  expectedBytes = -1;
  receivedBytes = 0;
  /** What the peer may still send. */
  receiveWindow: number;
  /** Bytes that came and were not credited. */
  heldBytes = 0;
  /** Bytes credited of which the peer does not know yet. */
  creditBytes = 0;
  /** What we may still send. */
  sendWindow: number;
  /** Bytes that windows or the network do not let pass, copied. Their number is the sender's to bound: see `Http2Sender.data`. */
  pending: Buffer[] = [];
  pendingBytes = 0;
  /** Where they begin in the first of `pending`, and end in the last. */
  pendingStart = 0;
  pendingEnd = 0;
  /** What follows `pending`: '' for the end alone, else trailer lines. undefined: not known yet. */
  ending: string | undefined;

  constructor(id: number, receiveWindow: number, sendWindow: number) {
    this.id = id;
    this.receiveWindow = receiveWindow;
    this.sendWindow = sendWindow;
  }
}
