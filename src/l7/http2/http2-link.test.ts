import assert from 'node:assert/strict';
import { test } from 'node:test';
import { framesOf, type } from '../../../test/support/http2-frames.ts';
import { giveBlock, takeBlock } from '../http1/byte-blocks.ts';
import { Http2Link } from './http2-link.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import { Http2Stream } from './http2-stream.ts';
import { defaultLimits, http2Options } from '../proxy/limits.ts';
import type { Connection } from '../transport/transport.ts';

const ignores: SessionHandler = {
  onRequest() {},
  onGoaway() {},
  onSettings() {},
  onPong() {},
  onStreamClosed() {},
  onFailure() {},
};

/** A connection that shows what it was given, and whose turns end when the test says so. */
class Pipe implements Connection {
  readonly remoteAddress = '127.0.0.1';
  copies = false;
  readonly writes: Buffer[] = [];
  readonly turns: (() => void)[] = [];
  keepsNothing = true;
  room = true;

  atTurnEnd(callback: () => void): void {
    this.turns.push(callback);
  }

  write(data: Buffer): boolean {
    this.writes.push(this.keepsNothing ? Buffer.from(data) : data);
    return this.room;
  }

  endTurn(): void {
    for (const callback of this.turns.splice(0)) callback();
  }

  end(): void {}
  destroy(): void {}
  pause(): void {}
  resume(): void {}
}

function linked(pipe: Pipe): { session: Http2Session; link: Http2Link } {
  const session = new Http2Session(http2Options(defaultLimits, 'server'), ignores);
  const link = new Http2Link(session, pipe);
  link.flush();
  pipe.writes.length = 0;
  return { session, link };
}

test('http2: all output of a turn leaves in one write at its end', () => {
  const pipe = new Pipe();
  const { session, link } = linked(pipe);
  for (let count = 0; count < 3; count += 1) {
    session.ping();
    link.schedule();
  }
  assert.equal(pipe.writes.length, 0);
  assert.equal(pipe.turns.length, 1);
  pipe.endTurn();
  assert.deepEqual(
    pipe.writes.map(({ length }) => length),
    [3 * 17],
  );
  session.ping();
  link.schedule();
  pipe.endTurn();
  assert.equal(pipe.writes.length, 2);
});

test('http2: what a transport still keeps is never written to again', () => {
  const pipe = new Pipe();
  pipe.keepsNothing = false;
  const { session, link } = linked(pipe);
  session.ping();
  link.flush();
  const [kept] = pipe.writes;
  const before = kept?.toString('hex');
  for (let count = 0; count < 10_000; count += 1) {
    session.ping();
    if (count % 100 === 0) link.flush();
  }
  assert.equal(kept?.toString('hex'), before);
});

test('http2: a block that is free again serves another connection', () => {
  const block = takeBlock(16_384);
  giveBlock(block);
  const pipe = new Pipe();
  const { session, link } = linked(pipe);
  session.ping();
  assert.equal(session.send.out.data, block);
  link.flush();
  assert.equal(session.send.out.data.length, 0);
  assert.equal(takeBlock(16_384), block);
});

test('http2: a network that takes no more stops bodies, not the memory of what it took', () => {
  const pipe = new Pipe();
  pipe.room = false;
  const { session, link } = linked(pipe);
  session.ping();
  link.flush();
  assert.equal(session.send.blocked, true);
  assert.equal(session.send.out.data.length, 0);
  link.onDrain();
  assert.equal(session.send.blocked, false);
});

test('http2: what is large of a body goes straight to a connection that copies, in its place among the frames', () => {
  const stream = new Http2Stream(1, 0, 1 << 20);
  const body = Buffer.from(Array.from({ length: 20_000 }, (_, index) => index % 251));
  for (const copies of [true, false]) {
    const pipe = new Pipe();
    pipe.copies = copies;
    const { session, link } = linked(pipe);
    session.ping();
    session.send.data(stream, body, 0, 100);
    session.send.data(stream, body, 100, body.length);
    session.ping();
    link.schedule();
    pipe.endTurn();
    const { frames } = framesOf(Buffer.concat(pipe.writes));
    const kinds = frames.map(({ type: kind }) => kind);
    assert.deepEqual([kinds[0], kinds.at(-1)], [type.ping, type.ping]);
    const payload = frames.slice(1, -1).map((one) => one.payload);
    assert.deepEqual(Buffer.concat(payload), body);
    assert.equal(
      pipe.writes.some(({ length }) => length === 16_384),
      copies,
    );
  }
});

test('http2: a connection that takes no more of a large payload stops the body behind it', () => {
  const pipe = new Pipe();
  pipe.copies = true;
  const { session } = linked(pipe);
  pipe.room = false;
  const stream = new Http2Stream(1, 0, 1 << 20);
  const body = Buffer.alloc(8192);
  assert.equal(session.send.data(stream, body, 0, body.length), true);
  assert.equal(session.send.data(stream, body, 0, body.length), false);
  assert.equal(stream.pendingBytes, body.length);
});
