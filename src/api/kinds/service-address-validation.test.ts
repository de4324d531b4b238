import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { validateAddressUpdate, validateServiceAddresses } from './service-address-validation.ts';
import { serviceKind } from './service.ts';

const two = { clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9', 'fd43::9'], ipFamilies: ['IPv4', 'IPv6'] };
const one = { clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9'], ipFamilies: ['IPv4'] };
const none = { clusterIP: 'None', clusterIPs: ['None'] };

const cases: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'both', spec: two, want: [] },
  { name: 'nothing', spec: {}, want: [] },
  { name: 'None', spec: { ...none, ipFamilies: ['IPv6'] }, want: [] },
  {
    name: 'None and another',
    spec: { clusterIP: 'None', clusterIPs: ['None', 'fd43::9'] },
    want: [`spec.clusterIPs: Invalid value: ["None","fd43::9"]: 'None' must be the first and only value`],
  },
  {
    name: 'a list without its first',
    spec: { clusterIPs: ['10.43.0.9'] },
    want: ['spec.clusterIPs: Invalid value: ["10.43.0.9"]: must be empty when `clusterIP` is not specified'],
  },
  {
    name: 'another first',
    spec: { ...one, clusterIP: '10.43.0.8' },
    want: ['spec.clusterIPs: Invalid value: ["10.43.0.9"]: first value must match `clusterIP`'],
  },
  {
    name: 'two of one family',
    spec: { clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9', '10.43.0.8'] },
    want: [
      'spec.clusterIPs: Invalid value: ["10.43.0.9","10.43.0.8"]: may specify no more than one IP for each IP family',
    ],
  },
  {
    name: 'an address of the other family',
    spec: { ...two, ipFamilies: ['IPv6', 'IPv4'] },
    want: [
      'spec.clusterIPs[0]: Invalid value: "10.43.0.9": expected an IPv6 value as indicated by `ipFamilies[0]`',
      'spec.clusterIPs[1]: Invalid value: "fd43::9": expected an IPv4 value as indicated by `ipFamilies[1]`',
    ],
  },
  {
    name: 'ExternalName',
    spec: { type: 'ExternalName', ...one, ipFamilyPolicy: 'SingleStack' },
    want: ['clusterIPs', 'ipFamilies', 'ipFamilyPolicy'].map(
      (field) => `spec.${field}: Forbidden: may not be set for ExternalName services`,
    ),
  },
];

for (const { name, spec, want } of cases) {
  test(`Service addresses: ${name}`, () => {
    const found = validateServiceAddresses(spec).map(({ field, message }) => `${field}: ${message}`);
    assert.deepEqual(found, want);
  });
}

const updates: readonly {
  readonly name: string;
  readonly old: JsonObject;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'nothing', old: two, spec: two, want: [] },
  { name: 'a second', old: one, spec: { ...two, ipFamilyPolicy: 'PreferDualStack' }, want: [] },
  { name: 'the second goes', old: two, spec: { ...one, ipFamilyPolicy: 'SingleStack' }, want: [] },
  {
    name: 'the second goes unasked',
    old: two,
    spec: { ...one, ipFamilyPolicy: 'PreferDualStack' },
    want: ['clusterIP', 'ipFamily'].map(
      (field) =>
        `spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be set to 'SingleStack' when releasing the secondary ${field}`,
    ),
  },
  {
    name: 'another second',
    old: two,
    spec: { ...two, clusterIPs: ['10.43.0.9', 'fd43::8'] },
    want: ['spec.clusterIPs[1]: Invalid value: ["10.43.0.9","fd43::8"]: may not change once set'],
  },
  {
    name: 'another order',
    old: two,
    spec: { clusterIP: 'fd43::9', clusterIPs: ['fd43::9', '10.43.0.9'], ipFamilies: ['IPv6', 'IPv4'] },
    want: [
      'spec.clusterIPs[0]: Invalid value: ["fd43::9","10.43.0.9"]: may not change once set',
      'spec.clusterIPs[1]: Invalid value: ["fd43::9","10.43.0.9"]: may not change once set',
      'spec.ipFamilies[0]: Invalid value: ["IPv6","IPv4"]: may not change once set',
      'spec.ipFamilies[1]: Invalid value: ["IPv6","IPv4"]: may not change once set',
    ],
  },
  {
    name: 'no longer headless',
    old: { ...none, ipFamilies: ['IPv4'] },
    spec: one,
    want: ['spec.clusterIPs[0]: Invalid value: ["10.43.0.9"]: may not change once set'],
  },
  {
    name: 'the families of a headless one',
    old: { ...none, ipFamilies: ['IPv4'] },
    spec: { ...none, ipFamilies: ['IPv6'] },
    want: [],
  },
];

for (const { name, old, spec, want } of updates) {
  test(`Service addresses, update: ${name}`, () => {
    const found = validateAddressUpdate(spec, old).map(({ field, message }) => `${field}: ${message}`);
    assert.deepEqual(found, want);
  });
}

test('Service addresses: a client that knows clusterIP alone and changes it is refused', () => {
  const changed: JsonObject = { metadata: { name: 'web' }, spec: { ...two, clusterIP: '10.43.0.8' } };
  const old = { metadata: { name: 'web' }, spec: two };
  serviceKind.prepareForUpdate?.(changed, old);
  assert.deepEqual((changed['spec'] as JsonObject)['clusterIPs'], ['10.43.0.8']);
});
