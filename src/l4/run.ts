import { apiVersionOf, services } from '../api/resource.ts';
import { systemClock } from '../base/clock.ts';
import type { IpFamily } from '../base/ip.ts';
import { runTogether, type Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createRecorder } from '../control/recorder.ts';
import { applyKernelSettings, kernelSettings, NftError } from './apply.ts';
import type { ProxyConfig, ProxyPorts } from './config.ts';
import { createSpawnedConntrack } from './conntrack.ts';
import { createDataplane, type Dataplane, type ReportProblem } from './dataplane.ts';
import { serveHealth } from './health.ts';
import { createSystemNft } from './libnftables.ts';
import { type ConditionSources, runNodeCondition } from './node-condition.ts';
import { ProxyLoop } from './proxy-loop.ts';
import { familiesOf } from './service-ranges.ts';
import type { Relay } from './userspace/relay.ts';
import { createWatched } from './watched.ts';

/**
 * Runs the service proxy of one node until the signal aborts. The rules stay in the kernel then, so connections go on
 * while the proxy is away. Rejects only when it cannot work at all, such as without nft(8) or its health address.
 */
export async function runProxy(
  config: ProxyConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
  machine?: ProxyPorts,
): Promise<void> {
  const ports = machine ?? (await systemPorts(log));
  const families = familiesOf([...config.clusterCidrs, ...config.serviceCidrs]);
  for (const { setting, error } of await ports.applySettings(kernelSettings(families))) {
    log.warn(`cannot set ${setting.path} to ${setting.value}, so that ${setting.purpose}`, { error });
  }
  const watched = createWatched(config, client, log);
  const recorder = createRecorder(client, 'service-proxy', {
    log,
    timing: { clock: ports.clock, random: Math.random },
    host: config.nodeName,
    shared: true,
  });
  const report: ReportProblem = ({ service, reason, message }) => {
    log.warn(message, { service });
    const object = watched.services.get(service);
    if (object === undefined) return;
    const named = { ...object, apiVersion: apiVersionOf(services), kind: services.kind };
    recorder.event(named, 'Warning', reason, message);
  };
  const proxy = new ProxyLoop(
    config,
    watched,
    (scope) => chooseDataplane(config, families, log, ports, report, scope),
    log,
    ports,
  );
  const health =
    config.healthAddress === undefined
      ? undefined
      : await serveHealth(config.healthAddress, {
          report: () => proxy.report(),
          metrics: proxy.metrics,
          ruleset: () => proxy.rulesetText(),
        });
  const node: ConditionSources = {
    client,
    clock: ports.clock,
    intervalMs: config.resyncIntervalMs,
    node: () => watched.nodes.get(config.nodeName),
    lack: async () => (await proxy.ready).sctpLack(),
  };
  try {
    const tasks: readonly Task[] = [
      ...watched.tasks,
      { name: 'events', run: (scope) => recorder.run(scope) },
      { name: 'service proxy', run: (scope) => proxy.run(health?.port, scope) },
      { name: 'node condition', run: (scope) => runNodeCondition(node, log, scope) },
    ];
    await runTogether(tasks, signal);
  } finally {
    health?.close();
  }
}

/** What `mode` says; `auto` tries whether the kernel lets us read our table. Rejects with NftError when nftables is a must. */
async function chooseDataplane(
  { mode, relayCommand }: ProxyConfig,
  families: readonly IpFamily[],
  log: Logger,
  ports: ProxyPorts,
  report: ReportProblem,
  signal: AbortSignal,
): Promise<Dataplane> {
  if (mode !== 'userspace') {
    const { nft, conntrack } = ports;
    const create = (): Dataplane => createDataplane(log, { nft, conntrack, report }, families);
    try {
      for (const family of families) await nft.read(family, signal, 'chains');
      return create();
    } catch (error) {
      if (!(error instanceof NftError)) throw error;
      if (error.code === 'unreadable') return create();
      if (mode === 'nftables') throw error;
      log.warn('nftables cannot be used: Services are served by sockets of this process', { error });
    }
  }
  const { createSpawnedRoutes, createUserspaceDataplane, systemAddresses } = await import(
    './userspace/dataplane.ts'
  );
  const userspacePorts = {
    relay: relayCommand === undefined ? undefined : await startRelay(relayCommand, log),
    routes: createSpawnedRoutes(),
    localAddresses: systemAddresses,
    random: () => Math.random(),
    nowMs: () => ports.clock.monotonicMs(),
  };
  return createUserspaceDataplane(log, userspacePorts, report);
}

async function startRelay(command: readonly string[], log: Logger): Promise<Relay | undefined> {
  const { openRelay } = await import('./userspace/relay.ts');
  try {
    return await openRelay(command, log);
  } catch (error) {
    log.warn('TCP connections are carried by this process, at more than twice the cost', { error });
    return undefined;
  }
}

async function systemPorts(log: Logger): Promise<ProxyPorts> {
  return {
    nft: await createSystemNft(log),
    conntrack: createSpawnedConntrack(log),
    clock: systemClock,
    applySettings: applyKernelSettings,
  };
}
