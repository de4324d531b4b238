/**
 * Carries TCP connections between clients and endpoints in a process of its own: one thread that waits in epoll and moves bytes by
 * recv(2) and send(2). It owns all its descriptors; what it should serve comes as `RelayRequest`.
 */
import type { Balancer } from './balance.ts';
import { type Backend, backendsFor, type Front, type InsideRanges } from './fronts.ts';
import {
  EAGAIN,
  EMFILE,
  ENFILE,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  type RelayKernel,
} from './relay-kernel.ts';

/** Connections carried at once by default; further clients are reset. */
export const connectionsMax = 16_384;
/** Endpoints tried for one connection before its client is reset. */
const attemptsMax = 3;
/** An endpoint that has not answered by then is given up for the next, ms. */
const connectTimeoutMs = 5_000;
/** What one recv(2) may bring; also what may wait, per direction, for a peer that does not read. */
export const chunkBytes = 262_144;
/** Chunks moved for one connection before the others have their turn. */
const chunksPerTurnMax = 8;
/** Accepted at once before the others have their turn. */
const acceptsPerTurnMax = 64;

const watched = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
const broken = EPOLLERR | EPOLLHUP;
const ordinary = EPOLLIN | EPOLLOUT;

/** The system calls of the loop; RelayKernel but for tests. */
export type RelaySystemCalls = Pick<
  RelayKernel,
  | 'accept'
  | 'acceptedHost'
  | 'chunk'
  | 'close'
  | 'connectError'
  | 'connectTo'
  | 'createPoll'
  | 'endWriting'
  | 'listenAt'
  | 'receive'
  | 'reset'
  | 'send'
  | 'sendChunk'
  | 'wait'
  | 'watch'
>;

export type RelayState = {
  readonly balancer: Balancer;
  inside: InsideRanges;
};

/** One direction of a connection. */
type Way = {
  readonly from: number;
  readonly to: number;
  /** Read and not yet sent. */
  waiting: Buffer | undefined;
  /**
   * More may be there than the bytes of one recv(2), of which no event will tell: the sender's last word, an error, urgent data. Else
   * fewer bytes than asked for are all that there are.
   */
  hasMore: boolean;
  /** The sender has said its last word. */
  ended: boolean;
  /** … and the receiver has been told. */
  done: boolean;
};

type Listener = {
  front: Front;
  /** The last turn in which a client waited, and how many were let in. */
  turn: number;
  accepts: number;
};

type Pair = {
  readonly client: number;
  /** '' where it does not matter. */
  readonly clientHost: string;
  readonly front: Front;
  readonly backends: readonly Backend[];
  /** Index of the endpoint that is being tried, or was taken. */
  attempt: number;
  upstream: number;
  /** While connecting: when to try the next, on the clock of `nowMs`. */
  connectUntilMs: number | undefined;
  ways: readonly [Way, Way] | undefined;
};

/** Nothing depends on who the client is. */
function treatsAllAlike({ inside, outside, sourceRanges, affinityTimeoutSeconds }: Front): boolean {
  return inside === outside && sourceRanges.length === 0 && affinityTimeoutSeconds === undefined;
}

export class RelayLoop {
  readonly #kernel: RelaySystemCalls;
  readonly #state: RelayState;
  readonly #nowMs: () => number;
  readonly #poll: number;
  readonly #control: number;
  /** A descriptor to give up when there are no others. */
  #spare: number;
  readonly #connectionsMax: number;
  /** By the descriptor that listens. */
  readonly #listeners = new Map<number, Listener>();
  readonly #pairs = new Map<number, Pair>();
  readonly #connecting = new Set<Pair>();
  /** Those that had more to move than one turn allows. */
  #unfinished = new Set<Pair>();
  /** To be ended when all events of the turn are done: a number that is given out again must not get an old event. */
  readonly #closing: number[] = [];
  readonly #resetting: number[] = [];
  #connections = 0;
  #turn = 0;

