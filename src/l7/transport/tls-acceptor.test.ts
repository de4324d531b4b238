/** TLS of clients by OpenSSL called through FFI, without sockets: node:tls speaks to it by a pipe. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { helloCorpus, mutateHello } from '../../../test/support/client-hellos.ts';
import { randomOf } from '../../../test/support/http1-corpus.ts';
import { createTestPki } from '../../../test/support/pki.ts';
import { answersUntakenMax, DecryptedConnection, type TlsMemory } from './decrypted-connection.ts';
import { openOpenSsl } from './openssl.ts';
import { OpenSslMemory } from './openssl-memory.ts';
import { acceptTls } from './tls-acceptor.ts';
import type { AcceptedFrom, Connection, ConnectionHandler } from './transport.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127);
const count = Number(process.env['FUZZ_COUNT'] ?? 100);
const options = { timeout: 60_000 };

const pki = await createTestPki();
const [first, second] = await Promise.all([pki.serving('first'), pki.serving('second')]);
const memory = new OpenSslMemory(openOpenSsl());

/** What `accept` gives to: it echoes, and notes what it is told. */
class Echo implements ConnectionHandler {
  readonly connection: Connection;
  readonly from: AcceptedFrom;
  readonly told: string[] = [];

  constructor(connection: Connection, from: AcceptedFrom) {
    this.connection = connection;
    this.from = from;
  }

  onConnect(): void {}
  onData(data: Buffer): void {
    if (!this.connection.write(Buffer.from(data))) this.told.push('full');
  }
  onDrain(): void {
    this.told.push('drain');
  }
  onFinish(): void {
    this.told.push('finish');
  }
  onEnd(): void {
    this.told.push('end');
    this.connection.end();
  }
  onClose(error: string | undefined): void {
    this.told.push(`close ${error ?? 'in peace'}`);
  }
}

/** A raw connection as the ring's: it copies what is written, and turns end. Its peer is `wire`. */
class Raw implements Connection {
  readonly remoteAddress = '192.0.2.1';
  readonly copies = true;
  readonly wire: Duplex;
  handler: ConnectionHandler | undefined;
  isClosed = false;
  isBelowMark = true;
  #turnEnd: (() => void)[] = [];

  /** @param cut how what the peer says arrives */
  constructor(cut: (data: Buffer) => readonly Buffer[] = (data) => [data]) {
    this.wire = new Duplex({
      read() {},
      write: (chunk: Buffer, _, callback) => {
        for (const piece of cut(chunk)) this.arrive(piece);
        callback();
      },
      final: (callback) => {
        if (!this.isClosed) this.handler?.onEnd();
        this.endTurn();
        callback();
      },
    });
    this.wire.on('error', () => {});
  }

  arrive(data: Buffer): void {
    if (!this.isClosed) this.handler?.onData(data);
    this.endTurn();
  }

  endTurn(): void {
    while (this.#turnEnd.length > 0) this.#turnEnd.shift()?.();
  }

  atTurnEnd(callback: () => void): void {
    this.#turnEnd.push(callback);
  }

  write(data: Buffer | string): boolean {
    if (!this.isClosed) this.wire.push(Buffer.from(data as Buffer));
    return this.isBelowMark;
  }

  end(): void {
    if (!this.isClosed) this.wire.push(null);
    queueMicrotask(() => {
      if (!this.isClosed) this.handler?.onFinish();
    });
  }

  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    queueMicrotask(() => this.handler?.onClose(undefined));
    this.wire.push(null);
  }

  /** The network has lost it. */
  lose(): void {
    this.isClosed = true;
    this.handler?.onClose('ECONNRESET');
    this.endTurn();
    this.wire.destroy();
  }

  pause(): void {}
  resume(): void {}
}

let shownPair = first;
const source = {
  pairFor: () => shownPair,
  ticketKeys: () => Buffer.alloc(48, 1),
  looksAtHellos: false,
  passesThrough: () => false,
  clientTlsFor: () => undefined,
};
const accepted: Echo[] = [];
const errors: Error[] = [];
const acceptor = acceptTls(
  {
    accept: (connection, from) => {
      const echo = new Echo(connection, from);
      accepted.push(echo);
      return echo;
    },
  },
  memory,
  source,
  { protocols: ['h2', 'http/1.1'], onError: (error) => errors.push(error) },
);

