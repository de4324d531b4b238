import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceOf } from '../../../test/support/services.ts';
import type { Node, Service } from '../../api/gen/core-v1.ts';
import { planCondition } from '../service-conditions.ts';
import { planSctpCondition, sctpCondition } from './plan.ts';

const kernel = 'the kernel does not track SCTP';

/** `why` undefined: it serves SCTP, or its proxy has said nothing. */
function node(name: string, why?: string, status = 'True'): Node {
  const conditions = why === undefined ? [] : [{ type: 'SCTPUnavailable', status, message: why }];
  return { metadata: { name }, status: { conditions } };
}

const sctp = { ports: [{ port: 2905, protocol: 'SCTP' }] };
const tel = serviceOf('tel', '10.43.0.7', sctp);

const cases: readonly {
  readonly name: string;
  readonly service: Service;
  readonly nodes: readonly Node[];
  readonly want: string | undefined;
}[] = [
  {
    name: 'a kernel without SCTP is told of, whatever the type of the Service',
    service: tel,
    nodes: [node('a', kernel), node('b')],
    want: `NodesWithoutSCTP: SCTP port 2905 is not served on a: ${kernel}`,
  },
  {
    name: 'where it is every node, no node is named',
    service: serviceOf('tel', '10.43.0.7', {
      type: 'LoadBalancer',
      ports: [...sctp.ports, { port: 80, protocol: 'TCP' }, { port: 2906, protocol: 'SCTP' }],
    }),
    nodes: [node('a', kernel), node('b', 'sockets carry TCP and UDP')],
    want: `NoNodeServesSCTP: SCTP ports 2905, 2906 are not served on any node: ${kernel}; sockets carry TCP and UDP`,
  },
  {
    name: 'of many nodes a few are named, in order',
    service: tel,
    nodes: [...['g', 'f', 'e', 'd', 'c', 'b', 'a'].map((name) => node(name, kernel)), node('z')],
    want: `NodesWithoutSCTP: SCTP port 2905 is not served on a, b, c, d, e and 2 more nodes: ${kernel}`,
  },
  {
    name: 'a proxy that takes it back is believed',
    service: tel,
    nodes: [node('a', kernel, 'False')],
    want: undefined,
  },
  { name: 'nodes whose proxies say nothing serve it', service: tel, nodes: [node('a')], want: undefined },
  {
    name: 'ports of other protocols are no concern',
    service: serviceOf('web', '10.43.0.5'),
    nodes: [node('a', kernel)],
    want: undefined,
  },
  {
    name: 'a headless Service needs no proxy',
    service: serviceOf('tel', 'None', sctp),
    nodes: [node('a', kernel)],
    want: undefined,
  },
  {
    name: 'an ExternalName needs no proxy',
    service: serviceOf('tel', '', { ...sctp, type: 'ExternalName', externalName: 'example.com' }),
    nodes: [node('a', kernel)],
    want: undefined,
  },
];

for (const { name, service, nodes, want } of cases) {
  test(`service protocol: ${name}`, () => {
    const planned = planSctpCondition(service, nodes);
    assert.equal(planned === undefined ? undefined : `${planned.reason}: ${planned.message}`, want);
  });
}

test('service protocol: the condition comes, follows its words under its old time, and leaves; others stay', () => {
  const other = {
    type: 'LoadBalancerPortsError',
    status: 'True',
    reason: 'r',
    message: 'm',
    lastTransitionTime: 't',
  };
  const fresh = { ...tel, metadata: { ...tel.metadata, generation: 3 }, status: { conditions: [other] } };
  const words = { reason: 'NodesWithoutSCTP', message: 'on a' };
  const made = planCondition(fresh, sctpCondition, words, '2026-01-31T12:00:00Z');
  const mine = {
    type: sctpCondition,
    status: 'True',
    ...words,
    lastTransitionTime: '2026-01-31T12:00:00Z',
    observedGeneration: 3,
  };
  assert.deepEqual(made, [other, mine]);
  const told = { ...fresh, status: { conditions: made } };
  assert.equal(planCondition(told, sctpCondition, words, '2026-01-31T12:00:09Z'), undefined);
  const more = { ...words, message: 'on a, b' };
  assert.deepEqual(planCondition(told, sctpCondition, more, '2026-01-31T12:00:09Z'), [
    other,
    { ...mine, ...more },
  ]);
  const edited = { ...told, metadata: { ...told.metadata, generation: 4 } };
  assert.deepEqual(planCondition(edited, sctpCondition, words, '2026-01-31T12:00:09Z'), [
    other,
    { ...mine, observedGeneration: 4 },
  ]);
  assert.deepEqual(planCondition(told, sctpCondition, undefined, '2026-01-31T12:00:09Z'), [other]);
  assert.equal(planCondition(fresh, sctpCondition, undefined, '2026-01-31T12:00:09Z'), undefined);
});
