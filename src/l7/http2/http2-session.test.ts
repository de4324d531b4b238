import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { code, type Expected, type Http2Case, http2Cases } from '../../../test/support/http2-cases.ts';
import {
  block,
  type Frame,
  frame,
  framesOf,
  post,
  preface,
  request,
  settings,
  type,
  uint32,
} from '../../../test/support/http2-frames.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { PROTOCOL_ERROR } from './http2-frame.ts';
import { requestOf, trailersOf } from './http2-head.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import type { Http2Options } from './http2-settings.ts';
import type { Http2Stream } from './http2-stream.ts';
import { defaultLimits, http2Options } from '../proxy/limits.ts';

const options = http2Options(defaultLimits, 'server');

/** A server that answers each whole request by 200 with as many bytes as it got, or what `answer` says. */
class Server implements SessionHandler {
  readonly session: Http2Session;
  readonly sent: Frame[] = [];
  failure: number | undefined;
  answer = (stream: Http2Stream, body: string): string => `${stream.id}: ${body}`;
  #rest = Buffer.alloc(0);

  constructor(given: Http2Options = options) {
    this.session = new Http2Session(given, this);
  }

  receive(data: Buffer): void {
    this.session.receive(Buffer.from(data), 1); // it may be changed
    this.flush();
  }

