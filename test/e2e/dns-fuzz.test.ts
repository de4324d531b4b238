/**
 * Malformed packets never hurt: a corpus and seeded mutations of it against a real server on UDP and TCP. After all of
 * them the server still answers, and nothing has failed inside. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import packet from 'dns-packet';
import { configMaps, endpointSlices, events, namespaces, pods, services } from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import { type DnsAddresses, runDns } from '../../src/dns/run.ts';
import { FakeApi } from '../support/fake-api.ts';
import { get } from '../support/load.ts';
import { serviceOf, sliceOf } from '../support/services.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20260131);
const count = Number(process.env['FUZZ_COUNT'] ?? 4000);
const answersCount = Math.ceil(count / 10);

const corpus: readonly (readonly [name: string, bytes: Buffer])[] = readFileSync(
  new URL('../corpus/dns/queries.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name = '', hex = ''] = line.split(' ');
    return [name, Buffer.from(hex, 'hex')];
  });

/** Numbers below `below`, the same for the same seed. */
function randomOf(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A packet of the corpus with bytes changed, cut, doubled or joined with another's. */
function mutate(random: (below: number) => number): Buffer {
  const pick = (): Buffer => corpus[random(corpus.length)]?.[1] ?? Buffer.alloc(0);
  let bytes = Buffer.from(pick());
  for (let steps = 1 + random(4); steps > 0; steps--) {
    const at = bytes.length === 0 ? 0 : random(bytes.length);
    switch (random(4)) {
      case 0:
        if (bytes.length > 0) bytes[at] = random(256);
        break;
      case 1:
        bytes = bytes.subarray(0, at);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at), bytes.subarray(at)]);
        break;
      default: {
        const other = pick();
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(random(other.length + 1))]);
      }
    }
  }
  return bytes.subarray(0, 4000);
}

/** An answer with bytes behind its id changed, or cut. */
function mangled(good: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(good);
  for (let steps = 1 + random(6); steps > 0; steps--) {
    const at = 2 + random(bytes.length - 2);
    if (random(4) === 0 && at > 12) bytes = bytes.subarray(0, at);
    else bytes[at] = random(256);
  }
  return bytes;
}

type SpoilingUpstream = {
  readonly port: number;
  /** What is sent before the good answer. */
  spoil: (good: Buffer) => Buffer;
  close(): void;
};

async function startSpoiling(): Promise<SpoilingUpstream> {
  const socket = createSocket('udp4');
  const holder: { spoil: (good: Buffer) => Buffer } = { spoil: (good) => good };
  socket.on('message', (query, from) => {
    const { id = 0, questions = [] } = packet.decode(query);
    const name = questions[0]?.name ?? '';
    const good = packet.encode({
      ...{ type: 'response', id, questions, flags: packet.RECURSION_AVAILABLE },
      answers: [
        { type: 'CNAME', name, ttl: 60, data: 'web.example.com' },
        { type: 'A', name: 'web.example.com', ttl: 60, data: '192.0.2.1' },
      ],
      authorities: [{ type: 'NS', name: 'example.com', ttl: 60, data: 'ns.example.com' }],
    });
    for (let sent = 0; sent < 5; sent++) socket.send(holder.spoil(good), from.port, from.address);
    socket.send(good, from.port, from.address);
  });
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
  return Object.assign(holder, { port: socket.address().port, close: () => socket.close() });
}

