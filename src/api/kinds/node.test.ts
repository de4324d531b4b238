import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { nodeKind } from './node.ts';

const onePerFamily = 'spec.podCIDRs: may specify no more than one CIDR for each IP family';

for (const { podCIDRs, want } of [
  { podCIDRs: ['10.42.0.0/24'], want: [] },
  { podCIDRs: ['10.42.0.0/24', 'fd00:0:0:4200::/64'], want: [] },
  { podCIDRs: ['fd00:0:0:4200::/64', '10.42.0.0/24'], want: [] },
  { podCIDRs: ['10.42.0.0/24', '10.42.1.0/24'], want: [onePerFamily] },
  { podCIDRs: ['10.42.0.0/24', 'fd00::/64', 'fd01::/64'], want: [onePerFamily] },
]) {
  test(`a Node with the Pod ranges ${podCIDRs.join(' ')} is ${want.length === 0 ? 'valid' : 'refused'}`, () => {
    const node: JsonObject = { metadata: { name: 'a' }, spec: { podCIDRs } };
    nodeKind.setDefaults?.(node);
    const errors = nodeKind.validate?.(node) ?? [];
    assert.deepEqual(
      errors.map(({ field, message }) => `${field}: ${message.replace(/^Invalid value: .*\]: /, '')}`),
      want,
    );
  });
}
