import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { after, before, type TestContext, test } from 'node:test';
import { silentLogger } from '../base/log.ts';
import { openPingSocket } from '../base/sockets.ts';
import { DatagramRelay, datagramLimits } from './egress-datagrams.ts';
import { icmpPackets, type Packet, parsePacket, parseUdp, udpPackets } from './ip-packet.ts';

const node = '10.41.0.2';
const world = '127.0.0.1';
const refused = '127.0.0.3';

/** Says what it heard, and from which port. */
const server = createSocket('udp4');
let port: number;
/** Hears and says nothing. */
const silent = createSocket('udp4');

before(async () => {
  server.on('message', (message, from) => {
    server.send(`${String(message)} from ${from.port}`, from.port, world);
  });
  for (const socket of [server, silent]) await once(socket.bind(0, world), 'listening');
  ({ port } = server.address());
});
after(() => {
  server.close();
  silent.close();
});

type Talk = {
  readonly port?: number;
  readonly host?: string;
  readonly from?: number;
  readonly source?: string;
};

type Nodes = {
  readonly relay: DatagramRelay;
  /** What a client at a port of a node says to a port of the world. */
  readonly say: (text: string, to?: Talk) => void;
  /** The next packet that comes back. */
  readonly next: () => Promise<Packet>;
};

function start(t: TestContext): Nodes {
  const came: Packet[] = [];
  let wake = (): void => {};
  const relay = new DatagramRelay({
    write: (bytes) => {
      const packet = parsePacket(bytes);
      assert.ok(packet !== undefined);
      came.push(packet);
      wake();
    },
    isNode: (address) => /^(10\.41\.|fd00:41:)/.test(address),
    isRefused: (address) => address === refused,
    log: silentLogger,
  });
  t.after(() => relay.close());
  return {
    relay,
    say: (text, { port: destinationPort = port, host = world, from = 40_000, source = node } = {}) => {
      const datagram = { sourcePort: from, destinationPort, data: Buffer.from(text) };
      for (const packet of udpPackets({ source, destination: host }, datagram, 1)) relay.receive(packet);
    },
    next: async () => {
      while (came.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return came.shift() as Packet;
    },
  };
}

test('datagrams of a flow keep their port, and answers come from where they were sent to', async (t) => {
  const { relay, say, next } = start(t);
  const ports = new Set<string>();
  for (const text of ['one', 'two', 'three']) {
    say(text);
    const { source, destination, payload } = await next();
    const answer = parseUdp(payload);
    assert.deepEqual([source, destination], [world, node]);
    assert.deepEqual([answer?.sourcePort, answer?.destinationPort], [port, 40_000]);
    const [said, , from = ''] = String(answer?.data).split(' ');
    assert.equal(said, text);
    ports.add(from);
  }
  assert.equal(ports.size, 1);
  say('other', { from: 40_001 });
  assert.ok(!ports.has(String(parseUdp((await next()).payload)?.data).split(' ')[2] ?? ''));
  assert.equal(relay.flowCount, 2);
});

test('a port that nobody has is told to the client, and the flow is over', async (t) => {
  const { relay, say, next } = start(t);
  const closed = createSocket('udp4').bind(0, world);
  await once(closed, 'listening');
  const nobodys = closed.address().port;
  await new Promise<void>((resolve) => closed.close(() => resolve()));
  say('hello', { port: nobodys });
  const { source, payload } = await next();
  assert.deepEqual([source, ...payload.subarray(0, 2)], [world, 3, 3]);
  assert.equal(parsePacket(payload.subarray(8))?.source, node, 'it quotes what was sent');
  while (relay.flowCount > 0) await new Promise(setImmediate);
});

test('who may not be reached is prohibited; what is no datagram, or from nobody of ours, is nothing', async (t) => {
  const { relay, say, next } = start(t);
  say('multicast', { host: '224.0.0.251' });
  say('stranger', { source: '192.0.2.9' });
  relay.receive(Buffer.from('no packet'));
  relay.receive(
    icmpPackets({ source: node, destination: world }, Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), 1)[0] ??
      Buffer.alloc(0),
  );
  say('hello', { host: refused });
  const { source, payload } = await next();
  assert.deepEqual([source, ...payload.subarray(0, 2)], [refused, 3, 13]);
  assert.equal(relay.flowCount, 0);
});

test('a node has its bound of flows, beyond which new ones are lost and others go on', async (t) => {
  const { relay, say, next } = start(t);
  say('hello', { from: 1 });
  await next();
  const nowhere = silent.address().port;
  for (let from = 2; from < 2 + datagramLimits.flowsPerNodeMax; from++) say('x', { port: nowhere, from });
  assert.equal(relay.flowCount, datagramLimits.flowsPerNodeMax);
  say('lost', { from: 2 + datagramLimits.flowsPerNodeMax });
  say('other node', { source: '10.41.0.3' });
  assert.equal((await next()).destination, '10.41.0.3');
  say('still here', { from: 1 });
  assert.match(String(parseUdp((await next()).payload)?.data), /^still here/);
});

test('a flow is over after 30 s without an answer, after 120 s with one', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { relay, say, next } = start(t);
  say('x', { port: silent.address().port });
  say('hello');
  await next();
  t.mock.timers.tick(datagramLimits.unansweredIdleMs - 1);
  assert.equal(relay.flowCount, 2);
  t.mock.timers.tick(1);
  assert.equal(relay.flowCount, 1);
  t.mock.timers.tick(datagramLimits.idleMs);
  assert.equal(relay.flowCount, 0);
});

for (const [family, world_, source, types] of [
  [4, '127.0.0.1', node, [8, 0]],
  [6, '::1', 'fd00:41::2', [128, 129]],
] as const) {
  test(`ping over IPv${family}: the answer has the client's id and data`, async (t) => {
    const fd = openPingSocket(family);
    if (fd === undefined) {
      t.skip('net.ipv4.ping_group_range of this machine lets nobody');
      return;
    }
    closeSync(fd);
    const { relay, next } = start(t);
    const request = Buffer.concat([
      Buffer.from([types[0], 0, 0, 0, 0x12, 0x34, 0, 7]),
      Buffer.from('fairlead'),
    ]);
    for (const packet of icmpPackets({ source, destination: world_ }, request, 1)) relay.receive(packet);
    const answer = await next();
    assert.deepEqual([answer.source, answer.destination], [world_, source]);
    assert.equal(answer.payload[0], types[1]);
    assert.deepEqual(answer.payload.subarray(4), request.subarray(4));
  });
}
