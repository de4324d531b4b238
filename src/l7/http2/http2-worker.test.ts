/** What becomes of requests of HTTP/2 when an endpoint, a client or the worker itself goes, on a clock of the test's own. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { code } from '../../../test/support/http2-cases.ts';
import {
  block,
  frame,
  framesOf,
  get,
  post,
  preface,
  request,
  settings,
  type,
  uint32,
} from '../../../test/support/http2-frames.ts';
import { type End, startWorker } from '../../../test/support/l7-worker.ts';
import type { ProxyLimits } from '../proxy/limits.ts';
import { HeaderList, HpackDecoder } from './hpack-decode.ts';

const grpc: typeof post = [...post, ['content-type', 'application/grpc'], ['te', 'trailers']];
const status200 = (stream: number, flags = 4): Buffer =>
  frame(type.headers, flags, stream, block([[':status', '200']]));

const grpcHead = (stream: number): Buffer =>
  frame(
    type.headers,
    4,
    stream,
    block([
      [':status', '200'],
      ['content-type', 'application/grpc+proto'],
    ]),
  );
const message = '\0\0\0\0\u0003abc';

/** Reads what the worker writes to one end, in words. */
class Reader {
  readonly end: End;
  readonly #decoder = new HpackDecoder();
  #preface: boolean;

  constructor(end: End, isUpstream = false) {
    this.end = end;
    this.#preface = isUpstream;
  }

  /** All since the last time, without acknowledgements and windows. */
  take(): string[] {
    let bytes = this.end.wire.take();
    if (this.#preface && bytes.length > 0) {
      bytes = bytes.subarray(preface.length);
      this.#preface = false;
    }
    const { frames, length } = framesOf(bytes);
    assert.equal(length, bytes.length);
    return frames.flatMap(({ type: kind, flags, stream, payload }) => {
      const end = (flags & 1) === 1 ? ' end' : '';
      if (kind === type.headers) return [`${stream} head ${this.#fields(payload)}${end}`];
      if (kind === type.data) return [`${stream} data ${payload.length}${end}`];
      if (kind === type.reset) return [`${stream} reset ${payload.readUInt32BE(0)}`];
      if (kind === type.goaway) return [`goaway ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`];
      return kind === type.ping ? [`ping${flags === 1 ? ' back' : ''}`] : [];
    });
  }

  #fields(payload: Buffer): string {
    const list = new HeaderList(1 << 16, 100);
    assert.ok(this.#decoder.decode(Buffer.from(payload), 0, payload.length, list));
    const told = list.fields.filter(({ name }) => /^(:status|:method|grpc-status|grpc-timeout)$/.test(name));
    return told.map(({ name, value }) => `${name}=${value}`).join(' ');
  }

  send(...frames: readonly Buffer[]): void {
    this.end.handler.onData(Buffer.concat(frames));
  }
}

/** A client's connection that speaks HTTP/2, in front of an endpoint that does. */
async function start(t: TestContext, limits: Partial<ProxyLimits> = {}) {
  const { clock, worker, upstreams, open } = startWorker(t, limits, 'http2');
  const client = new Reader(open()!);
  client.send(preface, settings());
  await clock.advance(0);
  client.take();
  /** The next connection to the endpoint that is no probe, when its settings have come. */
  const upstream = async (): Promise<Reader> => {
    await clock.advance(0);
    const next = upstreams.findIndex(({ wire }) => !wire.destroyed);
    const reader = new Reader(upstreams.splice(0, next + 1).at(-1)!, true);
    reader.send(settings());
    await clock.advance(0);
    return reader;
  };
  return { clock, worker, client, upstream, upstreams };
}

test('http2 worker: what is under way when the time to drain is over is told so, not cut', async (t) => {
  const { clock, worker, client, upstream } = await start(t, { upstreamStallMs: Number.POSITIVE_INFINITY });
  client.send(request(1), request(3), request(5, grpc, false), request(7));
  const backend = await upstream();
  assert.equal(backend.take().length, 4);
  backend.send(status200(3), frame(type.data, 0, 3, 'part'), grpcHead(5), frame(type.data, 0, 5, message));
  await clock.advance(0);
  client.take();
  const drained = worker.drain(10_000);
  assert.deepEqual(client.take(), ['goaway 2147483647 0', 'ping']);
  client.send(frame(type.ping, 1, 0, 'fairlead'));
  await clock.advance(0);
  assert.deepEqual(client.take(), ['goaway 7 0']);
  backend.send(status200(7, 5));
  await clock.advance(0);
  assert.deepEqual(client.take(), ['7 head :status=200 end']);
  await clock.advance(9_000);
  assert.deepEqual(client.take(), []);
  await clock.advance(1_000);
  assert.deepEqual(client.take(), [
    '1 head :status=503',
    '1 data 47 end',
    '3 reset 2',
    '5 head grpc-status=14 end',
    '5 reset 0',
    'goaway 7 0',
  ]);
  assert.deepEqual([client.end.wire.ended, client.end.wire.destroyed], [true, false]);
  client.end.handler.onClose(undefined);
  await drained;
  assert.deepEqual(backend.take(), ['1 reset 8', '3 reset 8', '5 reset 8']);
});

