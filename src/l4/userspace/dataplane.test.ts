import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFacts, serviceOf, sliceOf } from '../../../test/support/services.ts';
import { silentLogger } from '../../base/log.ts';
import { buildNodeView } from '../../model/view.ts';
import type { RulesetProblem } from '../ruleset.ts';
import { createUserspaceDataplane } from './dataplane.ts';
import { frontsMax } from './fronts.ts';

const options = { clusterCidrs: ['10.42.0.0/16'], serviceCidrs: ['10.43.0.0/16'], clusterNodeAddresses: [] };

test('l4 userspace: a Service whose ports are beyond the bound is told once; the ports within it are served', async () => {
  const open = new Set<string>();
  const problems: RulesetProblem[] = [];
  const dataplane = createUserspaceDataplane(
    silentLogger,
    {
      relay: {
        listen: ({ id }) => Promise.resolve(void open.add(id)),
        update: () => {},
        close: (id) => void open.delete(id),
        inside: () => {},
        end: () => Promise.resolve(),
      },
      routes: { add: () => Promise.resolve(), remove: () => Promise.resolve() },
      localAddresses: () => [],
      random: () => 0,
      nowMs: () => 0,
    },
    (problem) => problems.push(problem),
  );
  const viewOf = (ports: number) => {
    const many = Array.from({ length: ports }, (_, index) => ({ port: index + 1 }));
    const wide = serviceOf('wide', '10.43.0.6', { ports: many });
    return buildNodeView([wide], [sliceOf('wide', ['10.42.0.2'])], nodeFacts);
  };
  const { signal } = new AbortController();
  for (const ports of [frontsMax + 3, frontsMax + 3, frontsMax]) {
    await dataplane.sync(viewOf(ports), options, signal);
    assert.equal(open.size, frontsMax);
  }
  assert.deepEqual(problems, [
    {
      service: 'default/wide',
      reason: 'TooManyPorts',
      message: 'more than 8192 sockets: tcp 10.43.0.6 8193 and 2 more are not served',
    },
  ]);
  assert.equal((await dataplane.sctpLack())?.reason, 'UserspaceProxy');
  await dataplane.close();
});
