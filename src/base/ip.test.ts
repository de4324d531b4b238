import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalIp,
  cidrAddress,
  cidrContains,
  cidrCovers,
  cidrSize,
  cidrSubnet,
  formatCidr,
  formatIp,
  ipFromBytes,
  ipToBytes,
  parseCidr,
  parseIp,
} from './ip.ts';

const canonical: readonly (readonly [string, string | undefined])[] = [
  ['10.42.0.1', '10.42.0.1'],
  ['255.255.255.255', '255.255.255.255'],
  ['010.0.0.1', undefined],
  ['256.0.0.1', undefined],
  ['1.2.3', undefined],
  ['1.2.3.4.5', undefined],
  ['', undefined],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
  ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['1:2:3:4:5:6:7:8::', undefined],
  ['1::2::3', undefined],
  ['1:2:3', undefined],
  ['fe80::1%eth0', undefined],
  ['::1.2.3.4:1', undefined],
  [':::', undefined],
];

for (const [text, want] of canonical) {
  test(`ip: "${text}" is ${want ?? 'no address'}`, () => assert.equal(canonicalIp(text), want));
}

test('ip: text and bytes of any address come back as the same address', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  fc.assert(
    fc.property(address, (text) => {
      const ip = parseIp(text);
      assert.ok(ip !== undefined, text);
      assert.deepEqual(parseIp(formatIp(ip)), ip);
      assert.deepEqual(ipFromBytes(ipToBytes(ip)), ip);
    }),
  );
});

test('ip: any text is taken exactly when the platform takes it', () => {
  const piece = fc.constantFrom('0', '1', 'ff', '255', '1.2.3.4', ':', '::', '.', '01', 'g');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      assert.equal(parseIp(text) !== undefined, isIP(text) !== 0, text);
    }),
  );
});

function cidr(text: string) {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined, `${text} is no range`);
  return parsed;
}

function ip(text: string) {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, `${text} is no address`);
  return parsed;
}

test('cidr: bits behind the prefix are cleared', () => {
  assert.equal(formatCidr(cidr('10.1.2.3/8')), '10.0.0.0/8');
  assert.equal(formatCidr(cidr('fd00::1/64')), 'fd00::/64');
  assert.equal(formatCidr(cidr('1.2.3.4/0')), '0.0.0.0/0');
});

for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/', 'fd00::/129', '/8']) {
  test(`cidr: "${text}" is refused`, () => assert.equal(parseCidr(text), undefined));
}

test('cidr: contains, covers, size', () => {
  const range = cidr('10.42.0.0/16');
  assert.equal(cidrContains(range, ip('10.42.255.255')), true);
  assert.equal(cidrContains(range, ip('10.43.0.0')), false);
  assert.equal(cidrContains(range, ip('::')), false);
  assert.equal(cidrCovers(range, cidr('10.42.7.0/24')), true);
  assert.equal(cidrCovers(cidr('10.42.7.0/24'), range), false);
  assert.equal(cidrSize(range), 65536n);
});

test('cidr: addresses and parts by index, none behind the end', () => {
  const range = cidr('10.42.0.0/16');
  const tenth = cidrAddress(range, 10n);
  assert.ok(tenth !== undefined);
  assert.equal(formatIp(tenth), '10.42.0.10');
  assert.equal(cidrAddress(range, 65536n), undefined);
  const part = cidrSubnet(range, 24, 255);
  assert.ok(part !== undefined);
  assert.equal(formatCidr(part), '10.42.255.0/24');
  assert.equal(cidrSubnet(range, 24, 256), undefined);
  assert.equal(cidrSubnet(range, 8, 0), undefined);
});
