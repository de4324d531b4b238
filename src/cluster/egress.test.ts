import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { silentLogger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { type Destination, runEgressRelay } from './egress.ts';
import { planEgressRoutes, planEgressRules, planFlowLimits } from './egress-rules.ts';

test('rules: each node hides its Pods, the network leads what is not its own to the relay', () => {
  const [network, server, agent] = planEgressRules({ name: 'dev', agents: 1, ipFamilies: 'dual' }, [4]);
  assert.equal(network?.netns, 'fairlead-dev-net');
  assert.deepEqual(network.script.split('\n').slice(2, 6), [
    'table inet fairlead-egress {',
    '  chain prerouting {',
    '    type nat hook prerouting priority dstnat; policy accept;',
    '    iifname "br0" ip daddr != { 10.41.0.0/16, 10.42.0.0/16, 10.43.0.0/16 } meta l4proto tcp redirect to :15001',
  ]);
  assert.equal(server?.netns, 'fairlead-dev-server-0');
  assert.equal(
    server.script.split('\n')[5],
    '    oifname "eth0" ip daddr != { 10.41.0.0/16, 10.42.0.0/16, 10.43.0.0/16 } ip saddr 10.42.0.0/16 masquerade',
  );
  assert.equal(agent?.netns, 'fairlead-dev-agent-0');
});

test('rules: datagrams go to the device, a bounded number of flows of each Pod', () => {
  assert.deepEqual(planEgressRoutes([4, 6]).slice(1), [
    'route replace default dev world metric 1',
    'route replace ::/0 dev world metric 1',
  ]);
  const [server] = planFlowLimits({ name: 'dev', agents: 0 }, [4]);
  assert.match(
    server?.script ?? '',
    /ip saddr 10\.42\.0\.0\/16 meta l4proto \{ udp, icmp, ipv6-icmp \} ct state new add @flows4 \{ ip saddr ct count over 256 \} reject/,
  );
});

test('rules: of a family in which this machine has a way out', () => {
  assert.deepEqual(planEgressRules({ name: 'dev', agents: 0 }, [6]), []);
  const [network] = planEgressRules({ name: 'dev', agents: 0, ipFamilies: 'dual' }, [4, 6]);
  assert.match(
    network?.script ?? '',
    /ip6 daddr != \{ fd[0-9a-f:]+:41::\/64, .* \} meta l4proto tcp redirect/,
  );
});

let world: Server;
let worldPort: number;
let relayPort: number;
let destination: Destination | undefined;
const stop = new AbortController();
let running: Promise<void>;

before(async () => {
  world = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks).reverse()));
    socket.on('error', () => socket.destroy());
  });
  world.listen(0, '127.0.0.1');
  await once(world, 'listening');
  worldPort = (world.address() as AddressInfo).port;
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  relayPort = (probe.address() as AddressInfo).port;
  await new Promise((resolve) => probe.close(resolve));
  const fd = openSocket('tcp', '127.0.0.1', relayPort);
  running = runEgressRelay(fd, silentLogger, stop.signal, {
    destinationOf: () => destination,
    isRefused: (address) => address === '127.0.0.3',
  });
});
after(async () => {
  stop.abort();
  await running;
  world.close();
});

async function answerTo(text: string): Promise<string> {
  const socket: Socket = connect({ port: relayPort, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(text);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

test('bytes go both ways, and the end of one side is not the end of the other', async () => {
  destination = { host: '127.0.0.1', port: worldPort };
  assert.equal(await answerTo('fairlead'), 'daelriaf');
  assert.equal((await answerTo('x'.repeat(3_000_000))).length, 3_000_000);
});

for (const [why, where] of [
  ['nobody listens', { host: '127.0.0.1', port: 1 }],
  ['the cluster itself', { host: '127.0.0.3', port: 80 }],
  ['where to is not known', undefined],
] as const) {
  test(`reset at once: ${why}`, async () => {
    destination = where;
    await assert.rejects(answerTo('hello'), { code: 'ECONNRESET' });
  });
}
