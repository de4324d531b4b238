/** HPACK and frames against node:http2 (nghttp2) as the other end, in memory. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import type { HeaderList } from './hpack-decode.ts';
import { Http2Session, type SessionHandler } from './http2-session.ts';
import type { Http2Stream } from './http2-stream.ts';
import { defaultLimits, http2Options } from '../proxy/limits.ts';

type Fields = readonly (readonly [string, string])[];

const seldom = fc.string({
  unit: fc.constantFrom('a', 'b', 'Z', '0', '-', '_', '/', ' ', '%', '~', '"', '{'),
  maxLength: 300,
});
const field = fc.tuple(
  fc.constantFrom('x-a', 'x-b', 'x-c', 'accept', 'user-agent', 'cache-control', 'x-long'),
  fc.oneof(
    fc.constantFrom('', 'a', 'no-cache', 'gzip'),
    seldom.map((text) => text.trim()),
  ),
);
/** What goes on one connection, one after the other: tables fill up and turn over. */
const rounds = fc.array(fc.uniqueArray(field, { selector: ([name]) => name, maxLength: 7 }), {
  minLength: 1,
  maxLength: 12,
});

function pairsOf(headers: IncomingHttpHeaders): string[] {
  return Object.entries(headers)
    .filter(([name]) => !name.startsWith(':') && name !== 'date')
    .map(([name, value]) => `${name}: ${String(value)}`)
    .toSorted();
}

function wanted(fields: Fields): string[] {
  return fields.map(([name, value]) => `${name}: ${value}`).toSorted();
}

function listed(list: HeaderList): string[] {
  return list.fields
    .filter(({ name }) => !name.startsWith(':') && name !== 'date')
    .map(({ name, value }) => `${name}: ${value}`)
    .toSorted();
}

const nothing: SessionHandler = {
  onRequest() {},
  onGoaway() {},
  onSettings() {},
  onPong() {},
  onStreamClosed() {},
  onFailure(code, reason) {
    throw new Error(`failed: ${code} ${reason}`);
  },
};

test('http2 peer: as a server, fields reach and leave a client of node:http2 as they are', async () => {
  await fc.assert(
    fc.asyncProperty(rounds, async (sent) => {
      const [near, far] = duplexPair();
      const read: string[][] = [];
      const answer = (stream: Http2Stream, fields: HeaderList): void => {
        read.push(listed(fields));
        const block = session.send.beginBlock();
        session.send.encoder.line(block, ':status: 200');
        for (const [name, value] of sent[read.length - 1] ?? [])
          session.send.encoder.line(block, `${name}: ${value}`);
        session.send.sendBlock(stream, true);
      };
      const session = new Http2Session(http2Options(defaultLimits, 'server'), {
        ...nothing,
        onRequest: answer,
      });
      const flush = (): void => {
        const bytes = session.send.out.take();
        if (bytes !== undefined) far.write(bytes);
      };
      far.on('data', (data: Buffer) => {
        session.receive(data, 1);
        flush();
      });
      flush();
      const client = connect('http://peer.example', { createConnection: () => near });
      for (const fields of sent) {
        const stream = client.request({ ':path': '/', ...Object.fromEntries(fields) });
        const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
        assert.deepEqual(pairsOf(headers), wanted(fields));
        stream.close();
      }
      client.destroy();
      assert.deepEqual(read, sent.map(wanted));
    }),
    { numRuns: 25 },
  );
});

test('http2 peer: as a client, fields and trailers reach and leave a server of node:http2 as they are', async () => {
  await fc.assert(
    fc.asyncProperty(rounds, async (sent) => {
      const [near, far] = duplexPair();
      const server = createServer();
      const read: string[][] = [];
      server.on('stream', (stream: ServerHttp2Stream, headers) => {
        const fields = sent[read.length] ?? [];
        read.push(pairsOf(headers));
        stream.respond({ ':status': 200, ...Object.fromEntries(fields) }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }));
        stream.end('body');
      });
      server.emit('connection', far);
      const session = new Http2Session(http2Options(defaultLimits, 'client'), nothing);
      const flush = (): void => {
        const bytes = session.send.out.take();
        if (bytes !== undefined) near.write(bytes);
      };
      near.on('data', (data: Buffer) => {
        session.receive(data, 1);
        flush();
      });
      flush();
      for (const fields of sent) {
        const got = await new Promise<{ fields: string[]; trailers: string[]; body: string }>(
          (resolve, reject) => {
            const stream = session.open()!;
            const seen = { fields: [] as string[], trailers: [] as string[], body: '' };
            stream.handler = {
              onHead: (list) => {
                stream.headDone = true;
                seen.fields = listed(list);
              },
              onBody: (data, start, end) => {
                seen.body += data.toString('latin1', start, end);
                session.credit(stream, end - start);
              },
              onTrailers: (list) => {
                seen.trailers = listed(list);
              },
              onEnd: () => resolve(seen),
              onDrain: () => {},
              onReset: (code) => reject(new Error(`reset ${code}`)),
            };
            const { send } = session;
            const block = send.beginBlock();
            for (const line of [':method: GET', ':scheme: http', ':authority: peer.example', ':path: /']) {
              send.encoder.line(block, line);
            }
            for (const [name, value] of fields) send.encoder.line(block, `${name}: ${value}`);
            send.sendBlock(stream, true);
            flush();
          },
        );
        assert.deepEqual(got, { fields: wanted(fields), trailers: ['x-end: yes'], body: 'body' });
      }
      assert.deepEqual(read, sent.map(wanted));
      near.destroy();
    }),
    { numRuns: 25 },
  );
});
