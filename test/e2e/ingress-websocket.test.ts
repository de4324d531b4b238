/** WebSocket from clients of HTTP/1.1 and HTTP/2 to backends of HTTP/2 (RFC 8441), and what becomes of it where they do not take it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { ServerOptions } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { IngressConfig } from '../../src/l7/controller/config.ts';
import { FakeApi } from '../support/fake-api.ts';
import { answerOf, http2Client, seedHttp2, startHttp2Backend } from './http2-harness.ts';
import { closed, curl, exchangeRaw, localhost, startIngress, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

/** The example of RFC 6455 §1.3. */
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
const upgrade = `GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: talk\r\n\r\n`;

/** A backend of HTTP/2 that gives back what tunnels bring, refuses `/closed`, and speaks plainly otherwise. */
async function start(
  t: TestContext,
  settings: ServerOptions['settings'],
  config: Partial<IngressConfig> = {},
) {
  const heads: unknown[] = [];
  const backend = await startHttp2Backend(
    t,
    (stream, head) => {
      heads.push([
        head[':method'],
        head[':protocol'],
        head['sec-websocket-key'],
        head['sec-websocket-version'],
      ]);
      if (head[':method'] !== 'CONNECT') {
        stream.respond({ ':status': 200 });
        stream.end('plain');
      } else if (head[':path'] === '/closed') {
        stream.respond({ ':status': 403 }, { endStream: true });
      } else {
        stream.respond({ ':status': 200, 'sec-websocket-protocol': 'talk' });
        stream.pipe(stream);
      }
    },
    settings === undefined ? {} : { settings },
  );
  const api = new FakeApi();
  seedHttp2(api, [backend.port]);
  const cluster = await startIngress(t, api, config);
  return { ...cluster, backend, heads };
}

async function upgraded(port: number): Promise<{ readonly socket: Socket; readonly head: string }> {
  const socket = connect(port, localhost);
  socket.write(upgrade);
  const [data] = (await once(socket, 'data')) as [Buffer];
  return { socket, head: data.toString('latin1') };
}

test('an upgrade of HTTP/1.1 becomes an extended CONNECT, and its answer 101', options, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-websocket-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const accessLog = { path: join(folder, 'access.log'), share: 1 };
  const { http, health, heads } = await start(t, { enableConnectProtocol: true }, { accessLog });
  const { socket, head } = await upgraded(http);
  assert.match(head, /^HTTP\/1\.1 101 /);
  assert.match(head, /\r\nsec-websocket-accept: (.*)\r\n/i);
  assert.ok(head.toLowerCase().includes(`sec-websocket-accept: ${accept}`.toLowerCase()), head);
  assert.match(head, /\r\nsec-websocket-protocol: talk\r\n/i);
  assert.match(head, /\r\nupgrade: websocket\r\n/i);
  assert.deepEqual(heads, [['CONNECT', 'websocket', undefined, '13']]);
  const body = Buffer.alloc(1 << 20, 'x');
  let received = 0;
  socket.on('data', (data) => {
    received += data.length;
  });
  socket.write(body);
  await until(() => received === body.length);
  const metric = async (name: string): Promise<string | undefined> =>
    new RegExp(`^fairlead_ingress_${name} (\\d+)$`, 'm').exec(
      await curl(`http://${localhost}:${health}/metrics`),
    )?.[1];
  assert.equal(await metric('tunnels'), '1');
  socket.end(); // the backend ends, too, and so does the connection
  await closed(socket);
  await until(async () => (await metric('tunnels')) === '0');
  assert.equal(await metric('received_bytes_total'), String(body.length));
  await until(() => readFileSync(accessLog.path, 'utf8') !== '');
  const record = JSON.parse(readFileSync(accessLog.path, 'utf8')) as Record<string, unknown>;
  const { status, receivedBytes, sentBytes, protocol } = record;
  assert.deepEqual([status, receivedBytes, sentBytes, protocol], [101, body.length, body.length, 'HTTP/1.1']);
});

test('a tunnel that its backend ends or resets ends for its client', options, async (t) => {
  const { http, backend } = await start(t, { enableConnectProtocol: true });
  for (const how of ['end', 'reset'] as const) {
    const opened = once(backend.server, 'stream');
    const { socket } = await upgraded(http);
    const [stream] = await opened;
    if (how === 'end') stream.end();
    else stream.close(8);
    await closed(socket);
  }
});

test('from HTTP/2 to HTTP/2, and a refusal is an answer like any other', options, async (t) => {
  const { http } = await start(t, { enableConnectProtocol: true });
  const session = await http2Client(t, http);
  const asked = { ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13' };
  const stream = session.request({ ...asked, ':path': '/chat' });
  const done = answerOf(stream);
  await once(stream, 'response');
  stream.write('ping');
  const [echoed] = (await once(stream, 'data')) as [Buffer];
  assert.equal(echoed.toString(), 'ping');
  stream.end();
  const { headers, body } = await done;
  assert.deepEqual([headers[':status'], body.toString()], [200, 'ping']);
  const refused = session.request({ ...asked, ':path': '/closed' });
  refused.end();
  assert.equal((await answerOf(refused)).headers[':status'], 403);
  const plain = upgrade
    .replace('/chat', '/closed')
    .replace('Connection: Upgrade', 'Connection: Upgrade, close');
  assert.match(await exchangeRaw(http, plain), /^HTTP\/1\.1 403 /);
});

test(
  'a backend that takes no extended CONNECT: 502 and why, and other requests go on',
  options,
  async (t) => {
    const { http, health, heads } = await start(t, undefined);
    const answer = await exchangeRaw(
      http,
      upgrade.replace('Connection: Upgrade', 'Connection: Upgrade, close'),
    );
    assert.match(answer, /^HTTP\/1\.1 502 [\s\S]*takes no WebSocket/);
    assert.deepEqual(heads, [], 'it has heard nothing of it');
    const explained = await curl(`http://${localhost}:${health}/debug/explain?url=http://a/`);
    assert.match(explained, /ERR_HTTP2_NO_WEBSOCKET/);
    const other = upgrade
      .replace('Upgrade: WebSocket', 'Upgrade: other')
      .replace('Connection: Upgrade', 'Connection: Upgrade, close');
    assert.match(
      await exchangeRaw(http, other),
      /^HTTP\/1\.1 200 [\s\S]*plain/,
      'an upgrade that it cannot have heard of is none',
    );
  },
);
