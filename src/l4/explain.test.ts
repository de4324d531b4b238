import assert from 'node:assert/strict';
import { test } from 'node:test';
import { balancedAt, serviceOf, sliceOf, terminating } from '../../test/support/services.ts';
import type { Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { ServiceCIDR } from '../api/gen/networking-v1.ts';
import { explainService } from './explain.ts';

const nodes = ['node-0', 'node-1'].map((name, index) => ({
  metadata: { name, labels: { 'topology.kubernetes.io/zone': `zone-${index}` } },
  spec: { podCIDR: `10.42.${index}.0/24` },
  status: { addresses: [{ type: 'InternalIP', address: `10.41.0.${2 + index}` }] },
}));

function explain(
  service: Service,
  slices: readonly EndpointSlice[],
  more: {
    readonly from?: string;
    readonly nodeName?: string;
    readonly others?: readonly Service[];
    readonly serviceCidrs?: readonly ServiceCIDR[];
  } = {},
): string {
  return explainService(
    {
      service,
      slices,
      services: [service, ...(more.others ?? [])],
      nodes,
      serviceCidrs: more.serviceCidrs ?? [],
    },
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

/** The two Pods, each for this zone. */
const hinted = (zones: readonly (string | undefined)[]) =>
  pods.map((pod, index) => {
    const zone = zones[index];
    return zone === undefined ? pod : { ...pod, hints: { forZones: [{ name: zone }] } };
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
      'to 10.41.0.3:30080/tcp: dropped: the traffic policy is Local, and no endpoint on this node may be used',
      'port 80/TCP: policy Local for clients from outside the cluster: 0 of its endpoints are on this node',
    ],
  },
  {
    name: 'source ranges are followed',
    text: explain(nodePortLocal, [sliceOf('web', pods)], { from: '192.0.2.9', nodeName: 'node-0' }),
    has: [
      'restricted_vips 10.41.0.2 . tcp . 80',
      'to 10.41.0.2:80/tcp: dropped: its source is not in loadBalancerSourceRanges',
      'port 80/TCP: load-balancer addresses let in 203.0.113.0/24 and themselves',
    ],
  },
  {
    name: 'a terminating endpoint is told',
    text: explain(serviceOf('web', '10.43.0.5'), [
      sliceOf('web', [{ address: '10.42.0.2', node: 'node-0', conditions: terminating }]),
    ]),
    has: [
      '10.42.0.2:8080 terminating, still serving on node-0',
      'goes to 10.42.0.2:8080',
      'no endpoint is ready, those that terminate',
    ],
  },
  {
    name: 'hints that are followed say whose endpoints are left',
    text: explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', hinted(['zone-0', 'zone-1']))], {
      nodeName: 'node-0',
    }),
    has: ['for zone-0', 'port 80/TCP: hints give zone zone-0 1 of 2 endpoints', 'goes to 10.42.0.2:8080'],
  },
  {
    name: 'hints that lead nowhere from here are not followed, which is told',
    text: explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', hinted(['zone-1', 'zone-1']))], {
      nodeName: 'node-0',
    }),
    has: ['hints are not followed: an endpoint has none, or none is for this node of zone zone-0'],
  },
  {
    name: 'hints of some endpoints only are not followed',
    text: explain(serviceOf('web', '10.43.0.5'), [sliceOf('web', hinted(['zone-0', undefined]))], {
      nodeName: 'node-0',
    }),
    has: ['hints are not followed', 'goes to one of 10.42.0.2:8080, 10.42.1.2:8080'],
  },
  {
    name: 'session affinity tells its time',
    text: explain(serviceOf('web', '10.43.0.5', { sessionAffinity: 'ClientIP' }), [sliceOf('web', pods)]),
    has: ['a client stays with its endpoint until 10800 s after its last new connection'],
  },
  {
    name: 'an ExternalName is a matter of DNS',
    text: explain(serviceOf('web', '', { type: 'ExternalName', externalName: 'example.com' }), []),
    has: ['CNAME example.com'],
  },
  {
    name: 'one of another proxy has no rules of ours',
    text: explain(
      {
        ...serviceOf('web', '10.43.0.5'),
        metadata: { name: 'web', labels: { 'service.kubernetes.io/service-proxy-name': 'mesh' } },
      },
      [sliceOf('web', pods)],
    ),
    has: ['leaves it to the proxy “mesh”'],
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

test('l4 explain: ranges of ServiceCIDR objects count as Service ranges, too', () => {
  const service = serviceOf('web', '10.44.0.5');
  const slices = [sliceOf('web', ['198.51.100.7'])];
  const from = { from: '10.42.1.9', nodeName: 'node-0' };
  const range = { metadata: { name: 'more' }, spec: { cidrs: ['10.44.0.0/16'] } };
  // A Pod's packet to a Service range leaves by its own node alone, so the answer passes there.
  assert.match(explain(service, slices, from), /goes to 198\.51\.100\.7:8080 \(sees the node’s address\)/);
  assert.match(
    explain(service, slices, { ...from, serviceCidrs: [range] }),
    /goes to 198\.51\.100\.7:8080$/m,
  );
});
