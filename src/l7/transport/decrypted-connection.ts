import { inputBytes, type OpenSslMemory, type Writer } from './openssl-memory.ts';
import type { Connection, ConnectionEnds, ConnectionHandler } from './transport.ts';

/** What it needs of OpenSslMemory. */
export type TlsMemory = Pick<
  OpenSslMemory,
  | 'feed'
  | 'shakeHands'
  | 'read'
  | 'stage'
  | 'takeStaged'
  | 'write'
  | 'send'
  | 'shutDown'
  | 'takeFailure'
  | 'end'
>;

/** The handshake is through. undefined: the connection is not taken. */
export type Opened = (connection: DecryptedConnection) => ConnectionHandler | undefined;

/** So often a peer may make OpenSSL answer, as by asking to renegotiate, without taking what is queued for it. Then it is cut. */
export const answersUntakenMax = 1000;

/** What is told to a peer whose connection fails leaves within this, or is lost, ms. */
const farewellMs = 5000;

/**
 * The inner side of TLS that a client speaks on a raw connection, whose handler it is: OpenSSL, called by ourselves, decrypts what comes
 * there and encrypts what is written here. It keeps no bytes: what comes is passed on at once, and back-pressure is the raw connection's.
 * What is written gathers till the turn ends, or till another connection is written to, so that it becomes few records.
 */
export class DecryptedConnection implements Connection, ConnectionHandler, Writer {
  readonly copies = true;
  readonly keepsNothing = true;
  readonly #memory: TlsMemory;
  readonly #raw: Connection;
  readonly #opened: Opened;
  /** 0n: freed. */
  #ssl: bigint;
  #handler: ConnectionHandler | undefined;
  #error: string | undefined;
  #farewell: NodeJS.Timeout | undefined;
  #readEnded = false;
  #ending = false;
  #finished = false;
  /** More is queued than should be. */
  #isFull = false;
  #drainAwaited = false;
  #answersUntaken = 0;
  #turnEndAsked = false;
  #atTurnEnd: (() => void)[] = [];

  /** @param ssl made by `memory.begin`, and ended here */
  constructor(memory: TlsMemory, ssl: bigint, raw: Connection, opened: Opened) {
    this.#memory = memory;
    this.#ssl = ssl;
    this.#raw = raw;
    this.#opened = opened;
  }

  // === the core's side

  get remoteAddress(): string {
    return this.#raw.remoteAddress;
  }

  ends(): ConnectionEnds | undefined {
    return this.#raw.ends?.();
  }

  atTurnEnd(callback: () => void): void {
    this.#atTurnEnd.push(callback);
    this.#askForTurnEnd();
  }

  write(data: Buffer | string): boolean {
    if (this.#ending || this.#ssl === 0n) return true;
    this.#memory.stage(this, data);
    this.#askForTurnEnd();
    if (this.#isFull) this.#drainAwaited = true;
    return !this.#isFull;
  }

  end(): void {
    if (this.#ending || this.#ssl === 0n) return;
    this.encrypt();
    this.#ending = true;
    if (this.#ssl === 0n) return; // encrypting has failed
    this.#memory.shutDown(this.#ssl);
    this.#memory.send(this.#raw);
    this.#raw.end();
  }

  destroy(): void {
    this.#free();
    this.#raw.destroy();
  }

  pause(): void {
    this.#raw.pause();
  }

  resume(): void {
    this.#raw.resume();
  }

  #askForTurnEnd(): void {
    if (this.#turnEndAsked) return;
    this.#turnEndAsked = true;
    if (this.#raw.atTurnEnd === undefined) queueMicrotask(this.#endTurn);
    else this.#raw.atTurnEnd(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    const callbacks = this.#atTurnEnd;
    this.#atTurnEnd = [];
    for (const callback of callbacks) callback();
    this.#turnEndAsked = false;
    this.encrypt();
    if (this.#atTurnEnd.length > 0) this.#askForTurnEnd();
  };

  encrypt(): void {
    const length = this.#memory.takeStaged(this);
    if (length === 0 || this.#ssl === 0n) return;
    if (!this.#memory.write(this.#ssl, length)) this.#fail();
    else if (!this.#memory.send(this.#raw)) this.#isFull = true;
  }

  // === the raw connection's side

  onConnect(): void {}

  onData(data: Buffer): void {
    const memory = this.#memory;
    for (let at = 0; at < data.length && this.#ssl !== 0n && !this.#readEnded; at += inputBytes) {
      memory.feed(data, at);
      if (this.#handler === undefined) this.#shakeHands();
      if (this.#handler !== undefined) this.#read(this.#handler);
    }
  }

  #shakeHands(): void {
    const memory = this.#memory;
    const outcome = memory.shakeHands(this.#ssl);
    memory.send(this.#raw);
    if (outcome === 'more') return;
    if (outcome !== 'done') {
      this.#fail();
      return;
    }
    const handler = this.#opened(this);
    if (handler === undefined) this.destroy();
    else this.#handler = handler;
  }

  #read(handler: ConnectionHandler): void {
    const memory = this.#memory;
    if (this.#ssl === 0n) return; // dropped as soon as it was taken
    const { outcome, plain } = memory.read(this.#ssl);
    if (outcome === 'failed') this.#error = memory.takeFailure();
    if (!memory.send(this.#raw)) this.#answersUntaken += 1;
    if (this.#answersUntaken > answersUntakenMax) {
      this.destroy();
      return;
    }
    if (plain.length > 0) handler.onData(plain);
    if (outcome === 'failed') this.#giveUp();
    else if (outcome === 'ended') this.#endRead();
  }

  /** The peer has said that nothing follows, by TLS or, without a word, by TCP. */
  #endRead(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.#handler?.onEnd();
    if (this.#finished) this.#raw.destroy();
  }

  #fail(): void {
    this.#error = this.#memory.takeFailure();
    this.#memory.send(this.#raw);
    this.#giveUp();
  }

  /** The alert that tells why leaves before the end. */
  #giveUp(): void {
    this.#free();
    this.#raw.end();
    this.#farewell ??= setTimeout(() => this.#raw.destroy(), farewellMs);
  }

  onDrain(): void {
    this.#isFull = false;
    this.#answersUntaken = 0;
    if (!this.#drainAwaited) return;
    this.#drainAwaited = false;
    this.#handler?.onDrain();
  }

  onFinish(): void {
    this.#finished = true;
    if (this.#ssl !== 0n) this.#handler?.onFinish();
    if (this.#ssl === 0n || this.#readEnded) this.#raw.destroy();
  }

  onEnd(): void {
    if (this.#handler === undefined || this.#ssl === 0n) this.destroy();
    else this.#endRead();
  }

  onClose(error: string | undefined): void {
    clearTimeout(this.#farewell);
    this.#free();
    this.#handler?.onClose(this.#error ?? error);
  }

  #free(): void {
    this.#memory.takeStaged(this);
    if (this.#ssl === 0n) return;
    this.#memory.end(this.#ssl);
    this.#ssl = 0n;
  }
}
