/** Asking other servers: what they say, what they do not say, what strangers say in their place, and how much of it. */
import assert from 'node:assert/strict';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { describe, test } from 'node:test';
import packet from 'dns-packet';
import { forwardLimits } from '../../src/dns/forward.ts';
import { get } from '../support/load.ts';
import { eventually } from '../support/shell.ts';
import { dig, noDig, type RunningDns, seeded, short, start } from './dns-server.ts';
import { startUpstream } from './dns-upstream.ts';

type Heard = { readonly query: packet.DecodedPacket; readonly from: RemoteInfo };

/** A server on loopback that does with datagrams what it likes. */
async function startRaw(
  hear: (heard: Heard, send: (bytes: Buffer) => void) => void,
  host: '127.0.0.1' | '::1' = '127.0.0.1',
): Promise<{ readonly host: string; readonly port: number; readonly heard: Heard[]; close(): void }> {
  const socket = createSocket(host === '::1' ? 'udp6' : 'udp4');
  const heard: Heard[] = [];
  socket.on('message', (bytes, from) => {
    const one = { query: packet.decode(bytes), from };
    heard.push(one);
    hear(one, (answer) => socket.send(answer, from.port, from.address));
  });
  await new Promise<void>((done) => socket.bind(0, host, done));
  return { host, port: socket.address().port, heard, close: () => socket.close() };
}

function answerTo({ query }: Heard, data: string, changed: Partial<packet.Packet> = {}): Buffer {
  const { id = 0, questions = [] } = query;
  const name = questions[0]?.name ?? '';
  return packet.encode({
    ...{ type: 'response', id, questions, flags: packet.RECURSION_AVAILABLE },
    answers: [{ type: 'A', name, ttl: 60, data }],
    ...changed,
  });
}

async function metric(server: RunningDns, name: string): Promise<number> {
  const { body } = await get(`http://127.0.0.1:${server.healthPort}/metrics`);
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, 'm').exec(body)?.[1] ?? Number.NaN);
}

/** Sends all questions at once and resolves to the answers' codes and addresses by name, when all have come. */
async function askAll(
  server: RunningDns,
  names: readonly string[],
  from: string = '127.0.0.1',
): Promise<ReadonlyMap<string, string>> {
  const socket: Socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  await new Promise<void>((done) => socket.bind(0, from, done));
  const told = new Map<string, string>();
  const all = Promise.withResolvers<void>();
  socket.on('message', (bytes) => {
    const {
      questions = [],
      answers = [],
      rcode,
    } = packet.decode(bytes) as packet.DecodedPacket & {
      readonly rcode: string;
    };
    const [record] = answers;
    told.set(questions[0]?.name ?? '', record?.type === 'A' ? record.data : rcode);
    if (told.size === names.length) all.resolve();
  });
  for (const [id, name] of names.entries()) {
    const query = packet.encode({
      ...{ type: 'query', id, flags: packet.RECURSION_DESIRED },
      questions: [{ type: 'A', name }],
    });
    socket.send(query, server.port, '127.0.0.1');
  }
  try {
    await all.promise;
  } finally {
    socket.close();
  }
  return told;
}

