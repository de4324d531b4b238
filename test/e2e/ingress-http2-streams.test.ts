import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { endpointSlices, ingresses, secrets } from '../../src/api/resource.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { FakeApi } from '../support/fake-api.ts';
import { createTestPki } from '../support/pki.ts';
import {
  block,
  frame,
  framesOf,
  get as getFields,
  preface,
  settings,
  type,
  uint32,
} from '../support/http2-frames.ts';
import { answerOf, http2Client, http2Get, seedHttp2, startHttp2Backend } from './http2-harness.ts';
import {
  get,
  hostRule,
  ingress,
  localhost,
  seedWeb,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

/** One message of gRPC: not compressed, its length, its bytes. */
function message(text: string): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(text.length), Buffer.from(text)]);
}

/** Calls of gRPC by hand: unary, streams either way, a failure by trailers alone. */
function grpcServer(stream: ServerHttp2Stream, headers: { readonly [name: string]: unknown }): void {
  const trailing = { 'grpc-status': '0', 'grpc-message': '' };
  if (headers[':path'] === '/silent') {
    stream.respond({ ':status': 200 });
    stream.write('and nothing more');
  } else if (headers['te'] !== 'trailers' || headers['content-type'] !== 'application/grpc') {
    stream.respond({ ':status': 415 }, { endStream: true });
  } else if (headers[':path'] === '/test.Echo/Fail') {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' },
      { endStream: true },
    );
  } else {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailing));
    stream.pipe(stream);
  }
}

const grpcHeaders = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } as const;

test('gRPC: unary calls, streams both ways, trailers and answers of trailers alone', options, async (t) => {
  const backend = await startHttp2Backend(t, grpcServer);
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const unary = session.request({ ...grpcHeaders, ':path': '/test.Echo/Unary' });
  unary.end(message('hello'));
  const answer = await answerOf(unary);
  assert.deepEqual(answer.body, message('hello'));
  assert.equal(answer.headers['content-type'], 'application/grpc');
  assert.deepEqual([answer.trailers['grpc-status'], answer.trailers['grpc-message']], ['0', '']);

  const failed = await answerOf(
    session.request({ ...grpcHeaders, ':path': '/test.Echo/Fail' }, { endStream: true }),
  );
  assert.equal(failed.headers['grpc-status'], '5');

  // Each message is answered before the next is sent: nothing waits for the end of the stream.
  const both = session.request({ ...grpcHeaders, ':path': '/test.Echo/Both' });
  const done = answerOf(both);
  for (let index = 0; index < 20; index += 1) {
    both.write(message(`number ${index}`));
    const [chunk] = (await once(both, 'data')) as [Buffer];
    assert.deepEqual(chunk, message(`number ${index}`));
  }
  both.end();
  assert.equal((await done).trailers['grpc-status'], '0');
  assert.equal(backend.connections, 1);
});

test('gRPC: what the proxy itself says is a status of gRPC', options, async (t) => {
  const api = new FakeApi();
  seedHttp2(api, []);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const stream = session.request({ ...grpcHeaders, ':path': '/test.Echo/Unary' });
  stream.end(message('x'));
  const { headers } = await answerOf(stream);
  assert.deepEqual([headers[':status'], headers['grpc-status']], [200, '14']);
});

