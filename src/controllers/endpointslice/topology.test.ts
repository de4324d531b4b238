import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node } from '../../api/gen/core-v1.ts';
import type { Endpoint } from '../../api/gen/discovery-v1.ts';
import { coresByZone, shareZones } from './topology.ts';

function endpoints(zones: string): readonly Endpoint[] {
  return zones.split('').map((zone, index) => ({ addresses: [`10.42.0.${index + 1}`], zone }));
}

const cases: readonly {
  readonly name: string;
  readonly endpoints: string;
  readonly cores: Readonly<Record<string, number>> | undefined;
  /** The zone that each endpoint is for; '' for none. */
  readonly want: string;
}[] = [
  { name: 'equal zones keep their own', endpoints: 'aabb', cores: { a: 4, b: 4 }, want: 'aabb' },
  { name: 'a zone with too many lends', endpoints: 'aaab', cores: { a: 4, b: 4 }, want: 'aabb' },
  { name: 'a bigger zone gets more', endpoints: 'aabbbb', cores: { a: 8, b: 4 }, want: 'aabbaa' },
  { name: 'one zone needs no hints', endpoints: 'aa', cores: { a: 4 }, want: '' },
  { name: 'fewer endpoints than zones give none', endpoints: 'a', cores: { a: 4, b: 4 }, want: '' },
  { name: 'an endpoint outside all zones gives none', endpoints: 'abx', cores: { a: 4, b: 4 }, want: '' },
  { name: 'too much load for one zone gives none', endpoints: 'abb', cores: { a: 4, b: 4 }, want: '' },
  { name: 'unknown cores give none', endpoints: 'ab', cores: undefined, want: '' },
];

for (const { name, endpoints: zones, cores, want } of cases) {
  test(`endpointslice topology: ${name}`, () => {
    const all = endpoints(zones);
    const shared = shareZones(all, cores === undefined ? undefined : new Map(Object.entries(cores)));
    assert.equal(all.map((endpoint) => shared.get(endpoint) ?? '').join(''), want);
  });
}

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
