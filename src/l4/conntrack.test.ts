import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Conntrack, deletionsPerPassMax, forgetFlows } from './conntrack.ts';
import type { UdpFlow } from './udp-flows.ts';

test('conntrack: one pass deletes no more flows than its bound and tells how many, the first ones first', async () => {
  const forgotten: number[] = [];
  const conntrack: Conntrack = {
    udpFlows: () => Promise.resolve([]),
    forget: (_family, flow) => Promise.resolve(void forgotten.push(flow.sourcePort)),
    tracksSctp: () => Promise.resolve(true),
  };
  const flows = Array.from(
    { length: deletionsPerPassMax + 5 },
    (_, sourcePort): UdpFlow => ({
      source: '10.42.0.9',
      sourcePort,
      destination: '10.43.0.10',
      port: 53,
      backend: '10.42.0.2',
      backendPort: 1053,
    }),
  );
  const { signal } = new AbortController();
  assert.equal(await forgetFlows(conntrack, 4, flows, signal), deletionsPerPassMax);
  assert.deepEqual([forgotten.length, forgotten[0]], [deletionsPerPassMax, 0]);
  assert.equal(await forgetFlows(conntrack, 4, flows.slice(deletionsPerPassMax), signal), 5);
});
