import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import packet from 'dns-packet';
import fc from 'fast-check';
import { AnswerCache } from './cache.ts';
import { addressBytesOf, PassableAnswer, pass, passableOf } from './passing.ts';
import { renderQuery, renderResponse } from './render.ts';
import { flags, headerBytes, parseMessage, parseQuery, type ResourceRecord, rrTypes } from './wire.ts';

const plain = { dnssecOk: false, checkingDisabled: false };
const query = renderQuery(7, { name: 'www.example.com', type: rrTypes.A }, plain);
const questionEnd = query.length - 11;

function told(answer: Partial<packet.Packet>): Buffer {
  const questions = [{ type: 'A' as const, name: 'www.example.com' }];
  return packet.encode({ type: 'response', id: 7, questions, ...answer });
}

const a = (name: string, data: string, ttl = 60) => ({ type: 'A', name, ttl, data }) as const;
const soa = (ttl: number, minimum: number) =>
  ({
    type: 'SOA',
    name: 'example.com',
    ttl,
    data: {
      mname: 'ns.example.com',
      rname: 'h.example.com',
      serial: 1,
      refresh: 2,
      retry: 3,
      expire: 4,
      minimum,
    },
  }) as const;
const opt: packet.OptAnswer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: 1232,
  flags: 0,
  extendedRcode: 0,
  flag_do: false,
  ednsVersion: 0,
  options: [],
};
const cname = { type: 'CNAME', name: 'www.example.com', ttl: 30, data: 'web.example.com' } as const;

