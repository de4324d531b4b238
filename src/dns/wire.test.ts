import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet from 'dns-packet';
import fc from 'fast-check';
import { type Response, noteTextBytesMax, renderQuery, renderResponse } from './render.ts';
import {
  flags,
  labelsOf,
  parseMessage,
  parseQuery,
  type RecordData,
  type ResourceRecord,
  rcodes,
  readName,
  rrTypes,
  WireError,
} from './wire.ts';

/** Objects with an ordinary prototype, so that they compare equal to parsed ones. */
const shaped = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9-]{0,14}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'));
const uint16 = fc.integer({ min: 0, max: 0xffff });
const ttlSeconds = fc.integer({ min: 0, max: 86_400 });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const data: fc.Arbitrary<RecordData> = fc.oneof(
  bytes(4).map((address) => ({ type: 'A' as const, address })),
  bytes(16).map((address) => ({ type: 'AAAA' as const, address })),
  shaped({ type: fc.constantFrom('CNAME' as const, 'PTR' as const, 'NS' as const), target: name }),
  shaped({
    type: fc.constant('SRV' as const),
    priority: uint16,
    weight: uint16,
    port: uint16,
    target: name,
  }),
  shaped({ type: fc.constant('MX' as const), preference: uint16, exchange: name }),
  shaped({
    type: fc.constant('TXT' as const),
    texts: fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 3 }),
  }),
  shaped({
    type: fc.constant('SOA' as const),
    primary: name,
    mailbox: name,
    serial: fc.integer({ min: 0, max: 0xffffffff }),
    refreshSeconds: ttlSeconds,
    retrySeconds: ttlSeconds,
    expireSeconds: ttlSeconds,
    minimumSeconds: ttlSeconds,
  }),
);
const record: fc.Arbitrary<ResourceRecord> = shaped({ name, ttlSeconds, data });

function responseOf(answers: readonly ResourceRecord[], questionName: string): Response {
  const query = renderQuery(7, { name: questionName, type: rrTypes.A }, plain);
  const parsed = parseQuery(query);
  assert.equal(parsed.kind, 'query');
  return {
    id: 7,
    flags: flags.recursionDesired,
    rcode: 0,
    questionBytes: parsed.query.questionBytes,
    questionName: parsed.query.question.name,
    answers,
    authorities: [],
    additionals: [],
    edns: undefined,
  };
}

const plain = { dnssecOk: false, checkingDisabled: false };

/** As dns-packet shows a record. */
function foreign({ name: owner, ttlSeconds: ttl, data: it }: ResourceRecord): Record<string, unknown> {
  const common = { name: owner, ttl, class: 'IN', flush: false, type: it.type };
  switch (it.type) {
    case 'A':
      return { ...common, data: it.address.join('.') };
    case 'CNAME':
    case 'PTR':
    case 'NS':
      return { ...common, data: it.target };
    case 'SRV':
      return {
        ...common,
        data: { priority: it.priority, weight: it.weight, port: it.port, target: it.target },
      };
    case 'MX':
      return { ...common, data: { preference: it.preference, exchange: it.exchange } };
    case 'TXT':
      return { ...common, data: it.texts.map((text) => Buffer.from(text)) };
    case 'SOA':
      return {
        ...common,
        data: {
          mname: it.primary,
          rname: it.mailbox,
          serial: it.serial,
          refresh: it.refreshSeconds,
          retry: it.retrySeconds,
          expire: it.expireSeconds,
          minimum: it.minimumSeconds,
        },
      };
    default:
      return common;
  }
}

test('wire: what we write, another implementation reads the same', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 8 }), name, (answers, questionName) => {
      const decoded = packet.decode(renderResponse(responseOf(answers, questionName), 65_535));
      assert.equal(decoded.questions?.[0]?.name, questionName);
      const theirs = (decoded.answers ?? []).map((each) => {
        const { type } = each;
        if (type === 'AAAA') return { name: each.name, type };
        return Object.fromEntries(Object.entries(each));
      });
      const ours = answers.map((each) =>
        each.data.type === 'AAAA' ? { name: each.name, type: 'AAAA' } : foreign(each),
      );
      assert.deepEqual(theirs, ours);
    }),
  );
});

