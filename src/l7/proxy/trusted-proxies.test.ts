import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FieldLines } from '../http1/http1-fields.ts';
import { parseRequestHead } from '../http1/http1-parse.ts';
import { clientAddress } from './request-fields.ts';
import { trustedHopsOf, trustedProxies } from './trusted-proxies.ts';

/** Who the client is, by what a peer tells. */
function clientOf(proxies: readonly string[], peer: string, forwardedFor: string): string {
  const isTrusted = trustedProxies(proxies);
  const requestLines = new FieldLines(10);
  const data = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${forwardedFor}\r\n\r\n`);
  const head = parseRequestHead(data, 0, data.length, requestLines);
  assert.ok(head.kind === 'request');
  const client = { address: peer, scheme: 'http' as const, trusted: isTrusted(peer) };
  return clientAddress(head, client, { requestLines, isTrusted, trustedHops: trustedHopsOf(proxies) });
}

const cases: readonly (readonly [string, readonly string[], string, string, string])[] = [
  ['nobody is believed by default', [], '10.0.0.1', '192.0.2.1', '10.0.0.1'],
  ['a stranger is not believed', ['10.0.0.0/8'], '203.0.113.9', '192.0.2.1', '203.0.113.9'],
  ['a proxy tells its client', ['10.0.0.0/8'], '10.0.0.1', '192.0.2.1', '192.0.2.1'],
  [
    'what a client wrote itself is not believed',
    ['10.0.0.0/8'],
    '10.0.0.1',
    '1.1.1.1, 192.0.2.1',
    '192.0.2.1',
  ],
  ['proxies behind proxies', ['10.0.0.0/8'], '10.0.0.1', '192.0.2.1, 10.0.0.2', '192.0.2.1'],
  ['one hop', ['1'], '198.51.100.1', '1.1.1.1, 192.0.2.1', '192.0.2.1'],
  ['two hops', ['2'], '198.51.100.1', '1.1.1.1, 192.0.2.1, 198.51.100.2', '192.0.2.1'],
  ['fewer hops than there should be', ['3'], '198.51.100.1', '192.0.2.1', '198.51.100.1'],
];

for (const [name, proxies, peer, forwardedFor, want] of cases) {
  test(`l7 trusted proxies: ${name}`, () => assert.equal(clientOf(proxies, peer, forwardedFor), want));
}

/** The same by Forwarded; X-Forwarded-For is what the client could write. */
function clientByForwarded(proxies: readonly string[], peer: string, ...fields: readonly string[]): string {
  const isTrusted = trustedProxies(proxies);
  const requestLines = new FieldLines(10);
  const lines = fields.map((value) => `Forwarded: ${value}\r\n`).join('');
  const data = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\n${lines}\r\n`);
  const head = parseRequestHead(data, 0, data.length, requestLines);
  assert.ok(head.kind === 'request');
  const client = { address: peer, scheme: 'http', trusted: isTrusted(peer), believes: 'rfc7239' } as const;
  return clientAddress(head, client, { requestLines, isTrusted, trustedHops: trustedHopsOf(proxies) });
}

const ranges = ['10.0.0.0/8', 'fd00::/8'];

const forwardedCases: readonly (readonly [string, readonly string[], string, readonly string[], string])[] = [
  ['a stranger is not believed', ranges, '203.0.113.9', ['for=192.0.2.1'], '203.0.113.9'],
  ['a proxy tells its client', ranges, '10.0.0.1', ['for=192.0.2.1;proto=https'], '192.0.2.1'],
  ['its X-Forwarded-For is not looked at', ranges, '10.0.0.1', [], '10.0.0.1'],
  ['with a port', ranges, '10.0.0.1', ['For="192.0.2.1:4711"'], '192.0.2.1'],
  ['IPv6', ranges, '10.0.0.1', ['for="[2001:db8::7]:4711"'], '2001:db8::7'],
  ['what a client wrote itself', ranges, '10.0.0.1', ['for=1.1.1.1, for=192.0.2.1'], '192.0.2.1'],
  [
    'proxies behind proxies, in two fields',
    ranges,
    '10.0.0.1',
    ['for=192.0.2.1', 'for="[fd00::2]"'],
    '192.0.2.1',
  ],
  [
    'a comma within quotes ends no element',
    ranges,
    '10.0.0.1',
    ['for=192.0.2.1;host="a,for=1.1.1.1"'],
    '192.0.2.1',
  ],
  ['one whom its proxy does not name', ranges, '10.0.0.1', ['for=192.0.2.1, for=unknown'], 'unknown'],
  ['what cannot be read is not believed', ranges, '10.0.0.1', ['for=192.0.2.1;for=1.1.1.1'], '10.0.0.1'],
  ['a quote that does not end', ranges, '10.0.0.1', ['for="192.0.2.1'], '10.0.0.1'],
  ['two hops', ['2'], '198.51.100.1', ['for=1.1.1.1, for=192.0.2.1, for=198.51.100.2'], '192.0.2.1'],
  ['fewer hops than there should be', ['3'], '198.51.100.1', ['for=192.0.2.1'], '198.51.100.1'],
];

for (const [name, proxies, peer, fields, want] of forwardedCases) {
  test(`l7 trusted proxies by Forwarded: ${name}`, () =>
    assert.equal(clientByForwarded(proxies, peer, ...fields), want));
}

test('l7 trusted proxies: a text that is neither ranges nor a number is told', () => {
  assert.throws(() => trustedProxies(['somewhere']), /"somewhere" is no address range/);
  assert.throws(() => trustedProxies(['2', '10.0.0.0/8']), /"2" is no address range/);
});
