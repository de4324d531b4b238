import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { discoveryKinds } from './discovery.ts';
import { endpointAddressProblems } from './endpoint-address.ts';
import { endpointsKind } from './endpoints.ts';
import { serviceKind } from './service.ts';

const loopback = 'may not be in the loopback range (127.0.0.0/8, ::1/128)';
const linkLocal = 'may not be in the link-local range (169.254.0.0/16, fe80::/10)';
const multicast = 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)';

for (const [address, want] of [
  ['10.42.0.5', []],
  ['2001:db8::5', []],
  ['224.0.1.1', []],
  ['here', ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']],
  ['127.1.2.3', [loopback]],
  ['::1', [loopback]],
  ['::ffff:127.0.0.1', [loopback]],
  ['169.254.169.254', [linkLocal]],
  ['fe80::1', [linkLocal]],
  ['224.0.0.251', [multicast]],
  ['ff02::fb', [multicast]],
  ['0.0.0.0', ['may not be unspecified (0.0.0.0)']],
  ['::', ['may not be unspecified (::)']],
] as const) {
  test(`endpoint address: ${address}`, () => assert.deepEqual(endpointAddressProblems(address), want));
}

function texts(errors: readonly FieldError[] | undefined): readonly string[] {
  return (errors ?? []).map((error) => `${error.field}: ${error.message}`);
}

const metadata = { name: 'web', namespace: 'default' };
const [sliceKind] = discoveryKinds;

function slice(endpoint: JsonObject, port: JsonObject = {}): JsonObject {
  const object = { metadata, addressType: 'IPv4', endpoints: [endpoint], ports: [{ port: 80, ...port }] };
  sliceKind?.setDefaults?.(object);
  return object;
}

const addresses = ['10.42.0.5'];
const zones = (count: number) => Array.from({ length: count }, (_, number) => ({ name: `zone-${number}` }));

for (const { name, object, want } of [
  {
    name: 'all that it may have',
    object: slice(
      { addresses, nodeName: 'n1', hostname: 'a', hints: { forZones: zones(8), forNodes: [{ name: 'n1' }] } },
      { appProtocol: 'kubernetes.io/h2c' },
    ),
    want: [],
  },
  {
    name: 'an address of each node itself',
    object: slice({ addresses: ['127.0.0.1'] }),
    want: [`endpoints[0].addresses[0]: Invalid value: "127.0.0.1": ${loopback}`],
  },
  {
    name: 'too many zones',
    object: slice({ addresses, hints: { forZones: zones(9) } }),
    want: ['endpoints[0].hints.forZones: Too many: 9: must have at most 8 items'],
  },
  {
    name: 'a zone twice and one without a name',
    object: slice({ addresses, hints: { forZones: [{ name: 'a' }, { name: 'a' }, {}] } }),
    want: [
      'endpoints[0].hints.forZones[1].name: Duplicate value: "a"',
      'endpoints[0].hints.forZones[2].name: Required value',
    ],
  },
]) {
  test(`endpoint slice: ${name}`, () => assert.deepEqual(texts(sliceKind?.validate?.(object)), want));
}

test('endpoint slice: names of nodes and protocols that are none', () => {
  const errors = sliceKind?.validate?.(slice({ addresses, nodeName: 'N_1' }, { appProtocol: 'a/b/c' })) ?? [];
  assert.deepEqual(
    errors.map(({ field }) => field),
    ['endpoints[0].nodeName', 'ports[0].appProtocol'],
  );
});

test('endpoints: addresses, names of hosts and nodes, protocols; what an update leaves alone is not asked again', () => {
  const address = { ip: 'fe80::1', hostname: 'A', nodeName: 'B' };
  const object = { metadata, subsets: [{ addresses: [address], ports: [{ port: 80, protocol: 'ICMP' }] }] };
  const errors = endpointsKind.validate?.(object) ?? [];
  assert.deepEqual(
    errors.map(({ field }) => field),
    [
      'subsets[0].addresses[0].ip',
      'subsets[0].addresses[0].hostname',
      'subsets[0].addresses[0].nodeName',
      'subsets[0].ports[0].protocol',
    ],
  );
  assert.deepEqual(endpointsKind.validate?.(object, structuredClone(object)), []);
});

test('service: external addresses', () => {
  const service: JsonObject = {
    metadata,
    spec: { ports: [{ port: 80 }], externalIPs: ['169.254.1.1', '10.0.0.1'] },
  };
  serviceKind.setDefaults?.(service);
  assert.deepEqual(texts(serviceKind.validate?.(service)), [
    `spec.externalIPs[0]: Invalid value: "169.254.1.1": ${linkLocal}`,
  ]);
});
