import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Node } from '../api/gen/core-v1.ts';
import type { Clock } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { Informer } from '../control/informer.ts';
import { cniConfigFile, ptpScript, renderCniConfig, renderPtpScript } from './cni.ts';
import type { Cri } from './cri.ts';
import { readOwnRoutes, runIpBatch } from './ip-command.ts';
import { familyFilter, planRoutes, type Route, renderFixedRoutes, renderRouteChanges } from './routes.ts';

/** After `ip` failed, ms. */
const retryMs = 1_000;
/** How long CRI may take to see a new CNI configuration, ms. It watches the folder. */
const cniTimeoutMs = 10_000;
const cniPollMs = 5;
/** The node network is made of veth pairs on this machine, bytes. */
const ethernetMtu = 1500;

export type NetworkOptions = {
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  /** Get routes on the node's interface, so that local processes' packets to Services reach the service proxy. */
  readonly serviceCidrs: readonly string[];
  /** Where the node's default routes lead, one a family; none: those routes are somebody else's care. */
  readonly gateways: readonly string[];
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
  const ipv6 = options.nodeIps.some(isIPv6);
  // The node itself need not have all the families of the cluster, nor its kernel.
  const has = familyFilter(options.nodeIps);
  const fixed = { serviceCidrs: options.serviceCidrs.filter(has), gateways: options.gateways.filter(has) };
  let failing = false; // told once a series: an interface may be down for long
  await nodes.whenSynced(signal);
  while (!signal.aborted) {
    const changed = nextChange(); // before we look, so that no change is missed
    try {
      applied ??= await readOwnRoutes({ ipv6 });
      const wanted = planRoutes(nodes.list(), options.nodeName).filter(({ destination }) => has(destination));
      await runIpBatch(renderRouteChanges(applied, wanted));
      await runIpBatch(renderFixedRoutes(fixed, deviceOf(options.nodeIps[0] ?? '')));
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

/**
 * The folder of plugins for a node with these addresses: the machine's own, or with IPv6 `folder`, which gets links to those and
 * a plugin of ours. Safe to repeat while the runtime uses it.
 */
export async function prepareCniPlugins(
  nodeIps: readonly string[],
  cniBinDir: string,
  folder: string,
): Promise<string> {
  if (!nodeIps.some(isIPv6)) return cniBinDir;
  await rm(`${folder}.new`, { recursive: true, force: true });
  await mkdir(`${folder}.new`, { recursive: true });
  await mkdir(folder, { recursive: true });
  const names = [...(await readdir(cniBinDir)), ptpScript];
  await Promise.all(
    names.map(async (name) => {
      const made = join(`${folder}.new`, name);
      if (name === ptpScript) await writeFile(made, renderPtpScript(cniBinDir), { mode: 0o755 });
      else await symlink(join(cniBinDir, name), made);
      await rename(made, join(folder, name));
    }),
  );
  return folder;
}

/** The interface that has the address; undefined where none has. */
function deviceOf(ip: string): string | undefined {
  const entries = Object.entries(networkInterfaces());
  return entries.find(([, addresses]) => addresses?.some(({ address }) => address === ip))?.[0];
}
