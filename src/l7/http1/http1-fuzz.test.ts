/**
 * The HTTP/1 side of the proxy under a corpus of broken requests and mutations of it, on a network of this test's own. FUZZ_SEED and
 * FUZZ_COUNT repeat or lengthen a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { corpus, mutate, type Random, randomOf } from '../../../test/support/http1-corpus.ts';
import { objectKey } from '../../api/object.ts';
import { defaultBalance } from '../balance/balance-policy.ts';
import { BodyFramer } from './http1-body.ts';
import { FieldLines } from './http1-fields.ts';
import { findHeadEnd, parseRequestHead } from './http1-parse.ts';
import { defaultLimits } from '../proxy/limits.ts';
import { ProxyWorker } from '../proxy/proxy-worker.ts';
import { emptyRouteTable, type Route } from '../routes/table.ts';
import type { Connection, ConnectionHandler, Transport } from '../transport/transport.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127);
const count = Number(process.env['FUZZ_COUNT'] ?? 3000);

const route: Route = {
  ingress: objectKey('default', 'web'),
  host: '',
  path: '/',
  pathType: 'Prefix',
  pattern: undefined,
  backend: 0,
  policy: undefined,
};

const table = {
  ...emptyRouteTable,
  backends: [
    {
      id: 'default/web:80',
      key: 'default/web:80',
      index: 0,
      endpoints: [{ address: '10.0.0.1', port: 80 }],
      tls: undefined,
      protocol: 'http1' as const,
      answer: undefined,
      balance: defaultBalance,
    },
  ],
  defaultRoute: route,
};

class Pipe implements Connection {
  readonly remoteAddress = '192.0.2.1';
  readonly chunks: Buffer[] = [];
  ended = false;

  write(data: Buffer | string): boolean {
    this.chunks.push(typeof data === 'string' ? Buffer.from(data, 'latin1') : Buffer.from(data));
    return true;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.ended = true;
  }

  pause(): void {}

  resume(): void {}

  bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

type Upstream = { readonly pipe: Pipe; readonly handler: ConnectionHandler; read: number };

/** What one request as forwarded is, by our own parser; undefined: not whole. */
function nextRequest(
  bytes: Buffer,
  from: number,
): { readonly line: string; readonly end: number } | undefined {
  const headEnd = findHeadEnd(bytes, from, bytes.length);
  if (headEnd === -1) return undefined;
  const head = parseRequestHead(bytes, from, headEnd, new FieldLines(200));
  assert.ok(
    head.kind === 'request',
    `forwarded bytes must be a request: ${head.kind === 'failure' ? head.reason : ''}`,
  );
  const framer = new BodyFramer();
  framer.begin(head.body, head.contentLength);
  const end = framer.consume(bytes, headEnd, bytes.length);
  assert.equal(framer.failure, undefined, 'a forwarded body must be well framed');
  if (!framer.done) return undefined;
  return { line: `${head.method} ${head.target} ${bytes.toString('latin1', headEnd, end)}`, end };
}

/** Sends the pieces through a worker whose backend answers each whole request with 204; returns what each side has seen. */
function exchange(pieces: readonly Buffer[]) {
  const clock = new FakeClock();
  const upstreams: Upstream[] = [];
  const opened: Upstream[] = [];
  const transport: Transport = {
    connect(_address, _port, handler) {
      const upstream = { pipe: new Pipe(), handler, read: 0 };
      upstreams.push(upstream);
      opened.push(upstream);
      return upstream.pipe;
    },
  };
  const worker = new ProxyWorker(transport, clock, { limits: defaultLimits, isTrusted: () => false });
  worker.publish(table);
  const client = new Pipe();
  const handler = worker.accept(client, { scheme: 'http', protocol: '' });
  assert.ok(handler !== undefined);
  const requests: string[] = [];
  const serve = (): void => {
    for (let moved = true; moved; ) {
      moved = false;
      for (const upstream of opened.splice(0)) {
        if (!upstream.pipe.ended) upstream.handler.onConnect('');
        moved = true;
      }
      for (const upstream of upstreams) {
        const request = nextRequest(upstream.pipe.bytes(), upstream.read);
        if (request === undefined || upstream.pipe.ended) continue;
        upstream.read = request.end;
        requests.push(request.line);
        upstream.handler.onData(Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'));
        moved = true;
      }
    }
  };
  for (const piece of pieces) {
    if (client.ended) break;
    handler.onData(Buffer.from(piece));
    serve();
  }
  const answers = client.bytes().toString('latin1');
  worker.close();
  return { requests, answers };
}

function split(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random(random(2) === 0 ? 3 : 60);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Reads in a fixed way, so that two runs that differ only in how bytes came can be compared. */
function check(bytes: Buffer, random: Random): void {
  const whole = exchange([bytes]);
  const parts = exchange(split(bytes, random));
  assert.deepEqual(parts.requests, whole.requests, 'what is forwarded does not depend on how the bytes came');
  // Of two faults in one head the one that comes first in time is told, so which refusal it is may differ.
  const statuses = (text: string): string[] =>
    [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) =>
      status >= '400' ? 'refused' : status,
    );
  assert.deepEqual(statuses(parts.answers), statuses(whole.answers));
}

for (const { name, bytes } of corpus) {
  test(`l7 http1 fuzz: ${name} is read alike in whatever pieces, and what goes on is well formed`, () => {
    const random = randomOf(seed);
    for (let turn = 0; turn < 5; turn += 1) check(bytes, random);
    check(bytes, () => 0); // byte by byte
  });
}

test(`l7 http1 fuzz: ${count} mutations from seed ${seed}`, () => {
  const random = randomOf(seed);
  for (let turn = 0; turn < count; turn += 1) {
    const { name, bytes } = mutate(random);
    try {
      check(bytes, random);
    } catch (error) {
      throw new Error(`turn ${turn}, ${name}: ${JSON.stringify(bytes.toString('latin1'))}`, { cause: error });
    }
  }
});

const smuggling: readonly (readonly [string, number, readonly string[]])[] = [
  ['cl-te', 0, ['400']],
  ['te-cl', 0, ['400']],
  ['cl-cl-same', 0, ['400']],
  ['te-folded', 0, ['400']],
  ['te-after-lf', 0, ['400']],
  ['te-null', 0, ['400']],
  ['te-space-before-colon', 0, ['400']],
  ['chunk-size-0x', 0, ['400']],
  ['chunk-data-longer', 0, ['400']],
  ['trailer-cl', 0, ['400']],
  ['get-body-is-request', 1, ['204']],
  ['two-pipelined', 2, ['204', '204']],
];

for (const [name, forwarded, answered] of smuggling) {
  test(`l7 http1 fuzz: of ${name} ${forwarded} requests reach the backend`, () => {
    const found = corpus.find((one) => one.name === name);
    assert.ok(found !== undefined);
    const { requests, answers } = exchange([found.bytes]);
    assert.equal(requests.length, forwarded);
    assert.deepEqual(
      [...answers.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]),
      answered,
    );
  });
}
