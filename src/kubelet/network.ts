import { rename, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Node } from '../api/gen/core-v1.ts';
import type { Clock } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { Informer } from '../control/informer.ts';
import { cniConfigFile, renderCniConfig } from './cni.ts';
import type { Cri } from './cri.ts';
import { readOwnRoutes, runIpBatch } from './ip-command.ts';
import { planRoutes, type Route, renderFixedRoutes, renderRouteChanges } from './routes.ts';

/** After `ip` failed, ms. */
const retryMs = 1_000;
/** How long CRI may take to see a new CNI configuration, ms. It watches the folder. */
const cniTimeoutMs = 10_000;
const cniPollMs = 5;
/** The node network is made of veth pairs on this machine, bytes. */
const ethernetMtu = 1500;

export type NetworkOptions = {
  readonly nodeName: string;
  readonly nodeIp: string;
  /** Gets a route on the node's interface, so that local processes' packets to Services reach the service proxy. */
  readonly serviceCidr: string | undefined;
  /** Where the node's default route leads; undefined: that route is somebody else's care. */
  readonly gateway: string | undefined;
};

/** How often routes are read back: an interface that goes down takes them along, and brings none when it comes back. */
const routesCheckMs = 5_000;

/** Keeps routes to the other nodes' Pods, to Services and to the gateway until the signal aborts. `nextChange` resolves when Nodes change. */
export async function runRoutes(
  nodes: Informer<Node>,
  nextChange: () => Promise<void>,
  options: NetworkOptions,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let applied: readonly Route[] | undefined; // undefined: not known, so read it
  let failing = false; // told once a series: an interface may be down for long
  await nodes.whenSynced(signal);
  while (!signal.aborted) {
    const changed = nextChange(); // before we look, so that no change is missed
    try {
      applied ??= await readOwnRoutes();
      const wanted = planRoutes(nodes.list(), options.nodeName);
      await runIpBatch(renderRouteChanges(applied, wanted));
      await runIpBatch(renderFixedRoutes(options, deviceOf(options.nodeIp)));
      applied = wanted;
      failing = false;
      const due = Symbol('due');
      const what = await Promise.race([
        changed,
        aborted(signal),
        clock.sleep(routesCheckMs, signal).then(() => due),
      ]);
      if (what === due) applied = undefined;
    } catch (error) {
      if (signal.aborted) return;
      applied = undefined;
      if (!failing) log.warn('routes to other nodes could not be set, trying again', { error });
      failing = true;
      await clock.sleep(retryMs, signal);
    }
  }
}

/** Writes the CNI configuration and waits until the runtime has taken it. Throws where it does not. */
export async function configureCni(
  cri: Cri,
  podCidrs: readonly string[],
  dirs: { readonly configDir: string; readonly ipamDir: string },
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const text = renderCniConfig({ podCidrs, dataDir: dirs.ipamDir, mtu: ethernetMtu });
  const path = join(dirs.configDir, cniConfigFile);
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
  const startMs = clock.monotonicMs();
  while (true) {
    const { status } = await cri.status({}, { signal });
    const network = status?.conditions.find(({ type }) => type === 'NetworkReady');
    if (network?.status === true) return;
    if (clock.monotonicMs() - startMs > cniTimeoutMs) {
      throw new Error(
        `the container runtime does not take ${path}: ${network?.message ?? 'no reason given'}`,
      );
    }
    await clock.sleep(cniPollMs, signal);
  }
}

/** The interface that has the address; undefined where none has. */
function deviceOf(ip: string): string | undefined {
  const entries = Object.entries(networkInterfaces());
  return entries.find(([, addresses]) => addresses?.some(({ address }) => address === ip))?.[0];
}
