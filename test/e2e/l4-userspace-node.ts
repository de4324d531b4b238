/**
 * A service proxy in userspace mode inside one node of the L4 test network, with an API server in memory that standard input
 * fills: one JSON object a line. `start` is answered with "ready".
 */
import { createInterface } from 'node:readline';
import type { Service } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import type { Json } from '../../src/api/object.ts';
import { endpointSlices, services } from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import { proxyDefaults, runProxy } from '../../src/l4/run.ts';
import { FakeApi } from '../support/fake-api.ts';
import { seedNodes } from './l4-proxy.ts';

export type NodeRequest =
  | { readonly op: 'start' }
  | { readonly op: 'slice'; readonly object: EndpointSlice }
  | { readonly op: 'service'; readonly object: Service }
  | { readonly op: 'update-slice'; readonly key: string; readonly patch: Json };

if (import.meta.main) {
  const [, , nodeName = ''] = process.argv;
  const api = new FakeApi();
  seedNodes(api);
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const answer = (request: NodeRequest): void => {
    switch (request.op) {
      case 'slice':
        api.seed(endpointSlices, request.object);
        return;
      case 'service':
        api.seed(services, request.object);
        return;
      case 'update-slice':
        api.update(endpointSlices, request.key, request.patch);
        return;
      case 'start':
        running = runProxy(
          {
            ...proxyDefaults,
            nodeName,
            mode: 'userspace',
            clusterCidrs: ['10.42.0.0/16', 'fd42::/48'],
            serviceCidrs: ['10.43.0.0/16', 'fd43::/112'],
          },
          api,
          {
            ...silentLogger,
            info: (message) => message === 'ready' && process.stdout.write('ready\n'),
            warn: (message, fields) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
          },
          stop.signal,
        );
    }
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => answer(JSON.parse(line) as NodeRequest));
  lines.on('close', () => {
    stop.abort();
    void running.then(() => process.exit(0));
  });
}
