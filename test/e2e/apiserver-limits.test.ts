import assert from 'node:assert/strict';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { stringAt } from '../../src/api/fields.ts';
import { isJsonObject, type JsonObject } from '../../src/api/object.ts';
import { concurrentStreamsMax } from '../../src/apiserver/http.ts';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';
import * as h2 from '../support/http2-frames.ts';

/** What the API server does at its bounds. Requests whose body never ends are those that are under way. */

const inFlightMax = 2;
const streamsMax = 1;
let server: TestApiServer;
let session: ClientHttp2Session;

before(async () => {
  server = await startApiServer({ limits: { inFlightMax, streamsMax } });
  session = connect(server.url, {
    ca: server.pki.server.caCert,
    cert: server.admin.certificate,
    key: server.admin.key,
  });
});
after(async () => {
  session.destroy();
  await server.stop();
});

const maps = '/api/v1/namespaces/default/configmaps';

/** A create whose body does not come. */
function stuck(query = ''): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': `${maps}${query}`,
    'content-type': 'application/json',
  });
  stream.write('{');
  return stream;
}

type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: JsonObject;
};

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let headers: Readonly<Record<string, unknown>> = {};
  stream.on('response', (received) => {
    headers = received;
  });
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  const body: unknown = JSON.parse(text);
  assert.ok(isJsonObject(body));
  return { status: Number(headers[':status']), headers, body };
}

function call(path: string, method = 'GET', body?: JsonObject): Promise<Answer> {
  const stream = session.request({ ':method': method, ':path': path, 'content-type': 'application/json' });
  stream.end(body === undefined ? undefined : JSON.stringify(body));
  return answerOf(stream);
}

/** Asks until the answer is the wanted one: a request that was given up needs a moment to be forgotten. */
async function callUntil(path: string, wanted: number): Promise<Answer> {
  for (let tries = 0; tries < 1000; tries++) {
    const answer = await call(path);
    if (answer.status === wanted) return answer;
  }
  return assert.fail(`${path} is never answered by ${wanted}`);
}

test('timeout: a request that takes longer than its client wants to wait is answered 504', async () => {
  const stream = stuck('?timeout=20ms');
  const { status, body } = await answerOf(stream);
  assert.equal(status, 504);
  assert.equal(body['reason'], 'Timeout');
  assert.match(stringAt(body, 'message'), /did not complete within the allotted time/);
  stream.close();
});

test('timeout: what is no duration is refused; none, zero and more than the server’s own are the server’s own', async () => {
  const refused = await call(`${maps}?timeout=soon`);
  assert.equal(refused.status, 400);
  assert.match(stringAt(refused.body, 'message'), /invalid timeout specified in the request URL/);
  for (const text of ['', '0s', '34s', '100h'])
    assert.equal((await call(`${maps}?timeout=${text}`)).status, 200);
});

test('inFlightMax: one request more than that is answered 429, until one of them is done', async () => {
  const busy = Array.from({ length: inFlightMax }, () => stuck());
  const refused = await callUntil(maps, 429);
  assert.equal(refused.body['reason'], 'TooManyRequests');
  assert.equal(refused.headers['retry-after'], '1');
  for (const stream of busy) stream.end('}');
  for (const stream of busy) assert.notEqual((await answerOf(stream)).status, 429);
  assert.equal((await callUntil(maps, 200)).status, 200);
});

test('streamsMax: one watch more than that is answered 429, until one of them is gone', async () => {
  const watch = session.request({ ':path': `${maps}?watch=true` });
  await new Promise((resolve) => watch.once('response', resolve));
  const refused = await call(`${maps}?watch=true`);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal((await call(maps)).status, 200, 'other requests are not counted with the watches');
  watch.close();
  const again = async (): Promise<number> => {
    const stream = session.request({ ':path': `${maps}?watch=true` });
    const status = await new Promise<number>((resolve) =>
      stream.once('response', (headers) => resolve(Number(headers[':status']))),
    );
    stream.close();
    return status;
  };
  let status = await again();
  for (let tries = 0; tries < 1000 && status !== 200; tries++) status = await again();
  assert.equal(status, 200);
});

test('warningsMax: of a body with more mistakes so many are told', async () => {
  const unknown = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`odd${at}`, at]));
  const { status, headers } = await call(`${maps}?dryRun=All`, 'POST', {
    metadata: { name: 'a' },
    ...unknown,
  });
  assert.equal(status, 201);
  assert.equal(String(headers['warning']).match(/299 - /g)?.length, 32);
});

test('a Binding that is posted to its namespace gives the Pod of its name a node', async () => {
  const pods = '/api/v1/namespaces/default/pods';
  const metadata = { name: 'web' };
  const spec = { containers: [{ name: 'a', image: 'x' }], automountServiceAccountToken: false };
  const account = '/api/v1/namespaces/default/serviceaccounts';
  await call(account, 'POST', { metadata: { name: 'default' } });
  assert.equal((await call(pods, 'POST', { metadata, spec })).status, 201);
  const bindings = '/api/v1/namespaces/default/bindings';
  const target = { kind: 'Node', name: 'n1' };
  const nameless = await call(bindings, 'POST', { target });
  assert.equal(nameless.status, 422);
  assert.equal((await call(bindings, 'POST', { metadata: { name: 'none' }, target })).status, 404);
  const elsewhere = await call(bindings, 'POST', { metadata: { ...metadata, namespace: 'other' }, target });
  assert.equal(elsewhere.status, 400);
  assert.equal((await call(bindings, 'POST', { metadata, target })).status, 201);
  assert.equal(stringAt((await call(`${pods}/web`)).body, 'spec', 'nodeName'), 'n1');
  assert.equal((await call(bindings, 'POST', { metadata, target })).status, 409);
  assert.equal((await call(bindings)).status, 405);
  const { body } = await call('/api/v1');
  const found = (body['resources'] as readonly JsonObject[]).find(({ name }) => name === 'bindings');
  assert.deepEqual([found?.['kind'], found?.['verbs'], found?.['namespaced']], ['Binding', ['create'], true]);
});

test('concurrentStreamsMax: one stream more on a connection is refused, the connection goes on', async () => {
  const socket = tlsConnect({
    ...{ host: '127.0.0.1', port: server.port, ca: server.pki.server.caCert },
    ...{ cert: server.admin.certificate, key: server.admin.key, ALPNProtocols: ['h2'] },
  });
  try {
    const requestHead = Buffer.of(0x83, 0x84, 0x87); // POST / by https, of the static table
    const endHeaders = 4;
    // Few enough bytes for one TLS record, so that none is answered before the last has come.
    const requests = Array.from({ length: concurrentStreamsMax + 1 }, (_, at) =>
      h2.frame(h2.type.headers, endHeaders, at * 2 + 1, requestHead),
    );
    const ping = h2.frame(h2.type.ping, 0, 0, Buffer.alloc(8));
    socket.write(Buffer.concat([h2.preface, h2.settings(), ...requests, ping]));
    let received = Buffer.of();
    let frames: readonly h2.Frame[] = [];
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      frames = h2.framesOf(received).frames;
      if (frames.some(({ type }) => type === h2.type.ping)) break;
    }
    const refused = frames.filter(
      ({ type, payload }) => type === h2.type.reset && payload.readUInt32BE(0) === 7,
    );
    assert.deepEqual(
      refused.map(({ stream }) => stream),
      [concurrentStreamsMax * 2 + 1],
    );
  } finally {
    socket.destroy();
  }
});
