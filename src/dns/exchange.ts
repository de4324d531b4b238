import { randomInt } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { renderQuery } from './render.ts';
import { flags, type Message, parseMessage, WireError } from './wire.ts';

/** A server to ask. */
export type Upstream = { readonly host: string; readonly port: number };

export type ForwardQuestion = {
  /** Lower case. */
  readonly name: string;
  readonly type: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
};

export type Exchanged = { readonly message: Message; readonly bytes: number };

/** Bounds of the sockets by which one server is asked. */
export const exchangeLimits = {
  /**
   * Sockets with random ports, of which each question takes one by chance. With the random id that is what a forger has
   * to guess (RFC 5452); a port is given up before anybody could search for it for long.
   */
  socketsMax: 16,
  socketLifeMs: 5000,
  socketQuestionsMax: 1000,
} as const;

type Pending = {
  readonly question: ForwardQuestion;
  resolve(answer: Exchanged): void;
  reject(error: Error): void;
};

/** Asks servers; each `ask` is one attempt. */
export class Exchanger {
  readonly #clock: Clock;
  readonly #pools = new Map<string, (QuestionSocket | undefined)[]>();
  readonly #open = new Set<(reason: Error) => void>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Over UDP, and over TCP if the answer was cut. Rejects when there is no answer within `timeoutMs`. */
  async ask(upstream: Upstream, question: ForwardQuestion, timeoutMs: number): Promise<Exchanged> {
    const { promise: failed, reject } = Promise.withResolvers<never>();
    failed.catch(() => {}); // it may fail after the answer has come
    const cancel = this.#clock.after(timeoutMs, () =>
      reject(new Error(`no answer within ${Math.ceil(timeoutMs)} ms`)),
    );
    this.#open.add(reject);
    const ends: (() => void)[] = [];
    const onEnd = (end: () => void): void => {
      ends.push(end);
    };
    try {
      const answered = await Promise.race([this.#socketOf(upstream).ask(question, onEnd), failed]);
      if ((answered.message.flags & flags.truncated) === 0) return answered;
      return await Promise.race([askTcp(upstream, question, onEnd), failed]);
    } finally {
      cancel();
      this.#open.delete(reject);
      for (const end of ends) end();
    }
  }

  close(): void {
    this.#closed = true;
    for (const pool of this.#pools.values()) for (const socket of pool) socket?.close();
    this.#pools.clear();
    for (const cancel of this.#open) cancel(new Error('DNS forwarding stops'));
  }

  #socketOf(upstream: Upstream): QuestionSocket {
    if (this.#closed) throw new Error('DNS forwarding stops');
    const key = `${upstream.host} ${upstream.port}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) this.#pools.set(key, (pool = []));
    const index = randomInt(exchangeLimits.socketsMax);
    let socket = pool[index];
    if (socket === undefined || !socket.usable(this.#clock.monotonicMs())) {
      socket?.retire();
      socket = new QuestionSocket(upstream, this.#clock);
      pool[index] = socket;
    }
    return socket;
  }
}

/** One socket connected to one server, with its questions under way by their ids. */
class QuestionSocket {
  readonly #socket: UdpSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #createdMs: number;
  readonly #stopTimer: () => void;
  #asked = 0;
  #state: 'connecting' | 'open' | 'retired' | 'closed' = 'connecting';
  #waiting: Buffer[] = [];

  constructor({ host, port }: Upstream, clock: Clock) {
    this.#createdMs = clock.monotonicMs();
    this.#socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('message', (bytes) => this.#receive(bytes));
    // Connected: the kernel then takes datagrams of this server only and reports its refusal.
    this.#socket.connect(port, host, () => {
      if (this.#state === 'closed') return;
      if (this.#state === 'connecting') this.#state = 'open';
      for (const query of this.#waiting) this.#socket.send(query);
      this.#waiting = [];
    });
    this.#stopTimer = clock.after(exchangeLimits.socketLifeMs, () => this.retire());
  }

  usable(nowMs: number): boolean {
    const isOpen = this.#state === 'connecting' || this.#state === 'open';
    const isYoung = nowMs - this.#createdMs < exchangeLimits.socketLifeMs;
    return isOpen && isYoung && this.#asked < exchangeLimits.socketQuestionsMax;
  }

  ask(question: ForwardQuestion, onEnd: (end: () => void) => void): Promise<Exchanged> {
    const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
    promise.catch(() => {}); // nobody may be waiting any more
    this.#asked += 1;
    let id = randomInt(0x10000);
    while (this.#pending.has(id)) id = (id + 1) & 0xffff; // bounded: far fewer are under way than there are ids
    this.#pending.set(id, { question, resolve, reject });
    onEnd(() => {
      this.#pending.delete(id);
      if (this.#state === 'retired' && this.#pending.size === 0) this.close();
    });
    const query = renderQuery(id, question, question);
    if (this.#state === 'connecting') this.#waiting.push(query);
    else this.#socket.send(query);
    return promise;
  }

  /** Takes no more questions and closes when those under way are answered. */
  retire(): void {
    if (this.#state === 'closed') return;
    this.#state = 'retired';
    if (this.#pending.size === 0) this.close();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#stopTimer();
    this.#socket.close();
  }

  #receive(bytes: Buffer): void {
    if (bytes.length < 2) return;
    const id = bytes.readUInt16BE(0);
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    try {
      const message = parseMessage(bytes);
      // If it is not the answer we go on waiting for the right one.
      if (answersTo(message, id, pending.question)) pending.resolve({ message, bytes: bytes.length });
    } catch (error) {
      if (!(error instanceof WireError)) pending.reject(error as Error);
    }
  }

  #fail(error: Error): void {
    const failed = [...this.#pending.values()];
    this.retire();
    for (const pending of failed) pending.reject(error);
  }
}

function answersTo(message: Message, id: number, question: ForwardQuestion): boolean {
  const [asked] = message.questions;
  const isResponse = (message.flags & flags.response) !== 0;
  return isResponse && message.id === id && asked?.name === question.name && asked.type === question.type;
}

function askTcp(
  { host, port }: Upstream,
  question: ForwardQuestion,
  onEnd: (end: () => void) => void,
): Promise<Exchanged> {
  const { promise, resolve, reject } = Promise.withResolvers<Exchanged>();
  const id = randomInt(0x10000);
  const query = renderQuery(id, question, question);
  const socket = connect({ host, port });
  onEnd(() => socket.destroy());
  let received = Buffer.alloc(0);
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`${host} closed the connection before its answer`)));
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]); // bounded: one message and what came with its last piece
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    try {
      const bytes = received.subarray(2, 2 + received.readUInt16BE(0));
      const message = parseMessage(bytes);
      if (answersTo(message, id, question)) resolve({ message, bytes: bytes.length });
      else reject(new Error(`${host} answered another question`));
    } catch (error) {
      reject(error as Error);
    }
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  socket.write(Buffer.concat([length, query]));
  return promise;
}
