import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type TestContext, test } from 'node:test';
import { readyGoHttp2Programs } from '../support/clients.ts';
import { FakeApi } from '../support/fake-api.ts';
import { code, type Expected, http2Cases } from '../support/http2-cases.ts';
import {
  type Frame,
  framesOf,
  preface,
  request as requestFrame,
  settings,
  type,
} from '../support/http2-frames.ts';
import { answerOf, http2Client, http2Get, seedHttp2, startHttp2Backend } from './http2-harness.ts';
import { curl, localhost, seedWeb, startBackend, startIngress } from './ingress-harness.ts';

const options = { timeout: 300_000 };
const run = promisify(execFile);
const big = Buffer.alloc(3 << 20, 'fairlead ');
const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/**
 * The same server by both versions: tells method, body's hash and trailers, answers by an early hint, trailers and a large body
 * whose length it does not tell, for /length one that it does.
 */
async function startEcho(t: TestContext, version: 'h1' | 'h2c'): Promise<FakeApi> {
  const api = new FakeApi();
  if (version === 'h1') {
    const backend = await startBackend(t, 'echo', (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (chunk: Buffer) => hash.update(chunk));
      request.on('end', () => {
        const fields = {
          'x-method': request.method,
          'x-sum': hash.digest('hex'),
          'x-end': request.trailers['x-end'] ?? 'none',
        };
        response.writeEarlyHints({ link: '</style.css>; rel=preload' });
        if (request.url === '/length') response.writeHead(200, { ...fields, 'content-length': big.length });
        else response.writeHead(200, { ...fields, trailer: 'x-done' });
        response.write(big.subarray(0, 1000));
        if (request.url !== '/length') response.addTrailers({ 'x-done': 'yes' });
        response.end(big.subarray(1000));
      });
    });
    seedWeb(api, [backend]);
    return api;
  }
  const backend = await startHttp2Backend(t, (stream, headers) => {
    const hash = createHash('sha256');
    let end: unknown = 'none';
    stream.on('trailers', (fields) => {
      end = fields['x-end'];
    });
    stream.on('data', (chunk: Buffer) => hash.update(chunk));
    stream.on('end', () => {
      const isLength = headers[':path'] === '/length';
      stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' });
      stream.respond(
        {
          ':status': 200,
          'x-method': headers[':method'],
          'x-sum': hash.digest('hex'),
          'x-end': String(end),
          ...(isLength ? { 'content-length': big.length } : {}),
        },
        { waitForTrailers: !isLength },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-done': 'yes' }));
      stream.write(big.subarray(0, 1000));
      stream.end(big.subarray(1000));
    });
  });
  seedHttp2(api, [backend.port]);
  return api;
}

type Told = {
  status: number;
  method: unknown;
  sum: unknown;
  end: unknown;
  done: unknown;
  body: string;
  hints: number;
};

async function ask(
  t: TestContext,
  port: number,
  client: 'h1' | 'h2',
  method: string,
  path: string,
  body: Buffer | undefined,
): Promise<Told> {
  if (client === 'h2') {
    const session = await http2Client(t, port);
    const stream = session.request(
      { ':method': method, ':path': path },
      { endStream: body === undefined, waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'fin' }));
    if (body !== undefined) stream.end(body);
    const { headers, body: received, trailers, informational } = await answerOf(stream);
    return {
      status: headers[':status'] ?? 0,
      method: headers['x-method'],
      sum: headers['x-sum'],
      end: headers['x-end'],
      done: trailers['x-done'],
      body: sha(received),
      hints: informational.length,
    };
  }
  return new Promise((resolve, reject) => {
    let hints = 0;
    const request = httpRequest({ host: localhost, port, path, method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          method: response.headers['x-method'],
          sum: response.headers['x-sum'],
          end: response.headers['x-end'],
          done: response.trailers['x-done'],
          body: sha(Buffer.concat(chunks)),
          hints,
        }),
      );
    });
    request.on('information', () => {
      hints += 1;
    });
    request.on('error', reject);
    if (body === undefined) request.end();
    else {
      request.setHeader('transfer-encoding', 'chunked');
      request.addTrailers({ 'x-end': 'fin' });
      request.end(body);
    }
  });
}

