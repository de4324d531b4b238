import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node } from '../api/gen/core-v1.ts';
import { familyFilter, planRoutes, renderFixedRoutes, renderRouteChanges } from './routes.ts';

const node = (name: string, podCIDR: string | undefined, address: string | undefined): Node => ({
  metadata: { name },
  spec: { podCIDR },
  status: { addresses: address === undefined ? [] : [{ type: 'InternalIP', address }] },
});

const nodes = [
  node('server-0', '10.42.0.0/24', '10.41.0.2'),
  node('agent-0', '10.42.1.0/24', '10.41.0.3'),
  node('agent-1', undefined, '10.41.0.4'),
  node('agent-2', '10.42.3.0/24', undefined),
];

test('routes: the other nodes that have a range and an address, and nothing of our own range but living Pods', () => {
  assert.deepEqual(planRoutes(nodes, 'server-0'), [
    { destination: '10.42.0.0/24', via: undefined },
    { destination: '10.42.1.0/24', via: '10.41.0.3' },
  ]);
});

const own = { destination: '10.42.0.0/24', via: undefined };
const other = { destination: '10.42.1.0/24', via: '10.41.0.3' };

for (const { name, applied, wanted, want } of [
  { name: 'nothing to do', applied: [own, other], wanted: [own, other], want: [] },
  {
    name: 'from nothing',
    applied: [],
    wanted: [own, other],
    want: [
      'route replace unreachable 10.42.0.0/24 proto 150',
      'route replace 10.42.1.0/24 via 10.41.0.3 proto 150',
    ],
  },
  {
    name: 'a node moved',
    applied: [other],
    wanted: [{ ...other, via: '10.41.0.9' }],
    want: ['route replace 10.42.1.0/24 via 10.41.0.9 proto 150'],
  },
  {
    name: 'a node left',
    applied: [own, other],
    wanted: [],
    want: ['route del unreachable 10.42.0.0/24 proto 150', 'route del 10.42.1.0/24 proto 150'],
  },
] as const) {
  test(`routes: ${name}`, () => assert.deepEqual(renderRouteChanges(applied, wanted), want));
}

test('routes: an interface that was down gets the way to Services and the default route back', () => {
  const wanted = { serviceCidrs: ['10.43.0.0/16'], gateways: ['10.41.0.1'] };
  assert.deepEqual(renderFixedRoutes(wanted, 'eth0'), [
    'route replace 10.43.0.0/16 dev eth0',
    'route replace default via 10.41.0.1',
  ]);
  // Still down: ip refuses this one, so that it is tried again soon.
  assert.deepEqual(renderFixedRoutes(wanted, undefined), ['route replace default via 10.41.0.1']);
});

test('routes: of two families each has its own', () => {
  const nodes: readonly Node[] = ['server-0', 'agent-0'].map((name, index) => ({
    metadata: { name },
    spec: { podCIDRs: [`10.42.${index}.0/24`, `fd00:0:0:420${index}::/64`] },
    status: {
      addresses: [`10.41.0.${index + 2}`, `fd00:0:0:41::${index + 2}`].map((address) => ({
        type: 'InternalIP',
        address,
      })),
    },
  }));
  assert.deepEqual(planRoutes(nodes, 'server-0'), [
    { destination: '10.42.0.0/24', via: undefined },
    { destination: '10.42.1.0/24', via: '10.41.0.3' },
    { destination: 'fd00:0:0:4200::/64', via: undefined },
    { destination: 'fd00:0:0:4201::/64', via: 'fd00:0:0:41::3' },
  ]);
  const fixed = {
    serviceCidrs: ['10.43.0.0/16', 'fd00:0:0:43::/112'],
    gateways: ['10.41.0.1', 'fd00:0:0:41::1'],
  };
  assert.deepEqual(renderFixedRoutes(fixed, 'eth0'), [
    'route replace 10.43.0.0/16 dev eth0',
    'route replace fd00:0:0:43::/112 dev eth0',
    'route replace default via 10.41.0.1',
    'route replace default via fd00:0:0:41::1',
  ]);
});

test('routes: a node that was told no gateway leaves the default route alone', () => {
  assert.deepEqual(renderFixedRoutes({ serviceCidrs: [], gateways: [] }, 'eth0'), []);
});

test('routes: a node of one family takes no part in the other', () => {
  const ranges = ['10.43.0.0/16', 'fd00:0:0:43::/112'];
  assert.deepEqual(ranges.filter(familyFilter(['10.41.0.2'])), ['10.43.0.0/16']);
  assert.deepEqual(ranges.filter(familyFilter(['fd00::2'])), ['fd00:0:0:43::/112']);
  assert.deepEqual(ranges.filter(familyFilter(['10.41.0.2', 'fd00::2'])), ranges);
});