function open(cut?: (data: Buffer) => readonly Buffer[]): Raw {
  const raw = new Raw(cut);
  raw.handler = acceptor.accept(raw, { scheme: 'https', protocol: '' });
  return raw;
}

async function dial(raw: Raw, how: ConnectionOptions = {}): Promise<{ client: TLSSocket; echo: Echo }> {
  const before = accepted.length;
  const client = connect({ socket: raw.wire, rejectUnauthorized: false, ...how });
  client.on('error', () => {});
  await once(client, 'secureConnect');
  while (accepted.length === before) await new Promise(setImmediate);
  return { client, echo: accepted.at(-1)! };
}

async function echoed(client: TLSSocket, data: Buffer): Promise<void> {
  const chunks: Buffer[] = [];
  let length = 0;
  const arrived = new Promise<void>((resolve) => {
    client.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= data.length) resolve();
    });
  });
  client.write(data);
  await arrived;
  client.removeAllListeners('data');
  assert.ok(Buffer.concat(chunks).equals(data));
}

/** Nothing is left of any connection. */
function assertAllFreed(): void {
  assert.equal(memory.live, 0);
  assert.deepEqual(errors, []);
  accepted.length = 0;
}

async function closed(raw: Raw): Promise<void> {
  while (!raw.isClosed) await new Promise(setImmediate);
  await new Promise(setImmediate);
}

test(
  'tls: records arrive whole, byte by byte or joined, and what comes back is the same',
  options,
  async () => {
    const ways: ((data: Buffer) => readonly Buffer[])[] = [
      (data) => [data],
      (data) => Array.from(data, (_, at) => data.subarray(at, at + 1)),
      (data) => [data.subarray(0, 7), data.subarray(7)],
    ];
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      for (const way of ways) {
        const raw = open(way);
        const { client, echo } = await dial(raw, {
          maxVersion,
          ALPNProtocols: ['http/1.1', 'h2'],
          servername: 'A.example',
        });
        assert.deepEqual(echo.from, {
          scheme: 'https',
          protocol: 'h2',
          tls: { version: maxVersion, serverName: 'a.example' },
        });
        await echoed(client, Buffer.from('hello'));
        await echoed(client, Buffer.alloc(40_000, 'abcdefg'));
        client.end();
        await closed(raw);
        assert.deepEqual(echo.told, ['end', 'finish', 'close in peace']);
      }
    }
    assertAllFreed();
  },
);

test('tls: what is written in turns of many connections stays with its own', options, async () => {
  const raws = Array.from({ length: 5 }, () => open());
  const ends: { client: TLSSocket; echo: Echo }[] = [];
  for (const raw of raws) ends.push(await dial(raw));
  const texts = ends.map(() => '');
  ends.forEach(({ client }, index) =>
    client.on('data', (data) => {
      texts[index] += String(data);
    }),
  );
  for (let turn = 0; turn < 50; turn += 1) {
    ends.forEach(({ echo }, index) => echo.connection.write(`${index}`.repeat(2000)));
    ends.forEach(({ echo }, index) => echo.connection.atTurnEnd?.(() => echo.connection.write(`${index}`)));
    for (const raw of raws) raw.endTurn();
  }
  while (texts.some((text) => text.length < 50 * 2001)) await new Promise(setImmediate);
  texts.forEach((text, index) => assert.equal(text, `${index}`.repeat(50 * 2001)));
  for (const { echo } of ends) echo.connection.destroy();
  for (const raw of raws) await closed(raw);
  assertAllFreed();
});

test('tls: a writer is told to stop while its connection is full, and then to go on', options, async () => {
  const raw = open();
  const { echo } = await dial(raw);
  raw.isBelowMark = false;
  assert.equal(echo.connection.write(Buffer.alloc(200_000)), false);
  raw.isBelowMark = true;
  raw.handler?.onDrain();
  assert.deepEqual(echo.told, ['drain']);
  assert.equal(echo.connection.write('x'), true);
  raw.lose();
  assertAllFreed();
});

test('tls: a new certificate is for new handshakes, and a connection under way stays', options, async () => {
  const raw = open();
  const { client } = await dial(raw);
  shownPair = second;
  const next = open();
  const later = await dial(next);
  assert.equal(later.client.getPeerCertificate().subject.CN, 'second');
  assert.equal(client.getPeerCertificate().subject.CN, 'first');
  await echoed(client, Buffer.from('still here'));
  for (const one of [raw, next]) one.lose();
  shownPair = first;
  assertAllFreed();
});

