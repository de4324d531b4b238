/** Clients behind a proxy that speaks the PROXY protocol. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { ingresses } from '../../src/api/resource.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { parseProxyHeader, renderProxyHeader } from '../../src/l7/transport/proxy-protocol.ts';
import { FakeApi } from '../support/fake-api.ts';
import { createTestPki } from '../support/pki.ts';
import {
  type Cluster,
  closed,
  exchangeRaw,
  localhost,
  seedWeb,
  startBackend,
  startIngress,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };
const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const client = { address: '203.0.113.9', port: 4711 };
const server = { address: '198.51.100.1', port: 80 };

async function start(t: TestContext, trusted = `${localhost}/32`, limits = defaultLimits): Promise<Cluster> {
  const backend = await startBackend(t, 'web', (incoming, response) => {
    incoming.resume();
    response.end(`${String(incoming.headers['x-forwarded-for'])}!`);
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  return startIngress(t, api, { proxyProtocol: true, trustedProxies: [trusted], limits });
}

test(
  'a trusted proxy names its client in either version, whole or byte by byte, and may speak for itself',
  options,
  async (t) => {
    const { http } = await start(t);
    for (const version of [1, 2] as const) {
      const header = renderProxyHeader(version, client, server).toString('latin1');
      assert.match(await exchangeRaw(http, header + request), /203\.0\.113\.9!$/);
      const socket = connect({ port: http, host: localhost, noDelay: true });
      let answer = '';
      socket.on('data', (data) => {
        answer += String(data);
      });
      for (const byte of header + request) {
        socket.write(byte, 'latin1');
        await new Promise((resolve) => setImmediate(resolve));
      }
      await closed(socket);
      assert.match(answer, /203\.0\.113\.9!$/);
    }
    assert.match(await exchangeRaw(http, `PROXY UNKNOWN\r\n${request}`), /127\.0\.0\.1!$/);
  },
);

test('before TLS the header comes in the clear', options, async (t) => {
  const { https } = await start(t);
  for (const version of [1, 2] as const) {
    const raw = connect(https, localhost);
    raw.write(renderProxyHeader(version, client, server));
    if (version === 2) await new Promise((resolve) => setTimeout(resolve, 20)); // header and hello apart, too
    const socket = connectTls({ socket: raw, servername: 'a.example', rejectUnauthorized: false });
    socket.write(request);
    let answer = '';
    socket.on('data', (data) => {
      answer += String(data);
    });
    await once(socket, 'end');
    assert.match(answer, /203\.0\.113\.9!$/);
  }
  const bare = connectTls({ port: https, host: localhost, rejectUnauthorized: false });
  await closed(bare);
  assert.equal(bare.getPeerCertificate()?.subject, undefined, 'a trusted peer without a header is cut');
});

test('a trusted peer without a good header, or that is slow to send one, is cut', options, async (t) => {
  const limits = { ...defaultLimits, clientHeaderTimeoutMs: 400 };
  const { http, https } = await start(t, undefined, limits);
  assert.equal(await exchangeRaw(http, request), '');
  assert.equal(await exchangeRaw(http, `PROXY TCP4 1.2.3.4 nonsense 1 1\r\n${request}`), '');
  for (const port of [http, https]) {
    assert.equal(await exchangeRaw(port, 'PROXY TCP4 1.2'), ''); // and then nothing
    const ended = connect(port, localhost);
    ended.end('PROXY ');
    await closed(ended.resume());
  }
});

test(
  'an untrusted peer cannot name a client: it is served as it comes, and its header is no request',
  options,
  async (t) => {
    const { http } = await start(t, '10.0.0.0/8');
    assert.match(await exchangeRaw(http, request), /127\.0\.0\.1!$/);
    const header = renderProxyHeader(1, client, server).toString('latin1');
    assert.match(await exchangeRaw(http, header + request), /^HTTP\/1\.1 400 /);
  },
);

/** A server that wants a PROXY header before the request, and tells it back. With `pair` TLS comes behind it. */
async function startProxied(
  t: TestContext,
  pair?: KeyPair,
): Promise<{ readonly port: number; connections: number }> {
  const state = { port: 0, connections: 0 };
  const answer = (socket: Socket, source: string): void => {
    socket.on('data', (data) => {
      if (String(data).includes('\r\n\r\n'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${source.length}\r\n\r\n${source}`);
    });
  };
  const tls = createTlsServer({ cert: pair?.certificate, key: pair?.key });
  const server = createServer((socket) => {
    state.connections += 1;
    socket.on('error', () => {});
    socket.once('readable', () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return; // a probe
      const header = parseProxyHeader(bytes);
      assert.equal(header.kind, 'header');
      if (header.kind !== 'header') return;
      const source = `${header.source?.address} ${header.source?.port}`;
      if (header.length < bytes.length) socket.unshift(bytes.subarray(header.length));
      if (pair === undefined) answer(socket, source);
      else {
        tls.once('secureConnection', (secure) => answer(secure, source));
        tls.emit('connection', socket);
      }
    });
  });
  server.listen(0, localhost);
  await once(server, 'listening');
  t.after(() => server.close());
  state.port = (server.address() as AddressInfo).port;
  return state;
}

test(
  'a backend that asks for it is told each client, in the clear before TLS, and no connection serves two',
  options,
  async (t) => {
    const pair = await (await createTestPki()).serving('backend');
    for (const [version, encrypted] of [
      ['v1', false],
      ['v2', false],
      ['v2', true],
    ] as const) {
      const backend = await startProxied(t, encrypted ? pair : undefined);
      const api = new FakeApi();
      seedWeb(api, [{ port: backend.port, name: '', server: createHttpServer(), requests: 0 }]);
      const annotations = {
        'fairlead.dev/proxy-protocol': version,
        ...(encrypted
          ? { 'fairlead.dev/backend-protocol': 'HTTPS', 'fairlead.dev/backend-tls-verify': 'off' }
          : {}),
      };
      api.update(ingresses, 'default/web', { metadata: { name: 'web', namespace: 'default', annotations } });
      const { http } = await startIngress(t, api);
      for (let visit = 0; visit < 3; visit += 1) {
        const socket = connect({ port: http, host: localhost, localAddress: `127.0.0.${visit + 2}` });
        socket.write(
          'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
        );
        let answer = '';
        socket.on('data', (data) => {
          answer += String(data);
        });
        await once(socket, 'connect');
        const port = socket.localPort;
        await closed(socket);
        assert.equal(answer.split(`127.0.0.${visit + 2} ${port}`).length, 3, answer);
      }
      assert.ok(backend.connections >= 6);
    }
  },
);