test('a stream is neither cut by the edit of another Ingress nor by silence', options, async (t) => {
  const backend = await startHttp2Backend(t, grpcServer);
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const limits = { ...defaultLimits, upstreamBodyTimeoutMs: 60, clientBodyTimeoutMs: 60 };
  const { http } = await startIngress(t, api, { limits });
  const session = await http2Client(t, http);
  const stream = session.request({ ...grpcHeaders, ':path': '/test.Echo/Both' });
  const done = answerOf(stream);
  stream.write(message('before'));
  await once(stream, 'data');
  for (let round = 0; round < 20; round += 1) {
    api.update(ingresses, 'default/web', { metadata: { annotations: { round: String(round) } } } as never);
    api.seed(ingresses, ingress(`other-${round}`, { rules: [hostRule(`other-${round}.example`, 'web')] }));
    const { headers } = await http2Get(session, '/'); // 415: this is no gRPC
    assert.equal(headers[':status'], 415);
  }
  // One that is no call of gRPC is cut for its silence, so the other one was silent for long enough, too.
  await assert.rejects(answerOf(session.request({ ':path': '/silent' })));
  stream.write(message('after'));
  await once(stream, 'data');
  stream.end();
  assert.equal((await done).trailers['grpc-status'], '0');
  assert.equal(backend.connections, 1);
});

test('an endpoint that is leaving gets no new stream, and those it has are finished', options, async (t) => {
  const leaving = await startHttp2Backend(t, grpcServer);
  const staying = await startHttp2Backend(t, grpcServer);
  const api = new FakeApi();
  seedHttp2(api, [leaving.port]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const stream = session.request({ ...grpcHeaders, ':path': '/test.Echo/Both' });
  const done = answerOf(stream);
  stream.write(message('before'));
  await once(stream, 'data');
  api.seed(endpointSlices, slice('web', 1, staying.port));
  api.update(endpointSlices, 'default/web-0', {
    endpoints: [{ addresses: [localhost], conditions: { ready: false, serving: true, terminating: true } }],
  } as never);
  await until(async () => {
    await http2Get(session, '/');
    return staying.requests > 0;
  });
  const { requests } = leaving;
  for (let round = 0; round < 20; round += 1) await http2Get(session, '/');
  assert.equal(leaving.requests, requests);
  stream.write(message('after'));
  await once(stream, 'data');
  stream.end();
  assert.equal((await done).trailers['grpc-status'], '0');
  await until(() => leaving.sessions.size === 0); // its connection is not kept
});

test('GRPCS: HTTP/2 over TLS, agreed on by ALPN, to a backend that is believed', options, async (t) => {
  const pki = await createTestPki();
  const serving = await pki.serving('backend');
  const server = createSecureServer({ cert: serving.certificate, key: serving.key });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    grpcServer(stream, headers);
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => server.close());
  const api = new FakeApi();
  seedHttp2(api, [(server.address() as AddressInfo).port]);
  api.seed(secrets, {
    metadata: { name: 'ca', namespace: 'default' },
    type: 'Opaque',
    data: { 'ca.crt': Buffer.from(pki.authority.pair.certificate).toString('base64') },
  });
  const web = ingress('web', { rules: [hostRule(undefined, 'web')] });
  api.seed(ingresses, {
    ...web,
    metadata: {
      ...web.metadata,
      annotations: {
        'fairlead.dev/backend-protocol': 'GRPCS',
        'fairlead.dev/backend-tls-secret': 'ca',
        'fairlead.dev/backend-tls-server-name': 'localhost',
      },
    },
  });
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  t.after(() => session.destroy());
  const call = session.request({ ...grpcHeaders, ':path': '/test.Echo/Unary' });
  call.end(message('over TLS'));
  const answer = await answerOf(call);
  assert.deepEqual(answer.body, message('over TLS'));
  assert.equal(answer.trailers['grpc-status'], '0');
});

test('a worker that stops says GOAWAY and finishes its streams', options, async (t) => {
  const backend = await startHttp2Backend(t, grpcServer);
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const stop = new AbortController();
  const { http } = await startIngress(t, api, {}, stop.signal);
  const session = await http2Client(t, http);
  const stream = session.request({ ...grpcHeaders, ':path': '/test.Echo/Both' });
  const done = answerOf(stream);
  stream.write(message('before'));
  await once(stream, 'data');
  const goaway = once(session, 'goaway');
  stop.abort();
  const [errorCode] = (await goaway) as [number];
  assert.equal(errorCode, constants.NGHTTP2_NO_ERROR);
  stream.write(message('after'));
  await once(stream, 'data');
  stream.end();
  assert.equal((await done).trailers['grpc-status'], '0');
});

