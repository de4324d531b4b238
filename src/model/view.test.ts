import assert from 'node:assert/strict';
import { test } from 'node:test';
import { balancedAt, nodeFacts, serviceOf, sliceOf, terminating } from '../../test/support/services.ts';
import { keyOf } from '../api/object.ts';
import { servicePortsOf } from './service-port.ts';
import { buildNodeView, nodeFactsOf } from './view.ts';

test('service: an ExternalName has no ports, a headless one no addresses', () => {
  assert.deepEqual(
    servicePortsOf(serviceOf('db', '', { type: 'ExternalName', externalName: 'db.test' })),
    [],
  );
  assert.deepEqual(servicePortsOf(serviceOf('db', 'None'))[0]?.clusterIps, []);
});

test('service: defaults and canonical addresses', () => {
  const [port] = servicePortsOf(
    serviceOf('web', '10.43.0.5', {
      type: 'LoadBalancer',
      clusterIPs: ['10.43.0.5', 'FD43:0::5'],
      sessionAffinity: 'ClientIP',
      loadBalancerSourceRanges: ['10.1.2.3/8', ' 192.0.2.0/24 ', 'nonsense'],
      ports: [{ port: 80, nodePort: 30_080 }],
    }),
  );
  assert.deepEqual(port?.clusterIps, ['10.43.0.5', 'fd43::5']);
  assert.equal(port?.protocol, 'TCP');
  assert.equal(port?.portName, '');
  assert.equal(port?.affinityTimeoutSeconds, 10_800);
  assert.deepEqual(port?.sourceRanges, ['10.0.0.0/8', '192.0.2.0/24']);
  assert.equal(port?.nodePort, 30_080);
});

test('service: addresses of ipMode Proxy must go through the load balancer', () => {
  const status = { loadBalancer: { ingress: [{ ip: '192.0.2.1', ipMode: 'Proxy' }, { ip: '192.0.2.2' }] } };
  const [port] = servicePortsOf(serviceOf('web', '10.43.0.5', { type: 'LoadBalancer' }, status));
  assert.deepEqual(port?.loadBalancerIps, ['192.0.2.2']);
});

test('service: status of a load balancer counts only while it is one', () => {
  const [port] = servicePortsOf(serviceOf('web', '10.43.0.5', {}, balancedAt('192.0.2.2')));
  assert.deepEqual(port?.loadBalancerIps, []);
});

test('view: local endpoints fall back to terminating ones on their own', () => {
  const view = buildNodeView(
    [serviceOf('web', '10.43.0.5')],
    [
      sliceOf('web', [
        { address: '10.42.0.2', node: 'node-0', conditions: terminating },
        { address: '10.42.1.2', node: 'node-1' },
      ]),
    ],
    nodeFacts,
  );
  const [port] = view.services.get('default/web')?.ports ?? [];
  assert.deepEqual(
    port?.cluster.map(({ address }) => address),
    ['10.42.1.2'],
  );
  assert.deepEqual(
    port?.local.map(({ address }) => address),
    ['10.42.0.2'],
  );
  assert.equal(port?.serving.length, 2);
});

test('node: facts of an unknown node are empty; ranges and addresses are canonical', () => {
  assert.deepEqual(nodeFactsOf('n', undefined), { name: 'n', zone: '', addresses: [], podCidrs: [] });
  const facts = nodeFactsOf('n', {
    metadata: { name: 'n', labels: { 'topology.kubernetes.io/zone': 'zone-a' } },
    spec: { podCIDR: '10.42.3.0/24' },
    status: {
      addresses: [
        { type: 'InternalIP', address: '10.41.0.5' },
        { type: 'Hostname', address: 'n' },
      ],
    },
  });
  assert.deepEqual(facts, {
    name: 'n',
    zone: 'zone-a',
    addresses: ['10.41.0.5'],
    podCidrs: ['10.42.3.0/24'],
  });
});

test('view: each family has its own ready endpoints and its own fallback', () => {
  const service = serviceOf('web', '10.43.0.5', { clusterIPs: ['10.43.0.5', 'fd43::5'] });
  const slices = [
    sliceOf('web', [{ address: '10.42.0.2', conditions: terminating }]),
    sliceOf('web', ['fd42::2', { address: 'fd42::3', conditions: terminating }]),
  ];
  const view = buildNodeView([service], slices, nodeFacts);
  const addresses = view.services.get(keyOf(service))?.ports[0]?.cluster.map(({ address }) => address);
  assert.deepEqual(addresses, ['10.42.0.2', 'fd42::2']);
});

test('service: a load-balancer address with an error at a port does not serve that port', () => {
  const ingress = [
    {
      ip: '192.0.2.1',
      ports: [
        { port: 80, protocol: 'TCP', error: 'fairlead.dev/PortUnavailable' },
        { port: 81, protocol: 'TCP' },
      ],
    },
  ];
  const spec = { type: 'LoadBalancer', ports: [{ port: 80 }, { port: 81 }] };
  const ports = servicePortsOf(serviceOf('web', '10.43.0.5', spec, { loadBalancer: { ingress } }));
  assert.deepEqual(
    ports.map(({ loadBalancerIps }) => loadBalancerIps),
    [[], ['192.0.2.1']],
  );
});
