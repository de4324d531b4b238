/** From a changed EndpointSlice in the proxy's watch to the kernel's acknowledgement. */
import { endpointSlices, nodes, services as serviceResource } from '../../src/api/resource.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { Nft } from '../../src/l4/apply.ts';
import { createSystemNft } from '../../src/l4/libnftables.ts';
import { renderRemoval } from '../../src/l4/render.ts';
import { proxyDefaults } from '../../src/l4/config.ts';
import { runProxy } from '../../src/l4/run.ts';
import { FakeApi } from '../../test/support/fake-api.ts';
import { sliceOf } from '../../test/support/services.ts';
import { percentile } from '../lib/report.ts';
import { clusterCidrs, clusterOf, endpointIpsOf, serviceCidrs } from './cluster.ts';
import { signal, tool } from './ruleset.ts';

const changes = 200;

export type ProgrammingFigures = {
  readonly services: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export async function measureProgramming(services: number): Promise<ProgrammingFigures> {
  const api = new FakeApi();
  api.seed(nodes, { metadata: { name: 'node-0' }, spec: { podCIDR: '10.44.0.0/24' } });
  const cluster = clusterOf(services);
  for (const slice of cluster.slices) api.seed(endpointSlices, slice);
  for (const service of cluster.services) api.seed(serviceResource, service);
  api.compact(); // its watches look through the whole history at each change
  const nft = await createSystemNft(silentLogger);
  let applied = Promise.withResolvers<void>();
  const watched: Nft = {
    async run(script, scope) {
      await nft.run(script, scope);
      applied.resolve();
    },
    read: (...of) => nft.read(...of),
    readClients: (...of) => nft.readClients(...of),
    generation: () => nft.generation(),
  };
  const stop = new AbortController();
  const ready = Promise.withResolvers<void>();
  const config = {
    ...proxyDefaults,
    nodeName: 'node-0',
    clusterCidrs,
    serviceCidrs,
    healthAddress: undefined,
    resyncIntervalMs: 3_600_000,
  };
  const running = runProxy(config, api, silentLogger, stop.signal, {
    nft: watched,
    conntrack: {
      udpFlows: () => Promise.resolve([]),
      forget: () => Promise.resolve(),
      tracksSctp: () => Promise.resolve(true),
    },
    clock: systemClock,
    applySettings: () => Promise.resolve([]),
    onReady: () => ready.resolve(),
  });
  await Promise.race([ready.promise, running]);
  const times: number[] = [];
  for (let round = 0; round < changes; round++) {
    await systemClock.sleep(8); // beyond the least gap between two transactions
    const index = (round * 7919) % services;
    applied = Promise.withResolvers<void>();
    const { endpoints } = sliceOf('', [`10.47.${round}.9`, ...endpointIpsOf(index).slice(1)]);
    const startMs = performance.now();
    api.update(endpointSlices, `default/web-${index}-1`, { endpoints: structuredClone(endpoints) as never });
    await applied.promise;
    times.push(performance.now() - startMs);
  }
  stop.abort();
  await running;
  await tool.run(renderRemoval(4), signal);
  return { services, p50Ms: percentile(times, 50), p99Ms: percentile(times, 99) };
}