test('wire: what we write, we read the same', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 12 }), name, (answers, questionName) => {
      const message = parseMessage(renderResponse(responseOf(answers, questionName), 65_535));
      assert.deepEqual(message.answers, answers);
      assert.deepEqual(message.questions, [{ name: questionName, type: rrTypes.A, class: 1 }]);
    }),
  );
});

test('wire: what another implementation writes, we read the same', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 8 }), (answers) => {
      const some = answers.filter(({ data: it }) => it.type !== 'AAAA');
      const encoded = packet.encode({
        type: 'response',
        id: 9,
        answers: some.map(foreign) as unknown as packet.Answer[],
      });
      assert.deepEqual(parseMessage(encoded).answers, some);
    }),
  );
});

test('wire: any bytes are a message or a WireError, and a query never throws', () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    // A whole message with some bytes broken reaches deeper than noise.
    fc
      .tuple(fc.array(record, { maxLength: 4 }), fc.array(fc.tuple(uint16, fc.integer({ min: 0, max: 255 }))))
      .map(([answers, faults]) => {
        const message = renderResponse(responseOf(answers, 'a.b'), 65_535);
        for (const [at, value] of faults) message[at % message.length] = value;
        return message;
      }),
  );
  fc.assert(
    fc.property(hostile, (raw) => {
      const message = Buffer.from(raw);
      parseQuery(message);
      try {
        parseMessage(message);
      } catch (error) {
        assert.ok(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('wire: bytes of any label come back through the text of a name', () => {
  const labels = fc.array(fc.uint8Array({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(labels, (parts) => {
      const raw = Buffer.concat([...parts.flatMap((part) => [Buffer.of(part.length), part]), Buffer.of(0)]);
      const { name: text, end } = readName(raw, 0);
      assert.equal(end, raw.length);
      assert.deepEqual(
        labelsOf(text).map((part) => [...part]),
        parts.map((part) => [...part]),
      );
    }),
  );
});

const badNames: readonly (readonly [string, readonly number[]])[] = [
  ['a pointer at itself', [0xc0, 0x00]],
  ['a pointer forward', [0xc0, 0x02, 0x00]],
  ['a cut-off label', [0x05, 0x61]],
  ['a cut-off pointer', [0xc0]],
  ['a label of an unknown form', [0x40, 0x00]],
  ['no end', [0x01, 0x61]],
  [
    'more than 255 bytes',
    [...Array.from({ length: 5 }, () => [63, ...Array<number>(63).fill(97)]).flat(), 0],
  ],
];
for (const [what, raw] of badNames) {
  test(`wire: a name with ${what} is refused`, () => {
    assert.throws(() => readName(Uint8Array.from(raw), 0), WireError);
  });
}

test('wire: truncation keeps whole records, sets TC and stays within the bound', () => {
  const answers = Array.from(
    { length: 100 },
    (_, index): ResourceRecord => ({
      name: 'many.example',
      ttlSeconds: 5,
      data: { type: 'A', address: Uint8Array.of(10, 0, 0, index) },
    }),
  );
  for (const bound of [512, 1232]) {
    const raw = renderResponse(responseOf(answers, 'many.example'), bound);
    assert.ok(raw.length <= bound);
    const message = parseMessage(raw);
    assert.notEqual(message.flags & flags.truncated, 0);
    assert.ok(message.answers.length > 20);
    assert.deepEqual(message.answers, answers.slice(0, message.answers.length));
  }
});

test('wire: the case of the question comes back untouched, in question and answer', () => {
  const query = renderQuery(1, { name: 'CaDDy.Default.svc.cluster.LOCAL', type: rrTypes.A }, plain);
  const parsed = parseQuery(query);
  assert.equal(parsed.kind, 'query');
  assert.equal(parsed.query.question.name, 'caddy.default.svc.cluster.local');
  const address = Uint8Array.of(10, 43, 0, 1);
  const response: Response = {
    ...responseOf([], 'x'),
    questionBytes: parsed.query.questionBytes,
    questionName: parsed.query.question.name,
    answers: [{ name: 'caddy.default.svc.cluster.local', ttlSeconds: 5, data: { type: 'A', address } }],
  };
  const decoded = packet.decode(renderResponse(response, 512));
  assert.equal(decoded.questions?.[0]?.name, 'CaDDy.Default.svc.cluster.LOCAL');
  assert.equal(decoded.answers?.[0]?.name, 'CaDDy.Default.svc.cluster.LOCAL');
});

const refused: readonly (readonly [string, (query: Buffer) => void, unknown])[] = [
  ['an answer gets no answer', (query) => query.writeUInt16BE(0x8100, 2), { kind: 'ignore' }],
  [
    'an opcode other than QUERY is NOTIMP',
    (query) => query.writeUInt16BE(0x2800, 2),
    { kind: 'bad', id: 5, flags: 0x2800, rcode: rcodes.NOTIMP },
  ],
  [
    'two questions are FORMERR',
    (query) => query.writeUInt16BE(2, 4),
    { kind: 'bad', id: 5, flags: 0x0100, rcode: rcodes.FORMERR },
  ],
  [
    'a record that is missing is FORMERR',
    (query) => query.writeUInt16BE(9, 10),
    { kind: 'bad', id: 5, flags: 0x0100, rcode: rcodes.FORMERR },
  ],
];
for (const [what, change, want] of refused) {
  test(`wire: ${what}`, () => {
    const query = renderQuery(5, { name: 'a.b', type: rrTypes.A }, plain);
    change(query);
    assert.deepEqual(parseQuery(query), want);
  });
}

test('wire: EDNS is read: size, version and DO', () => {
  const encoded = packet.encode({
    type: 'query',
    id: 3,
    questions: [{ type: 'A', name: 'a.b' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 4096,
        flags: packet.DNSSEC_OK,
        extendedRcode: 0,
        ednsVersion: 0,
        flag_do: true,
        options: [],
      },
    ],
  });
  const parsed = parseQuery(encoded);
  assert.equal(parsed.kind, 'query');
  assert.deepEqual(parsed.query.edns, { udpBytes: 4096, version: 0, dnssecOk: true });
});

test('wire: a note is written where there is room, cut where it is long, and never costs a record', () => {
  const query = renderQuery(1, { name: 'a.example', type: rrTypes.A }, plain);
  const parsed = parseQuery(query);
  assert.equal(parsed.kind, 'query');
  const { questionBytes, edns } = parsed.query;
  const records = Array.from({ length: 10 }, (_, index) => ({
    name: 'a.example',
    ttlSeconds: 5,
    data: { type: 'A' as const, address: Uint8Array.of(192, 0, 2, index) },
  }));
  const lengthOf = (text: string | undefined, bytesMax: number): number => {
    const note = text === undefined ? undefined : { code: 0, text };
    const head = { id: 1, flags: 0, rcode: 0, authorities: [], additionals: [], questionBytes, edns, note };
    const bytes = renderResponse({ ...head, questionName: 'a.example', answers: records }, bytesMax);
    assert.equal(packet.decode(bytes).answers?.length, 10);
    assert.equal(parseMessage(bytes).answers.length, 10);
    return bytes.length;
  };
  const without = lengthOf(undefined, 1232);
  assert.equal(lengthOf('why', 1232), without + 6 + 3);
  assert.equal(lengthOf('w'.repeat(1000), 1232), without + 6 + noteTextBytesMax);
  assert.equal(lengthOf('why', without + 8), without, 'no room');
});