describe('answers that are passed on as bytes', () => {
  test('another implementation reads the same from what is passed on, with our header and age', () => {
    const answer = told({
      flags: packet.AUTHENTIC_DATA | packet.AUTHORITATIVE_ANSWER,
      answers: [cname, a('web.example.com', '192.0.2.7')],
      authorities: [{ type: 'NS', name: 'example.com', ttl: 90, data: 'ns.example.com' }],
      additionals: [a('ns.example.com', '192.0.2.9', 5), opt],
    });
    const passable = passableOf(answer, query, questionEnd) ?? assert.fail();
    assert.equal(passable.leastTtlSeconds, 5);
    const client = renderQuery(99, { name: 'WWW.Example.com', type: rrTypes.A }, plain);
    const questionBytes = client.subarray(headerBytes, questionEnd);
    const passed = pass(passable, {
      id: 99,
      flags: flags.recursionDesired | flags.recursionAvailable,
      questionBytes,
      edns: { dnssecOk: true },
      ageSeconds: 10,
    });
    const read = packet.decode(passed);
    assert.equal(read.id, 99);
    assert.equal(read.questions?.[0]?.name, 'WWW.Example.com');
    assert.deepEqual([read.flag_aa, read.flag_ad, read.flag_ra, read.flag_rd], [false, true, true, true]);
    assert.deepEqual(
      read.answers?.map((record) => [record.name, 'ttl' in record ? record.ttl : undefined]),
      [
        ['www.example.com', 20],
        ['web.example.com', 50],
      ],
    );
    assert.deepEqual(read.authorities?.length, 1);
    assert.deepEqual(
      read.additionals?.map((record) => [record.type, 'ttl' in record ? record.ttl : undefined]).slice(0, 1),
      [['A', 0]],
    );
    assert.equal(read.additionals?.filter(({ type }) => type === 'OPT').length, 1, 'ours alone');
  });

  test('absence holds as long as the SOA says', () => {
    const gone = passableOf(told({ flags: 3, authorities: [soa(60, 20)] }), query, questionEnd);
    assert.deepEqual([gone?.rcode, gone?.absenceSeconds], [3, 20]);
    const cache = new AnswerCache();
    cache.set('k', new PassableAnswer(gone ?? assert.fail()), 100, 0);
    assert.notEqual(cache.get('k', 19_000), undefined);
    assert.equal(cache.get('k', 21_000), undefined);
  });

  test('who needs records gets them, aged; an answer whose time is over has a time of its own', () => {
    const passable = passableOf(told({ answers: [a('www.example.com', '192.0.2.7')] }), query, questionEnd);
    const cache = new AnswerCache();
    cache.set('k', new PassableAnswer(passable ?? assert.fail()), 100, 0);
    assert.equal(cache.get('k', 15_500)?.answers[0]?.ttlSeconds, 45);
    assert.equal(cache.get('k', 15_500)?.sameForMs, 500);
    assert.equal(cache.getStale('k', 61_000)?.answer.answers[0]?.ttlSeconds, 30);
  });

  test('addresses of the asked name alone may be shuffled', () => {
    const own = parseQuery(query);
    assert.equal(own.kind, 'query');
    const { questionBytes, question } = own.query;
    const address = (name: string, last: number): ResourceRecord => ({
      ...{ name, ttlSeconds: 60 },
      data: { type: 'A', address: Uint8Array.of(192, 0, 2, last) },
    });
    const sizeOf = (answers: readonly ResourceRecord[]): number => {
      const head = { id: 7, flags: 0, rcode: 0, authorities: [], additionals: [], edns: undefined };
      const bytes = renderResponse({ ...head, questionBytes, questionName: question.name, answers }, 1232);
      return addressBytesOf(passableOf(bytes, query, questionEnd) ?? assert.fail(), rrTypes.A);
    };
    const first = address('www.example.com', 1);
    const alias: ResourceRecord = { ...first, data: { type: 'CNAME', target: 'web.example.com' } };
    assert.equal(sizeOf([first, address('www.example.com', 2)]), 16);
    assert.equal(sizeOf([first]), 0);
    assert.equal(sizeOf([alias, address('web.example.com', 2)]), 0);
    assert.equal(sizeOf([first, address('www.example.org', 2)]), 0);
  });

  for (const [what, bytes] of [
    [
      'another name',
      packet.encode({ type: 'response', id: 7, questions: [{ type: 'A', name: 'www.example.org' }] }),
    ],
    [
      'another type',
      packet.encode({ type: 'response', id: 7, questions: [{ type: 'AAAA', name: 'www.example.com' }] }),
    ],
    ['an answer that was cut', told({ flags: packet.TRUNCATED_RESPONSE })],
    ['a record cut off', told({ answers: [a('www.example.com', '192.0.2.1')] }).subarray(0, -1)],
    ['an extended code', told({ additionals: [{ ...opt, extendedRcode: 1 }] })],
    ['an OPT record that is not the last', told({ additionals: [opt, a('ns.example.com', '192.0.2.9')] })],
    ['another class', told({ answers: [{ ...a('www.example.com', '192.0.2.1'), class: 'CH' }] })],
  ] as const) {
    test(`${what} is not passed on`, () => assert.equal(passableOf(bytes, query, questionEnd), undefined));
  }

  test('whatever bytes are passed on, they are what reading and writing them anew would give', () => {
    const good = told({
      answers: [cname, a('web.example.com', '192.0.2.7')],
      authorities: [soa(60, 20), { type: 'TXT', name: 'example.com', ttl: 1, data: ['a', 'b'] }],
      additionals: [
        { type: 'SRV', name: '_a._tcp.example.com', ttl: 9, data: { port: 1, target: 'b.example.com' } },
        opt,
      ],
    });
    const change = fc.record({ at: fc.nat({ max: good.length - 1 }), byte: fc.nat({ max: 255 }) });
    const records = (all: readonly ResourceRecord[]): readonly unknown[] =>
      all.map(({ name, ttlSeconds, data }) => [name.toLowerCase(), ttlSeconds, lowered(data)]);
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), fc.nat({ max: 20 }), (changes, cut) => {
        const bytes = Buffer.from(good.subarray(0, good.length - cut));
        for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
        const passable = passableOf(bytes, query, questionEnd);
        if (passable === undefined) return;
        const message = parseMessage(bytes); // must not throw: what is passed on is sound
        const own = parseQuery(query);
        assert.equal(own.kind, 'query');
        const anew = renderResponse(
          {
            ...{ id: 5, flags: 0, rcode: message.rcode, edns: undefined },
            questionBytes: own.query.questionBytes,
            questionName: own.query.question.name,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
          },
          65_535,
        );
        const questionBytes = own.query.questionBytes;
        const passed = pass(passable, { id: 5, flags: 0, questionBytes, edns: undefined, ageSeconds: 0 });
        const [left, right] = [parseMessage(passed), parseMessage(anew)];
        for (const section of ['answers', 'authorities', 'additionals'] as const) {
          assert.deepEqual(records(left[section]), records(right[section]));
        }
        assert.equal(left.rcode, right.rcode);
      }),
      { numRuns: 3000 },
    );
  });
});

/** Names within data are compared without case: compression points at names of other spelling. */
function lowered(data: ResourceRecord['data']): unknown {
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [
      key,
      typeof value === 'string' ? value.toLowerCase() : value,
    ]),
  );
}