describe('dns under malformed packets', { timeout: 300_000 }, () => {
  let server: DnsAddresses;
  let upstream: SpoilingUpstream;
  const stop = new AbortController();
  let finished: Promise<void>;

  before(async () => {
    const api = new FakeApi({ resources: [services, endpointSlices, namespaces, pods, configMaps, events] });
    api.seed(namespaces, { metadata: { name: 'default' } });
    api.seed(services, serviceOf('web', '10.43.0.80'), serviceOf('db', 'None'));
    api.seed(endpointSlices, sliceOf('db', ['10.42.0.5', '10.42.0.6']));
    upstream = await startSpoiling();
    const ready = Promise.withResolvers<DnsAddresses>();
    const host = '127.0.0.1';
    finished = runDns(
      {
        listen: [{ host, port: 0 }],
        clusterDomain: 'cluster.local',
        upstreams: [{ host, port: upstream.port }],
        ttlSeconds: 5,
        healthAddress: { host, port: 0 },
        clientQueriesPerSecond: 0,
        podsVerified: true,
        autopath: true,
      },
      api,
      silentLogger,
      stop.signal,
      { onReady: ready.resolve },
    );
    finished.catch(ready.reject);
    server = await ready.promise;
  });

  after(async () => {
    stop.abort();
    await finished;
    upstream.close();
  });

  const panics = async (): Promise<string | undefined> => {
    const { body } = await get(`http://127.0.0.1:${server.healthPort}/metrics`);
    return /^coredns_panics_total (\d+)$/m.exec(body)?.[1];
  };

  test(`UDP: the corpus and ${count} mutations of it (seed ${seed})`, async () => {
    const socket = createSocket('udp4');
    const valid = (id: number): Buffer =>
      packet.encode({ type: 'query', id, questions: [{ type: 'A', name: 'web.default.svc.cluster.local' }] });
    const answers = new Map<number, (answer: Buffer) => void>();
    socket.on('message', (bytes) => {
      assert.ok((bytes[2] ?? 0) & 0x80, 'whatever comes back is an answer');
      if (bytes.length >= 60) answers.get(bytes.readUInt16BE(0))?.(bytes);
    });
    const random = randomOf(seed);
    const all = [...corpus.map(([, bytes]) => bytes), ...Array.from({ length: count }, () => mutate(random))];
    try {
      // A valid query behind every hundred: its answer shows that those before it were taken.
      for (let from = 0, id = 40_000; from < all.length; from += 100, id++) {
        for (const bytes of all.slice(from, from + 100)) socket.send(bytes, server.port, '127.0.0.1');
        const answer = Promise.withResolvers<Buffer>();
        answers.set(id, answer.resolve);
        socket.send(valid(id), server.port, '127.0.0.1');
        const [record] = packet.decode(await answer.promise).answers ?? [];
        assert.equal(record?.type === 'A' && record.data, '10.43.0.80');
      }
    } finally {
      socket.close();
    }
    assert.equal(await panics(), '0');
  });

  test(`answers of others: ${answersCount} mutations before each good one (seed ${seed})`, async () => {
    const random = randomOf(seed + 1);
    const socket = createSocket('udp4');
    const told = new Map<number, (answer: Buffer) => void>();
    socket.on('message', (bytes) => told.get(bytes.readUInt16BE(0))?.(bytes));
    try {
      for (let id = 1; id <= answersCount; id++) {
        upstream.spoil = (good) => mangled(good, random);
        const answer = Promise.withResolvers<Buffer>();
        told.set(id, answer.resolve);
        const query = packet.encode({
          ...{ type: 'query', id },
          questions: [{ type: 'A', name: `n${id}.example.com` }],
        });
        socket.send(query, server.port, '127.0.0.1');
        // A mutation may be a good answer, too, of other records or none: what counts is that an answer comes.
        const bytes = await answer.promise;
        assert.ok(bytes.subarray(12).indexOf(query.subarray(12)) === 0, 'with the question that was asked');
      }
    } finally {
      socket.close();
    }
    assert.equal(await panics(), '0');
  });

  test('TCP: each packet of the corpus on a connection of its own, and raw bytes without length', async () => {
    for (const [name, bytes] of corpus) {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      for (const message of [Buffer.concat([length, bytes]), bytes]) {
        const socket = connect({ host: '127.0.0.1', port: server.port });
        socket.end(message);
        socket.resume();
        await new Promise<void>((done) => {
          socket.on('error', () => {}); // closed by the server: its right, for what is no query
          socket.on('close', () => done());
        });
        assert.ok(socket.destroyed, name);
      }
    }
    assert.equal(await panics(), '0');
  });
});