  flush(): void {
    const taken = this.session.send.out.take() ?? Buffer.alloc(0);
    const bytes = Buffer.concat([this.#rest, taken]);
    const { frames, length } = framesOf(bytes);
    this.sent.push(...frames);
    this.#rest = bytes.subarray(length);
  }

  onRequest(stream: Http2Stream, fields: Parameters<typeof requestOf>[0], ended: boolean): void {
    const head = requestOf(fields, ended, new FieldLines(100));
    if (head.kind === 'malformed') {
      this.session.refuse(stream, PROTOCOL_ERROR);
      return;
    }
    if (head.kind === 'request' && fields.fields.some(({ name }) => name === 'content-length')) {
      stream.expectedBytes = head.contentLength;
    }
    let body = '';
    stream.handler = {
      onHead: () => {},
      onBody: (data, start, end) => {
        body += data.toString('latin1', start, end);
        this.session.credit(stream, end - start);
      },
      onTrailers: (list) => {
        if (typeof trailersOf(list) !== 'string') this.session.refuse(stream, PROTOCOL_ERROR);
      },
      onEnd: () => this.#answer(stream, 200, body),
      onDrain: () => {},
      onReset: () => {},
    };
    if (head.kind === 'failure') this.#answer(stream, head.status, '');
    else if (ended && stream.expectedBytes <= 0) this.#answer(stream, 200, '');
  }

  #answer(stream: Http2Stream, status: number, body: string): void {
    const { send } = this.session;
    send.encoder.line(send.beginBlock(), `:status: ${status}`);
    send.sendBlock(stream, false);
    const data = Buffer.from(this.answer(stream, body));
    send.data(stream, data, 0, data.length);
    send.end(stream, '');
  }

  onGoaway(): void {}
  onSettings(): void {}
  onPong(): void {}
  onStreamClosed(): void {}
  onFailure(failure: number): void {
    this.failure = failure;
  }
}

function meets(sent: readonly Frame[], expected: Expected): boolean {
  return sent.some(({ type: kind, stream, payload, flags }) => {
    if ('goaway' in expected) {
      return kind === type.goaway && expected.goaway.some((name) => code[name] === payload.readUInt32BE(4));
    }
    if ('reset' in expected) {
      const here = kind === type.reset && stream === (expected.stream ?? 1);
      return here && expected.reset.some((name) => code[name] === payload.readUInt32BE(0));
    }
    if ('either' in expected) {
      const at = kind === type.goaway ? 4 : kind === type.reset && stream === 1 ? 0 : undefined;
      return at !== undefined && expected.either.some((name) => code[name] === payload.readUInt32BE(at));
    }
    if ('answered' in expected) return kind === type.headers && stream === expected.answered;
    return kind === type.ping && (flags & 1) === 1 && payload.toString('latin1') === expected.pong;
  });
}

function check({ send, raw, expected }: Http2Case, pieces: number): void {
  const server = new Server();
  const bytes = raw === true ? send : Buffer.concat([preface, settings(), send]);
  for (let at = 0; at < bytes.length; at += pieces) server.receive(bytes.subarray(at, at + pieces));
  assert.ok(meets(server.sent, expected), `sent ${JSON.stringify(server.sent.slice(0, 8))}`);
  if (!('either' in expected)) assert.equal(server.failure !== undefined, 'goaway' in expected);
}

for (const one of http2Cases) {
  test(`http2: ${one.section} ${one.name}`, () => {
    check(one, Number.POSITIVE_INFINITY);
    if (one.send.length < 5000) check(one, 1);
  });
}

test('http2: a body waits for the windows and goes on when they open', () => {
  const server = new Server();
  server.answer = () => 'z'.repeat(100);
  server.receive(Buffer.concat([preface, settings([4, 10]), request(1), request(3)]));
  const dataOf = (stream: number): number =>
    server.sent
      .filter((sent) => sent.type === type.data && sent.stream === stream)
      .reduce((sum, { payload }) => sum + payload.length, 0);
  assert.equal(dataOf(1), 10);
  server.receive(frame(type.window, 0, 1, uint32(50)));
  assert.equal(dataOf(1), 60);
  assert.equal(dataOf(3), 10);
  server.receive(settings([4, 200]));
  assert.equal(dataOf(1), 100);
  assert.equal(dataOf(3), 100);
  assert.equal(server.sent.at(-1)!.flags & 1, 1);
  assert.equal(server.session.streams.size, 0);
});

test('http2: a smaller initial window makes windows negative, and nothing goes out until they are not', () => {
  const server = new Server();
  server.answer = () => 'z'.repeat(30);
  server.receive(Buffer.concat([preface, settings([4, 20]), request(1), settings([4, 5])]));
  const before = server.sent.filter((sent) => sent.type === type.data).length;
  server.receive(frame(type.window, 0, 1, uint32(15)));
  assert.equal(server.sent.filter((sent) => sent.type === type.data).length, before);
  server.receive(frame(type.window, 0, 1, uint32(10)));
  assert.equal(server.session.streams.size, 0);
});

test('http2: bodies that nobody takes stop at the window, and a closed stream gives its share back', () => {
  const small = { ...options, streamWindowBytes: 70_000, connectionWindowBytes: 100_000 };
  const server = new Server(small);
  const originalRequest = server.onRequest.bind(server);
  server.onRequest = (stream, fields, ended) => {
    originalRequest(stream, fields, ended);
    stream.handler = { ...stream.handler!, onBody: () => {} }; // holds all
  };
  const chunk = frame(type.data, 0, 1, Buffer.alloc(14_000));
  server.receive(
    Buffer.concat([preface, settings(), request(1, post, false), chunk, chunk, chunk, chunk, chunk]),
  );
  assert.equal(server.failure, undefined);
  server.receive(frame(type.reset, 0, 1, uint32(8)));
  const credited = server.sent.filter(({ type: kind, stream }) => kind === type.window && stream === 0);
  assert.equal(credited.at(-1)!.payload.readUInt32BE(), 70_000);
  server.receive(
    Buffer.concat([
      request(3, post, false),
      frame(type.data, 0, 3, Buffer.alloc(14_000)),
      frame(type.data, 0, 3, Buffer.alloc(16_000)),
    ]),
  );
  assert.equal(server.failure, undefined);
  server.receive(
    Buffer.concat(Array.from({ length: 4 }, () => frame(type.data, 0, 3, Buffer.alloc(16_000)))),
  );
  assert.ok(meets(server.sent, { reset: ['FLOW_CONTROL_ERROR'], stream: 3 }));
});

test('http2: parts of a body that leave together are one frame, as far as a frame goes', () => {
  const server = new Server();
  server.answer = () => '';
  server.receive(
    Buffer.concat([preface, settings([4, 100_000]), request(1, post, false), request(3, post, false)]),
  );
  server.sent.length = 0;
  const { send, streams } = server.session;
  const [one, three] = [streams.get(1)!, streams.get(3)!];
  const bytes = Buffer.alloc(10_000, 'x');
  for (let part = 0; part < 3; part += 1) send.data(one, bytes, 0, 10_000);
  send.data(three, bytes, 0, 5);
  send.data(one, bytes, 0, 6);
  send.end(one, '');
  server.flush();
  const told = server.sent.map(({ stream, payload, flags }) => [stream, payload.length, flags & 1]);
  assert.deepEqual(told, [
    [1, 16_384, 0],
    [1, 30_000 - 16_384, 0],
    [3, 5, 0],
    [1, 6, 1],
  ]);
});

test('http2: a body that waits comes whole when windows open bit by bit', () => {
  const server = new Server();
  const body = Buffer.from(Array.from({ length: 40_000 }, (_, index) => index % 251));
  server.answer = () => '';
  server.receive(Buffer.concat([preface, settings([4, 0]), request(1, post, false)]));
  server.sent.length = 0;
  const { send, streams } = server.session;
  const stream = streams.get(1)!;
  for (let at = 0; at < body.length; at += 3000)
    send.data(stream, body, at, Math.min(at + 3000, body.length));
  send.end(stream, '');
  assert.equal(stream.pendingBytes, body.length);
  for (let step = 1; stream.pendingBytes > 0; step += 1)
    server.receive(frame(type.window, 0, 1, uint32(step * 37)));
  const came = server.sent.filter(({ type: kind }) => kind === type.data).map(({ payload }) => payload);
  assert.deepEqual(Buffer.concat(came), body);
  assert.equal(server.sent.at(-1)!.flags & 1, 1);
});

test('http2: draining tells the last stream only when the peer has had time to learn of it', () => {
  const server = new Server();
  server.receive(Buffer.concat([preface, settings(), request(1, post, false)]));
  server.session.drain();
  server.flush();
  const goaways = (): readonly number[] =>
    server.sent.filter(({ type: kind }) => kind === type.goaway).map(({ payload }) => payload.readUInt32BE());
  assert.deepEqual(goaways(), [0x7fffffff]);
  server.receive(request(3, post, false)); // was on its way
  const ping = server.sent.find(({ type: kind }) => kind === type.ping)!;
  server.receive(frame(type.ping, 1, 0, ping.payload));
  assert.deepEqual(goaways(), [0x7fffffff, 3]);
  server.receive(Buffer.concat([request(5), frame(type.data, 1, 1, 'a'), frame(type.data, 1, 3, 'b')]));
  const answered = server.sent.filter(({ type: kind }) => kind === type.headers).map(({ stream }) => stream);
  assert.deepEqual(answered, [1, 3]);
  assert.ok(server.session.drained);
});

test('http2: a busy peer in earnest is not taken for a flood', () => {
  const server = new Server();
  const bytes = [preface, settings()];
  for (let index = 0; index < 5000; index += 1) {
    const id = 2 * index + 1;
    // Ended by an empty frame of DATA, and taken back although it is over: both are met with every request.
    bytes.push(request(id, post, false), frame(type.data, 0, id, 'x'), frame(type.data, 1, id));
    bytes.push(frame(type.reset, 0, id, uint32(0)), frame(type.window, 0, 0, uint32(1)));
  }
  server.receive(Buffer.concat(bytes));
  assert.equal(server.failure, undefined);
  assert.equal(server.session.streams.size, 0);
});

test('http2: END_STREAM needs no frame of its own', () => {
  const server = new Server();
  server.receive(Buffer.concat([preface, settings(), request(1)]));
  const frames = server.sent.filter(({ stream }) => stream === 1);
  assert.deepEqual(
    frames.map(({ type: kind, flags }) => [kind, flags & 1]),
    [
      [type.headers, 0],
      [type.data, 1],
    ],
  );
});

test('http2: a request without a body ends with its head, but a call of gRPC by an empty frame of DATA', () => {
  for (const endsByData of [false, true]) {
    const session = new Http2Session(http2Options(defaultLimits, 'client'), new Server());
    session.receive(settings(), 1);
    const stream = session.open()!;
    stream.endsByData = endsByData;
    session.send.encoder.line(session.send.beginBlock(), ':path: /');
    session.send.sendBlock(stream, false);
    session.send.end(stream, '');
    const { frames } = framesOf(session.send.out.take()!.subarray(preface.length));
    const told = frames.filter((sent) => sent.stream === 1).map(({ type: kind, flags }) => [kind, flags & 1]);
    const head = [type.headers, endsByData ? 0 : 1];
    assert.deepEqual(told, endsByData ? [head, [type.data, 1]] : [head]);
  }
});

test('http2: any bytes leave the session whole: no throw, no stream beyond the bound', () => {
  const anyFrame = fc.oneof(
    fc
      .tuple(fc.integer({ min: 0, max: 10 }), fc.nat(255), fc.nat(8), fc.uint8Array({ maxLength: 64 }))
      .map(([kind, flags, stream, payload]) => frame(kind, flags, stream, Buffer.from(payload))),
    fc.constantFrom(request(1), request(3, post, false), request(5), frame(type.headers, 5, 7, block([]))),
    fc.uint8Array({ maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 30 }), fc.integer({ min: 1, max: 40 }), (parts, pieces) => {
      const server = new Server();
      const bytes = Buffer.concat([preface, settings(), ...parts]);
      for (let at = 0; at < bytes.length; at += pieces) server.receive(bytes.subarray(at, at + pieces));
      assert.ok(server.session.streams.size <= options.streamsMax);
      assert.equal(server.failure !== undefined, server.session.failed);
    }),
    { numRuns: 500 },
  );
});
