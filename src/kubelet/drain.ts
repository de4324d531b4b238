import type { Pod } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { endpointSlices } from '../api/resource.ts';
import type { Clock } from '../base/clock.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import type { Drain, ZeroLossOptions } from './pod-deps.ts';

/** Where a Pod stands in one slice: `listed` at all, and `ready` for new connections. */
export function standingIn(
  slice: EndpointSlice,
  pod: Pod,
): { readonly listed: boolean; readonly ready: boolean } {
  const uid = pod.metadata?.uid;
  const ips = new Set((pod.status?.podIPs ?? []).map(({ ip }) => ip));
  let listed = false;
  let ready = false;
  for (const endpoint of slice.endpoints ?? []) {
    const byUid = endpoint.targetRef?.uid !== undefined && endpoint.targetRef.uid === uid;
    const byAddress =
      endpoint.targetRef === undefined && endpoint.addresses.some((address) => ips.has(address));
    if (!byUid && !byAddress) continue;
    listed = true;
    ready ||= endpoint.conditions?.ready !== false;
  }
  return { listed, ready };
}

/**
 * How long the data planes are given to follow once the slices tell them, ms. They hear of it as we do: where it took us long to hear, since the
 * machine is busy, it takes them long. Twice that time then, within what is left of the wait's bound.
 */
export function settleTimeMs(tookMs: number, timeoutMs: number, settleMs: number): number {
  return Math.max(Math.min(settleMs, timeoutMs), Math.min(2 * tookMs, timeoutMs - tookMs));
}

/**
 * Waits until the EndpointSlice controller has taken the Pod out of all slices' ready endpoints, then the settle time
 * in which the data planes follow. A Pod that no slice lists waits for nothing. The slices of its namespace are watched
 * only meanwhile, so that the node agent does not hold all of them in memory.
 */
export function createDrain(client: ApiClient, clock: Clock, options: ZeroLossOptions): Drain {
  return async (pod, timeoutMs, signal) => {
    const stop = new AbortController();
    const startMs = clock.monotonicMs();
    const slices = createInformer(client, endpointSlices, { namespace: pod.metadata?.namespace });
    const limit = AbortSignal.any([signal, stop.signal, AbortSignal.timeout(timeoutMs)]);
    let wasListed = false;
    const drained = Promise.withResolvers<void>();
    const look = () => {
      if (!slices.synced) return;
      const standings = [...slices.list()].map((slice) => standingIn(slice, pod));
      wasListed ||= standings.some(({ listed }) => listed);
      if (!standings.some(({ ready }) => ready)) drained.resolve();
    };
    slices.onChange(look);
    limit.addEventListener('abort', () => drained.resolve(), { once: true });
    const running = slices.run(limit);
    try {
      await slices.whenSynced(limit).catch(() => {}); // the limit has passed: go on as if drained
      look();
      await drained.promise;
      if (!wasListed || signal.aborted) return;
      const tookMs = clock.monotonicMs() - startMs;
      await clock.sleep(settleTimeMs(tookMs, timeoutMs, options.settleMs), signal);
    } finally {
      stop.abort();
      await running;
    }
  };
}
