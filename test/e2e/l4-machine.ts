/** A machine for service proxies in tests: a kernel that takes every rule and forgets it. */
import { systemClock } from '../../src/base/clock.ts';
import type { Nft } from '../../src/l4/apply.ts';
import type { ProxyPorts } from '../../src/l4/config.ts';
import { emptyKernelTable } from '../../src/l4/listing.ts';

export function machineOf(
  options: {
    readonly tracksSctp?: boolean;
    readonly run?: Nft['run'];
    readonly udpFlows?: ProxyPorts['conntrack']['udpFlows'];
    readonly onReady?: ProxyPorts['onReady'];
  } = {},
): ProxyPorts {
  const {
    tracksSctp = true,
    run = () => Promise.resolve(),
    udpFlows = () => Promise.resolve([]),
    onReady,
  } = options;
  return {
    nft: {
      run,
      read: () => Promise.resolve(emptyKernelTable),
      readClients: () => Promise.resolve([]),
      generation: () => undefined,
    },
    conntrack: {
      udpFlows,
      forget: () => Promise.resolve(),
      tracksSctp: () => Promise.resolve(tracksSctp),
    },
    clock: systemClock,
    applySettings: () => Promise.resolve([]),
    onReady,
  };
}