test(
  'an endpoint that says GOAWAY gets no new stream, and what it left out goes to a new connection',
  options,
  async (t) => {
    const backend = await startHttp2Backend(t, (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('x');
    });
    const api = new FakeApi();
    seedHttp2(api, [backend.port]);
    const { http } = await startIngress(t, api);
    const session = await http2Client(t, http);
    for (let round = 1; round <= 5; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => {
          const stream = session.request({ ':method': 'POST', ':path': '/' });
          stream.end('body');
          return answerOf(stream);
        }),
      );
      assert.ok(answers.every(({ headers }) => headers[':status'] === 200));
      for (const open of backend.sessions) open.close(); // GOAWAY, as an endpoint that is restarted says
    }
    assert.ok(backend.connections >= 2);
  },
);

test('a POST whose stream was refused is sent again with its body', options, async (t) => {
  let refusals = 0;
  const bodies: string[] = [];
  const handle = (stream: ServerHttp2Stream): void => {
    if (refusals < 1) {
      refusals += 1;
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    let body = '';
    stream.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    stream.on('end', () => {
      bodies.push(body);
      stream.respond({ ':status': 200 }, { endStream: true });
    });
  };
  const one = await startHttp2Backend(t, handle);
  const two = await startHttp2Backend(t, handle);
  const api = new FakeApi();
  seedHttp2(api, [one.port, two.port]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.end('whole body');
  assert.equal((await answerOf(stream)).headers[':status'], 200);
  assert.deepEqual([refusals, bodies], [1, ['whole body']]);
});

test(
  'a request whose stream was reset may have been acted on: a POST is not sent again',
  options,
  async (t) => {
    const backend = await startHttp2Backend(t, (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    const api = new FakeApi();
    seedHttp2(api, [backend.port]);
    const { http } = await startIngress(t, api);
    const session = await http2Client(t, http);
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.end('x');
    assert.equal((await answerOf(stream)).headers[':status'], 502);
    assert.equal(backend.requests, 1);
  },
);

for (const kind of ['h1', 'h2c'] as const) {
  test(`a client that does not read costs a bounded buffer: ${kind} backend`, options, async (t) => {
    let sent = 0;
    const chunk = Buffer.alloc(16_384);
    const api = new FakeApi();
    const pour = (write: (data: Buffer) => boolean, onDrain: (next: () => void) => void): void => {
      const next = (): void => {
        while (sent < 64 << 20) {
          sent += chunk.length;
          if (!write(chunk)) break;
        }
      };
      onDrain(next);
      next();
    };
    if (kind === 'h1') {
      const backend = await startBackend(t, 'pour', (_, response) => {
        pour(
          (data) => response.write(data),
          (next) => response.on('drain', next),
        );
      });
      seedWeb(api, [backend]);
    } else {
      const backend = await startHttp2Backend(t, (stream) => {
        stream.respond({ ':status': 200 });
        pour(
          (data) => stream.write(data),
          (next) => stream.on('drain', next),
        );
      });
      seedHttp2(api, [backend.port]);
    }
    const { http } = await startIngress(t, api);
    const socket = connect(http, localhost);
    t.after(() => socket.destroy());
    let received = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data]);
    });
    const pongs = (): number =>
      framesOf(received).frames.filter(({ type: kind, flags }) => kind === type.ping && flags === 1).length;
    await once(socket, 'connect');
    socket.write(Buffer.concat([preface, settings([4, 1000]), frame(type.headers, 5, 1, block(getFields))]));
    await until(() => sent > 0);
    // The backend goes on for as long as buffers take something; then it stands still while the connection lives.
    for (let same = 0, before = -1, round = 1; same < 20; round += 1) {
      same = sent === before ? same + 1 : 0;
      before = sent;
      socket.write(frame(type.ping, 0, 0, 'are here'));
      await until(() => pongs() >= round);
    }
    assert.ok(sent < 16 << 20, `${sent} bytes`);
  });
}

