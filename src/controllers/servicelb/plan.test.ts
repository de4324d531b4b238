import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerPort, Node, Pod, PodSpec, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { planBalancer, portsError } from './plan.ts';

function node(name: string, address: string | readonly string[], ready = 'True'): Node {
  const addresses = [address].flat().map((one) => ({ type: 'InternalIP', address: one }));
  return { metadata: { name }, status: { addresses, conditions: [{ type: 'Ready', status: ready }] } };
}

function service(name: string, createdAt: string, spec: Service['spec'] = {}): Service {
  return {
    metadata: { name, namespace: 'default', creationTimestamp: `2026-01-31T12:00:0${createdAt}Z` },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
  };
}

const nodes = [node('b', '10.41.0.10'), node('a', '10.41.0.9'), node('c', '10.41.0.11', 'False')];
const web = service('web', '1');

const cases: readonly {
  name: string;
  service: Service;
  others: readonly Service[];
  want: readonly string[] | string;
}[] = [
  {
    name: 'all ready nodes, in order of address',
    service: web,
    others: [],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'a class of its own is not ours',
    service: service('x', '1', { loadBalancerClass: 'a.b/c' }),
    others: [],
    want: [],
  },
  {
    name: 'another type has no addresses',
    service: service('x', '1', { type: 'ClusterIP' }),
    others: [],
    want: [],
  },
  {
    name: 'the older one keeps the port',
    service: web,
    others: [service('late', '2')],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'our own class is ours',
    service: service('x', '1', { loadBalancerClass: 'fairlead.dev/servicelb' }),
    others: [],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'the younger one waits',
    service: service('late', '2'),
    others: [web],
    want: '80/TCP of Service default/web',
  },
  {
    name: 'the oldest of several holds the port',
    service: service('last', '3'),
    others: [service('late', '2'), web],
    want: '80/TCP of Service default/web',
  },
  {
    name: 'the ports of the cluster itself are not given away',
    service: service('bad', '2', { ports: [{ port: 6443 }] }),
    others: [],
    want: '6443/TCP of the API server',
  },
  {
    name: 'a node port of another Service is not taken away',
    service: service('bad', '1', { ports: [{ port: 30080 }] }),
    others: [service('late', '2', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] })],
    want: '30080/TCP of a node port of Service default/late',
  },
  {
    name: 'its own node port is no clash',
    service: service('own', '1', { ports: [{ port: 30080, nodePort: 30080 }] }),
    others: [],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'nor is a port of the nodes where a health check answers',
    service: service('bad', '1', { ports: [{ port: 32000 }] }),
    others: [service('late', '2', { ports: [{ port: 81 }], healthCheckNodePort: 32000 })],
    want: '32000/TCP of the health check of Service default/late',
  },
  {
    name: 'the same port of another protocol is no clash',
    service: service('dns', '2', { ports: [{ port: 80, protocol: 'UDP' }] }),
    others: [web],
    want: ['10.41.0.9', '10.41.0.10'],
  },
];

for (const { name, service: wanted, others, want } of cases) {
  test(`servicelb: ${name}`, () => {
    const context = { services: [...others, wanted], nodes, pods: [], slices: [] };
    const { ingress, clashes } = planBalancer(wanted, context);
    const [clash] = clashes;
    const got = clash === undefined ? ingress.map(({ ip }) => ip) : `${clash.port} of ${clash.holder}`;
    assert.deepEqual(got, want);
  });
}

test('servicelb: of two ports the one that is free works, the other tells why not', () => {
  const both = service('late', '2', { ports: [{ port: 80 }, { port: 81 }] });
  const { ingress, clashes } = planBalancer(both, { services: [web, both], nodes, pods: [], slices: [] });
  assert.deepEqual(ingress[0], {
    ip: '10.41.0.9',
    ipMode: 'VIP',
    ports: [
      { port: 80, protocol: 'TCP', error: 'fairlead.dev/PortUnavailable' },
      { port: 81, protocol: 'TCP' },
    ],
  });
  const third = service('third', '3', { ports: [{ port: 81 }] });
  const late = planBalancer(third, { services: [web, both, third], nodes, pods: [], slices: [] });
  assert.deepEqual(late.clashes, [{ port: '81/TCP', node: undefined, holder: 'Service default/late' }]);
  assert.equal(clashes.length, 1);
});

test('servicelb: under policy Local only nodes with a ready endpoint are named', () => {
  const local = service('web', '1', { externalTrafficPolicy: 'Local' });
  const slices: readonly EndpointSlice[] = [
    {
      addressType: 'IPv4',
      endpoints: [
        { addresses: ['10.42.0.2'], nodeName: 'b' },
        { addresses: ['10.42.0.3'], nodeName: 'a', conditions: { ready: false } },
      ],
    },
  ];
  const plan = (with_: readonly EndpointSlice[]) =>
    planBalancer(local, { services: [local], nodes, pods: [], slices: with_ }).ingress.map(({ ip }) => ip);
  assert.deepEqual(plan(slices), ['10.41.0.10']);
  assert.deepEqual(plan([]), []);
});

