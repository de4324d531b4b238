/**
 * The same bytes to nginx, to HAProxy and to us, each before a backend that notes what it sees. What both others refuse we never
 * forward, and where all take a request its backend sees as many. By HTTP/2 our answer is one of theirs, too, or listed with its reason. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { HeaderList, HpackDecoder } from '../../src/l7/http2/hpack-decode.ts';
import { type CorpusCase, corpus, mutate, randomOf } from '../support/http1-corpus.ts';
import { code } from '../support/http2-cases.ts';
import { differences, differentialCases } from '../support/http2-differential-cases.ts';
import {
  type Frame,
  frame,
  framesOf,
  get,
  preface,
  request,
  settings,
  type,
} from '../support/http2-frames.ts';
import { type Contenders, type Seen, skip, startContenders } from './differential-harness.ts';
import { localhost } from './ingress-harness.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20261127);
const count = Number(process.env['FUZZ_COUNT'] ?? 100);

/** Comes behind every case, to see where the proxy believes that the case has ended. */
const sentinel = 'GET /sentinel HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n';

/**
 * A target with a host of its own: HAProxy refuses one that differs from Host, nginx characters that a host may have. We put it in the place
 * of Host (RFC 9112 §3.2.2), so that nothing is ambiguous behind us.
 */
const namesHostTwice = /(^|\r\n)[!-~]+ https?:\/\//i;

/** All that comes back until the proxy ends the connection. */
function ask(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, localhost);
    const chunks: Buffer[] = [];
    const finish = (): void => resolve(Buffer.concat(chunks).toString('latin1'));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', finish);
    socket.write(bytes);
  });
}

describe('ingress differential: nginx, HAProxy and Fairlead', { timeout: 300_000, skip }, () => {
  let contenders: Contenders;
  let stop = async (): Promise<void> => {};

  before(async () => {
    ({ contenders, stop } = await startContenders());
  });

  after(() => stop());

  /** What each backend has seen of a case, the sentinel left out, and whether the sentinel was seen as a request. */
  async function compare({ name, bytes }: CorpusCase): Promise<void> {
    const sent = Buffer.concat([bytes, Buffer.from(sentinel)]);
    const outcomes = await Promise.all(
      contenders.map(async ({ port, recorder }) => {
        const answer = await ask(port, sent);
        const all = recorder.take();
        const requests = all.filter(({ method, url }) => method !== 'GET' || url !== '/sentinel');
        return { answer, requests, whole: requests.length < all.length };
      }),
    );
    const [one, two, ours] = outcomes;
    assert.ok(one !== undefined && two !== undefined && ours !== undefined);
    const told = (): string =>
      `${name} ${JSON.stringify(bytes.toString('latin1'))}\n${outcomes.map((outcome, index) => `${contenders[index]?.name}: ${JSON.stringify(outcome)}`).join('\n')}`;
    const broken = contenders[2].recorder.broken.splice(0);
    assert.deepEqual(broken, [], `we forwarded what is no HTTP: ${told()}`);
    const most = Math.max(one.requests.length, two.requests.length);
    const excused = namesHostTwice.test(bytes.toString('latin1'));
    assert.ok(excused || ours.requests.length <= most, `we let pass what both others refuse: ${told()}`);
    if (one.whole && two.whole && ours.whole && one.requests.length === two.requests.length) {
      assert.equal(ours.requests.length, one.requests.length, `we count otherwise: ${told()}`);
      const bodies = (seen: readonly Seen[]): readonly string[] => seen.map(({ body }) => body);
      assert.deepEqual(bodies(ours.requests), bodies(one.requests), `we read another body: ${told()}`);
    }
  }

  for (const one of corpus) test(one.name, async () => compare(one));

  test(`${count} mutations from seed ${seed}`, async () => {
    const random = randomOf(seed);
    for (let turn = 0; turn < count; turn += 1) await compare(mutate(random));
  });
});

const codeNames = new Map(Object.entries(code).map(([name, value]) => [value as number, name]));
const nameOf = (bytes: Buffer, at: number): string =>
  codeNames.get(bytes.readUInt32BE(at)) ?? String(bytes.readUInt32BE(at));

