import { randomFillSync } from 'node:crypto';
import { connect } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { PassableAnswer, passableOf } from './passing.ts';
import {
  type Exchanged,
  exchangeLimits,
  type ForwardAnswer,
  type ForwardQuestion,
  type Pending,
  type Upstream,
} from './question.ts';
import { QuestionSocket } from './question-socket.ts';
import { renderQuery } from './render.ts';
import { flags, type Message, parseMessage, WireError } from './wire.ts';

const optBytes = 11;

/** Asks servers; each `ask` is one attempt. */
export class Exchanger {
  readonly #clock: Clock;
  readonly #pools = new Map<string, (QuestionSocket | undefined)[]>();
  readonly #sockets = new Set<QuestionSocket>();
  readonly #random = new RandomNumbers();
  /** Over TCP, each with how to give up. */
  readonly #overTcp = new Map<Pending, () => void>();
  /** That of the turn, while it may take more questions. */
  #turn: { readonly key: string; readonly socket: QuestionSocket } | undefined;
  #stopSweep: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Over UDP, and over TCP if the answer was cut. `done` gets an Error when there is no answer within `timeoutMs`; it is never
   * called before `ask` returns.
   */
  ask(
    upstream: Upstream,
    question: ForwardQuestion,
    timeoutMs: number,
    done: (told: Exchanged | Error) => void,
  ): void {
    if (this.#closed) {
      queueMicrotask(() => done(new Error('DNS forwarding stops')));
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const socket = this.#socketOf(upstream, nowMs);
    const id = socket.freeId(this.#random.next());
    const query = renderQuery(id, question, question);
    socket.ask({
      ...{ id, question, query, done },
      questionEnd: query.length - optBytes,
      deadlineMs: nowMs + timeoutMs,
    });
    this.#sweepLater();
  }

  close(): void {
    this.#closed = true;
    this.#stopSweep?.();
    const reason = new Error('DNS forwarding stops');
    for (const socket of this.#sockets) socket.fail(reason);
    for (const giveUp of this.#overTcp.values()) giveUp();
    this.#pools.clear();
  }

  #socketOf(upstream: Upstream, nowMs: number): QuestionSocket {
    const key = `${upstream.host} ${upstream.port}`;
    const turn = this.#turn;
    if (turn?.key === key && turn.socket.usable(nowMs) && turn.socket.hasRoom) return turn.socket;
    let pool = this.#pools.get(key);
    if (pool === undefined) this.#pools.set(key, (pool = []));
    let index = this.#random.next() % exchangeLimits.socketsMax;
    for (let full = 0; full < exchangeLimits.socketsMax && pool[index]?.hasRoom === false; full++) {
      index = (index + 1) % exchangeLimits.socketsMax;
    }
    let socket = pool[index];
    if (socket === undefined || !socket.usable(nowMs)) {
      socket?.retire();
      socket = new QuestionSocket(upstream, nowMs, {
        received: (pending, bytes) => this.#receive(upstream, pending, bytes),
        sent: () => (this.#turn = undefined),
        closed: (gone) => this.#sockets.delete(gone),
      });
      this.#sockets.add(socket);
      pool[index] = socket;
    }
    this.#turn = { key, socket };
    return socket;
  }

  /** False: not the answer, so that the right one is waited for. */
  #receive(upstream: Upstream, pending: Pending, bytes: Buffer): boolean {
    const told = readAnswer(bytes, pending);
    if (told === undefined) return false;
    if (told === 'cut') this.#askTcp(upstream, pending);
    else pending.done({ answer: told, bytes: bytes.length });
    return true;
  }

  #askTcp({ host, port }: Upstream, pending: Pending): void {
    const socket = connect({ host, port });
    let received = Buffer.alloc(0);
    const end = (told: Exchanged | Error): void => {
      if (!this.#overTcp.delete(pending)) return;
      socket.destroy();
      pending.done(told);
    };
    this.#overTcp.set(pending, () => end(timeoutError));
    this.#sweepLater();
    socket.on('error', end);
    socket.on('close', () => end(new Error(`${host} closed the connection before its answer`)));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]); // bounded: one message and what came with its last piece
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const bytes = received.subarray(2, 2 + received.readUInt16BE(0));
      const told = readAnswer(bytes, pending);
      if (told === undefined || told === 'cut') end(new Error(`${host} answered another question`));
      else end({ answer: told, bytes: bytes.length });
    });
    const length = Buffer.alloc(2);
    length.writeUInt16BE(pending.query.length);
    socket.write(Buffer.concat([length, pending.query]));
  }

  /** One timer for all questions. */
  #sweepLater(): void {
    this.#stopSweep ??= this.#clock.after(exchangeLimits.sweepMs, () => {
      this.#stopSweep = undefined;
      const nowMs = this.#clock.monotonicMs();
      for (const socket of this.#sockets) {
        socket.sweep(nowMs, timeoutError);
        if (socket.pending > 0) this.#sweepLater();
        else if (!socket.usable(nowMs)) socket.retire();
        else this.#sweepLater(); // to close it at its time
      }
      for (const [pending, giveUp] of this.#overTcp) if (pending.deadlineMs <= nowMs) giveUp();
      if (this.#overTcp.size > 0) this.#sweepLater();
    });
  }
}

const timeoutError = new Error('no answer in time');

/** Undefined: not the answer to this question, or none at all. 'cut': only a part of it. */
function readAnswer(bytes: Buffer, pending: Pending): ForwardAnswer | 'cut' | undefined {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== pending.id) return undefined;
  if ((bytes.readUInt16BE(2) & flags.response) === 0) return undefined;
  const passable = passableOf(bytes, pending.query, pending.questionEnd);
  if (passable !== undefined) return new PassableAnswer(passable);
  let message: Message;
  try {
    message = parseMessage(bytes);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
  const [asked] = message.questions;
  if (asked?.name !== pending.question.name || asked.type !== pending.question.type) return undefined;
  if ((message.flags & flags.truncated) !== 0) return 'cut';
  return {
    rcode: message.rcode,
    authenticData: (message.flags & flags.authenticData) !== 0,
    answers: message.answers,
    authorities: message.authorities,
    additionals: message.additionals,
  };
}

/** Numbers of 16 bits that nobody can foresee, taken from the system many at a time. */
class RandomNumbers {
  readonly #pool = new Uint16Array(512);
  #at = this.#pool.length;

  next(): number {
    if (this.#at === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    return this.#pool[this.#at++] ?? 0;
  }
}
