import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect } from 'node:tls';
import { after, before, test } from 'node:test';
import type { Logger, LogFields } from '../../src/base/log.ts';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';

/**
 * Bad requests never hurt: a corpus and seeded mutations of it against a real server. Each is answered with success or with a
 * Status, nothing fails inside, and in the end the server is as it was. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run.
 */

const seed = Number(process.env['FUZZ_SEED'] ?? 20260131);
const count = Number(process.env['FUZZ_COUNT'] ?? 1500);
/** Requests under way at a time. */
const concurrency = 16;

type Sent = { readonly method: string; readonly path: string; readonly type: string; readonly body: Buffer };

const repeated = /\{(\d+)\*((?:[^{}]|\{(?!\d)|\}(?=\}))+?)\}/g;

function unfold(text: string): string {
  return text.replace(repeated, (_all, times: string, piece: string) => piece.repeat(Number(times)));
}

function bytesOf(text: string): Buffer {
  const plain = unfold(text).replaceAll('\\n', '\n').replaceAll('\\t', '\t');
  const escaped = plain.replace(/\\x([0-9a-f]{2})/g, (_all, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
  return Buffer.from(escaped, 'latin1');
}

const corpus: readonly Sent[] = readFileSync(new URL('../corpus/api/requests.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [method = '', path = '', type = '', body = ''] = line.split('\t');
    return { method, path: unfold(path), type, body: bytesOf(body) };
  });

/** Numbers below `below`, the same for the same seed. */
function randomOf(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const pieces = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '\\',
  '\0',
  '\xff',
  '$patch',
  '__proto__',
  'null',
  '1e400',
  '..',
  '%',
  '/',
  '=',
  '&',
  '!',
];

/** Cuts, repeats, and puts in what parsers stumble over. */
function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  let result = bytes;
  for (let left = 1 + random(3); left > 0; left--) {
    const at = random(result.length + 1);
    const to = Math.min(result.length, at + random(16));
    const piece = Buffer.from(pieces[random(pieces.length)] ?? '', 'latin1');
    const middle = [Buffer.of(), piece, Buffer.concat([result.subarray(at, to), result.subarray(at, to)])];
    result = Buffer.concat([result.subarray(0, at), middle[random(3)] ?? piece, result.subarray(to)]);
  }
  return result;
}

function mutated(sent: Sent, random: (below: number) => number): Sent {
  if (random(2) === 0 || sent.body.length === 0) {
    // What a client library would send: a request line has no spaces and no control characters.
    const path = mutate(Buffer.from(sent.path, 'latin1'), random)
      .toString('latin1')
      .replace(/[^\x21-\x7e]/g, '%');
    return { ...sent, path: path.startsWith('/') ? path : `/${path}` };
  }
  return { ...sent, body: mutate(sent.body, random) };
}

let server: TestApiServer;
let agent: Agent;
const failures: string[] = [];
const noting: Logger = {
  debug() {},
  info() {},
  warn() {},
  error: (message: string, fields?: LogFields) =>
    void failures.push(`${message} ${String(fields?.['error'])}`),
  child: () => noting,
};

before(async () => {
  server = await startApiServer({ log: noting, limits: { bodyTimeoutMs: 300 } });
  const { certificate: cert, key } = server.admin;
  agent = new Agent({ keepAlive: true, maxSockets: concurrency, ca: server.pki.server.caCert, cert, key });
});
after(async () => {
  agent.destroy();
  await server.stop();
});

type Answer = { readonly status: number; readonly body: string };

function send({ method, path, type, body }: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = type === '' ? {} : { 'content-type': type, 'content-length': body.length };
    const sending = request(
      { agent, host: '127.0.0.1', port: server.port, method, path, headers },
      (answer) => {
        let text = '';
        answer.on('data', (chunk) => {
          text += String(chunk);
          // A watch goes on by itself: its beginning is its answer.
          if (path.includes('watch=')) answer.destroy();
        });
        answer.once('close', () => resolve({ status: answer.statusCode ?? 0, body: text }));
        if (path.includes('watch=')) setTimeout(() => answer.destroy(), 200);
      },
    );
    sending.once('error', reject);
    sending.end(type === '' ? undefined : body);
  });
}

function shown(sent: Sent): string {
  return `${sent.method} ${sent.path.slice(0, 200)} ${sent.type} ${JSON.stringify(sent.body.toString('latin1').slice(0, 300))}`;
}

async function check(sent: Sent): Promise<void> {
  const { status, body } = await send(sent);
  assert.ok(status >= 200 && status < 500, `${status} for ${shown(sent)}: ${body}`);
  if (status < 400 || sent.method === 'HEAD') return;
  const answer = JSON.parse(body) as { kind?: string; status?: string; code?: number; message?: string };
  assert.deepEqual([answer.kind, answer.status, answer.code], ['Status', 'Failure', status], shown(sent));
  assert.notEqual(answer.message ?? '', '', shown(sent));
}

async function unharmed(): Promise<void> {
  assert.deepEqual(failures, []);
  assert.equal(Object.keys(Object.prototype).length, 0);
  const ready = await send({ method: 'GET', path: '/readyz', type: '', body: Buffer.of() });
  assert.deepEqual(ready, { status: 200, body: 'ok' });
}

test('each bad request of the corpus is answered with a Status', async () => {
  for (const sent of corpus) await check(sent);
  await unharmed();
});

test(`mutations of the corpus (seed ${seed})`, async () => {
  const random = randomOf(seed);
  const all = Array.from({ length: count }, () => mutated(corpus[random(corpus.length)] ?? fallback, random));
  const queue = all.values();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (const sent of queue) await check(sent);
    }),
  );
  await unharmed();
});

const fallback: Sent = { method: 'GET', path: '/', type: '', body: Buffer.of() };

test('a body that is too large, announced or not, is refused with 413', async () => {
  const path = '/api/v1/namespaces/default/configmaps';
  const body = Buffer.alloc(3 * 1024 * 1024 + 1, 'a');
  const announced = await send({ method: 'POST', path, type: 'application/json', body });
  assert.equal(announced.status, 413);
  assert.equal((JSON.parse(announced.body) as { reason?: string }).reason, 'RequestEntityTooLarge');
  await unharmed();
});

test('a body that does not come is given up with 408', async () => {
  const socket = connect({
    host: '127.0.0.1',
    port: server.port,
    ca: server.pki.server.caCert,
    cert: server.admin.certificate,
    key: server.admin.key,
    ALPNProtocols: ['http/1.1'],
  });
  await once(socket, 'secureConnect');
  socket.write(
    'POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
  );
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(socket, 'close');
  assert.match(text, /^HTTP\/1\.1 408 /);
  await unharmed();
});
