import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checksum, parsePacket, parseUdp, udpPackets, unreachablePackets } from './ip-packet.ts';

const routes = [
  { source: '192.0.2.53', destination: '10.41.0.2' },
  { source: '2001:db8::53', destination: 'fd00:41::2' },
];

/** What IP and UDP sum up: with the checksum in it the sum is zero, of which the complement is told. */
function udpSum(packet: Buffer): number {
  const [addresses, payload] =
    packet[0] === 0x45
      ? [packet.subarray(12, 20), packet.subarray(20)]
      : [packet.subarray(8, 40), packet.subarray(40)];
  return checksum([
    addresses,
    Buffer.from([0, 0, payload.length >> 8, payload.length & 255, 0, 0, 0, 17]),
    payload,
  ]);
}

for (const route of routes) {
  test(`a datagram from ${route.source} is read as it was written, and its sums are right`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1400 }), fc.nat(65535), (bytes, id) => {
        const datagram = { sourcePort: 53, destinationPort: 40_000, data: Buffer.from(bytes) };
        const [bare, ...others] = udpPackets(route, datagram, id);
        assert.equal(others.length, 0);
        const packet = parsePacket(bare ?? Buffer.alloc(0));
        assert.ok(packet !== undefined && bare !== undefined);
        assert.deepEqual(
          [packet.source, packet.destination, packet.protocol],
          [route.source, route.destination, 17],
        );
        assert.deepEqual(parseUdp(packet.payload), datagram);
        assert.equal(udpSum(bare), 0);
        if (packet.family === 4) assert.equal(checksum([bare.subarray(0, 20)]), 0);
      }),
    );
  });
}

test('over IPv6 a long datagram comes in fragments that fit a link, over IPv4 the kernel cuts it', () => {
  const data = Buffer.alloc(4000, 'fairlead');
  const [v4, v6] = routes.map((route) => udpPackets(route, { sourcePort: 1, destinationPort: 2, data }, 7));
  assert.deepEqual(
    v4?.map(({ length }) => length),
    [4028],
  );
  assert.ok(v6 !== undefined && v6.length > 1);
  let joined = Buffer.alloc(0);
  for (const [index, packet] of v6.entries()) {
    assert.ok(packet.length <= 1500);
    assert.equal(packet[6], 44);
    const offset = packet.readUInt16BE(42);
    assert.equal(offset & ~7, joined.length);
    assert.equal(offset & 1, index < v6.length - 1 ? 1 : 0);
    joined = Buffer.concat([joined, packet.subarray(48)]);
  }
  assert.deepEqual(parseUdp(joined)?.data, data);
});

test('an error goes back to the sender and quotes what it was about', () => {
  for (const { source: destination, destination: source } of routes) {
    const datagram = { sourcePort: 40_000, destinationPort: 53, data: Buffer.from('hello') };
    const packet = parsePacket(udpPackets({ source, destination }, datagram, 1)[0] ?? Buffer.alloc(0));
    assert.ok(packet !== undefined);
    const error = parsePacket(unreachablePackets(packet, 'port', 2)[0] ?? Buffer.alloc(0));
    assert.ok(error !== undefined);
    assert.deepEqual([error.source, error.destination], [destination, source]);
    assert.deepEqual([...error.payload.subarray(0, 2)], packet.family === 4 ? [3, 3] : [1, 4]);
    assert.deepEqual(parsePacket(error.payload.subarray(8))?.payload, packet.payload);
  }
});

test('whatever comes, nothing but whole packets is read', () => {
  const [whole = Buffer.alloc(0)] = udpPackets(
    { source: '192.0.2.1', destination: '192.0.2.2' },
    { sourcePort: 1, destinationPort: 2, data: Buffer.from('x') },
    1,
  );
  assert.notEqual(parsePacket(whole), undefined);
  for (let length = 0; length < whole.length; length++) {
    assert.equal(parsePacket(whole.subarray(0, length)), undefined, `${length} bytes`);
  }
  const fragment = Buffer.from(whole);
  fragment.writeUInt16BE(0x2000, 6);
  assert.equal(parsePacket(fragment), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const packet = parsePacket(Buffer.from(bytes));
      if (packet !== undefined) parseUdp(packet.payload);
    }),
  );
});
