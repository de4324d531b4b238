import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { settleFamilies } from './service-families.ts';

const cases: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'nothing said', spec: {}, want: [] },
  { name: 'its own family', spec: { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' }, want: [] },
  { name: 'two where there are', spec: { ipFamilyPolicy: 'PreferDualStack' }, want: [] },
  {
    name: 'two at any price',
    spec: { ipFamilyPolicy: 'RequireDualStack' },
    want: [
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services',
    ],
  },
  {
    name: 'the other family',
    spec: { ipFamilies: ['IPv6'] },
    want: ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'],
  },
  {
    name: 'both as a single stack',
    spec: { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'SingleStack' },
    want: [
      `spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified`,
    ],
  },
  {
    name: 'unknown words and repeats',
    spec: { ipFamilies: ['IPv5', 'IPv4', 'IPv4'], ipFamilyPolicy: 'Both' },
    want: [
      'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
      'spec.ipFamilies[2]: Duplicate value: "IPv4"',
      'spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"',
    ],
  },
  {
    name: 'headless without selector: whatever its author says',
    spec: {
      clusterIP: 'None',
      clusterIPs: ['None'],
      ipFamilies: ['IPv4', 'IPv6'],
      ipFamilyPolicy: 'RequireDualStack',
    },
    want: [],
  },
  {
    name: 'headless with a selector',
    spec: { clusterIP: 'None', clusterIPs: ['None'], selector: { a: 'b' }, ipFamilies: ['IPv6'] },
    want: ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'],
  },
];

for (const { name, spec, want } of cases) {
  test(`Service families: ${name}`, () => {
    const found = settleFamilies({ ...spec }, undefined, ['IPv4']).map(
      ({ field, message }) => `${field}: ${message}`,
    );
    assert.deepEqual(found, want);
  });
}
