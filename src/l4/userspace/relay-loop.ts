/**
 * Carries TCP connections between clients and endpoints in a process of its own: one thread that waits in epoll and moves bytes by
 * recv(2) and send(2). It owns all its descriptors; what it should serve comes as `RelayRequest`.
 */
import type { Balancer } from './balance.ts';
import { type Backend, backendsFor, type Front, type InsideRanges } from './fronts.ts';
import { EAGAIN, EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, type RelayKernel } from './relay-kernel.ts';

/** Connections carried at once; further clients are reset. */
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
  /** The sender has said its last word. */
  ended: boolean;
  /** … and the receiver has been told. */
  done: boolean;
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
  readonly #kernel: RelayKernel;
  readonly #state: RelayState;
  readonly #nowMs: () => number;
  readonly #poll: number;
  readonly #control: number;
  /** Fronts by the descriptor that listens for them. */
  readonly #listeners = new Map<number, Front>();
  readonly #pairs = new Map<number, Pair>();
  readonly #connecting = new Set<Pair>();
  /** Those that had more to move than one turn allows. */
  #unfinished = new Set<Pair>();
  #connections = 0;

  /** `control` is watched, too: see `turn`. */
  constructor(kernel: RelayKernel, state: RelayState, nowMs: () => number, control: number) {
    this.#kernel = kernel;
    this.#state = state;
    this.#nowMs = nowMs;
    this.#control = control;
    this.#poll = kernel.createPoll();
    kernel.watch(this.#poll, control, EPOLLIN);
  }

  /** A descriptor for `close`; below 0: the negated error number. */
  listen(front: Front): number {
    const listener = this.#kernel.listenAt(front.address, front.port);
    if (listener < 0) return listener;
    this.#listeners.set(listener, front);
    this.#kernel.watch(this.#poll, listener, EPOLLIN);
    return listener;
  }

  /** New clients are led by `front`. */
  update(listener: number, front: Front): void {
    if (this.#listeners.has(listener)) this.#listeners.set(listener, front);
  }

  /** No new clients; connections go on. */
  close(listener: number): void {
    if (this.#listeners.delete(listener)) this.#kernel.close(listener);
  }

  /** Waits once and does what is due. `onControl` is called when the control descriptor can be read. */
  turn(onControl: () => void): void {
    const timeoutMs = this.#unfinished.size > 0 ? 0 : this.#connecting.size > 0 ? 200 : 5_000;
    this.#kernel.wait(this.#poll, timeoutMs, (descriptor) => {
      if (descriptor === this.#control) onControl();
      else if (this.#listeners.has(descriptor)) this.#acceptAll(descriptor);
      else this.#wake(descriptor);
    });
    const unfinished = this.#unfinished;
    if (unfinished.size > 0) {
      this.#unfinished = new Set();
      for (const pair of unfinished) if (this.#pairs.get(pair.client) === pair) this.#move(pair);
    }
    if (this.#connecting.size > 0) this.#giveUpLate();
  }

  #acceptAll(listener: number): void {
    const front = this.#listeners.get(listener);
    if (front === undefined) return;
    for (let count = 0; count < acceptsPerTurnMax; count++) {
      const client = this.#kernel.accept(listener);
      if (client < 0) return; // none left, or one that has gone already
      if (this.#connections >= connectionsMax) this.#kernel.reset(client);
      else this.#lead(client, treatsAllAlike(front) ? '' : this.#kernel.acceptedHost(), front);
    }
  }

  #lead(client: number, clientHost: string, front: Front): void {
    const allowed = clientHost === '' ? front.inside : backendsFor(front, clientHost, this.#state.inside);
    const backends = this.#state.balancer.order(front, clientHost, allowed).slice(0, attemptsMax);
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
      this.#kernel.watch(this.#poll, upstream, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
      return;
    }
  }

  #dropUpstream(pair: Pair): void {
    this.#connecting.delete(pair);
    this.#pairs.delete(pair.upstream);
    this.#kernel.close(pair.upstream);
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

  #wake(descriptor: number): void {
    const pair = this.#pairs.get(descriptor);
    if (pair === undefined) return;
    if (pair.ways !== undefined) {
      this.#move(pair);
      return;
    }
    if (this.#kernel.connectError(pair.upstream) !== 0) {
      this.#dropUpstream(pair);
      this.#tryNext(pair);
      return;
    }
    this.#join(pair);
  }

  #join(pair: Pair): void {
    const { client, upstream, front, clientHost } = pair;
    this.#connecting.delete(pair);
    pair.connectUntilMs = undefined;
    const backend = pair.backends[pair.attempt];
    if (backend !== undefined) this.#state.balancer.remember(front, clientHost, backend);
    pair.ways = [
      { from: client, to: upstream, waiting: undefined, ended: false, done: false },
      { from: upstream, to: client, waiting: undefined, ended: false, done: false },
    ];
    this.#kernel.watch(this.#poll, client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    this.#move(pair);
  }

  /** Moves what can be moved, both ways. What breaks on one side is a reset on the other. */
  #move(pair: Pair): void {
    const { ways } = pair;
    if (ways === undefined) return;
    for (const way of ways) {
      const moved = this.#moveWay(way);
      if (moved === 'broken') {
        this.#end(pair, 'reset');
        return;
      }
      if (moved === 'more') this.#unfinished.add(pair);
    }
    if (ways[0].done && ways[1].done) this.#end(pair, 'close');
  }

  /** `idle`: an event of the kernel will tell when to go on. */
  #moveWay(way: Way): 'idle' | 'more' | 'broken' {
    const kernel = this.#kernel;
    for (let chunks = 0; chunks < chunksPerTurnMax; chunks++) {
      if (way.waiting !== undefined) {
        const sent = kernel.send(way.to, way.waiting);
        if (sent === -EAGAIN) return 'idle';
        if (sent < 0) return 'broken';
        way.waiting = sent < way.waiting.length ? way.waiting.subarray(sent) : undefined;
        if (way.waiting !== undefined) return 'idle';
      }
      if (way.ended) {
        if (!way.done) kernel.endWriting(way.to);
        way.done = true;
        return 'idle';
      }
      const bytes = kernel.receive(way.from);
      if (bytes === -EAGAIN) return 'idle';
      if (bytes < 0) return 'broken';
      if (bytes === 0) {
        way.ended = true;
        continue;
      }
      const sent = kernel.sendChunk(way.to, bytes);
      if (sent < 0 && sent !== -EAGAIN) return 'broken';
      if (sent < bytes) way.waiting = Buffer.from(kernel.chunk.subarray(Math.max(0, sent), bytes));
    }
    return 'more';
  }

  #end(pair: Pair, how: 'close' | 'reset'): void {
    this.#connections--;
    this.#connecting.delete(pair);
    this.#unfinished.delete(pair);
    for (const descriptor of [pair.client, pair.upstream]) {
      if (descriptor < 0) continue;
      this.#pairs.delete(descriptor);
      if (how === 'close') this.#kernel.close(descriptor);
      else this.#kernel.reset(descriptor);
    }
  }
}