describe('dns asking others', { skip: noDig, timeout: 300_000 }, () => {
  test('a burst of names is answered, each with its own answer, by ports and ids of chance', async () => {
    const upstream = await startRaw((heard, send) => {
      const number = Number(/^n(\d+)\./.exec(heard.query.questions?.[0]?.name ?? '')?.[1]);
      send(answerTo(heard, `192.0.${number >> 8}.${number & 255}`));
    });
    const server = await start(seeded(), [upstream]);
    try {
      const names = Array.from({ length: 800 }, (_, index) => `n${index}.example.com`);
      // In several turns, for those of one turn share a port.
      for (let from = 0; from < names.length; from += 50) {
        for (const [name, told] of await askAll(server, names.slice(from, from + 50))) {
          const number = Number(name.slice(1).split('.')[0]);
          assert.equal(told, `192.0.${number >> 8}.${number & 255}`, name);
        }
      }
      const ports = new Set(upstream.heard.map(({ from }) => from.port));
      assert.ok(ports.size > 1, 'more than one port');
      const ids = upstream.heard.map(({ query }) => query.id ?? 0);
      assert.ok(new Set(ids).size > 700, 'ids differ');
      const steps = new Set(ids.slice(1).map((id, index) => (id - (ids[index] ?? 0)) & 0xffff));
      assert.ok(steps.size > 300, 'and do not follow one another');
    } finally {
      await server.stop();
      upstream.close();
    }
  });

  for (const host of ['::1', '::1%lo']) {
    // An address with a zone has no plain form: such a server is asked datagram by datagram.
    test(`a server at ${host} is asked`, async () => {
      const upstream = await startRaw((heard, send) => send(answerTo(heard, '192.0.2.1')), '::1');
      const server = await start(seeded(), [{ host, port: upstream.port }]);
      try {
        const names = Array.from({ length: 100 }, (_, index) => `n${index}.example.com`);
        assert.deepEqual(new Set((await askAll(server, names)).values()), new Set(['192.0.2.1']));
      } finally {
        await server.stop();
        upstream.close();
      }
    });
  }

  test('an answer with another id, to another question, or no answer at all is not taken', async () => {
    const upstream = await startRaw((heard, send) => {
      const { id = 0, questions = [] } = heard.query;
      const forged = '203.0.113.66';
      send(answerTo(heard, forged, { id: id ^ 1 }));
      send(answerTo(heard, forged, { questions: [{ type: 'A', name: 'www.example.org' }] }));
      send(answerTo(heard, forged, { questions: [{ type: 'AAAA', name: questions[0]?.name ?? '' }] }));
      send(answerTo(heard, forged, { type: 'query' }));
      send(answerTo(heard, forged).subarray(0, -3));
      send(Buffer.from([id >> 8, id & 255]));
      send(Buffer.alloc(0));
      send(answerTo(heard, '192.0.2.1'));
    });
    const server = await start(seeded(), [upstream]);
    try {
      assert.deepEqual(await short(server, 'www.example.com A'), ['192.0.2.1']);
      assert.equal(upstream.heard.length, 1, 'asked once');
    } finally {
      await server.stop();
      upstream.close();
    }
  });

  test('an answer from another address or port is not taken', async () => {
    const stranger = createSocket('udp4');
    const upstream = await startRaw((heard, send) => {
      stranger.send(answerTo(heard, '203.0.113.66'), heard.from.port, '127.0.0.1', () =>
        send(answerTo(heard, '192.0.2.1')),
      );
    });
    const server = await start(seeded(), [upstream]);
    try {
      assert.deepEqual(await short(server, 'www.example.com A'), ['192.0.2.1']);
    } finally {
      await server.stop();
      upstream.close();
      stranger.close();
    }
  });

  test('a datagram that is lost is asked again', async () => {
    const upstream = await startRaw((heard, send) => {
      if (upstream.heard.length > 1) send(answerTo(heard, '192.0.2.1'));
    });
    const server = await start(seeded(), [upstream]);
    try {
      assert.deepEqual(await short(server, 'www.example.com A'), ['192.0.2.1']);
      assert.ok(upstream.heard.length > 1);
    } finally {
      await server.stop();
      upstream.close();
    }
  });

  test('a server that failed is asked after the others, and first again when a probe was answered', async () => {
    let isUp = false;
    const first = await startRaw((heard, send) => {
      if (isUp) send(answerTo(heard, '192.0.2.1'));
    });
    const second = await startRaw((heard, send) => send(answerTo(heard, '192.0.2.2')));
    const server = await start(seeded(), [first, second]);
    const askedFor = (name: string): boolean =>
      first.heard.some(({ query }) => query.questions?.[0]?.name === name);
    try {
      assert.deepEqual(await short(server, 'a.example.com A'), ['192.0.2.2']);
      assert.deepEqual(await short(server, 'b.example.com A'), ['192.0.2.2']);
      assert.deepEqual([askedFor('a.example.com'), askedFor('b.example.com')], [true, false]);
      await eventually(async () =>
        assert.ok((await metric(server, 'coredns_proxy_healthcheck_failures_total')) > 0),
      );
      isUp = true;
      let round = 0;
      await eventually(async () =>
        assert.deepEqual(await short(server, `back${++round}.example.com A`), ['192.0.2.1']),
      );
    } finally {
      await server.stop();
      first.close();
      second.close();
    }
  });

  test('a server at whose port nobody listens is passed over at once', async () => {
    const closed = await startUpstream(() => undefined);
    await closed.close();
    const good = await startRaw((heard, send) => send(answerTo(heard, '192.0.2.2')));
    const server = await start(seeded(), [{ host: '127.0.0.1', port: closed.port }, good]);
    try {
      const told = await askAll(
        server,
        Array.from({ length: 100 }, (_, index) => `n${index}.example.com`),
      );
      assert.deepEqual(new Set(told.values()), new Set(['192.0.2.2']));
    } finally {
      await server.stop();
      good.close();
    }
  });

  test('more questions than may be under way are failed at once, the others are answered', async () => {
    const held: (() => void)[] = [];
    let isHolding = true;
    const upstream = await startRaw((heard, send) => {
      const release = (): void => send(answerTo(heard, '192.0.2.1'));
      if (isHolding) held.push(release);
      else release(); // asked again meanwhile
    });
    const server = await start(seeded(), [upstream], { clientQueriesPerSecond: 0 });
    try {
      const names = Array.from({ length: forwardLimits.inFlightMax }, (_, index) => `n${index}.example.com`);
      const told: Promise<ReadonlyMap<string, string>>[] = [];
      // Each once, though it may be asked again while it waits.
      const asked = () => new Set(upstream.heard.map(({ query }) => query.questions?.[0]?.name)).size;
      // Not more at once than a socket's buffer holds.
      for (let from = 0; from < names.length; from += 100) {
        told.push(askAll(server, names.slice(from, from + 100)));
        await eventually(() => assert.ok(asked() >= from + 100), { everyMs: 1 });
      }
      const refused = await askAll(
        server,
        Array.from({ length: 50 }, (_, index) => `more${index}.example.com`),
      );
      assert.deepEqual(new Set(refused.values()), new Set(['SERVFAIL']));
      assert.equal(await metric(server, 'coredns_forward_max_concurrent_rejects_total'), 50);
      isHolding = false;
      for (const release of held) release();
      for (const part of await Promise.all(told)) {
        assert.deepEqual(new Set(part.values()), new Set(['192.0.2.1']));
      }
    } finally {
      await server.stop();
      upstream.close();
    }
  });

  test('what is passed on keeps its records, and says what we say of ourselves', async () => {
    const upstream = await startRaw((heard, send) => {
      const name = heard.query.questions?.[0]?.name ?? '';
      if (name === 'gone.example.com') {
        const data = {
          mname: 'ns.example.com',
          rname: 'h.example.com',
          serial: 1,
          refresh: 2,
          retry: 3,
          expire: 4,
          minimum: 30,
        };
        send(
          answerTo(heard, '', {
            flags: 3,
            answers: [],
            authorities: [{ type: 'SOA', name: 'example.com', ttl: 30, data }],
          }),
        );
        return;
      }
      send(
        answerTo(heard, '', {
          flags: packet.AUTHORITATIVE_ANSWER | packet.AUTHENTIC_DATA,
          answers: [
            { type: 'CNAME', name, ttl: 60, data: 'web.example.com' },
            { type: 'A', name: 'web.example.com', ttl: 50, data: '192.0.2.7' },
          ],
          authorities: [{ type: 'NS', name: 'example.com', ttl: 40, data: 'ns.example.com' }],
        }),
      );
    });
    const server = await start(seeded(), [upstream]);
    try {
      for (const how of ['+noedns', '+edns', '+tcp', '+noedns', '+edns']) {
        const told = await dig(server, `WwW.Example.com A ${how}`);
        assert.match(told, /flags: qr rd ra( ad)?;/);
        assert.match(told, /;WwW\.Example\.com\.\s+IN\s+A/);
        assert.match(
          told,
          /example\.com\.\s+\d+\s+IN\s+CNAME\s+web\.example\.com\.\nweb\.example\.com\.\s+\d+\s+IN\s+A\s+192\.0\.2\.7/i,
        );
        assert.match(told, /example\.com\.\s+\d+\s+IN\s+NS\s+ns\.example\.com\./);
        assert.equal(/OPT PSEUDOSECTION/.test(told), how !== '+noedns', how);
      }
      assert.equal(upstream.heard.length, 1, 'asked once');
      assert.match(
        await dig(server, 'gone.example.com A'),
        /status: NXDOMAIN[^]*IN\s+SOA\s+ns\.example\.com/,
      );
    } finally {
      await server.stop();
      upstream.close();
    }
  });
});