test('WebSocket over HTTP/2 (RFC 8441) reaches a backend of HTTP/1.1', options, async (t) => {
  const backend = await startBackend(t, 'ws');
  backend.server.on('upgrade', (request, socket) => {
    assert.equal(request.headers.upgrade, 'websocket');
    assert.equal(request.headers['sec-websocket-version'], '13');
    assert.equal(Buffer.from(request.headers['sec-websocket-key'] ?? '', 'base64').length, 16);
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
    socket.pipe(socket);
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/chat',
    'sec-websocket-version': '13',
  });
  const done = answerOf(stream);
  const [headers] = (await once(stream, 'response')) as [
    { ':status'?: number; 'sec-websocket-accept'?: string },
  ];
  assert.deepEqual([headers[':status'], headers['sec-websocket-accept']], [200, undefined]);
  stream.write('ping');
  const [echoed] = (await once(stream, 'data')) as [Buffer];
  assert.equal(echoed.toString(), 'ping');
  stream.end();
  assert.equal((await done).body.toString(), 'ping');
});

test('a head that does not end and a silent connection are cut', options, async (t) => {
  const backend = await startBackend(t, 'web');
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const limits = {
    ...defaultLimits,
    clientHeaderTimeoutMs: 100,
    clientIdleTimeoutMs: 100,
    lingerTimeoutMs: 100,
  };
  const { http } = await startIngress(t, api, { limits });
  for (const bytes of [
    preface.subarray(0, 20),
    Buffer.concat([preface, settings(), frame(type.headers, 1, 1, block(getFields))]),
    Buffer.concat([preface, settings()]),
  ]) {
    const socket = connect(http, localhost);
    let received = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
    });
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(bytes);
    await once(socket, 'close');
    assert.ok(bytes.length < 24 || framesOf(received).frames.some(({ type: kind }) => kind === type.goaway));
  }
});

test('a backend that speaks no HTTP/2 is 502, not a hanging request', options, async (t) => {
  const backend = await startBackend(t, 'old');
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const { http } = await startIngress(t, api);
  assert.equal((await get(http, '/', false)).status, 502);
});

test('a client that leaves takes its stream back from the backend', options, async (t) => {
  const closed = Promise.withResolvers<number>();
  const backend = await startHttp2Backend(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('first');
    stream.on('close', () => closed.resolve(stream.rstCode));
  });
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const { http } = await startIngress(t, api);
  const session = connectHttp2(`http://${localhost}:${http}`);
  session.on('error', () => {});
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await once(stream, 'data');
  session.destroy();
  assert.equal(await closed.promise, constants.NGHTTP2_CANCEL);
  assert.equal(backend.sessions.size, 1);
});

test('posted bodies are held back while the backend does not read', options, async (t) => {
  const stalled = Promise.withResolvers<ServerHttp2Stream>();
  const backend = await startHttp2Backend(t, (stream) => stalled.resolve(stream.pause()));
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const posted = session.request({ ':method': 'POST', ':path': '/' });
  const done = answerOf(posted);
  const body = Buffer.alloc(8 << 20);
  posted.end(body);
  const stream = await stalled.promise;
  const pingBytes = 17;
  for (let same = 0, before = -1, pings = 0; same < 20; pings += 1) {
    const sent = session.socket.bytesWritten - pings * pingBytes;
    same = sent === before ? same + 1 : 0;
    before = sent;
    await new Promise((resolve) => session.ping(resolve));
  }
  assert.ok(session.socket.bytesWritten < 1 << 20, `${session.socket.bytesWritten} bytes`);
  let received = 0;
  stream.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  stream.on('end', () => stream.respond({ ':status': 200 }, { endStream: true }));
  stream.resume();
  await done;
  assert.equal(received, body.length);
});
