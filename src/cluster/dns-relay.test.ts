import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { type AddressInfo, createServer, isIPv6 } from 'node:net';
import { test } from 'node:test';
import { silentLogger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { parseResolvers, runDnsRelay } from './dns-relay.ts';
import { ipv6Problem } from './prerequisites.ts';

test('resolvers are read as the C library reads them', () => {
  const text = '# nameserver 9.9.9.9\nsearch x\nnameserver 192.0.2.1\n nameserver ::1\nnameserver nonsense\n';
  assert.deepEqual(parseResolvers(text), ['192.0.2.1', '::1']);
  assert.equal(parseResolvers('nameserver 192.0.2.1\n'.repeat(9)).length, 3);
  assert.deepEqual(parseResolvers(''), []);
});

test('a cluster is not asked for the names that it asks for', () => {
  const text =
    'nameserver 127.0.43.10\nnameserver 127.0.43.11\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n';
  assert.deepEqual(parseResolvers(text), ['127.0.0.53', '192.0.2.1']);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The relay at an address, with two resolvers of which the first refuses. */
async function asksOn(address: string): Promise<void> {
  const upstream = createSocket('udp4');
  upstream.on('message', (query, from) => {
    upstream.send(Buffer.concat([query, Buffer.from('answer')]), from.port, from.address);
  });
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve));
  const relayPort = await freePort();
  const sockets = {
    udpFd: openSocket('udp', address, relayPort),
    tcpFd: openSocket('tcp', address, relayPort),
    isIpv6: isIPv6(address),
  };
  const stop = new AbortController();
  // Nobody listens on that port of the first address.
  const resolvers = (): readonly string[] => ['127.0.0.2', '127.0.0.1'];
  const running = runDnsRelay(sockets, silentLogger, stop.signal, resolvers, upstream.address().port);
  const client = createSocket(sockets.isIpv6 ? 'udp6' : 'udp4');
  try {
    const query = Buffer.from('\x12\x34query that is long enough', 'latin1');
    const answer = new Promise<Buffer>((resolve) => client.once('message', resolve));
    client.send(query, relayPort, address);
    assert.equal((await answer).toString('latin1'), `${query.toString('latin1')}answer`);
  } finally {
    client.close();
    upstream.close();
    stop.abort();
    await running;
  }
}

test('a query goes to the resolver as it is and its answer comes back; a resolver that refuses is passed over', () =>
  asksOn('127.0.0.1'));

test('the same of a query by IPv6 and a resolver of IPv4', { skip: ipv6Problem() ?? false }, () =>
  asksOn('::1'),
);