  /** `control` is watched, too: see `turn`. */
  constructor(
    kernel: RelaySystemCalls,
    state: RelayState,
    nowMs: () => number,
    control: number,
    limits: { readonly connectionsMax: number } = { connectionsMax },
  ) {
    this.#kernel = kernel;
    this.#connectionsMax = limits.connectionsMax;
    this.#state = state;
    this.#nowMs = nowMs;
    this.#control = control;
    this.#poll = kernel.createPoll();
    this.#spare = kernel.createPoll();
    kernel.watch(this.#poll, control, EPOLLIN);
  }

  /** A descriptor for `close`; below 0: the negated error number. */
  listen(front: Front): number {
    const listener = this.#kernel.listenAt(front.address, front.port);
    if (listener < 0) return listener;
    this.#listeners.set(listener, { front, turn: -1, accepts: 1 });
    this.#kernel.watch(this.#poll, listener, EPOLLIN);
    return listener;
  }

  /** New clients are led by `front`. */
  update(listener: number, front: Front): void {
    const known = this.#listeners.get(listener);
    if (known !== undefined) known.front = front;
  }

  /** No new clients; connections go on. */
  close(listener: number): void {
    if (this.#listeners.delete(listener)) this.#kernel.close(listener);
  }

  /** Waits once and does what is due. `onControl` is called when the control descriptor can be read. */
  turn(onControl: () => void): void {
    const timeoutMs = this.#unfinished.size > 0 ? 0 : this.#connecting.size > 0 ? 200 : 5_000;
    this.#turn++;
    this.#kernel.wait(this.#poll, timeoutMs, (descriptor, events) => {
      const pair = this.#pairs.get(descriptor);
      if (pair !== undefined) this.#wake(pair, descriptor, events);
      else if (descriptor === this.#control) onControl();
      else this.#accept(descriptor);
    });
    const unfinished = this.#unfinished;
    if (unfinished.size > 0) {
      this.#unfinished = new Set();
      for (const pair of unfinished) if (this.#pairs.get(pair.client) === pair) this.#moveBoth(pair);
    }
    if (this.#connecting.size > 0) this.#giveUpLate();
    for (const descriptor of this.#closing.splice(0)) this.#kernel.close(descriptor);
    for (const descriptor of this.#resetting.splice(0)) this.#kernel.reset(descriptor);
  }

  /** One client, and more in each turn while they keep coming: to ask after the last one costs a system call, too. */
  #accept(descriptor: number): void {
    const listener = this.#listeners.get(descriptor);
    if (listener === undefined) return;
    const isBurst = listener.turn === this.#turn - 1;
    listener.accepts = isBurst ? Math.min(listener.accepts * 2, acceptsPerTurnMax) : 1;
    listener.turn = this.#turn;
    const { front } = listener;
    for (let count = 0; count < listener.accepts; count++) {
      const client = this.#kernel.accept(descriptor);
      if (client === -EMFILE || client === -ENFILE) this.#resetOne(descriptor);
      if (client < 0) return; // none left, or one that has gone already
      if (this.#connections >= this.#connectionsMax) this.#kernel.reset(client);
      else this.#lead(client, treatsAllAlike(front) ? '' : this.#kernel.acceptedHost(), front);
    }
  }

  /** No descriptor is left: without this the client would wait, and wake us again and again. */
  #resetOne(listener: number): void {
    this.#kernel.close(this.#spare);
    const client = this.#kernel.accept(listener);
    if (client >= 0) this.#kernel.reset(client);
    this.#spare = this.#kernel.createPoll();
  }

  #lead(client: number, clientHost: string, front: Front): void {
    const allowed = clientHost === '' ? front.inside : backendsFor(front, clientHost, this.#state.inside);
    const backends = this.#state.balancer.order(front, clientHost, allowed, attemptsMax);
    const pair: Pair = {
      client,
      clientHost,
      front,
      backends,
      attempt: -1,
      upstream: -1,
      connectUntilMs: undefined,
      ways: undefined,
    };
    this.#connections++;
    this.#pairs.set(client, pair);
    this.#tryNext(pair);
  }

  #tryNext(pair: Pair): void {
    for (;;) {
      pair.attempt++;
      const backend = pair.backends[pair.attempt];
      if (backend === undefined) {
        this.#end(pair, 'reset');
        return;
      }
      const upstream = this.#kernel.connectTo(backend.address, backend.port);
      if (upstream < 0) continue;
      pair.upstream = upstream;
      pair.connectUntilMs = this.#nowMs() + connectTimeoutMs;
      this.#pairs.set(upstream, pair);
      this.#connecting.add(pair);
      this.#kernel.watch(this.#poll, upstream, watched);
      return;
    }
  }

  #dropUpstream(pair: Pair): void {
    this.#connecting.delete(pair);
    this.#pairs.delete(pair.upstream);
    this.#closing.push(pair.upstream);
    pair.upstream = -1;
  }

  #giveUpLate(): void {
    const nowMs = this.#nowMs();
    for (const pair of this.#connecting) {
      if ((pair.connectUntilMs ?? nowMs) > nowMs) continue;
      this.#dropUpstream(pair);
      this.#tryNext(pair);
    }
  }

  #wake(pair: Pair, descriptor: number, events: number): void {
    if (pair.ways === undefined) {
      // An old event of a listener that had this number and was closed in this turn.
      if (descriptor !== pair.upstream || (events & (EPOLLOUT | broken)) === 0) return;
      if ((events & broken) !== 0 && this.#kernel.connectError(pair.upstream) !== 0) {
        this.#dropUpstream(pair);
        this.#tryNext(pair);
      } else this.#join(pair, events);
      return;
    }
    const [out, back] = pair.ways;
    const [from, to] = descriptor === pair.client ? [out, back] : [back, out];
    if ((events & EPOLLERR) !== 0 && from.ended) {
      this.#end(pair, 'reset'); // it said its last word, and now it does not even listen
      return;
    }
    if ((events & ~ordinary) !== 0) from.hasMore = true;
    if ((events & ~EPOLLOUT) !== 0 && !this.#move(pair, from)) return;
    if (to.waiting !== undefined && !this.#move(pair, to)) return;
    this.#endIfDone(pair);
  }

  #join(pair: Pair, events: number): void {
    const { client, upstream, front, clientHost } = pair;
    this.#connecting.delete(pair);
    pair.connectUntilMs = undefined;
    const backend = pair.backends[pair.attempt];
    if (backend !== undefined) this.#state.balancer.remember(front, clientHost, backend);
    pair.ways = [wayOf(client, upstream), wayOf(upstream, client)];
    // From now on it is told of, too, what the client has sent already.
    this.#kernel.watch(this.#poll, client, watched);
    this.#wake(pair, upstream, events);
  }

  #moveBoth(pair: Pair): void {
    for (const way of pair.ways ?? []) if (!this.#move(pair, way)) return;
    this.#endIfDone(pair);
  }

  /** Moves what can be moved one way. What breaks on one side is a reset on the other: then the pair has ended, and false. */
  #move(pair: Pair, way: Way): boolean {
    switch (this.#moveWay(way)) {
      case 'broken':
        this.#end(pair, 'reset');
        return false;
      case 'more':
        this.#unfinished.add(pair);
        return true;
      case 'ended':
        way.done = true;
        // Where that was the last way, the close that follows says it.
        if (pair.ways?.every(({ done }) => done) === false) this.#kernel.endWriting(way.to);
        return true;
      default:
        return true;
    }
  }

