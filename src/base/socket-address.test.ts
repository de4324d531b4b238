import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeSocketAddress, encodeSocketAddress, writeSocketAddress } from './socket-address.ts';

const cases: readonly (readonly [host: string, hex: string, shown: string])[] = [
  ['127.0.0.1', '02001f907f0000010000000000000000', '127.0.0.1'],
  ['::1', `0a001f9000000000${'00'.repeat(15)}0100000000`, '::1'],
  ['::', `0a001f9000000000${'00'.repeat(16)}00000000`, '::'],
  ['2001:db8::8:0', '0a001f900000000020010db800000000000000000008000000000000', '2001:db8::8:0'],
  ['1:2:3:4:5:6:7:8', '0a001f90000000000001000200030004000500060007000800000000', '1:2:3:4:5:6:7:8'],
  ['::ffff:10.0.0.1', '0a001f900000000000000000000000000000ffff0a00000100000000', '10.0.0.1'],
];

for (const [host, hex, shown] of cases) {
  test(`${host} as a struct sockaddr and back`, () => {
    const bytes = encodeSocketAddress(host, 8080);
    assert.equal(bytes.toString('hex'), hex);
    assert.deepEqual(decodeSocketAddress(bytes), { host: shown, port: 8080 });
  });
}

test('every IPv4 and IPv6 address survives', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 0, max: 65_535 }), (host, port) => {
      assert.deepEqual(decodeSocketAddress(encodeSocketAddress(host, port)), { host, port });
    }),
  );
  fc.assert(
    fc.property(fc.ipV6(), (host) => {
      const bytes = encodeSocketAddress(host, 1);
      const shown = decodeSocketAddress(bytes).host;
      const again = encodeSocketAddress(shown, 1);
      // One that holds an IPv4 address is shown as that.
      assert.deepEqual(decodeSocketAddress(again), decodeSocketAddress(bytes));
    }),
  );
});

test('what is no address is refused', () => {
  for (const host of ['example', '', 'fe80::1%eth0', '1.2.3']) {
    assert.throws(() => encodeSocketAddress(host, 1), RangeError);
  }
});

test('written in place: the same bytes, and no length for what has no plain form', () => {
  for (const host of ['10.41.0.2', '::1', 'fd00:1::a:b', '1:2:3:4:5:6:7:8']) {
    const bytes = Buffer.alloc(40, 0xff);
    const length = writeSocketAddress(bytes, 4, host, 6443);
    const want = encodeSocketAddress(host, 6443);
    // Of the padding behind an IPv4 address the kernel reads nothing.
    const known = host.includes(':') ? length : 8;
    assert.deepEqual(bytes.subarray(4, 4 + known), want.subarray(0, known));
  }
  assert.equal(writeSocketAddress(Buffer.alloc(28), 0, 'fe80::1%eth0', 53), 0);
  for (const host of [
    'fe80::1%eth0',
    '',
    'a',
    '1.2.3',
    '1.2.3.256',
    '1.2..4',
    '1:2',
    '1:2:3:4:5:6:7:8:9',
    '::12345',
    '::g',
  ]) {
    assert.throws(() => encodeSocketAddress(host, 53), RangeError, host);
  }
});
