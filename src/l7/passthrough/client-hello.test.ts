/** The reader of ClientHellos under tables, a corpus, mutations, and OpenSSL's own reading. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run. */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { TLSSocket } from 'node:tls';
import {
  helloCorpus,
  helloOf,
  mutateHello,
  recordsOf,
  serverNameOf,
} from '../../../test/support/client-hellos.ts';
import { type Random, randomOf } from '../../../test/support/http1-corpus.ts';
import { helloBytesMax, HelloReader, helloRecordsMax, type HelloState } from './hello-reader.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127);
const count = Number(process.env['FUZZ_COUNT'] ?? 3000);

function read(...pieces: readonly Buffer[]): HelloState {
  const reader = new HelloReader();
  for (const piece of pieces) reader.push(piece);
  return reader.state;
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

const shown = (state: HelloState): string =>
  state.kind === 'hello' ? (state.hello.serverName ?? '-') : state.kind;

for (const { name, expected, bytes } of helloCorpus) {
  test(`l7 client hello: ${name}: ${expected.slice(0, 20)}`, () => {
    const whole = read(bytes);
    assert.equal(shown(whole), expected);
    assert.deepEqual(read(...split(bytes, () => 0)), whole, 'byte by byte it is the same');
  });
}

test('l7 client hello: what is offered beside the name', () => {
  const of = (name: string): unknown => {
    const state = read(helloCorpus.find((one) => one.name === name)!.bytes);
    return state.kind === 'hello' ? state.hello : state;
  };
  assert.deepEqual(of('of OpenSSL, TLS 1.3'), {
    serverName: 'shop.example',
    protocols: ['h2', 'http/1.1'],
    version: 0x0304,
  });
  assert.deepEqual(of('of OpenSSL, TLS 1.2 only'), {
    serverName: 'shop.example',
    protocols: [],
    version: 0x0303,
  });
  assert.deepEqual(of('GREASE in suites, extensions, groups and versions'), {
    serverName: 'shop.example',
    protocols: [],
    version: 0x0303,
  });
});

test('l7 client hello: helloBytesMax and helloRecordsMax', () => {
  const padded = (length: number): Buffer => {
    const without = helloOf({ extensions: [serverNameOf('a.example'), [21, Buffer.alloc(0)]] }).length - 4;
    const padding = Buffer.alloc(length - without);
    return helloOf({ extensions: [serverNameOf('a.example'), [21, padding]] });
  };
  assert.equal(shown(read(recordsOf(padded(helloBytesMax)))), 'a.example');
  assert.equal(shown(read(recordsOf(padded(helloBytesMax + 1)))), 'failure');
  const message = padded(600);
  assert.equal(shown(read(recordsOf(message, Math.ceil(message.length / helloRecordsMax)))), 'a.example');
  assert.equal(
    shown(read(recordsOf(message, Math.floor(message.length / (helloRecordsMax + 1))))),
    'failure',
  );
});

test(`l7 client hello: ${count} mutations from seed ${seed} are read alike in whatever pieces`, () => {
  const random = randomOf(seed);
  for (let turn = 0; turn < count; turn += 1) {
    const { name, bytes } = mutateHello(random);
    assert.deepEqual(
      read(...split(bytes, random)),
      read(bytes),
      `turn ${turn}, ${name}: ${bytes.toString('hex')}`,
    );
  }
});

/** What OpenSSL's server makes of the bytes: the name that it asks for a certificate for, and the alert that it answers. */
async function askOpenSsl(bytes: Buffer): Promise<{ name: string | undefined; alert: number | undefined }> {
  let name: string | undefined;
  let alert: number | undefined;
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      if (chunk[0] === 21) alert = chunk[6];
      done();
    },
  });
  const server = new TLSSocket(wire, {
    isServer: true,
    SNICallback: (asked) => {
      name = asked; // never answered: the name is all that we want to know
    },
  });
  server.on('error', () => {});
  wire.push(bytes);
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  server.destroy();
  return { name, alert };
}

/** Where we refuse what OpenSSL takes, on purpose. */
const stricterReasons =
  /comes twice|not one DNS name|too many records|must be last|holds more than it|list of such|none of TLS|leave out compression|cut short|do not end|too long|is empty/;

test('l7 client hello: OpenSSL reads the same name in each of the corpus', async () => {
  for (const { name, expected, stricter, bytes } of helloCorpus) {
    const theirs = await askOpenSsl(bytes);
    if (expected === 'more') assert.equal(theirs.name, undefined, name);
    else if (expected === 'failure') assert.equal(theirs.name !== undefined, stricter, name);
    else {
      assert.equal(theirs.name?.toLowerCase() ?? '-', expected, name);
      assert.notEqual(theirs.alert, 50, `${name}: OpenSSL cannot decode it`);
    }
  }
});

test(`l7 client hello: of ${count} mutations OpenSSL never reads another name than we do`, async () => {
  const random = randomOf(seed + 1);
  for (let turn = 0; turn < count; turn += 1) {
    const { name: from, bytes } = mutateHello(random);
    const ours = read(bytes);
    const { name } = await askOpenSsl(bytes);
    const what = `turn ${turn}, ${from}: ${bytes.toString('hex')}`;
    if (name === undefined) continue;
    if (ours.kind === 'hello') assert.equal(name.toLowerCase(), ours.hello.serverName, what);
    else if (ours.kind === 'failure') assert.match(ours.reason, stricterReasons, what);
    else assert.fail(`it waits for more where OpenSSL has enough: ${what}`);
  }
});