  #endIfDone(pair: Pair): void {
    if (pair.ways?.every(({ done }) => done) === true) this.#end(pair, 'close');
  }

  /** `idle`: an event of the kernel will tell when to go on. */
  #moveWay(way: Way): 'idle' | 'more' | 'ended' | 'broken' {
    const kernel = this.#kernel;
    for (let chunks = 0; chunks < chunksPerTurnMax; chunks++) {
      if (way.waiting !== undefined) {
        const sent = kernel.send(way.to, way.waiting);
        if (sent === -EAGAIN) return 'idle';
        if (sent < 0) return 'broken';
        way.waiting = sent < way.waiting.length ? way.waiting.subarray(sent) : undefined;
        if (way.waiting !== undefined) return 'idle';
      }
      if (way.ended) return way.done ? 'idle' : 'ended';
      const bytes = kernel.receive(way.from);
      if (bytes === -EAGAIN) return 'idle';
      if (bytes < 0) return 'broken';
      if (bytes === 0) {
        way.ended = true;
        continue;
      }
      const sent = kernel.sendChunk(way.to, bytes);
      if (sent < 0 && sent !== -EAGAIN) return 'broken';
      if (sent < bytes) {
        way.waiting = Buffer.from(kernel.chunk.subarray(Math.max(0, sent), bytes));
        return 'idle';
      }
      if (bytes < chunkBytes && !way.hasMore) return 'idle';
    }
    return 'more';
  }

  #end(pair: Pair, how: 'close' | 'reset'): void {
    this.#connections--;
    this.#connecting.delete(pair);
    this.#unfinished.delete(pair);
    const ending = how === 'close' ? this.#closing : this.#resetting;
    for (const descriptor of [pair.client, pair.upstream]) {
      if (descriptor < 0) continue;
      this.#pairs.delete(descriptor);
      ending.push(descriptor);
    }
  }
}

function wayOf(from: number, to: number): Way {
  return { from, to, waiting: undefined, hasMore: false, ended: false, done: false };
}