/** What became of the first request that is answered: its status, or how it was refused. undefined: nothing yet. */
function outcomeOf(frames: readonly Frame[]): string | undefined {
  const decoder = new HpackDecoder();
  let status: string | undefined;
  for (const { type: kind, flags, stream, payload } of frames) {
    if (kind === type.headers && stream !== 0) {
      const list = new HeaderList(1 << 16, 200);
      assert.ok(decoder.decode(Buffer.from(payload), 0, payload.length, list));
      const told = list.fields.find(({ name }) => name === ':status')?.value ?? '';
      if (!told.startsWith('1')) status ??= told;
    }
    if (status !== undefined && (kind === type.data || kind === type.headers) && (flags & 1) === 1) {
      return status === '200' ? 'served' : `answered ${status}`;
    }
    if (kind === type.reset && status === undefined) return `stream error ${nameOf(payload, 0)}`;
    if (kind === type.goaway && payload.readUInt32BE(4) !== 0)
      return `connection error ${nameOf(payload, 4)}`;
  }
  return undefined;
}

/** Sends a case, and waits until something has become of it. */
async function askHttp2(port: number, send: Buffer): Promise<string> {
  const socket = connect(port, localhost);
  let received = Buffer.alloc(0);
  let acknowledged = false;
  const outcome = await new Promise<string>((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve(outcomeOf(framesOf(received).frames) ?? 'closed'));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const { frames } = framesOf(received);
      if (!acknowledged && frames.some(({ type: kind, flags }) => kind === type.settings && flags === 0)) {
        acknowledged = true;
        socket.write(frame(type.settings, 1, 0));
      }
      const found = outcomeOf(frames);
      if (found !== undefined) resolve(found);
    });
    socket.write(Buffer.concat([preface, settings(), send]));
  });
  socket.destroy();
  return outcome;
}

const sentinelRequest = request(1, [...get.slice(0, 2), [':path', '/sentinel'], ...get.slice(3)]);

/** What a backend acts on. Fields that proxies add on their own are left out. */
function toldBy({ method, url, headers, body }: Seen): string {
  const told = Object.entries(headers).filter(([name]) =>
    /^(x.a|x-end|cookie|te|upgrade|expect|content-length)$/.test(name),
  );
  return JSON.stringify([
    method,
    url,
    headers.host?.toLowerCase().replace(/:80$/, ''),
    Object.fromEntries(told),
    body,
  ]);
}

describe('ingress differential: HTTP/2 by nginx, HAProxy and Fairlead', { timeout: 300_000, skip }, () => {
  let contenders: Contenders;
  let stop = async (): Promise<void> => {};

  before(async () => {
    ({ contenders, stop } = await startContenders());
  });

  after(() => stop());

  for (const { name, send } of differentialCases) {
    test(name, async () => {
      const outcomes = await Promise.all(
        contenders.map(async ({ name: who, http2Port, recorder }) => {
          const answer = await askHttp2(http2Port, send);
          await askHttp2(http2Port, sentinelRequest);
          const seen = recorder.take().filter(({ url }) => url !== '/sentinel');
          return { who, answer, seen: seen.map(toldBy) };
        }),
      );
      const [one, two, ours] = outcomes;
      assert.ok(one !== undefined && two !== undefined && ours !== undefined);
      const told = JSON.stringify(outcomes, undefined, 2);
      assert.deepEqual(contenders[2].recorder.broken.splice(0), [], `we forwarded what is no HTTP: ${told}`);
      const difference = differences.get(name);
      for (const line of ours.seen) {
        const known: boolean = one.seen.includes(line) || two.seen.includes(line);
        assert.ok(known || difference?.passes === true, `only our backend has seen this: ${told}`);
      }
      const alike = ours.answer === one.answer || ours.answer === two.answer;
      const stale = alike && difference !== undefined && difference.passes !== true;
      assert.ok(!stale, `listed, and does not differ: ${told}`);
      if (difference === undefined) assert.ok(alike, `answered otherwise than both others: ${told}`);
      else assert.equal(ours.answer, difference.ours, told);
    });
  }

  test('what is listed as different is a case', () => {
    const names = new Set(differentialCases.map(({ name }) => name));
    assert.deepEqual(
      [...differences.keys()].filter((name) => !names.has(name)),
      [],
    );
  });
});
