import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { isIP } from 'node:net';
import { connectUdp, hasSockets } from '../base/sockets.ts';
import { exchangeLimits, type Pending, type Upstream } from './question.ts';
import { batchLimits, createUdpBatch, type UdpBatch } from './udp-batch.ts';

export type QuestionEvents = {
  /** An answer with the id of this question came. False: it is another one's, the right one is waited for. */
  received(pending: Pending, bytes: Buffer): boolean;
  /** What was asked in this turn is on its way. */
  sent(): void;
  closed(socket: QuestionSocket): void;
};

/** One batch serves all sockets: nothing in it outlives a call but the questions of one socket in one turn. */
let shared: UdpBatch | undefined;

/**
 * One socket connected to one server, with its questions under way by their ids. The kernel takes datagrams of this server
 * only and reports its refusal. The questions of one turn of the event loop are sent by one call where the platform can, and
 * answers that came together are taken by one.
 */
export class QuestionSocket {
  readonly #events: QuestionEvents;
  readonly #socket: UdpSocket;
  /** Undefined: questions go one by one, by `dgram`. */
  readonly #fd: number | undefined;
  readonly #pending = new Map<number, Pending>();
  readonly #createdMs: number;
  #asked = 0;
  #state: 'connecting' | 'open' | 'retired' | 'closed' = 'open';
  /** Waiting to be sent: until the end of the turn, or until the socket is connected. */
  #outgoing: Buffer[] = [];

  constructor({ host, port }: Upstream, nowMs: number, events: QuestionEvents) {
    this.#createdMs = nowMs;
    this.#events = events;
    this.#socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
    this.#socket.on('error', (error) => this.fail(error));
    this.#socket.on('message', (bytes) => this.#receive(bytes));
    this.#fd = openDescriptor(host, port);
    if (this.#fd !== undefined) {
      this.#socket.bind({ fd: this.#fd, exclusive: true });
      return;
    }
    this.#state = 'connecting';
    this.#socket.connect(port, host, () => {
      if (this.#state === 'connecting') this.#state = 'open';
      this.#flush();
    });
  }

  get pending(): number {
    return this.#pending.size;
  }

  get hasRoom(): boolean {
    return this.#pending.size < exchangeLimits.socketPendingMax;
  }

  usable(nowMs: number): boolean {
    const isOpen = this.#state === 'connecting' || this.#state === 'open';
    const isYoung = nowMs - this.#createdMs < exchangeLimits.socketLifeMs;
    return isOpen && isYoung && this.#asked < exchangeLimits.socketQuestionsMax;
  }

  /** The first number from `wanted` on that no question under way has. Far fewer are under way than there are. */
  freeId(wanted: number): number {
    let id = wanted;
    while (this.#pending.has(id)) id = (id + 1) & 0xffff;
    return id;
  }

  ask(pending: Pending): void {
    this.#asked += 1;
    this.#pending.set(pending.id, pending);
    this.#outgoing.push(pending.query);
    if (this.#state === 'connecting') return;
    if (this.#outgoing.length === batchLimits.datagramsMax) this.#flush();
    else if (this.#outgoing.length === 1) setImmediate(() => this.#flush());
  }

  /** Takes no more questions and closes when those under way are answered. */
  retire(): void {
    if (this.#state === 'closed') return;
    this.#state = 'retired';
    if (this.#pending.size === 0) this.#close();
  }

  /** Gives up what is under way. */
  fail(reason: Error): void {
    const failed = [...this.#pending.values()];
    this.#pending.clear();
    this.retire();
    for (const { done } of failed) done(reason);
  }

  /** Gives up those whose time is over. */
  sweep(nowMs: number, reason: Error): void {
    for (const pending of this.#pending.values()) {
      if (pending.deadlineMs > nowMs) continue;
      this.#pending.delete(pending.id);
      pending.done(reason);
    }
    if (this.#state === 'retired') this.retire();
  }

  #close(): void {
    this.#state = 'closed';
    this.#outgoing = [];
    this.#socket.close();
    this.#events.closed(this);
  }

  #flush(): void {
    this.#events.sent();
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    if (this.#state === 'closed' || outgoing.length === 0) return;
    if (this.#fd === undefined || shared === undefined) {
      for (const query of outgoing) this.#socket.send(query);
      return;
    }
    for (const query of outgoing) {
      shared.output.set(query, shared.answerAt);
      shared.toPeer(query.length);
    }
    // Not sent: a refusal of what was sent before, or no room. Another attempt follows.
    if (shared.send(this.#fd) > 0) this.fail(new Error('the kernel refused to send'));
  }

  #receive(first: Buffer): void {
    this.#take(first);
    while (
      this.#fd !== undefined &&
      shared !== undefined &&
      this.#pending.size > 0 &&
      this.#state !== 'closed'
    ) {
      const count = shared.receive(this.#fd);
      for (let slot = 0; slot < count; slot++) {
        const length = shared.length(slot);
        const from = slot * batchLimits.queryBytesMax;
        // A copy: the answer is kept, and the slot is used again.
        if (length > 0) this.#take(Buffer.from(shared.input.subarray(from, from + length)));
      }
      if (count < batchLimits.datagramsMax) break;
    }
    if (this.#state === 'retired') this.retire();
  }

  #take(bytes: Buffer): void {
    if (bytes.length < 2) return;
    const pending = this.#pending.get(bytes.readUInt16BE(0));
    if (pending === undefined) return;
    // Taken out first: who hears of it may ask the next.
    this.#pending.delete(pending.id);
    if (!this.#events.received(pending, bytes)) this.#pending.set(pending.id, pending);
  }
}

function openDescriptor(host: string, port: number): number | undefined {
  if (!hasSockets()) return undefined;
  shared ??= createUdpBatch('connected');
  if (shared === undefined) return undefined;
  try {
    return connectUdp(host, port);
  } catch {
    return undefined; // an address with a zone, or one that cannot be reached: dgram knows it, or tells
  }
}
