import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2';
import { test } from 'node:test';
import { endpointSlices, ingresses } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import { answerOf, http2Client, http2Get, seedHttp2, startHttp2Backend } from './http2-harness.ts';
import { hostRule, ingress, slice, startIngress, until } from './ingress-harness.ts';

const fields = { 'content-type': 'application/grpc', te: 'trailers' };

/** A call that is answered, and ends well. */
function begin(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
}

/** A stream both ways; `talk` resolves when a word has come back. */
function openTalk(session: ClientHttp2Session) {
  const stream = session.request({ ':method': 'POST', ':path': '/chat.Chat/Talk', ...fields });
  const said: string[] = [];
  const whole = answerOf(stream);
  stream.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const talk = async (word: string): Promise<void> => {
    stream.write(word);
    await until(() => said.join('').endsWith(word));
  };
  return { stream, whole, talk };
}

test('no gRPC stream is cut and no call lost while other Ingresses, annotations and endpoints change', {
  timeout: 300_000,
}, async (t) => {
  const echo = await startHttp2Backend(t, (stream) => {
    begin(stream);
    stream.pipe(stream);
  });
  const second = await startHttp2Backend(t, (stream) => {
    begin(stream);
    stream.end();
  });
  const api = new FakeApi();
  seedHttp2(api, [echo.port]);
  const { http } = await startIngress(t, api);
  const session = await http2Client(t, http);
  const { stream, whole, talk } = openTalk(session);
  await talk('first ');
  for (let turn = 0; turn < 20; turn += 1) {
    api.seed(ingresses, ingress(`other-${turn}`, { rules: [hostRule(`other-${turn}.example`, 'web')] }));
    api.update(ingresses, 'default/web', { metadata: { annotations: { note: String(turn) } } });
    const { trailers } = await http2Get(session, '/chat.Chat/Once', { ':method': 'GET', ...fields });
    assert.equal(trailers['grpc-status'], '0');
    await talk(`${turn} `);
  }
  api.seed(endpointSlices, slice('web', 1, second.port)); // scaled up, then its own endpoint leaves
  await until(async () => {
    await http2Get(session, '/chat.Chat/Once', { ':method': 'GET', ...fields });
    return second.requests > 0;
  });
  await api.delete(endpointSlices, 'default', 'web-0');
  const before = echo.requests;
  await talk('last');
  assert.equal((await http2Get(session, '/chat.Chat/Once', fields)).trailers['grpc-status'], '0');
  assert.equal(echo.requests, before, 'new calls go elsewhere');
  stream.end();
  const { trailers, body } = await whole;
  assert.equal(trailers['grpc-status'], '0');
  assert.match(body.toString(), /^first 0 1 .* 19 last$/);
  session.close();
  await once(session, 'close');
});

test('no gRPC stream is cut while a second controller takes over and the first one drains', {
  timeout: 300_000,
}, async (t) => {
  const echo = await startHttp2Backend(t, (stream) => {
    begin(stream);
    stream.pipe(stream);
  });
  const api = new FakeApi();
  seedHttp2(api, [echo.port]);
  const stopOld = new AbortController();
  const old = await startIngress(t, api, { drainTimeoutMs: 600_000 }, stopOld.signal);
  const next = await startIngress(t, api);
  const session = await http2Client(t, old.http);
  const leaving = once(session, 'goaway');
  const { stream, whole, talk } = openTalk(session);
  await talk('first ');
  stopOld.abort();
  const [code] = (await leaving) as [number];
  assert.equal(code, 0, 'the client is told to make its next calls elsewhere');
  for (let turn = 0; turn < 5; turn += 1) {
    await talk(`${turn} `);
    const other = await http2Client(t, next.http);
    const call = other.request({ ':method': 'POST', ':path': '/chat.Chat/Once', ...fields });
    call.end();
    assert.equal((await answerOf(call)).trailers['grpc-status'], '0');
  }
  stream.end('last');
  const { trailers, body } = await whole;
  assert.equal(trailers['grpc-status'], '0');
  assert.equal(body.toString(), 'first 0 1 2 3 4 last');
  await old.ended;
});
