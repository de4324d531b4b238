import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { brotliDecompressSync, createGunzip, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { ingresses } from '../../src/api/resource.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  curl,
  hostRule,
  ingress,
  localhost,
  seedWeb,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

type Whole = { readonly status: number; readonly headers: IncomingMessage['headers']; readonly body: Buffer };

function ask(port: number, path: string, headers: Record<string, string>, agent: Agent | false = false) {
  return new Promise<Whole>((resolve, reject) => {
    const request = httpRequest({ host: localhost, port, path, headers, agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    request.on('error', reject);
    request.end();
  });
}

async function start(
  t: TestContext,
  annotations: Record<string, string>,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<number> {
  const backend = await startBackend(t, 'web', handle);
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const web = ingress('web', { rules: [hostRule(undefined, 'web')] });
  const prefixed = Object.entries(annotations).map(([name, value]) => [`fairlead.dev/${name}`, value]);
  api.seed(ingresses, { ...web, metadata: { ...web.metadata, annotations: Object.fromEntries(prefixed) } });
  return (await startIngress(t, api)).http;
}

const text = Array.from({ length: 5000 }, (_, index) => `line ${index} of a page\n`).join('');
const compression = { compression: 'zstd,br,gzip' };

test(
  'ingress compression: each coding decodes to what the backend sent, whichever way its body was framed',
  options,
  async (t) => {
    const http = await start(t, compression, (request, response) => {
      response.setHeader('Content-Type', 'text/plain');
      response.setHeader('ETag', '"v1"');
      if (request.url === '/length') response.setHeader('Content-Length', Buffer.byteLength(text));
      response.end(request.url === '/short' ? 'short' : text);
    });
    const decoders = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    for (const [coding, decode] of Object.entries(decoders)) {
      for (const path of ['/length', '/chunked']) {
        const answer = await ask(http, path, { 'Accept-Encoding': coding }, agent);
        assert.equal(answer.headers['content-encoding'], coding);
        assert.equal(answer.headers['vary'], 'Accept-Encoding');
        assert.equal(answer.headers['etag'], 'W/"v1"');
        assert.equal(answer.headers['content-length'], undefined);
        assert.ok(answer.body.length < text.length / 2);
        assert.equal(decode(answer.body).toString(), text);
      }
    }
    const plain = await ask(http, '/length', {}, agent);
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(plain.headers['vary'], 'Accept-Encoding');
    assert.equal(plain.headers['etag'], '"v1"');
    assert.equal(plain.body.toString(), text);
    const both = await ask(http, '/chunked', { 'Accept-Encoding': 'gzip, br;q=0.9' }, agent);
    assert.equal(both.headers['content-encoding'], 'gzip');
  },
);

test(
  'ingress compression: what is a part, coded already or not to be transformed goes on byte for byte',
  options,
  async (t) => {
    const http = await start(t, compression, (request, response) => {
      response.setHeader('Content-Type', 'text/plain');
      if (request.url === '/part') {
        response.statusCode = 206;
        response.setHeader('Content-Range', `bytes 0-4999/${text.length}`);
        response.end(text.slice(0, 5000));
        return;
      }
      if (request.url === '/coded') response.setHeader('Content-Encoding', 'br');
      if (request.url === '/stay') response.setHeader('Cache-Control', 'no-transform');
      response.end(text);
    });
    for (const path of ['/part', '/coded', '/stay']) {
      const answer = await ask(http, path, { 'Accept-Encoding': 'gzip' });
      assert.equal(answer.body.toString(), path === '/part' ? text.slice(0, 5000) : text);
      assert.equal(answer.headers['content-encoding'], path === '/coded' ? 'br' : undefined);
    }
  },
);

test(
  'ingress compression: events come out as they come in, not when a buffer is full',
  options,
  async (t) => {
    let send: ((event: string) => void) | undefined;
    const http = await start(
      t,
      { ...compression, 'compression-types': 'text/event-stream' },
      (_request, response) => {
        response.setHeader('Content-Type', 'text/event-stream');
        response.flushHeaders();
        send = (event) => response.write(event);
      },
    );
    const request = httpRequest({
      host: localhost,
      port: http,
      headers: { 'Accept-Encoding': 'gzip' },
      agent: false,
    });
    t.after(() => request.destroy());
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let seen = '';
    const gunzip = createGunzip();
    response.pipe(gunzip).on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    for (let event = 0; event < 5; event += 1) {
      await until(() => send !== undefined);
      send?.(`data: ${event}\n\n`);
      await until(() => seen.includes(`data: ${event}\n\n`));
    }
  },
);

test('ingress compression: a slow reader stops the backend, and gets every byte', options, async (t) => {
  const block = randomBytes(64 * 1024).toString('base64');
  const blocks = 400;
  let written = 0;
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const http = await start(t, compression, (request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    if (request.url === '/quick') {
      response.end('quick');
      return;
    }
    const more = (): void => {
      while (written < blocks) {
        written += 1;
        if (!response.write(block)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  });
  const request = httpRequest({
    host: localhost,
    port: http,
    headers: { 'Accept-Encoding': 'gzip' },
    agent: false,
  });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  // Ample time for a proxy that would swallow all of it: that of a thousand other requests.
  for (let turn = 0; turn < 1000; turn += 1) await ask(http, '/quick', {}, agent);
  assert.ok(written < blocks, `${written} blocks were taken though nobody reads`);
  const gunzip = createGunzip();
  let bytes = 0;
  response.pipe(gunzip).on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await once(gunzip, 'end');
  assert.equal(bytes, blocks * block.length);
});

test('ingress compression: a client that leaves in the middle harms nobody', options, async (t) => {
  const http = await start(t, compression, (_request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    response.end(text.repeat(50));
  });
  for (let turn = 0; turn < 300; turn += 1) {
    const socket = connect(http, localhost);
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
  }
  // More than may be coded at once have begun: had they not been given up, this answer would be plain.
  await until(
    async () => (await ask(http, '/', { 'Accept-Encoding': 'br' })).headers['content-encoding'] === 'br',
  );
});

test('ingress compression: over HTTP/2, too', options, async (t) => {
  const http = await start(t, compression, (request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    if (request.url === '/length') response.setHeader('Content-Length', Buffer.byteLength(text));
    response.end(text);
  });
  for (const path of ['/length', '/chunked']) {
    const url = `http://${localhost}:${http}${path}`;
    const decoded = await curl('--http2-prior-knowledge', '--compressed', '-H', 'Accept-Encoding: gzip', url);
    assert.equal(decoded, text);
    const head = await curl(
      '--http2-prior-knowledge',
      '-H',
      'Accept-Encoding: gzip',
      '-D',
      '-',
      '-o',
      '/dev/null',
      url,
    );
    assert.match(head, /^HTTP\/2 200/);
    assert.match(head, /^content-encoding: gzip/m);
    assert.doesNotMatch(head, /transfer-encoding|content-length/);
  }
});
