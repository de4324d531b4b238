import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUdpFlows, type StaleFlowScope, staleUdpFlows } from './udp-flows.ts';

const listing = `udp      17 29 src=10.42.0.9 dst=10.43.0.10 sport=4000 dport=53 src=10.42.0.2 dst=10.42.0.9 sport=1053 dport=4000 mark=0 use=1
udp      17 29 src=10.42.0.9 dst=10.43.0.10 sport=4001 dport=53 [UNREPLIED] src=10.42.0.3 dst=10.42.0.9 sport=1053 dport=4001 mark=0 use=1
udp      17 29 src=192.0.2.7 dst=10.41.0.2 sport=4002 dport=30053 [UNREPLIED] src=10.41.0.2 dst=192.0.2.7 sport=30053 dport=4002 mark=0 use=1
udp      17 29 src=10.42.0.9 dst=10.43.9.9 sport=4003 dport=53 src=10.42.0.2 dst=10.42.0.9 sport=1053 dport=4003 mark=0 use=1
udp      17 29 src=10.42.0.9 dst=192.0.2.53 sport=4004 dport=53 src=192.0.2.53 dst=10.41.0.2 sport=53 dport=4004 [ASSURED] mark=0 use=1
udp      17 29 src=10.42.0.9 dst=10.42.0.1 sport=4005 dport=30053 src=10.42.0.3 dst=10.42.0.9 sport=1053 dport=4005 mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.
tcp      6 431999 ESTABLISHED src=1.1.1.1 dst=1.1.1.2 sport=1 dport=2 src=1.1.1.2 dst=1.1.1.1 sport=2 dport=1 use=1
udp      17 nonsense src=
`;

test('flows: lines of conntrack are read, others passed by', () => {
  const flows = parseUdpFlows(listing);
  assert.equal(flows.length, 6);
  assert.deepEqual(flows[0], {
    source: '10.42.0.9',
    sourcePort: 4000,
    destination: '10.43.0.10',
    port: 53,
    backend: '10.42.0.2',
    backendPort: 1053,
  });
});

const nothing: StaleFlowScope = {
  fronts: new Map(),
  removedFronts: [],
  serviceCidrs: ['10.43.0.0/16'],
  nodeAddresses: ['10.41.0.2'],
};
const cases: readonly {
  readonly name: string;
  readonly scope: StaleFlowScope;
  readonly want: readonly number[];
}[] = [
  { name: 'flows to Service addresses without a Service', scope: nothing, want: [4000, 4001, 4003] },
  {
    name: 'flows to an endpoint that has left, not those to one that serves',
    scope: { ...nothing, fronts: new Map([['10.43.0.10 . 53', new Set(['10.42.0.2 . 1053'])]]) },
    want: [4001, 4003],
  },
  {
    name: 'flows that a node port would take now, at every address of the node',
    scope: { ...nothing, fronts: new Map([['* . 30053', new Set(['10.42.0.2 . 1053'])]]), serviceCidrs: [] },
    want: [4002, 4005],
  },
  {
    name: 'flows of a node port that is gone',
    scope: { ...nothing, removedFronts: ['* . 30053'], serviceCidrs: [] },
    want: [4002, 4005],
  },
];

for (const { name, scope, want } of cases) {
  test(`stale flows: ${name}`, () => {
    const stale = staleUdpFlows(parseUdpFlows(listing), scope);
    assert.deepEqual(
      stale.map(({ sourcePort }) => sourcePort),
      want,
    );
  });
}
