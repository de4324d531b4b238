/** Streams of HTTP/2 that do not move, and calls of gRPC that may rest. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2';
import { test } from 'node:test';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { FakeApi } from '../support/fake-api.ts';
import { http2Client, seedHttp2, startHttp2Backend } from './http2-harness.ts';
import { seedWeb, startBackend, startIngress } from './ingress-harness.ts';

const options = { timeout: 300_000 };
const grpcHeaders = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } as const;
/** Only what moves lives on: a tunnel's time is far beyond that of a test. */
const limits = { ...defaultLimits, clientBodyTimeoutMs: 300, upstreamSendTimeoutMs: 300 };

function message(bytes: number): Buffer {
  const data = Buffer.alloc(5 + bytes);
  data.writeUInt32BE(bytes, 1);
  return data;
}

async function codeOf(stream: ClientHttp2Stream): Promise<number> {
  stream.on('error', () => {}); // a reset is what is waited for
  if (!stream.destroyed) await new Promise<void>((resolve) => stream.once('close', () => resolve()));
  return stream.rstCode;
}

function pour(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
  stream.end(Buffer.alloc(4 << 20));
}

for (const kind of ['HTTP/1', 'gRPC'] as const) {
  test(`a client that says gRPC and does not read is cut: ${kind} backend`, options, async (t) => {
    const api = new FakeApi();
    if (kind === 'gRPC') seedHttp2(api, [(await startHttp2Backend(t, pour)).port]);
    else seedWeb(api, [await startBackend(t, 'a', (_, response) => response.end(Buffer.alloc(4 << 20)))]);
    const { http } = await startIngress(t, api, { limits });
    const session = await http2Client(t, http);
    const stream = session.request({ ...grpcHeaders, ':path': '/' }, { endStream: true });
    await once(stream, 'response'); // and nobody listens for its data: its window never opens again
    assert.equal(await codeOf(stream), constants.NGHTTP2_CANCEL);
  });

  test(`a client that says gRPC and stops within a message is cut: ${kind} backend`, options, async (t) => {
    const api = new FakeApi();
    if (kind === 'gRPC') seedHttp2(api, [(await startHttp2Backend(t, (stream) => stream.resume())).port]);
    else seedWeb(api, [await startBackend(t, 'a', (request) => request.resume())]);
    const { http } = await startIngress(t, api, { limits });
    const session = await http2Client(t, http);
    const stream = session.request({ ...grpcHeaders, ':path': '/' });
    stream.write(message(1000).subarray(0, 100));
    const [headers] = (await once(stream, 'response')) as [{ readonly 'grpc-status': string }];
    assert.equal(headers['grpc-status'], '4'); // 408, in the words of gRPC
    stream.resume();
    await codeOf(stream);
  });
}

test('a request of HTTP/2 whose body does not come is 408', options, async (t) => {
  const api = new FakeApi();
  seedHttp2(api, [(await startHttp2Backend(t, (stream) => stream.resume())).port]);
  const { http } = await startIngress(t, api, { limits });
  const session = await http2Client(t, http);
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.write('the first part');
  const [headers] = (await once(stream, 'response')) as [{ readonly ':status': number }];
  assert.equal(headers[':status'], 408);
});

test('an endpoint that takes no more of a call is cut, though it may be silent', options, async (t) => {
  const api = new FakeApi();
  const backend = await startHttp2Backend(t, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.pause();
  });
  seedHttp2(api, [backend.port]);
  const { http } = await startIngress(t, api, { limits });
  const session = await http2Client(t, http);
  const stream = session.request({ ...grpcHeaders, ':path': '/' });
  stream.resume();
  let status: unknown;
  stream.on('trailers', (trailers) => {
    status = trailers['grpc-status'];
  });
  for (let index = 0; index < 64; index += 1) stream.write(message(16_384));
  assert.equal(await codeOf(stream), constants.NGHTTP2_NO_ERROR); // the rest of the request is not wanted
  assert.equal(status, '4');
});

test(
  'a call of gRPC that rests on both sides stays, while one that stalls beside it is cut',
  options,
  async (t) => {
    const api = new FakeApi();
    const echo = (stream: ServerHttp2Stream): void => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.pipe(stream);
    };
    seedHttp2(api, [(await startHttp2Backend(t, echo)).port]);
    const { http } = await startIngress(t, api, { limits });
    const session = await http2Client(t, http);
    const resting = session.request({ ...grpcHeaders, ':path': '/resting' });
    resting.write(message(10));
    await once(resting, 'data');
    for (let round = 0; round < 3; round += 1) {
      const stalling = session.request({ ...grpcHeaders, ':path': '/stalling' });
      stalling.write(message(10).subarray(0, 3));
      await codeOf(stalling.resume()); // takes as long as a stream may be stalled
    }
    resting.write(message(7));
    const [chunk] = (await once(resting, 'data')) as [Buffer];
    assert.deepEqual(chunk, message(7));
    resting.end();
    assert.equal(await codeOf(resting.resume()), constants.NGHTTP2_NO_ERROR);
  },
);
