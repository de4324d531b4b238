import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterConfig } from './config.ts';
import { mergePublished } from './config.ts';
import { describeDescriptor, type DescriptorPlan, planProcesses } from './plan.ts';
import { rangesOf } from './ranges.ts';

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

test('two families: an address of each for the API, DNS and the nodes, and wildcards of both', () => {
  const dual: ClusterConfig = { ...config, ipFamilies: 'dual', egress: 'auto' };
  const [, six] = rangesOf(dual);
  assert.ok(six !== undefined);
  const node = six.gateway.replace(/1$/, '2');
  const descriptorsOf = (name: string) =>
    planProcesses(dual)
      .find((plan) => plan.name === name)
      ?.descriptors.map(describeDescriptor);
  const inServer = (address: string) => `fairlead-dev-server-0/${address}`;
  assert.deepEqual(descriptorsOf('server')?.slice(0, 2), [
    inServer('10.41.0.2:6443'),
    inServer(`${node}:6443`),
  ]);
  assert.deepEqual(descriptorsOf('dns'), [
    inServer('10.41.0.2:53/udp'),
    inServer(`${node}:53/udp`),
    inServer('0.0.0.0:53'),
    inServer(':::53'),
  ]);
  for (const [process, options] of [
    ['node-server-0', `--node-ip 10.41.0.2,${node} `],
    ['node-server-0', `--cluster-dns 10.43.0.10,${six.dns} `],
    ['node-server-0', `--cluster-cidr 10.42.0.0/16,${six.pods} --service-cidr 10.43.0.0/16,${six.services} `],
    ['node-server-0', `--gateway 10.41.0.1,${six.gateway} `],
    ['node-server-0', '--image-proxy http://10.41.0.1:3128'],
    ['dns', `--udp-fd 3:10.41.0.2 --udp-fd 4:${node} --tcp-fd 5 --tcp-fd 6`],
    ['dns', '--upstream 10.41.0.1 --health-address [::]:9153 '],
    ['ingress', '--http [::]:8000 --https [::]:8443 --health-address [::]:9113 '],
  ] as const) {
    assert.ok(commands(dual).get(process)?.includes(options), `${process} ${commands(dual).get(process)}`);
  }
});

test('IPv6 alone: the way out is at an address of it', () => {
  const alone: ClusterConfig = { ...config, ipFamilies: 'ipv6', egress: 'auto' };
  const gateway = rangesOf(alone)[0]?.gateway ?? '';
  assert.ok(commands(alone).get('dns')?.includes(`--upstream ${gateway} `));
  assert.ok(commands(alone).get('node-agent-0')?.includes(`--image-proxy http://[${gateway}]:3128`));
  assert.doesNotMatch([...commands(alone).values()].join('\n'), /10\.4\d\./);
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
