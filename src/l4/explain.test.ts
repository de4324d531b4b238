import assert from 'node:assert/strict';
import { test } from 'node:test';
import { balancedAt, serviceOf, sliceOf, terminating } from '../../test/support/services.ts';
import type { Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { explainService } from './explain.ts';

const nodes = ['node-0', 'node-1'].map((name, index) => ({
  metadata: { name },
  spec: { podCIDR: `10.42.${index}.0/24` },
  status: { addresses: [{ type: 'InternalIP', address: `10.41.0.${2 + index}` }] },
}));

function explain(
  service: Service,
  slices: readonly EndpointSlice[],
  more: { readonly from?: string; readonly nodeName?: string; readonly others?: readonly Service[] } = {},
): string {
  return explainService(
    { service, slices, services: [service, ...(more.others ?? [])], nodes },
    {
      clusterCidrs: ['10.42.0.0/16'],
      serviceCidrs: ['10.43.0.0/16'],
      from: more.from,
      nodeName: more.nodeName,
    },
  );
}

const pods = [
  { address: '10.42.0.2', node: 'node-0' },
  { address: '10.42.1.2', node: 'node-1' },
];

test('l4 explain: from the API’s words over the rules to the verdict', () => {
  const text = explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', pods)], {
    from: '10.42.0.2',
    nodeName: 'node-0',
  });
  assert.equal(
    text,
    `Service default/web, ClusterIP, 10.43.0.5
  port 80/TCP
    10.42.0.2:8080 ready on node-0
    10.42.1.2:8080 ready on node-1

Node node-0
  rules, IPv4
    vips 10.43.0.5 . tcp . 80 : goto vips-tcp-2
    vips_tcp_endpoints 10.43.0.5 . 80 . 0 : 10.42.0.2 . 8080
    vips_tcp_endpoints 10.43.0.5 . 80 . 1 : 10.42.1.2 . 8080
  a packet from 10.42.0.2, a Pod on this node
    to 10.43.0.5:80/tcp: goes to one of 10.42.0.2:8080 (sees the node’s address), 10.42.1.2:8080
`,
  );
});

const nodePortLocal = serviceOf(
  'web',
  '10.43.0.5',
  {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    ports: [{ port: 80, nodePort: 30_080 }],
    loadBalancerSourceRanges: ['203.0.113.0/24'],
  },
  balancedAt('10.41.0.2'),
);

const cases: readonly {
  readonly name: string;
  readonly text: string;
  readonly has: readonly string[];
}[] = [
  {
    name: 'without endpoints it is refused',
    text: explain(serviceOf('web', '10.43.0.5', { selector: { app: 'web' } }), [sliceOf('web', [])]),
    has: ['port 80/TCP: no endpoints', 'to 10.43.0.5:80/tcp: refused at once'],
  },
  {
    name: 'without slices it says who should write them',
    text: explain(serviceOf('web', '10.43.0.5'), []),
    has: ['it has no selector'],
  },
  {
    name: 'every node and every place is looked at by default',
    text: explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', pods)]),
    has: [
      'Node node-0',
      'Node node-1',
      'a packet from 10.41.0.3, the node itself',
      'a packet from a Pod',
      'a packet from outside the cluster',
    ],
  },
  {
    name: 'policy Local drops outsiders where no endpoint is',
    text: explain(nodePortLocal, [sliceOf('web', pods.slice(0, 1))], {
      from: '203.0.113.9',
      nodeName: 'node-1',
    }),
    has: [
      'externalTrafficPolicy Local',
      '203.0.113.9, outside the cluster',
      'to 10.41.0.3:30080/tcp: dropped',
    ],
  },
  {
    name: 'source ranges are followed',
    text: explain(nodePortLocal, [sliceOf('web', pods)], { from: '192.0.2.9', nodeName: 'node-0' }),
    has: ['restricted_vips 10.41.0.2 . tcp . 80', 'to 10.41.0.2:80/tcp: dropped: its source is not allowed'],
  },
  {
    name: 'a terminating endpoint is told',
    text: explain(serviceOf('web', '10.43.0.5'), [
      sliceOf('web', [{ address: '10.42.0.2', node: 'node-0', conditions: terminating }]),
    ]),
    has: ['10.42.0.2:8080 terminating, still serving on node-0', 'goes to 10.42.0.2:8080'],
  },
  {
    name: 'an ExternalName is a matter of DNS',
    text: explain(serviceOf('web', '', { type: 'ExternalName', externalName: 'example.com' }), []),
    has: ['CNAME example.com'],
  },
  {
    name: 'a headless one has no rules',
    text: explain(serviceOf('web', 'None', { clusterIPs: ['None'] }), [sliceOf('web', pods)]),
    has: ['headless'],
  },
  {
    name: 'an address that an older Service holds is a problem',
    text: explain(
      { ...serviceOf('web', '10.43.0.5', { externalIPs: ['192.0.2.50'] }) },
      [sliceOf('web', pods)],
      { others: [serviceOf('older', '10.43.0.6', { externalIPs: ['192.0.2.50'] })] },
    ),
    has: ['problem: 192.0.2.50 . tcp . 80 already belongs to default/older'],
  },
  {
    name: 'a node that is not there has no rules',
    text: explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', pods)], { nodeName: 'node-9' }),
    has: ['No such node'],
  },
];

for (const { name, text, has } of cases) {
  test(`l4 explain: ${name}`, () => {
    for (const part of has) assert.ok(text.includes(part), `"${part}" is not in:\n${text}`);
  });
}

test('l4 explain: of very many endpoints some are named', () => {
  const many = Array.from({ length: 300 }, (_, index) => `10.42.${index >> 8}.${index & 255}`);
  const text = explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', many)], {
    from: '10.42.0.2',
    nodeName: 'node-0',
  });
  const verdict = text.split('\n').find((line) => line.includes('goes to')) ?? '';
  assert.equal(verdict.match(/:8080/g)?.length, 16);
  assert.match(verdict, / and more$/);
});
