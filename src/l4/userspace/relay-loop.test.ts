import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Balancer } from './balance.ts';
import type { Backend, Front } from './fronts.ts';
import { EAGAIN, EMFILE, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from './relay-kernel.ts';
import { RelayLoop, type RelaySystemCalls } from './relay-loop.ts';

const control = 0;
const connectionRefused = 111;
const connectionReset = 104;
const everything = EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT | EPOLLRDHUP;

/** Sockets as numbers. Like Linux it gives out the lowest that is free; what happens, a test says. */
class Sockets implements RelaySystemCalls {
  readonly chunk = Buffer.alloc(262_144);
  /** `accept 7`, `connect 8 10.42.0.2`, `close 7`, `reset 7`, `send 8 hello`, `end 8`. */
  log: string[] = [];
  /** Clients in a listener's queue. */
  readonly waiting = new Map<number, number>();
  /** What a socket has to read: text, 0 for the end, or a negated error. Nothing: EAGAIN. */
  readonly toRead = new Map<number, (string | number)[]>();
  readonly errors = new Map<number, number>();
  /** Bytes that a socket takes; undefined: all. */
  readonly room = new Map<number, number>();
  descriptorsMax = 1000;
  reads = 0;
  readonly #open = new Set<number>([control]);
  #events: readonly (readonly [number, number])[] = [];

  happened(...events: readonly (readonly [number, number])[]): void {
    this.#events = events;
  }

  taken(): readonly string[] {
    const { log } = this;
    this.log = [];
    return log;
  }

  get openCount(): number {
    return this.#open.size;
  }

  #new(): number {
    if (this.#open.size >= this.descriptorsMax) return -EMFILE;
    let number = 1;
    while (this.#open.has(number)) number++;
    this.#open.add(number);
    return number;
  }

  createPoll = (): number => this.#new();
  listenAt = (): number => this.#new();
  watch = (): number => 0;
  acceptedHost = (): string => '192.0.2.1';

  wait(_poll: number, _timeoutMs: number, each: (descriptor: number, events: number) => void): void {
    const events = this.#events;
    this.#events = [];
    for (const [descriptor, flags] of events) each(descriptor, flags);
  }

  accept(listener: number): number {
    const count = this.waiting.get(listener) ?? 0;
    if (count === 0) return -EAGAIN;
    const client = this.#new();
    if (client < 0) return client;
    this.waiting.set(listener, count - 1);
    this.log.push(`accept ${client}`);
    return client;
  }

  connectTo(host: string): number {
    const socket = this.#new();
    if (socket > 0) this.log.push(`connect ${socket} ${host}`);
    return socket;
  }

  connectError(socket: number): number {
    return this.errors.get(socket) ?? 0;
  }

  receive(socket: number): number {
    this.reads++;
    const next = this.toRead.get(socket)?.shift();
    if (next === undefined) return -EAGAIN;
    return typeof next === 'number' ? next : this.chunk.write(next);
  }

  sendChunk(socket: number, bytes: number): number {
    return this.send(socket, this.chunk.subarray(0, bytes));
  }

  send(socket: number, data: Buffer): number {
    const room = this.room.get(socket) ?? data.length;
    if (room === 0) return -EAGAIN;
    this.log.push(`send ${socket} ${data.subarray(0, room).toString()}`);
    return Math.min(room, data.length);
  }

  endWriting(socket: number): void {
    this.log.push(`end ${socket}`);
  }

  close(descriptor: number): void {
    assert.ok(this.#open.delete(descriptor), `${descriptor} is closed twice`);
    this.log.push(`close ${descriptor}`);
  }

  reset(descriptor: number): void {
    assert.ok(this.#open.delete(descriptor), `${descriptor} is closed twice`);
    this.log.push(`reset ${descriptor}`);
  }
}

const backends: readonly Backend[] = ['10.42.0.2', '10.42.0.3'].map((address) => ({ address, port: 8080 }));

function started(connectionsMax = 16) {
  const sockets = new Sockets();
  let nowMs = 0;
  const clock = () => nowMs;
  const state = { balancer: new Balancer(() => 0, clock), inside: [] };
  const loop = new RelayLoop(sockets, state, clock, control, { connectionsMax });
  const front: Front = {
    id: 'tcp 10.43.0.5 80',
    service: 'default/web' as Front['service'],
    protocol: 'tcp',
    address: '10.43.0.5',
    port: 80,
    inside: backends,
    outside: backends,
    sourceRanges: [],
    affinityTimeoutSeconds: undefined,
    serving: new Set(),
  };
  const listener = loop.listen(front);
  /** One turn in which this happens; what the loop did. */
  const turn = (...events: readonly (readonly [number, number])[]): readonly string[] => {
    sockets.happened(...events);
    loop.turn(() => {});
    return sockets.taken();
  };
  return {
    sockets,
    listener,
    loop,
    front,
    turn,
    /** Clients come, one turn for each two. */
    come: (count: number): readonly string[] => {
      sockets.waiting.set(listener, count);
      const did: string[] = [];
      while ((sockets.waiting.get(listener) ?? 0) > 0) did.push(...turn([listener, EPOLLIN]));
      return did;
    },
    pass: (ms: number): void => {
      nowMs += ms;
    },
  };
}

/** A client and its endpoint, joined: descriptors 4 and 5. */
function joined() {
  const run = started();
  assert.deepEqual(run.come(1), ['accept 4', 'connect 5 10.42.0.2']);
  run.turn([5, EPOLLOUT]);
  return run;
}

test('l4 relay: clients beyond the bound are reset; where one has gone the next is served', () => {
  const { sockets, come, turn } = started(2);
  assert.deepEqual(come(3), [
    'accept 4',
    'connect 5 10.42.0.2',
    'accept 6',
    'connect 7 10.42.0.2',
    'accept 8',
    'reset 8',
  ]);
  turn([5, EPOLLOUT]);
  sockets.toRead.set(4, [-connectionReset]);
  assert.deepEqual(turn([4, EPOLLERR | EPOLLHUP]), ['reset 4', 'reset 5']);
  assert.deepEqual(come(1), ['accept 4', 'connect 5 10.42.0.2']);
});

test('l4 relay: where no descriptor is left, clients are reset instead of waiting for ever', () => {
  const { sockets, come } = started();
  sockets.descriptorsMax = sockets.openCount;
  assert.deepEqual(come(2), ['close 2', 'accept 2', 'reset 2', 'close 2', 'accept 2', 'reset 2']);
  // One is left: the client has it, and none is there for its endpoint.
  sockets.descriptorsMax++;
  assert.deepEqual(come(1), ['accept 4', 'reset 4']);
});

test('l4 relay: an endpoint that refuses is followed by the next, after the last one the client is reset', () => {
  const { sockets, come, turn } = started();
  come(1);
  sockets.errors.set(5, connectionRefused);
  sockets.errors.set(6, connectionRefused);
  assert.deepEqual(turn([5, EPOLLERR | EPOLLHUP]), ['connect 6 10.42.0.3', 'close 5']);
  assert.deepEqual(turn([6, EPOLLERR | EPOLLHUP]), ['close 6', 'reset 4']);
});

test('l4 relay: an endpoint that does not answer is given up for the next after its time', () => {
  const { come, turn, pass } = started();
  come(1);
  pass(4999);
  assert.deepEqual(turn(), []);
  pass(1);
  assert.deepEqual(turn(), ['connect 6 10.42.0.3', 'close 5']);
});

test('l4 relay: an old event of a turn is not taken for one of the socket that has the number next', () => {
  const { sockets, listener, turn } = joined();
  sockets.toRead.set(4, [-connectionReset]);
  sockets.waiting.set(listener, 1);
  // Both sockets of a connection break, and between the two events a client comes: it must not get their numbers.
  assert.deepEqual(turn([4, everything], [listener, EPOLLIN], [5, everything]), [
    'accept 6',
    'connect 7 10.42.0.2',
    'reset 4',
    'reset 5',
  ]);
  sockets.toRead.set(6, ['hello']);
  turn([7, EPOLLOUT]);
  assert.deepEqual(turn([6, EPOLLIN | EPOLLOUT]), ['send 7 hello']);
});

test('l4 relay: an old event of a listener that was closed in the turn joins nobody', () => {
  const { sockets, listener, loop, front, turn } = started();
  const others = [loop.listen({ ...front, port: 81 }), loop.listen({ ...front, port: 82 })];
  assert.deepEqual(others, [4, 5]);
  sockets.waiting.set(listener, 1);
  sockets.happened([control, EPOLLIN], [listener, EPOLLIN], [4, EPOLLIN], [5, EPOLLIN]);
  loop.turn(() => {
    for (const other of others) loop.close(other);
  });
  assert.deepEqual(sockets.taken(), ['close 4', 'close 5', 'accept 4', 'connect 5 10.42.0.2']);
  // It is still on its way, so that a refusal leads to the next endpoint.
  sockets.errors.set(5, connectionRefused);
  assert.deepEqual(turn([5, EPOLLERR | EPOLLHUP]), ['connect 6 10.42.0.3', 'close 5']);
});

test('l4 relay: what the receiver does not take waits, and nothing more is read meanwhile', () => {
  const { sockets, turn } = joined();
  sockets.toRead.set(4, ['hello', 'world']);
  sockets.room.set(5, 2);
  assert.deepEqual(turn([4, EPOLLIN | EPOLLOUT]), ['send 5 he']);
  sockets.room.set(5, 0);
  assert.deepEqual(turn([4, EPOLLIN | EPOLLOUT]), []);
  sockets.room.delete(5);
  assert.deepEqual(turn([5, EPOLLOUT]), ['send 5 llo', 'send 5 world']);
});

test('l4 relay: the last word of a sender goes on after its bytes, and the other way stays open', () => {
  const { sockets, turn } = joined();
  sockets.toRead.set(4, ['hello', 0]);
  assert.deepEqual(turn([4, EPOLLIN | EPOLLOUT | EPOLLRDHUP]), ['send 5 hello', 'end 5']);
  sockets.toRead.set(5, ['world']);
  assert.deepEqual(turn([5, EPOLLIN | EPOLLOUT]), ['send 4 world']);
  sockets.toRead.set(5, [0]);
  assert.deepEqual(turn([5, EPOLLIN | EPOLLOUT | EPOLLRDHUP]), ['close 4', 'close 5']);
});

test('l4 relay: a last word that comes with the connection is heard', () => {
  const { sockets, come, turn } = started();
  come(1);
  sockets.toRead.set(5, ['hello', 0]);
  assert.deepEqual(turn([5, EPOLLIN | EPOLLOUT | EPOLLRDHUP]), ['send 4 hello', 'end 4']);
});

test('l4 relay: a client that has said its last word and then breaks ends its endpoint’s side, too', () => {
  const { sockets, turn } = joined();
  sockets.toRead.set(4, [0]);
  assert.deepEqual(turn([4, EPOLLIN | EPOLLOUT | EPOLLRDHUP]), ['end 5']);
  assert.deepEqual(turn([4, everything]), ['reset 4', 'reset 5']);
});

test('l4 relay: a few bytes cost one read; more are looked for only where there may be some', () => {
  const { sockets, turn } = joined();
  sockets.toRead.set(4, ['hello']);
  turn([4, EPOLLIN | EPOLLOUT]);
  assert.equal(sockets.reads, 1);
});

test('l4 relay: one that always has more lets others have their turn', () => {
  const { sockets, turn } = joined();
  const large = 'x'.repeat(262_144);
  sockets.toRead.set(
    4,
    Array.from({ length: 20 }, () => large),
  );
  const sizes = () => turn().map((line) => line.length);
  assert.equal(turn([4, EPOLLIN | EPOLLOUT]).length, 16, 'its eight, and eight after the others');
  assert.equal(sizes().length, 4);
  assert.equal(sizes().length, 0);
});