test('servicelb: loadBalancerIP picks a node’s address, and is told where it cannot be had', () => {
  const plan = (loadBalancerIP: string) => {
    const wanted = service('web', '1', { loadBalancerIP });
    const { ingress, wantedAddressMissing } = planBalancer(wanted, {
      services: [wanted],
      nodes,
      pods: [],
      slices: [],
    });
    return [ingress.map(({ ip }) => ip), wantedAddressMissing];
  };
  assert.deepEqual(plan('10.41.0.10'), [['10.41.0.10'], false]);
  assert.deepEqual(plan('192.0.2.1'), [['10.41.0.9', '10.41.0.10'], true]);
  assert.deepEqual(plan('10.41.0.11'), [['10.41.0.9', '10.41.0.10'], true], 'its node is not ready');
});

test('servicelb: of each of the Service’s families, in their order, the addresses by number', () => {
  const both = ['10', '9'].map((number) =>
    node(number, [`10.41.0.${number}`, `fd00::${Number(number).toString(16)}`]),
  );
  const all = [...both, node('16', ['10.41.0.16', 'fd00::10']), node('old', '10.41.0.2')];
  const plan = (ipFamilies: readonly string[]) => {
    const wanted = service('web', '1', { ipFamilies: [...ipFamilies] });
    return planBalancer(wanted, { services: [wanted], nodes: all, pods: [], slices: [] }).ingress.map(
      ({ ip }) => ip,
    );
  };
  const four = ['10.41.0.2', '10.41.0.9', '10.41.0.10', '10.41.0.16'];
  const six = ['fd00::9', 'fd00::a', 'fd00::10'];
  assert.deepEqual(plan(['IPv4']), four);
  assert.deepEqual(plan(['IPv6']), six, 'a node without such an address has none to give');
  assert.deepEqual(plan(['IPv4', 'IPv6']), [...four, ...six]);
  assert.deepEqual(plan(['IPv6', 'IPv4']), [...six, ...four]);
});

test('servicelb: on its node a Pod keeps the port that it has, elsewhere the Service takes it', () => {
  const both = service('web', '1', { ports: [{ port: 80 }, { port: 81 }] });
  const pod = (name: string, nodeName: string, spec: PodSpec, phase = 'Running'): Pod => ({
    metadata: { name, namespace: 'default' },
    spec: { nodeName, ...spec },
    status: { phase },
  });
  const container = (port: ContainerPort) => ({ containers: [{ name: 'c', ports: [port] }] });
  const plan = (wanted: Service, ...pods: readonly Pod[]) =>
    planBalancer(wanted, { services: [wanted], nodes, pods, slices: [] });
  const onA = pod('hp', 'a', container({ containerPort: 8080, hostPort: 80 }));
  const { ingress, clashes } = plan(both, onA);
  assert.deepEqual(ingress, [
    {
      ip: '10.41.0.9',
      ipMode: 'VIP',
      ports: [
        { port: 80, protocol: 'TCP', error: 'fairlead.dev/PortUnavailable' },
        { port: 81, protocol: 'TCP' },
      ],
    },
    { ip: '10.41.0.10', ipMode: 'VIP' },
  ]);
  assert.deepEqual(clashes, [{ port: '80/TCP', node: 'a', holder: 'Pod default/hp' }]);
  const addresses = (...pods: readonly Pod[]) => plan(web, ...pods).ingress.map(({ ip }) => ip);
  const all = ['10.41.0.9', '10.41.0.10'];
  assert.deepEqual(addresses(onA), ['10.41.0.10'], 'no port of that node is left');
  const inNetwork = { hostNetwork: true, ...container({ containerPort: 80 }) };
  assert.deepEqual(addresses(pod('hn', 'b', inNetwork)), ['10.41.0.9']);
  assert.deepEqual(addresses({ ...onA, status: { phase: 'Succeeded' } }), all, 'it has ended');
  const at = (hostIP: string) => pod('hp', 'a', container({ containerPort: 80, hostPort: 80, hostIP }));
  assert.deepEqual(addresses(at('127.0.0.1')), all, 'at another address');
  assert.deepEqual(addresses(at('10.41.0.9')), ['10.41.0.10']);
  const selecting = service('web', '1', { selector: { app: 'web' } });
  const own = { ...onA, metadata: { ...onA.metadata, labels: { app: 'web' } } };
  assert.equal(plan(selecting, own).ingress.length, 2, 'a Pod that the Service itself leads to');
  const udp = container({ containerPort: 80, hostPort: 80, protocol: 'UDP' });
  assert.deepEqual(addresses(pod('udp', 'a', udp)), all);
});

test('servicelb: a message names some of many clashes', () => {
  const clashes = Array.from({ length: 1000 }, (_, at) => ({
    port: '80/TCP',
    node: `n${at}`,
    holder: 'Pod a/b',
  }));
  const { message = '' } = portsError(clashes) ?? {};
  assert.match(message, /node n7 belongs to Pod a\/b; and 992 more: delete/);
});

test('servicelb: the condition names every clash, and says nothing without one', () => {
  const clashes = [
    { port: '80/TCP', node: undefined, holder: 'Service default/web' },
    { port: '6443/TCP', node: 'a', holder: 'Pod kube-system/apiserver' },
  ];
  assert.deepEqual(portsError(clashes), {
    reason: 'PortUnavailable',
    message:
      'port 80/TCP of the nodes belongs to Service default/web; port 6443/TCP of node a belongs to Pod kube-system/apiserver: delete that or choose another port',
  });
  assert.equal(portsError([]), undefined);
});
