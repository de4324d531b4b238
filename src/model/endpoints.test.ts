import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gone, serviceOf, sliceOf, terminating } from '../../test/support/services.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import {
  conditionsOf,
  endpointsByHints,
  endpointsForBackend,
  endpointsOfPort,
  serviceKeyOfSlice,
  usableEndpoints,
} from './endpoints.ts';

test('conditions: nil ready and serving mean true, nil terminating means false', () => {
  const want = { ready: true, serving: true, terminating: false };
  assert.deepEqual(conditionsOf({ addresses: ['10.42.0.2'] }), want);
  assert.deepEqual(conditionsOf({ addresses: ['10.42.0.2'], conditions: {} }), want);
});

const usable = [
  { name: 'the ready ones', endpoints: ['10.42.0.2', '10.42.0.3'], want: ['10.42.0.2', '10.42.0.3'] },
  {
    name: 'no terminating one while another is ready',
    endpoints: ['10.42.0.2', { address: '10.42.0.3', conditions: terminating }],
    want: ['10.42.0.2'],
  },
  {
    name: 'terminating ones that serve when nothing is ready',
    endpoints: [
      { address: '10.42.0.2', conditions: terminating },
      { address: '10.42.0.3', conditions: gone },
    ],
    want: ['10.42.0.2'],
  },
  {
    name: 'none that is not ready for another reason',
    endpoints: [{ address: '10.42.0.2', conditions: { ready: false, serving: false } }],
    want: [],
  },
  {
    name: 'a terminating one that is published although not ready',
    endpoints: [{ address: '10.42.0.2', conditions: { ready: true, serving: false, terminating: true } }],
    want: ['10.42.0.2'],
  },
];

for (const { name, endpoints, want } of usable) {
  test(`usable endpoints: ${name}`, () => {
    const all = endpointsOfPort([sliceOf('web', endpoints)], '', 'TCP');
    assert.deepEqual(
      usableEndpoints(all).map(({ address }) => address),
      want,
    );
  });
}

test('endpoints: an address in two slices counts once, in its better state', () => {
  const slices = [
    sliceOf('web', [{ address: '10.42.0.2', conditions: gone }]),
    sliceOf('web', ['10.42.0.2']),
  ];
  for (const order of [slices, slices.toReversed()]) {
    assert.deepEqual(
      endpointsOfPort(order, '', 'TCP').map(({ address, ready }) => [address, ready]),
      [['10.42.0.2', true]],
    );
  }
});

test('endpoints: garbage addresses, FQDN slices and other ports are passed by', () => {
  const slices: readonly EndpointSlice[] = [
    sliceOf('web', ['not an address']),
    { ...sliceOf('web', ['10.42.0.2']), addressType: 'FQDN' },
    sliceOf('web', ['10.42.0.3'], [{ name: 'metrics', port: 9090 }]),
    sliceOf('web', ['10.42.0.4'], [{ name: '', protocol: 'UDP', port: 53 }]),
    sliceOf('web', ['10.42.0.5'], [{ name: '' }]),
  ];
  assert.deepEqual(endpointsOfPort(slices, '', 'TCP'), []);
});

test('backend: found by port name, by port number, and not at all', () => {
  const service = serviceOf('web', '10.43.0.5', {
    ports: [
      { name: 'http', port: 80, targetPort: 'web' },
      { name: 'admin', port: 81 },
    ],
  });
  const slices = [
    sliceOf(
      'web',
      ['10.42.0.2'],
      [
        { name: 'http', port: 8080 },
        { name: 'admin', port: 9000 },
      ],
    ),
  ];
  const ports = (which: string | number) =>
    endpointsForBackend(service, which, slices)?.map(({ port }) => port);
  assert.deepEqual(ports('http'), [8080]);
  assert.deepEqual(ports(81), [9000]);
  assert.equal(ports('https'), undefined);
  assert.equal(ports(8080), undefined);
});

const zoneA = { forZones: [{ name: 'zone-a' }] };
const zoneB = { forZones: [{ name: 'zone-b' }] };
const hints = [
  { name: 'only those of the own zone', of: [zoneA, zoneB], want: ['10.42.0.1'] },
  { name: 'all when one has no hint', of: [zoneA, undefined], want: ['10.42.0.1', '10.42.0.2'] },
  { name: 'all when none is for this zone', of: [zoneB, zoneB], want: ['10.42.0.1', '10.42.0.2'] },
  {
    name: 'the own node before the own zone',
    of: [
      { ...zoneA, forNodes: [{ name: 'node-1' }] },
      { ...zoneB, forNodes: [{ name: 'node-0' }] },
    ],
    want: ['10.42.0.2'],
  },
];

for (const { name, of, want } of hints) {
  test(`hints: ${name}`, () => {
    const specs = of.map((hint, index) => ({
      address: `10.42.0.${index + 1}`,
      ...(hint === undefined ? {} : { hints: hint }),
    }));
    const all = endpointsOfPort([sliceOf('web', specs)], '', 'TCP');
    assert.deepEqual(
      endpointsByHints(all, 'node-0', 'zone-a').map(({ address }) => address),
      want,
    );
  });
}

test('slice: belongs to the Service that its label names', () => {
  assert.equal(serviceKeyOfSlice(sliceOf('web', [])), 'default/web');
  assert.equal(serviceKeyOfSlice({ addressType: 'IPv4', metadata: { name: 'x' } }), undefined);
});
