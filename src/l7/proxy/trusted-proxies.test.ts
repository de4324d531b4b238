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

test('l7 trusted proxies: a text that is neither ranges nor a number is told', () => {
  assert.throws(() => trustedProxies(['somewhere']), /"somewhere" is no address range/);
  assert.throws(() => trustedProxies(['2', '10.0.0.0/8']), /"2" is no address range/);
});
