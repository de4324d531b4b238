import assert from 'node:assert/strict';
import { test } from 'node:test';
import { balancedAt, nodeFacts, serviceOf, sliceOf } from '../../../test/support/services.ts';
import type { Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { buildNodeView } from '../../model/view.ts';
import { Balancer } from './balance.ts';
import { backendsFor, type Front, frontsMax, insideRanges, planFronts } from './fronts.ts';

const options = {
  clusterCidrs: ['10.42.0.0/16'],
  serviceCidrs: ['10.43.0.0/16'],
  clusterNodeAddresses: ['10.41.0.2', '10.41.0.3'],
};
const pods = [
  { address: '10.42.0.2', node: 'node-0' },
  { address: '10.42.1.2', node: 'node-1' },
];

function plan(service: Service, slices: readonly EndpointSlice[] = [sliceOf('web', pods)]) {
  const view = buildNodeView([service], slices, nodeFacts);
  return { ...planFronts(view, options, ['10.41.0.2', '10.42.0.1']), inside: insideRanges(view, options) };
}

const local = serviceOf(
  'web',
  '10.43.0.5',
  {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    loadBalancerSourceRanges: ['203.0.113.0/24'],
    ports: [{ port: 80, nodePort: 30_080 }],
    externalIPs: ['192.0.2.50'],
  },
  balancedAt('10.41.0.2', '10.41.0.3', '192.0.2.60'),
);

test('l4 userspace: sockets at cluster IP, external addresses and the node’s own, not at other nodes’', () => {
  const { fronts, localRanges } = plan(local);
  assert.deepEqual([...fronts.keys()].toSorted(), [
    'tcp 10.41.0.2 30080',
    'tcp 10.41.0.2 80',
    'tcp 10.42.0.1 30080',
    'tcp 10.43.0.5 80',
    'tcp 127.0.0.1 30080',
    'tcp 192.0.2.50 80',
    'tcp 192.0.2.60 80',
  ]);
  assert.deepEqual(localRanges, ['10.43.0.0/16', '192.0.2.50/32', '192.0.2.60/32']);
});

const cases: readonly { readonly client: string; readonly front: string; readonly want: number }[] = [
  { client: '10.42.1.9', front: 'tcp 10.41.0.2 30080', want: 2 },
  { client: '192.0.2.7', front: 'tcp 10.41.0.2 30080', want: 1 },
  { client: '10.41.0.2', front: 'tcp 10.41.0.2 30080', want: 2 },
  { client: '203.0.113.9', front: 'tcp 192.0.2.60 80', want: 1 },
  { client: '198.51.100.9', front: 'tcp 192.0.2.60 80', want: 0 },
  { client: '10.43.0.5', front: 'tcp 10.43.0.5 80', want: 2 },
];
for (const { client, front, want } of cases) {
  test(`l4 userspace: ${client} at ${front} has ${want} endpoints`, () => {
    const { fronts, inside } = plan(local);
    assert.equal(backendsFor(fronts.get(front) as Front, client, inside).length, want);
  });
}

test('l4 userspace: no endpoints, no socket; SCTP is told', () => {
  assert.equal(plan(serviceOf('web', '10.43.0.5'), []).fronts.size, 0);
  const { problems } = plan(serviceOf('web', '10.43.0.5', { ports: [{ port: 80, protocol: 'SCTP' }] }));
  assert.match(problems[0]?.message ?? '', /80\/SCTP needs nftables/);
});

test('l4 userspace: a remembered client comes first to its endpoint until its time is over', () => {
  let nowMs = 0;
  const balancer = new Balancer(
    () => 0,
    () => nowMs,
  );
  const { fronts } = plan(serviceOf('web', '10.43.0.5', { sessionAffinity: 'ClientIP' }));
  const front = fronts.get('tcp 10.43.0.5 80') as Front;
  const [first, second] = front.inside;
  assert.ok(first !== undefined && second !== undefined);
  balancer.remember(front, '10.42.0.9', second);
  assert.deepEqual(balancer.order(front, '10.42.0.9', front.inside, 3), [second, first]);
  assert.deepEqual(balancer.order(front, '10.42.0.8', front.inside, 3), [first, second]);
  assert.deepEqual(balancer.order(front, '10.42.0.9', [first], 3), [first]);
  nowMs = 10_800_000;
  assert.deepEqual(balancer.order(front, '10.42.0.9', front.inside, 3), [first, second]);
});

test('l4 userspace: sockets beyond the bound are left out and told of, one problem a Service, oldest Services first', () => {
  const old = serviceOf('web', '10.43.0.5');
  const many = Array.from({ length: frontsMax + 1 }, (_, index) => ({ port: index + 1 }));
  const wide = serviceOf('wide', '10.43.0.6', { ports: many }, undefined);
  const late: Service = {
    ...wide,
    metadata: { ...wide.metadata, creationTimestamp: '2030-01-01T00:00:00Z' },
  };
  const view = buildNodeView([late, old], [sliceOf('web', pods), sliceOf('wide', pods)], nodeFacts);
  const { fronts, problems } = planFronts(view, options, []);
  assert.equal(fronts.size, frontsMax);
  assert.ok(fronts.has('tcp 10.43.0.5 80'), 'the older Service is served');
  assert.deepEqual(
    problems.map(({ service, reason }) => `${service} ${reason}`),
    ['default/wide TooManyPorts'],
  );
  assert.match(
    problems[0]?.message ?? '',
    /^more than 8192 sockets: tcp 10\.43\.0\.6 8192 and 1 more are not served$/,
  );
});
