import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoints, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { isMirrored, leftOutText, planMirror } from './plan.ts';

const service: Service = {
  metadata: { name: 'db', namespace: 'default' },
  spec: { ports: [{ port: 5432 }] },
};

function endpointsOf(subsets: Endpoints['subsets'], metadata: Endpoints['metadata'] = {}): Endpoints {
  return { metadata: { name: 'db', namespace: 'default', uid: 'u', ...metadata }, subsets };
}

const external = endpointsOf([
  {
    addresses: [{ ip: '192.0.2.10', hostname: 'one' }, { ip: '2001:db8::1' }],
    notReadyAddresses: [{ ip: '192.0.2.11', nodeName: 'n1' }],
    ports: [{ name: 'sql', port: 5432 }],
  },
]);

test('endpointslice mirroring: addresses, states and ports are told by a slice a family', () => {
  const writes = planMirror(external, []);
  assert.deepEqual(
    writes.map(({ kind, slice }) => [kind, slice.addressType, slice.ports, slice.endpoints]),
    [
      [
        'create',
        'IPv4',
        [{ name: 'sql', port: 5432, protocol: 'TCP' }],
        [
          { addresses: ['192.0.2.10'], conditions: { ready: true }, hostname: 'one' },
          { addresses: ['192.0.2.11'], conditions: { ready: false }, nodeName: 'n1' },
        ],
      ],
      [
        'create',
        'IPv6',
        [{ name: 'sql', port: 5432, protocol: 'TCP' }],
        [{ addresses: ['2001:db8::1'], conditions: { ready: true } }],
      ],
    ],
  );
});

test('endpointslice mirroring: labels and annotations come along, those of the object itself do not', () => {
  const labelled = endpointsOf(external.subsets, {
    labels: { team: 'a' },
    annotations: { note: 'x', 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
  });
  const { metadata } = planMirror(labelled, [])[0]?.slice ?? {};
  assert.deepEqual(metadata?.labels, {
    team: 'a',
    'kubernetes.io/service-name': 'db',
    'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io',
  });
  assert.deepEqual(metadata?.annotations, { note: 'x' });
  assert.equal(metadata?.ownerReferences?.[0]?.kind, 'Endpoints');
});

test('endpointslice mirroring: nothing to write when nothing changed, one slice when one address did', () => {
  const slices = planMirror(external, []).map(
    ({ slice }, index): EndpointSlice => ({ ...slice, metadata: { ...slice.metadata, name: `db-${index}` } }),
  );
  assert.deepEqual(planMirror(external, slices), []);
  const fewer = endpointsOf([{ addresses: [{ ip: '192.0.2.10' }], ports: [{ name: 'sql', port: 5432 }] }]);
  assert.deepEqual(
    planMirror(fewer, slices).map(({ kind, slice }) => [kind, slice.metadata?.name]),
    [
      ['replace', 'db-0'],
      ['delete', 'db-1'],
    ],
  );
});

test('endpointslice mirroring: slices are filled to a hundred, addresses beyond a thousand are left out', () => {
  const addresses = Array.from({ length: 1200 }, (_, at) => ({ ip: `192.0.${at >> 8}.${at & 255}` }));
  const object = endpointsOf([{ addresses, ports: [{ port: 1 }] }]);
  const writes = planMirror(object, []);
  assert.match(leftOutText(object) ?? '', /^A max of 1000 addresses of a subset .*: 200 were left out$/);
  assert.equal(leftOutText(endpointsOf([{ addresses: addresses.slice(0, 1000) }])), undefined);
  assert.deepEqual(
    writes.map(({ slice }) => slice.endpoints?.length),
    Array.from({ length: 10 }, () => 100),
  );
});

const mirroredCases: readonly {
  readonly name: string;
  readonly object: Endpoints;
  readonly service: Service | undefined;
  readonly want: boolean;
}[] = [
  { name: 'a Service without selector', object: external, service, want: true },
  {
    name: 'a Service with a selector',
    object: external,
    service: { ...service, spec: { ...service.spec, selector: { app: 'db' } } },
    want: false,
  },
  { name: 'no Service', object: external, service: undefined, want: false },
  {
    name: 'the label that forbids it',
    object: endpointsOf([], { labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }),
    service,
    want: false,
  },
  {
    name: 'a lock of leader election',
    object: endpointsOf([], { annotations: { 'control-plane.alpha.kubernetes.io/leader': '{}' } }),
    service,
    want: false,
  },
];

for (const { name, object, service: of, want } of mirroredCases) {
  test(`endpointslice mirroring: ${name} is ${want ? '' : 'not '}mirrored`, () => {
    assert.equal(isMirrored(object, of), want);
  });
}