test('tls: what a client says after its end, and after ours, does no harm', options, async () => {
  const raw = open();
  const { client, echo } = await dial(raw);
  echo.connection.end(); // half closed: what the client still says is heard
  assert.equal(echo.connection.write('too late'), true);
  client.write('after');
  client.end();
  await closed(raw);
  raw.handler?.onData(Buffer.from('rubbish'));
  assert.deepEqual(echo.told, ['finish', 'end', 'close in peace']);
  assertAllFreed();
});

test('tls: renegotiation is refused', options, async () => {
  const raw = open();
  const { client } = await dial(raw, { maxVersion: 'TLSv1.2' });
  const refused = once(client, 'error');
  client.renegotiate({}, () => {});
  assert.match(String(await refused), /no.renegotiation/i);
  raw.lose();
  assertAllFreed();
});

test('answersUntakenMax: who makes OpenSSL answer on and on and takes nothing is cut', options, () => {
  const talkative: TlsMemory = {
    feed: () => {},
    shakeHands: () => 'done',
    read: () => ({ outcome: 'more', plain: Buffer.alloc(0) }),
    send: (to: Connection) => to.write('no'),
    takeStaged: () => 0,
    end: () => {},
    stage: () => {},
    write: () => true,
    shutDown: () => {},
    takeFailure: () => '',
  };
  const raw = new Raw();
  const from = { scheme: 'https', protocol: '' } as const;
  raw.handler = new DecryptedConnection(talkative, 1n, raw, (connection) => new Echo(connection, from));
  const ask = (times: number): void => {
    for (let asked = 0; asked < times; asked += 1) raw.arrive(Buffer.from('?'));
  };
  ask(answersUntakenMax * 2);
  assert.equal(raw.isClosed, false, 'who takes the answers may ask');
  raw.isBelowMark = false;
  ask(answersUntakenMax);
  raw.handler.onDrain();
  ask(answersUntakenMax);
  assert.equal(raw.isClosed, false);
  ask(1);
  assert.equal(raw.isClosed, true);
});

test('tls: no bytes of a client do harm or leave anything behind', options, async () => {
  const random = randomOf(seed);
  const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random(256)));
  const fragments: readonly (() => Buffer)[] = [
    () => bytes(1 + random(300)),
    () => helloCorpus[random(helloCorpus.length)]!.bytes,
    () => mutateHello(random).bytes,
    () => Buffer.from([21, 3, 3, 0, 2, 1 + random(2), random(120)]), // an alert
    () => Buffer.concat([Buffer.from([22 + random(2), 3, 3, 0x40 + random(64), 1]), bytes(200)]), // too long
    () => Buffer.concat([Buffer.from([20 + random(5), 3, 3, 0, 40]), bytes(40)]),
  ];
  for (let run = 0; run < count; run += 1) {
    const raw = open();
    for (let part = 0; part < 3; part += 1) raw.arrive(fragments[random(fragments.length)]!());
    raw.wire.end();
    await closed(raw);
  }
  assertAllFreed();
});

test('tls: a good connection that is damaged ends with an alert, and nothing is left', options, async () => {
  const random = randomOf(seed + 1);
  let alerted = 0;
  for (let run = 0; run < count; run += 1) {
    let left = random(4000);
    const raw = open((data) => {
      const piece = Buffer.from(data);
      if (left >= 0 && left < piece.length) piece.writeUInt8(piece[left]! ^ (1 + random(255)), left);
      left -= piece.length;
      return random(5) === 0 ? [piece.subarray(0, 20), piece.subarray(20)] : [piece];
    });
    const client = connect({ socket: raw.wire, rejectUnauthorized: false });
    client.on('error', () => {});
    client.on('data', () => {});
    client.on('secureConnect', () => {
      for (let part = 0; part < 4; part += 1) client.write(Buffer.alloc(1000, 'x'));
    });
    // Either it has ended, or both wait for more, as they do when a length was damaged.
    for (let turn = 0; turn < 50 && !raw.isClosed; turn += 1) await new Promise(setImmediate);
    if (raw.isClosed) alerted += 1;
    else raw.lose();
    client.destroy();
  }
  assert.ok(alerted > 0);
  assertAllFreed();
});
