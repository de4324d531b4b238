import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isClusterNetns, planNetwork } from './netns.ts';
import { rangesOf } from './ranges.ts';

const one = { name: 'dev', agents: 0 };
const complete = new Map([
  ['fairlead-dev-net', new Set(['lo', 'br0', 'node0'])],
  ['fairlead-dev-server-0', new Set(['lo', 'eth0'])],
]);

const linesOf = (
  observed: Parameters<typeof planNetwork>[1],
  config: Parameters<typeof planNetwork>[0] = one,
): readonly string[] =>
  [planNetwork(config, observed)].flatMap(({ namespaces, stages }) =>
    [namespaces ?? [], ...stages]
      .flat()
      .flatMap(({ netns, lines }) => lines.map((line) => `${netns ?? 'host'}: ${line}`)),
  );

test('a first start makes namespaces, then the bridge, then the nodes', () => {
  assert.deepEqual(linesOf(new Map()), [
    'host: netns add fairlead-dev-net',
    'host: netns add fairlead-dev-server-0',
    'fairlead-dev-net: link add br0 type bridge',
    'fairlead-dev-net: address replace 10.41.0.1/16 dev br0',
    'fairlead-dev-net: link set lo up',
    'fairlead-dev-net: link set br0 up',
    'fairlead-dev-net: route replace unreachable default metric 4096',
    'fairlead-dev-net: link add node0 alias server-0 type veth peer name eth0 netns fairlead-dev-server-0',
    'fairlead-dev-net: link set node0 master br0 up',
    'fairlead-dev-server-0: link set lo up',
    'fairlead-dev-server-0: address replace 10.41.0.2/16 dev eth0',
    'fairlead-dev-server-0: link set eth0 up',
    'fairlead-dev-server-0: route replace default via 10.41.0.1',
  ]);
});

test('on a complete network nothing is added', () => {
  assert.deepEqual(
    linesOf(complete).filter((line) => line.includes(' add ')),
    [],
  );
});

test('a start that was interrupted is completed', () => {
  const observed = new Map([['fairlead-dev-net', new Set(['lo', 'br0'])]]);
  assert.deepEqual(
    linesOf(observed).filter((line) => line.includes(' add ')),
    [
      'host: netns add fairlead-dev-server-0',
      'fairlead-dev-net: link add node0 alias server-0 type veth peer name eth0 netns fairlead-dev-server-0',
    ],
  );
});

test('more agents join what is there', () => {
  const added = linesOf(complete, { name: 'dev', agents: 1 }).filter((line) => line.includes(' add '));
  assert.deepEqual(added, [
    'host: netns add fairlead-dev-agent-0',
    'fairlead-dev-net: link add node1 alias agent-0 type veth peer name eth0 netns fairlead-dev-agent-0',
  ]);
});

test('every namespace forwards', () => {
  const forwarding = planNetwork({ name: 'dev', agents: 2 }, new Map()).sysctls.filter(
    ({ key }) => key === 'net.ipv4.ip_forward',
  );
  assert.equal(forwarding.length, 4);
});

test('two families: addresses, refusals and ways out of each, and settings before any interface is made', () => {
  const config = { name: 'dev', agents: 0, ipFamilies: 'dual' } as const;
  const [, ipv6] = rangesOf(config);
  const site = ipv6?.gateway.replace(/:41::1$/, '') ?? '';
  const lines = linesOf(new Map(), config);
  for (const line of [
    `fairlead-dev-net: address replace ${site}:41::1/64 dev br0`,
    'fairlead-dev-net: route replace unreachable ::/0 metric 4096',
    `fairlead-dev-server-0: address replace ${site}:41::2/64 dev eth0`,
    `fairlead-dev-server-0: route replace default via ${site}:41::1`,
    'fairlead-dev-server-0: route replace default via 10.41.0.1',
  ])
    assert.ok(lines.includes(line), line);
  const { sysctls } = planNetwork(config, new Map());
  for (const key of ['forwarding', 'accept_dad', 'keep_addr_on_down'])
    assert.equal(sysctls.filter((one) => one.key.endsWith(key)).length, 2, key);
});

test('a cluster of IPv4 alone sets nothing of IPv6, which the machine may not have', () => {
  const { sysctls } = planNetwork(one, new Map());
  assert.deepEqual(
    sysctls.filter(({ key }) => key.includes('ipv6')),
    [],
  );
  assert.ok(!linesOf(new Map()).some((line) => /::/.test(line)));
});

for (const [name, isOurs] of [
  ['fairlead-dev-net', true],
  ['fairlead-dev-server-0', true],
  ['fairlead-dev-agent-12', true],
  ['fairlead-dev-agent-x', false],
  ['fairlead-dev-2-net', false],
  ['fairlead-devnet', false],
  ['other', false],
] as const) {
  test(`namespace ${name} is ${isOurs ? '' : 'not '}of cluster dev`, () => {
    assert.equal(isClusterNetns('dev', name), isOurs);
  });
}