test('http2 worker: a client that does not go when it was told is cut after lingerTimeoutMs', async (t) => {
  const { clock, worker, client, upstream } = await start(t, { lingerTimeoutMs: 1_500 });
  client.send(request(1));
  await upstream();
  const drained = worker.drain(1_000);
  await clock.advance(1_000);
  assert.equal(client.end.wire.destroyed, false);
  await clock.advance(1_500);
  await drained;
  assert.equal(client.end.wire.destroyed, true);
});

test('http2 worker: a connection whose peer has forgotten it is found, and what may be sent twice goes over another', async (t) => {
  const limits = { upstreamStallMs: 5_000, upstreamPingTimeoutMs: 10_000 };
  const { clock, client, upstream, upstreams } = await start(t, limits);
  client.send(request(1), request(3, post, false), frame(type.data, 1, 3, 'x'));
  const forgotten = await upstream();
  forgotten.take();
  await clock.advance(4_000);
  assert.deepEqual(forgotten.take(), []);
  await clock.advance(2_000);
  assert.deepEqual(forgotten.take(), ['ping']);
  const [probe] = upstreams.splice(0); // the endpoint takes connections
  assert.equal(probe?.wire.destroyed, true);
  await clock.advance(8_000);
  assert.deepEqual([forgotten.take(), forgotten.end.wire.destroyed], [[], false]);
  upstreams.splice(0); // further probes
  await clock.advance(2_000);
  assert.equal(forgotten.end.wire.destroyed, true);
  const fresh = await upstream();
  assert.deepEqual(fresh.take(), ['1 head :method=GET end']);
  fresh.send(status200(1, 5));
  await clock.advance(0);
  const told = client.take();
  assert.ok(told.includes('1 head :status=200 end'), told.join());
  assert.ok(told.includes('3 head :status=504'), told.join()); // the POST may have been acted on
});

test('http2 worker: an endpoint that is slow but alive is asked once, and again only when it has answered something', async (t) => {
  const limits = { upstreamStallMs: 5_000, upstreamHeaderTimeoutMs: Number.POSITIVE_INFINITY };
  const { clock, client, upstream } = await start(t, limits);
  client.send(request(1));
  const slow = await upstream();
  slow.take();
  await clock.advance(6_000);
  assert.deepEqual(slow.take(), ['ping']);
  slow.send(frame(type.ping, 1, 0, 'fairlead'));
  await clock.advance(60_000);
  assert.deepEqual(slow.take(), []);
  client.send(request(3));
  slow.send(status200(1, 5));
  await clock.advance(6_000);
  assert.deepEqual(slow.take(), ['3 head :method=GET end', 'ping']);
});

test('http2 worker: of two calls that a GOAWAY divides the one is finished, the other sent again elsewhere', async (t) => {
  const { clock, client, upstream } = await start(t);
  client.send(request(1, post, false), request(3, post, false));
  client.send(frame(type.data, 1, 1, 'one'), frame(type.data, 1, 3, 'three'));
  const leaving = await upstream();
  assert.deepEqual(leaving.take(), [
    '1 head :method=POST',
    '1 data 3 end',
    '3 head :method=POST',
    '3 data 5 end',
  ]);
  leaving.send(frame(type.goaway, 0, 0, Buffer.concat([uint32(1), uint32(0)])));
  const next = await upstream();
  assert.deepEqual(next.take(), ['1 head :method=POST', '1 data 5 end']);
  leaving.send(status200(1, 5));
  next.send(status200(1, 5));
  await clock.advance(0);
  assert.deepEqual(client.take(), ['1 head :status=200 end', '3 head :status=200 end']);
});

