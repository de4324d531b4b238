import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { networkPolicyKind } from './networkpolicy.ts';

function errorsOf(spec: JsonObject): readonly string[] {
  const policy: JsonObject = { metadata: { name: 'a', namespace: 'default' }, spec };
  networkPolicyKind.setDefaults?.(policy);
  return (networkPolicyKind.validate?.(policy) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

const from = (peer: JsonObject): JsonObject => ({ ingress: [{ from: [peer] }] });
const to = (peer: JsonObject): JsonObject => ({ egress: [{ to: [peer] }] });
const ports = (port: JsonObject): JsonObject => ({ ingress: [{ ports: [port] }] });
const at = 'spec.ingress[0]';

for (const { name, spec, want } of [
  {
    name: 'what it may have',
    spec: {
      ingress: [
        {
          ports: [{ port: 80, endPort: 90 }, { port: 'http' }, {}],
          from: [
            { podSelector: {}, namespaceSelector: { matchLabels: { a: 'b' } } },
            { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } },
          ],
        },
      ],
    },
    want: [],
  },
  { name: 'an empty peer', spec: from({}), want: [`${at}.from[0]: Required value: must specify a peer`] },
  {
    name: 'a block and a selector',
    spec: from({ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }),
    want: [`${at}.from[0]: Forbidden: may not specify both ipBlock and another peer`],
  },
  {
    name: 'a selector of a peer',
    spec: to({ namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }),
    want: [
      "spec.egress[0].to[0].namespaceSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
    ],
  },
  {
    name: 'a block without a range',
    spec: to({ ipBlock: {} }),
    want: ['spec.egress[0].to[0].ipBlock.cidr: Required value'],
  },
  {
    name: 'a block that is none',
    spec: from({ ipBlock: { cidr: '10.0.0.0/33' } }),
    want: [
      `${at}.from[0].ipBlock.cidr: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
    ],
  },
  ...['10.0.0.0/8', '11.0.0.0/16', '2001:db8::/64'].map((except) => ({
    name: `except ${except}`,
    spec: from({ ipBlock: { cidr: '10.0.0.0/8', except: [except] } }),
    want: [
      `${at}.from[0].ipBlock.except[0]: Invalid value: ${JSON.stringify(except)}: must be a strict subset of \`cidr\``,
    ],
  })),
  {
    name: 'an end below its start',
    spec: ports({ port: 80, endPort: 79 }),
    want: [`${at}.ports[0].endPort: Invalid value: 79: must be greater than or equal to \`port\``],
  },
  {
    name: 'an end of a named port',
    spec: ports({ port: 'http', endPort: 90 }),
    want: [`${at}.ports[0].endPort: Invalid value: 90: may not be specified when \`port\` is non-numeric`],
  },
  {
    name: 'an end alone',
    spec: ports({ endPort: 90 }),
    want: [`${at}.ports[0].endPort: Invalid value: 90: may not be specified when \`port\` is not specified`],
  },
  {
    name: 'a port that is none',
    spec: ports({ port: 70_000 }),
    want: [`${at}.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive`],
  },
  {
    name: 'three types',
    spec: { policyTypes: ['Ingress', 'Egress', 'Ingress'] },
    want: [
      'spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes',
    ],
  },
]) {
  test(`network policy: ${name}`, () => assert.deepEqual(errorsOf(spec), want));
}