for (const client of ['h1', 'h2'] as const) {
  for (const backend of ['h1', 'h2c'] as const) {
    test(`bodies, trailers and hints: ${client} client, ${backend} backend`, options, async (t) => {
      const { http } = await startIngress(t, await startEcho(t, backend));
      const posted = await ask(t, http, client, 'POST', '/', big);
      assert.deepEqual(posted, {
        status: 200,
        method: 'POST',
        sum: sha(big),
        end: 'fin',
        done: 'yes',
        body: sha(big),
        hints: 1,
      });
      const got = await ask(t, http, client, 'GET', '/length', undefined);
      assert.deepEqual(got, {
        status: 200,
        method: 'GET',
        sum: sha(Buffer.alloc(0)),
        end: 'none',
        done: undefined,
        body: sha(big),
        hints: 1,
      });
      const headed = await ask(t, http, client, 'HEAD', '/length', undefined);
      assert.deepEqual([headed.status, headed.method, headed.body], [200, 'HEAD', sha(Buffer.alloc(0))]);
    });
  }
}

/** Sends `bytes` and returns the frames that come until the connection ends or `enough`. */
async function talk(
  port: number,
  bytes: Buffer,
  enough: (frames: readonly Frame[]) => boolean,
): Promise<readonly Frame[]> {
  const socket = connect(port, localhost);
  let received = Buffer.alloc(0);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(bytes);
  await new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (enough(framesOf(received).frames)) resolve();
    });
  });
  socket.destroy();
  return framesOf(received).frames;
}

