import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node } from '../../api/gen/core-v1.ts';
import type { Endpoint } from '../../api/gen/discovery-v1.ts';
import { coresByZone, shareZones, topologyEvents, type TopologyState } from './topology.ts';

function endpoints(zones: string): readonly Endpoint[] {
  return zones.split('').map((zone, index) => ({
    addresses: [`10.42.0.${index + 1}`],
    zone: zone === '-' ? undefined : zone,
  }));
}

const insufficientNodes =
  'Insufficient Node information: allocatable CPU or zone not specified on one or more nodes';
const overload =
  'Unable to allocate minimum required endpoints to each zone without exceeding overload threshold';

const cases: readonly {
  readonly name: string;
  readonly endpoints: string;
  readonly cores: Readonly<Record<string, number>> | undefined;
  /** The zone that each endpoint is for, or why there is none. */
  readonly want: string;
}[] = [
  { name: 'equal zones keep their own', endpoints: 'aabb', cores: { a: 4, b: 4 }, want: 'aabb' },
  { name: 'a zone with too many lends', endpoints: 'aaab', cores: { a: 4, b: 4 }, want: 'aabb' },
  { name: 'a bigger zone gets more', endpoints: 'aabbbb', cores: { a: 8, b: 4 }, want: 'aabbaa' },
  {
    name: 'a small zone gets what it needs before a big one gets its share',
    endpoints: 'aabbbbbbbb',
    cores: { a: 1.21, b: 8.79 },
    want: 'aabbbbbbbb',
  },
  { name: 'an endpoint outside all zones helps out', endpoints: 'aabx', cores: { a: 4, b: 4 }, want: 'aabb' },
  { name: 'one zone needs no hints', endpoints: 'aa', cores: { a: 4 }, want: 'Nodes only ready in one zone' },
  {
    name: 'fewer endpoints than zones',
    endpoints: 'a',
    cores: { a: 4, b: 4 },
    want: 'Insufficient number of endpoints (1 endpoints, 2 zones)',
  },
  {
    name: 'an endpoint without zone',
    endpoints: 'aab-',
    cores: { a: 4, b: 4 },
    want: 'One or more endpoints do not have a zone specified',
  },
  {
    name: 'too much load for one zone',
    endpoints: 'abb',
    cores: { a: 4, b: 4 },
    want: `${overload} (3 endpoints, 2 zones)`,
  },
  { name: 'unknown cores', endpoints: 'ab', cores: undefined, want: insufficientNodes },
  { name: 'no node', endpoints: 'ab', cores: {}, want: insufficientNodes },
];

for (const { name, endpoints: zones, cores, want } of cases) {
  test(`endpointslice topology: ${name}`, () => {
    const all = endpoints(zones);
    const shares = shareZones(all, cores === undefined ? undefined : new Map(Object.entries(cores)));
    const got =
      shares.kind === 'impossible'
        ? shares.problem
        : all.map((endpoint) => shares.zones.get(endpoint) ?? '').join('');
    assert.equal(got, want);
  });
}

test('endpointslice topology: each change is told once, in the words of Kubernetes', () => {
  const told = (before: TopologyState, now: TopologyState) =>
    topologyEvents(before, now).map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  const unasked: TopologyState = new Map();
  const given: TopologyState = new Map([['IPv4', undefined]]);
  const impossible: TopologyState = new Map([['IPv4', 'Nodes only ready in one zone']]);
  const enabled = [
    'Normal TopologyAwareHintsEnabled: Topology Aware Hints has been enabled, addressType: IPv4',
  ];
  const disabled = ['Warning TopologyAwareHintsDisabled: Nodes only ready in one zone, addressType: IPv4'];
  assert.deepEqual(told(unasked, given), enabled);
  assert.deepEqual(told(given, given), []);
  assert.deepEqual(told(given, impossible), disabled);
  assert.deepEqual(told(impossible, impossible), []);
  assert.deepEqual(told(impossible, given), enabled);
  assert.deepEqual(told(given, unasked), [
    'Warning TopologyAwareHintsDisabled: Topology Aware Hints has been disabled',
  ]);
  assert.deepEqual(told(impossible, unasked), [], 'it was told before');
});

function node(zone: string | undefined, cpu: string | undefined, ready = 'True'): Node {
  return {
    metadata: { labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone } },
    status: {
      conditions: [{ type: 'Ready', status: ready }],
      ...(cpu === undefined ? {} : { allocatable: { cpu } }),
    },
  };
}

test('endpointslice topology: cores are those of the ready nodes that tell both', () => {
  const known = [node('a', '2'), node('a', '1500m'), node('b', '1'), node('c', '1', 'False')];
  assert.deepEqual(
    [...(coresByZone(known) ?? [])],
    [
      ['a', 3.5],
      ['b', 1],
    ],
  );
  const control = { labels: { 'node-role.kubernetes.io/control-plane': 'true' } };
  assert.deepEqual(
    coresByZone([...known, { ...node(undefined, '8'), metadata: control }]),
    coresByZone(known),
  );
  assert.equal(coresByZone([...known, node(undefined, '1')]), undefined);
  assert.equal(coresByZone([...known, node('a', undefined)]), undefined);
});
