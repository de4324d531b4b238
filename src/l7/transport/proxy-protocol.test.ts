import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Peer, parseProxyHeader, renderProxyHeader } from './proxy-protocol.ts';

const v2 = (command: number, family: number, payload: readonly number[], length = payload.length): Buffer =>
  Buffer.from([
    ...Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'),
    command,
    family,
    length >> 8,
    length & 0xff,
    ...payload,
  ]);
const ends4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xd4, 0x31, 0x01, 0xbb];
const ends6 = [...Buffer.alloc(15), 1, ...Buffer.alloc(15), 2, 0x10, 0x00, 0x00, 0x50];

const good: readonly (readonly [text: string | Buffer, source: Peer | undefined])[] = [
  ['PROXY TCP4 192.0.2.7 10.0.0.1 54321 443\r\n', { address: '192.0.2.7', port: 54_321 }],
  ['PROXY TCP6 2001:db8::7 ::1 1 65535\r\n', { address: '2001:db8::7', port: 1 }],
  ['PROXY UNKNOWN\r\n', undefined],
  ['PROXY UNKNOWN ffff:f...f:ffff 1 whatever\r\n', undefined],
  [v2(0x21, 0x11, ends4), { address: '192.0.2.7', port: 54_321 }],
  [v2(0x21, 0x21, ends6), { address: '::1', port: 4096 }],
  [v2(0x21, 0x11, [...ends4, 0x05, 0, 2, 9, 9, 0x04, 0, 0]), { address: '192.0.2.7', port: 54_321 }],
  [v2(0x21, 0x00, []), undefined],
  [v2(0x21, 0x00, [1, 2, 3]), undefined],
  [v2(0x21, 0x31, [...Buffer.alloc(216)]), undefined],
  [v2(0x20, 0x11, [1, 2]), undefined], // LOCAL: what follows is thrown away
  [v2(0x20, 0x00, []), undefined],
];

const bad: readonly (string | Buffer)[] = [
  'GET / HTTP/1.1\r\n',
  'PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n',
  'PROXY TCP4 ::1 ::1 1 1\r\n',
  'PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n',
  'PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n',
  'PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n',
  'PROXY UNKNOWNER\r\n',
  'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\nGET / HTTP/1.1\r\n',
  'PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n',
  `PROXY UNKNOWN ${'x'.repeat(200)}\r\n`,
  v2(0x11, 0x11, ends4),
  v2(0x22, 0x11, ends4),
  v2(0x21, 0x12, ends4), // UDP
  v2(0x21, 0x41, ends4),
  v2(0x21, 0x11, ends4.slice(1)),
  v2(0x21, 0x21, ends6.slice(1)),
  v2(0x21, 0x11, [...ends4, 0x05, 0, 9, 9]),
  v2(0x21, 0x11, [...ends4, 0x05]),
  v2(0x21, 0x11, ends4, 4096),
  Buffer.from('\r\n\r\n\0\r\nQUIT\r', 'latin1'),
];

test('l7 proxy protocol: headers of both versions are read, however they are split', () => {
  for (const [text, source] of good) {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    const followed = Buffer.concat([bytes, Buffer.from('GET /')]);
    assert.deepEqual(parseProxyHeader(followed), { kind: 'header', length: bytes.length, source });
    for (let length = 0; length < bytes.length; length += 1) {
      assert.equal(parseProxyHeader(bytes.subarray(0, length)).kind, 'more', `${length} of ${bytes.length}`);
    }
  }
});

test('l7 proxy protocol: whatever is not exactly as specified is refused', () => {
  for (const text of bad) {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    assert.equal(parseProxyHeader(bytes).kind, 'failure', JSON.stringify(bytes.toString('latin1')));
  }
});

test('l7 proxy protocol: what is rendered is read again, and no header is waited for without end', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  const port = fc.integer({ min: 0, max: 65_535 });
  const peer = fc.record({ address, port });
  fc.assert(
    fc.property(fc.constantFrom(1 as const, 2 as const), peer, peer, (version, source, destination) => {
      const bytes = renderProxyHeader(version, source, destination);
      const header = parseProxyHeader(bytes);
      assert.equal(header.kind, 'header');
      if (header.kind !== 'header') return;
      assert.equal(header.length, bytes.length);
      if (source.address.includes(':') !== destination.address.includes(':')) {
        assert.equal(header.source, undefined);
        return;
      }
      assert.equal(header.source?.port, source.port);
      const again = renderProxyHeader(version, header.source!, destination);
      assert.deepEqual(parseProxyHeader(again), { ...header, length: again.length });
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 5000, maxLength: 5000 }), fc.nat({ max: 11 }), (noise, kept) => {
      for (const begin of [v2(0x21, 0x11, []), Buffer.from('PROXY TCP4 ')]) {
        const bytes = Buffer.concat([begin.subarray(0, kept + 1), noise]);
        assert.notEqual(
          parseProxyHeader(bytes).kind,
          'more',
          'beyond the bound there is nothing to wait for',
        );
      }
    }),
  );
});