function meets(frames: readonly Frame[], expected: Expected): boolean {
  return frames.some(({ type: kind, stream, payload, flags }) => {
    if ('goaway' in expected)
      return kind === type.goaway && expected.goaway.some((name) => code[name] === payload.readUInt32BE(4));
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

test('RFC 9113 section by section, against the running engine', { timeout: 300_000 }, async (t) => {
  const backend = await startBackend(t, 'web', (request, response) => {
    request.resume();
    request.on('end', () => response.end('web'));
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  for (const { section, name, send, raw, expected } of http2Cases) {
    const bytes = raw === true ? send : Buffer.concat([preface, settings(), send]);
    const frames = await talk(http, bytes, (seen) => meets(seen, expected));
    assert.ok(meets(frames, expected), `${section} ${name}: ${JSON.stringify(frames.slice(0, 9))}`);
  }
  // It serves others still.
  const after = await talk(http, Buffer.concat([preface, settings(), requestFrame(1)]), (seen) =>
    meets(seen, { answered: 1 }),
  );
  assert.ok(meets(after, { answered: 1 }));
});

test('curl by prior knowledge, and by ALPN over TLS', options, async (t) => {
  const backend = await startBackend(t, 'curled');
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http, https } = await startIngress(t, api);
  const write = ['-w', ' %{http_version} %{http_code}'];
  assert.equal(
    await curl('--http2-prior-knowledge', ...write, `http://${localhost}:${http}/`),
    'curled 2 200',
  );
  assert.equal(await curl('-k', '--http2', ...write, `https://${localhost}:${https}/`), 'curled 2 200');
  assert.equal(await curl('-k', '--http1.1', ...write, `https://${localhost}:${https}/`), 'curled 1.1 200');
  assert.equal(await curl('--http2', ...write, `http://${localhost}:${http}/`), 'curled 1.1 200'); // Upgrade: h2c is not taken
});

test(
  'h2load: thousands of requests on few connections, in the clear and over TLS, and none fails',
  options,
  async (t) => {
    const version = await run('h2load', ['--version']).catch(() => undefined);
    if (version === undefined) {
      t.skip('h2load is not installed (nghttp2-client)');
      return;
    }
    for (const kind of ['h1', 'h2c'] as const) {
      const api = new FakeApi();
      if (kind === 'h1') seedWeb(api, [await startBackend(t, 'loaded')]);
      else {
        const backend = await startHttp2Backend(t, (stream) => {
          stream.respond({ ':status': 200 });
          stream.end('loaded');
        });
        seedHttp2(api, [backend.port]);
      }
      const { http, https } = await startIngress(t, api);
      for (const url of [`http://${localhost}:${http}/`, `https://${localhost}:${https}/`]) {
        const { stdout } = await run('h2load', ['-n', '5000', '-c', '10', '-m', '50', url]);
        assert.match(stdout, /status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx/, url);
      }
    }
  },
);

test(
  'many requests at once share connections to a backend up to its MAX_CONCURRENT_STREAMS',
  options,
  async (t) => {
    let open = 0;
    let openMax = 0;
    const backend = await startHttp2Backend(
      t,
      (stream) => {
        open += 1;
        openMax = Math.max(open, openMax);
        stream.on('close', () => {
          open -= 1;
        });
        setImmediate(() => {
          stream.respond({ ':status': 200 });
          stream.end('x');
        });
      },
      { settings: { maxConcurrentStreams: 5 } },
    );
    const api = new FakeApi();
    seedHttp2(api, [backend.port]);
    const { http } = await startIngress(t, api);
    const session = await http2Client(t, http);
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => http2Get(session, `/${index}`)),
    );
    assert.ok(answers.every(({ headers, body }) => headers[':status'] === 200 && body.toString() === 'x'));
    assert.equal(backend.requests, 60);
    assert.ok(backend.connections <= 12, `${backend.connections} connections`);
  },
);

const programs = await readyGoHttp2Programs();
const skip = typeof programs === 'string' ? programs : false;

/** What h2spec holds against us, and why it is meant so. */
const h2specDiffers: ReadonlyMap<string, string> = new Map([
  ['Sends invalid connection preface', 'the port speaks HTTP/1.1, too, and answers in it by 400'],
  ['Sends HEADERS frame that depend on itself', 'priorities are ignored (RFC 9113 §5.3.2)'],
  ['Sends PRIORITY frame that depend on itself', 'priorities are ignored (RFC 9113 §5.3.2)'],
]);

test('h2spec, its strict cases too, finds nothing but what is listed here', {
  ...options,
  skip,
}, async (t) => {
  assert.ok(typeof programs !== 'string');
  const backend = await startBackend(t, 'web', (request, response) => {
    request.resume();
    request.on('end', () => response.end('web'));
  });
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const { http } = await startIngress(t, api);
  const report = join(mkdtempSync(join(tmpdir(), 'fairlead-h2spec-')), 'report.xml');
  t.after(() => rmSync(dirname(report), { recursive: true }));
  const flags = ['-h', localhost, '-p', String(http), '--strict', '--timeout', '2', '-j', report];
  await run(programs.h2spec, flags).catch(() => {}); // it ends with 1 where a case fails, which the report tells
  const cases = [
    ...readFileSync(report, 'utf8').matchAll(
      /<testcase [^>]*classname="([^"]*)"[^>]*?(\/>|>)(\s*<(?:failure|error))?/g,
    ),
  ];
  const failed = cases.filter(([, , , fault]) => fault !== undefined).map(([, name = '']) => name);
  assert.ok(cases.length >= 146, `${cases.length} cases`);
  assert.deepEqual(failed.toSorted(), [...h2specDiffers.keys()].toSorted());
});

test("gRPC's own interoperability tests pass from client to server", { ...options, skip }, async (t) => {
  assert.ok(typeof programs !== 'string');
  const server = spawn(programs.interop, ['serve'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => server.stdin.end());
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const api = new FakeApi();
  seedHttp2(api, [Number(line.toString())]);
  const { http } = await startIngress(t, api);
  const { stdout } = await run(programs.interop, ['call', `${localhost}:${http}`]);
  assert.deepEqual(stdout.trim().split('\n'), [
    'empty_unary',
    'large_unary',
    'client_streaming',
    'server_streaming',
    'ping_pong',
    'empty_stream',
    'timeout_on_sleeping_server',
    'cancel_after_begin',
    'cancel_after_first_response',
    'custom_metadata',
    'status_code_and_message',
    'special_status_message',
    'unimplemented_service',
    'unimplemented_method',
  ]);
});
