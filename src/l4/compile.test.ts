import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  balancedAt,
  type EndpointSpec,
  nodeFacts,
  serviceOf,
  sliceOf,
  terminating,
} from '../../test/support/services.ts';
import type { Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { buildNodeView } from '../model/view.ts';
import { type CompileOptions, compileRuleset, endpointsPerPortMax } from './compile.ts';
import { affinityClientsMax, renderCanonical, renderFull } from './render.ts';
import type { Ruleset } from './ruleset.ts';
import { type Fate, tracePacket, type VirtualPacket } from './trace.ts';

const options: CompileOptions = {
  clusterCidrs: ['10.42.0.0/16', 'fd42::/48'],
  serviceCidrs: ['10.43.0.0/16', 'fd43::/112'],
  clusterNodeAddresses: ['10.41.0.2', '10.41.0.3'],
};

function compile(services: readonly Service[], slices: readonly EndpointSlice[], family: 4 | 6 = 4): Ruleset {
  return compileRuleset(buildNodeView(services, slices, nodeFacts), family, options);
}

const localPod = '10.42.0.9'; // a Pod on node-0 that is no endpoint
const remotePod = '10.42.1.9';
const client = '192.0.2.7';

/** `forward ADDRESS:PORT`, with `, masqueraded` where the endpoint sees the node; else the fate's kind. */
function fateText(fate: Fate): string {
  const masqueraded = 'masqueraded' in fate && fate.masqueraded ? ', masqueraded' : '';
  return `${fate.kind}${fate.kind === 'forward' ? ` ${fate.address}:${fate.port}` : ''}${masqueraded}`;
}

/** `SOURCE to DESTINATION:PORT` of a packet; `node` and `loopback` as sources are the node's own processes. */
function packetOf(text: string, draw = 0): VirtualPacket {
  const [source = '', , target = ''] = text.split(' ');
  const cut = target.lastIndexOf(':');
  const [portText = '', protocol = 'tcp'] = target.slice(cut + 1).split('/');
  const own = source === 'node' || source === 'loopback';
  return {
    origin: own ? 'node' : 'network',
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    source: source === 'node' ? '10.41.0.2' : source === 'loopback' ? '127.0.0.1' : source,
    destination: target.slice(0, cut),
    port: Number(portText),
    draw,
  };
}

const local: EndpointSpec = { address: '10.42.0.2', node: 'node-0' };
const remote: EndpointSpec = { address: '10.42.1.2', node: 'node-1' };
const nodePort = [{ port: 80, nodePort: 30_080 }];

type Case = {
  readonly name: string;
  readonly service: Service;
  readonly endpoints: readonly EndpointSpec[];
  /** Packet to fate. */
  readonly want: Readonly<Record<string, string>>;
};

const cases: readonly Case[] = [
  {
    name: 'a cluster IP reaches its Pod under the caller’s own address',
    service: serviceOf('web', '10.43.0.5'),
    endpoints: [remote],
    want: {
      [`${localPod} to 10.43.0.5:80`]: 'forward 10.42.1.2:8080',
      'node to 10.43.0.5:80': 'forward 10.42.1.2:8080',
      [`${client} to 10.43.0.5:80`]: 'forward 10.42.1.2:8080, masqueraded',
    },
  },
  {
    name: 'a client from outside keeps its address where the Pod is on this node',
    service: serviceOf('web', '10.43.0.5', { type: 'NodePort', ports: nodePort }),
    endpoints: [local],
    want: { [`${client} to 10.41.0.2:30080`]: 'forward 10.42.0.2:8080' },
  },
  {
    name: 'a Pod that reaches itself is masqueraded, else it would answer itself',
    service: serviceOf('web', '10.43.0.5'),
    endpoints: [local],
    want: { '10.42.0.2 to 10.43.0.5:80': 'forward 10.42.0.2:8080, masqueraded' },
  },
  {
    name: 'no endpoints: refused at every address',
    service: serviceOf(
      'web',
      '10.43.0.5',
      { type: 'LoadBalancer', ports: nodePort },
      balancedAt('10.41.0.2'),
    ),
    endpoints: [],
    want: {
      [`${localPod} to 10.43.0.5:80`]: 'refuse',
      [`${client} to 10.41.0.2:80`]: 'refuse',
      [`${client} to 10.41.0.2:30080`]: 'refuse',
      'loopback to 127.0.0.1:30080': 'refuse',
    },
  },
  {
    name: 'ports without a rule: refused in the Service range, left alone elsewhere',
    service: serviceOf('web', '10.43.0.5'),
    endpoints: [local],
    want: {
      [`${localPod} to 10.43.0.5:81`]: 'refuse',
      [`${localPod} to 10.43.0.5:80/udp`]: 'refuse',
      'node to 10.43.7.7:80': 'refuse',
      [`${client} to 10.41.0.2:22`]: 'pass',
      [`${localPod} to ${remotePod}:80`]: 'pass',
      [`${localPod} to 10.41.0.3:10250`]: 'pass',
      [`${localPod} to 192.0.2.1:443`]: 'pass, masqueraded',
      [`${remotePod} to 192.0.2.1:443`]: 'pass',
    },
  },
  {
    name: 'a node port answers at every address of the node only',
    service: serviceOf('web', '10.43.0.5', { type: 'NodePort', ports: nodePort }),
    endpoints: [remote],
    want: {
      [`${client} to 10.41.0.2:30080`]: 'forward 10.42.1.2:8080, masqueraded',
      'loopback to 127.0.0.1:30080': 'forward 10.42.1.2:8080, masqueraded',
      'node to 10.41.0.2:30080': 'forward 10.42.1.2:8080',
      [`${localPod} to 10.41.0.2:30080`]: 'forward 10.42.1.2:8080',
      [`${remotePod} to 10.41.0.2:30080`]: 'forward 10.42.1.2:8080, masqueraded',
      [`${client} to 10.41.0.3:30080`]: 'pass',
      [`${client} to 127.0.0.1:30080`]: 'drop',
    },
  },
  {
    name: 'externalTrafficPolicy Local without a local Pod drops outsiders and serves insiders',
    service: serviceOf(
      'web',
      '10.43.0.5',
      { type: 'LoadBalancer', ports: nodePort, externalTrafficPolicy: 'Local' },
      balancedAt('10.41.0.2'),
    ),
    endpoints: [remote],
    want: {
      [`${client} to 10.41.0.2:30080`]: 'drop',
      [`${client} to 10.41.0.2:80`]: 'drop',
      [`${localPod} to 10.41.0.2:80`]: 'forward 10.42.1.2:8080',
      'node to 10.41.0.2:30080': 'forward 10.42.1.2:8080',
      [`${localPod} to 10.43.0.5:80`]: 'forward 10.42.1.2:8080',
    },
  },
  {
    name: 'externalTrafficPolicy Local uses local Pods only and keeps the client',
    service: serviceOf('web', '10.43.0.5', {
      type: 'NodePort',
      ports: nodePort,
      externalTrafficPolicy: 'Local',
    }),
    endpoints: [remote, local],
    want: { [`${client} to 10.41.0.2:30080`]: 'forward 10.42.0.2:8080' },
  },
  {
    name: 'externalTrafficPolicy Local falls back to a terminating local Pod',
    service: serviceOf('web', '10.43.0.5', {
      type: 'NodePort',
      ports: nodePort,
      externalTrafficPolicy: 'Local',
    }),
    endpoints: [remote, { ...local, conditions: terminating }],
    want: { [`${client} to 10.41.0.2:30080`]: 'forward 10.42.0.2:8080' },
  },
  {
    name: 'internalTrafficPolicy Local drops without a local Pod; node ports do not care',
    service: serviceOf('web', '10.43.0.5', {
      type: 'NodePort',
      ports: nodePort,
      internalTrafficPolicy: 'Local',
    }),
    endpoints: [remote],
    want: {
      [`${localPod} to 10.43.0.5:80`]: 'drop',
      [`${client} to 10.41.0.2:30080`]: 'forward 10.42.1.2:8080, masqueraded',
    },
  },
  {
    name: 'source ranges guard load-balancer addresses only',
    service: serviceOf(
      'web',
      '10.43.0.5',
      { type: 'LoadBalancer', ports: nodePort, loadBalancerSourceRanges: ['192.0.2.0/25', '192.0.2.0/24'] },
      balancedAt('10.41.0.2'),
    ),
    endpoints: [local],
    want: {
      [`${client} to 10.41.0.2:80`]: 'forward 10.42.0.2:8080',
      '198.51.100.1 to 10.41.0.2:80': 'drop',
      '198.51.100.1 to 10.41.0.2:30080': 'forward 10.42.0.2:8080',
      'node to 10.41.0.2:80': 'forward 10.42.0.2:8080',
    },
  },
  {
    name: 'external IPs are served from outside and inside',
    service: serviceOf('web', '10.43.0.5', { externalIPs: ['198.51.100.10'] }),
    endpoints: [remote],
    want: {
      [`${client} to 198.51.100.10:80`]: 'forward 10.42.1.2:8080, masqueraded',
      [`${localPod} to 198.51.100.10:80`]: 'forward 10.42.1.2:8080',
    },
  },
  {
    name: 'an endpoint outside the cluster sees the node, not the Pod',
    service: serviceOf('db', '10.43.0.5'),
    endpoints: [{ address: '198.51.100.20', node: '' }],
    want: {
      [`${localPod} to 10.43.0.5:80`]: 'forward 198.51.100.20:8080, masqueraded',
      'node to 10.43.0.5:80': 'forward 198.51.100.20:8080',
    },
  },
];

for (const { name, service, endpoints, want } of cases) {
  test(`l4: ${name}`, () => {
    const ruleset = compile([service], [sliceOf(service.metadata?.name ?? '', endpoints)]);
    const got = Object.keys(want).map((text) => [
      text,
      fateText(tracePacket(ruleset, nodeFacts.addresses, packetOf(text))),
    ]);
    assert.deepEqual(Object.fromEntries(got), want);
  });
}

test('l4: draws go to all endpoints', () => {
  const ruleset = compile([serviceOf('web', '10.43.0.5')], [sliceOf('web', [local, remote])]);
  const fates = [0, 1, 2, 3].map((draw) =>
    fateText(tracePacket(ruleset, nodeFacts.addresses, packetOf(`${localPod} to 10.43.0.5:80`, draw))),
  );
  assert.deepEqual(fates, [
    'forward 10.42.0.2:8080',
    'forward 10.42.1.2:8080',
    'forward 10.42.0.2:8080',
    'forward 10.42.1.2:8080',
  ]);
});

test('l4: each port and protocol has its own endpoints', () => {
  const service = serviceOf('dns', '10.43.0.10', {
    ports: [
      { name: 'dns', protocol: 'UDP', port: 53 },
      { name: 'dns-tcp', protocol: 'TCP', port: 53 },
      { name: 'metrics', protocol: 'TCP', port: 9153, targetPort: 'metrics' },
    ],
  });
  const ports = [
    { name: 'dns', protocol: 'UDP', port: 1053 },
    { name: 'dns-tcp', protocol: 'TCP', port: 2053 },
    { name: 'metrics', protocol: 'TCP', port: 9000 },
  ];
  const ruleset = compile([service], [sliceOf('dns', [local], ports)]);
  const fate = (text: string) => fateText(tracePacket(ruleset, nodeFacts.addresses, packetOf(text)));
  assert.equal(fate('node to 10.43.0.10:53/udp'), 'forward 10.42.0.2:1053');
  assert.equal(fate('node to 10.43.0.10:53'), 'forward 10.42.0.2:2053');
  assert.equal(fate('node to 10.43.0.10:9153'), 'forward 10.42.0.2:9000');
  assert.equal(fate('node to 10.43.0.10:9153/udp'), 'refuse');
});

test('l4: families do not mix, and IPv6 follows the same rules', () => {
  const service = serviceOf('web', '10.43.0.5', { clusterIPs: ['10.43.0.5', 'fd43::5'] });
  const slices = [sliceOf('web', [local]), sliceOf('web', [{ address: 'fd42:0:0:1::2' }])];
  const six = compile([service], slices, 6);
  const fate = (text: string) => fateText(tracePacket(six, nodeFacts.addresses, packetOf(text)));
  assert.equal(fate('fd42::9 to fd43::5:80'), 'forward fd42:0:0:1::2:8080');
  assert.equal(fate('fd42::9 to fd43::6:80'), 'refuse');
  assert.equal(fate('2001:db8::1 to fd43::5:80'), 'forward fd42:0:0:1::2:8080, masqueraded');
  assert.ok(!renderCanonical(six).includes('10.4'));
  assert.ok(!renderCanonical(compile([service], slices)).includes('fd4'));
});

test('l4: of two Services with one external address the older has it, and the other hears of it', () => {
  const external = { externalIPs: ['198.51.100.10'] };
  const older = serviceOf('zebra', '10.43.0.5', external);
  const younger = {
    ...serviceOf('ape', '10.43.0.6', external),
    metadata: { name: 'ape', namespace: 'default', creationTimestamp: '2026-02-01T12:00:00Z' },
  };
  const ruleset = compile([younger, older], [sliceOf('zebra', [local]), sliceOf('ape', [remote])]);
  const fate = (text: string) => fateText(tracePacket(ruleset, nodeFacts.addresses, packetOf(text)));
  assert.equal(fate('node to 198.51.100.10:80'), 'forward 10.42.0.2:8080');
  assert.equal(fate('node to 10.43.0.6:80'), 'forward 10.42.1.2:8080');
  assert.deepEqual(ruleset.problems.get('default/ape'), [
    {
      service: 'default/ape',
      reason: 'AddressTaken',
      message: '198.51.100.10 . tcp . 80 already belongs to default/zebra',
    },
  ]);
});

test('l4: equal inputs in any order give equal rules', () => {
  const services = [serviceOf('a', '10.43.0.5'), serviceOf('b', '10.43.0.6')];
  const slices = [sliceOf('a', [local, remote]), sliceOf('b', [remote])];
  assert.equal(
    renderCanonical(compile(services, slices)),
    renderCanonical(compile(services.toReversed(), [sliceOf('b', [remote]), sliceOf('a', [remote, local])])),
  );
});

test('l4: a remembered choice means the same endpoint whatever comes and goes beside it', () => {
  const service = serviceOf('web', '10.43.0.5', { sessionAffinity: 'ClientIP' });
  const markOf = (endpoints: readonly EndpointSpec[]): string | undefined =>
    renderCanonical(compile([service], [sliceOf('web', endpoints)]))
      .split('\n')
      .find((line) => line.startsWith('vips_tcp_affine') && line.endsWith(': 10.42.1.2 . 8080'));
  assert.ok(markOf([remote]) !== undefined);
  assert.equal(markOf([local, remote]), markOf([remote]));
});

test('l4: endpoints beyond the bound of a port are left out, and the ruleset stays one that a kernel takes', () => {
  const pods = Array.from({ length: endpointsPerPortMax + 10 }, (_, index) => ({
    address: `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
    node: 'node-1',
  }));
  const ruleset = compile([serviceOf('web', '10.43.0.5')], [sliceOf('web', pods)]);
  const fateOf = (draw: number): string =>
    fateText(tracePacket(ruleset, nodeFacts.addresses, packetOf(`${localPod} to 10.43.0.5:80`, draw)));
  assert.match(fateOf(endpointsPerPortMax - 1), /^forward /);
  assert.notEqual(fateOf(endpointsPerPortMax - 1), fateOf(0));
  assert.equal(fateOf(endpointsPerPortMax), fateOf(0), 'draws go round within the bound');
});

test('l4: the kernel remembers no more clients with affinity than the bound', () => {
  const affine = serviceOf('web', '10.43.0.5', { sessionAffinity: 'ClientIP' });
  for (const family of [4, 6] as const) {
    const text = renderFull(compile([affine], [sliceOf('web', [local])], family));
    const maps = text.split('\n').filter((line) => /\bmap \w+_clients\b/.test(line));
    assert.ok(maps.length > 0);
    for (const line of maps) assert.match(line, new RegExp(`size ${affinityClientsMax};`));
  }
});