test('http2 worker: calls of gRPC whose endpoint dies end UNAVAILABLE, by trailers behind whole messages; in the midst of one by a reset', async (t) => {
  const { clock, client, upstream } = await start(t);
  client.send(...[1, 3, 5, 7, 9, 11].map((stream) => request(stream, stream === 9 ? post : grpc, false)));
  const backend = await upstream();
  backend.send(grpcHead(3));
  backend.send(grpcHead(5), frame(type.data, 0, 5, message + message));
  backend.send(grpcHead(7), frame(type.data, 0, 7, message + message.slice(0, 3)));
  backend.send(grpcHead(9), frame(type.data, 0, 9, message)); // who asked did not say gRPC
  backend.send(status200(11), frame(type.data, 0, 11, message)); // no answer of gRPC
  await clock.advance(0);
  client.take();
  backend.end.handler.onClose('ECONNRESET');
  await clock.advance(0);
  assert.deepEqual(client.take().toSorted(), [
    '1 head :status=200 grpc-status=14 end',
    '1 reset 0',
    '11 reset 2',
    '3 head grpc-status=14 end',
    '3 reset 0',
    '5 head grpc-status=14 end',
    '5 reset 0',
    '7 reset 2',
    '9 reset 2',
  ]);
});

test('http2 worker: the status of a cut call waits behind the messages that its client has no window for', async (t) => {
  const { clock, client, upstream } = await start(t);
  client.send(settings([4, 4]));
  client.send(request(1, grpc));
  const backend = await upstream();
  backend.send(grpcHead(1), frame(type.data, 0, 1, message));
  await clock.advance(0);
  assert.deepEqual(client.take(), ['1 head :status=200', '1 data 4']);
  backend.end.handler.onClose(undefined);
  await clock.advance(0);
  assert.deepEqual(client.take(), []);
  client.send(frame(type.window, 0, 1, uint32(100)));
  await clock.advance(0);
  assert.deepEqual(client.take(), ['1 data 4', '1 head grpc-status=14 end']);
});

test('http2 worker: grpc-timeout reaches the endpoint, and a second after it the call ends here', async (t) => {
  const { clock, client, upstream } = await start(t);
  client.send(request(1, [...grpc, ['grpc-timeout', '2S']], false), request(3, grpc, false));
  const backend = await upstream();
  assert.deepEqual(backend.take(), ['1 head :method=POST grpc-timeout=2S', '3 head :method=POST']);
  client.send(frame(type.data, 1, 1, 'message'), frame(type.data, 1, 3, 'message'));
  await clock.advance(2_500);
  assert.deepEqual(client.take(), []);
  await clock.advance(1_000);
  assert.deepEqual(client.take(), ['1 head :status=200 grpc-status=4 end']); // DEADLINE_EXCEEDED
  assert.ok(backend.take().includes('1 reset 8'));
  await clock.advance(3_000);
  assert.deepEqual(backend.take(), ['ping']);
  backend.send(frame(type.ping, 1, 0, 'fairlead'));
  await clock.advance(200_000);
  assert.deepEqual(client.take(), []);
});

test('http2 worker: clients that read nothing on many streams hold up a window of bytes for each, and no more comes', async (t) => {
  const streams = 4;
  const { clock, client, upstream } = await start(t, {
    http2StreamWindowBytes: 1_000,
    clientBodyTimeoutMs: 5_000,
  });
  client.send(settings([4, 0]));
  for (let index = 0; index < streams; index += 1) client.send(request(2 * index + 1));
  const backend = await upstream();
  backend.take();
  for (let index = 0; index < streams; index += 1) {
    const stream = 2 * index + 1;
    backend.send(status200(stream), frame(type.data, 0, stream, Buffer.alloc(1_000)));
  }
  await clock.advance(0);
  const windows = framesOf(backend.end.wire.take()).frames.filter((sent) => sent.type === type.window);
  assert.deepEqual(windows, []);
  assert.deepEqual(
    client.take(),
    Array.from({ length: streams }, (_, index) => `${2 * index + 1} head :status=200`),
  );
  backend.send(frame(type.data, 0, 1, 'x'));
  assert.deepEqual(backend.take(), [`1 reset ${code.FLOW_CONTROL_ERROR}`]);
  await clock.advance(0);
  assert.deepEqual(client.take(), ['1 reset 2']);
  await clock.advance(6_000);
  assert.deepEqual(client.take(), ['3 reset 8', '5 reset 8', '7 reset 8']);
  assert.deepEqual(backend.take(), ['3 reset 8', '5 reset 8', '7 reset 8']);
});

test('http2 worker: windows that open byte by byte end the connection', async (t) => {
  const { clock, client, upstream } = await start(t);
  client.send(settings([4, 0]), request(1, get));
  const backend = await upstream();
  backend.send(status200(1), frame(type.data, 1, 1, Buffer.alloc(10_000)));
  await clock.advance(0);
  client.take();
  for (let count = 0; count < 1_100; count += 1) client.send(frame(type.window, 0, 1, uint32(1)));
  await clock.advance(0);
  assert.equal(client.take().at(-1), `goaway 1 ${code.ENHANCE_YOUR_CALM}`);
});
