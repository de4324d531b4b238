import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterConfig } from './config.ts';
import { mergePublished } from './config.ts';
import { describeDescriptor, type DescriptorPlan, planProcesses } from './plan.ts';

const published = mergePublished([]);
assert.ok(published.ok);
const config: ClusterConfig = {
  name: 'dev',
  agents: 1,
  published: published.value,
  ingressClasses: ['traefik', 'fairlead'],
  dataDir: '/data/dev',
  runDir: '/run/dev',
  egress: 'none',
  cniBinDir: '/usr/lib/cni',
  apiPort: 6443,
};

/** Command lines as they come out when every socket could be made. */
function commands(of: ClusterConfig): ReadonlyMap<string, string> {
  return new Map(
    planProcesses(of).map((plan) => {
      const numbers = new Map<DescriptorPlan, number>(
        plan.descriptors.map((each, index) => [each, 3 + index]),
      );
      return [plan.name, plan.command((descriptor) => numbers.get(descriptor)).join(' ')];
    }),
  );
}

test('a process each for the server, the nodes, DNS and the ingress', () => {
  assert.deepEqual(
    planProcesses(config).map(({ name, netns }) => `${name} in ${netns}`),
    [
      'server in fairlead-dev-server-0',
      'node-server-0 in fairlead-dev-server-0',
      'node-agent-0 in fairlead-dev-agent-0',
      'dns in fairlead-dev-server-0',
      'ingress in fairlead-dev-server-0',
    ],
  );
});

test('the server gets the API sockets of its node and of the host', () => {
  const [server] = planProcesses(config);
  assert.deepEqual(server?.descriptors.map(describeDescriptor), [
    'fairlead-dev-server-0/10.41.0.2:6443',
    'host/127.0.0.1:6443',
    'host/::1:6443',
  ]);
  assert.match(commands(config).get('server') ?? '', /--fds 3,4,5$/);
});

test('the ingress gets 80 and 443, the node of server-0 the other ports', () => {
  const ingress = commands(config).get('ingress') ?? '';
  assert.match(ingress, /--http-fd 3 --http-fd 4 --https-fd 5 --https-fd 6$/);
  assert.match(ingress, /--ingress-class traefik,fairlead/);
  assert.match(commands(config).get('node-server-0') ?? '', /--relay 3:8080 --relay 4:8080/);
  assert.doesNotMatch(commands(config).get('node-agent-0') ?? '', /--relay/);
});

test('names on the host: DNS gets sockets there and hears what is published', () => {
  const asked = { ...config, hostDns: { address: '127.0.43.10', port: 53 } };
  const dns = planProcesses(asked).find(({ name }) => name === 'dns');
  assert.deepEqual(dns?.descriptors.map(describeDescriptor), [
    'fairlead-dev-server-0/10.41.0.2:53/udp',
    'fairlead-dev-server-0/0.0.0.0:53',
    'host/127.0.43.10:53/udp',
    'host/127.0.43.10:53',
  ]);
  const command = commands(asked).get('dns') ?? '';
  assert.match(command, /--host-udp-fd 5:127\.0\.43\.10 --host-tcp-fd 6/);
  assert.match(command, /--host-port 127\.0\.0\.1:8080:8080 --host-port \[::1\]:8080:8080/);
  assert.doesNotMatch(commands(config).get('dns') ?? '', /--host/);
});

test('names on the host: a wildcard is reached at the loopback', () => {
  const [port] = config.published;
  const published = port === undefined ? [] : [{ ...port, hostAddresses: ['0.0.0.0'] }];
  const asked = { ...config, published, hostDns: { address: '127.0.43.10', port: 53 } };
  assert.match(commands(asked).get('dns') ?? '', /--host-port 127\.0\.0\.1:80:80$/);
});

test('a socket that could not be made is left out of the command', () => {
  const [server] = planProcesses(config);
  const command = server?.command((descriptor) => (descriptor.address === '::1' ? undefined : 3));
  assert.equal(command?.at(-1), '3,3');
});

test('the ingress stops first and the API server last', () => {
  const stages = new Map(planProcesses(config).map(({ name, stopStage }) => [name, stopStage]));
  assert.ok((stages.get('ingress') ?? 9) < (stages.get('node-server-0') ?? 0));
  assert.ok((stages.get('node-server-0') ?? 9) < (stages.get('server') ?? 0));
});
