import { type Clock, systemClock } from '../base/clock.ts';
import { runTogether } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { ClientLimits } from './client-limits.ts';
import { describeRecords } from './describe.ts';
import { followNames, followPods, followSettings } from './follow.ts';
import { createForwarder, type ForwardRoutes, type Upstream } from './forward.ts';
import { serveHealth } from './health.ts';
import { type HostPort, HostView } from './host-view.ts';
import { DnsMetrics } from './metrics.ts';
import { PodTable } from './pods.ts';
import { createResolver } from './resolver.ts';
import { type InheritedSockets, type ListenAddress, serveAll, serveInherited } from './server.ts';
import { type DnsSettings, type Hosts, noHosts, noSettings } from './settings.ts';
import { DnsTable } from './table.ts';

export type DnsConfig = {
  /** One, or one of each family. */
  readonly listen: readonly ListenAddress[];
  /** Sockets that outlive this process, see there. */
  readonly inherited?: InheritedSockets;
  /** Lower case, no final dot: "cluster.local". */
  readonly clusterDomain: string;
  /** Asked in this order for names outside the cluster; empty: such names are refused. */
  readonly upstreams: readonly Upstream[];
  /** Of records of the cluster, seconds. */
  readonly ttlSeconds: number;
  /** Queries a second that one client may ask; 0: as many as it likes. */
  readonly clientQueriesPerSecond?: number;
  /** Whether names of Pods are checked against Pods, as CoreDNS' `pods verified`; else any address has one. */
  readonly podsVerified?: boolean;
  /** Of the program, for metrics. */
  readonly version?: string;
  /** Whether a Pod's first search is answered with what its last would find; Pods are followed then too. */
  readonly autopath?: boolean;
  /** Sockets outside of the cluster, where programs beside it ask for its names; see `HostView`. */
  readonly host?: { readonly sockets: InheritedSockets; readonly published: readonly HostPort[] } | undefined;
  /** undefined: nowhere. */
  readonly healthAddress: ListenAddress | undefined;
};

export const dnsDefaults = {
  clusterDomain: 'cluster.local',
  /** As CoreDNS: short, for clients should leave a Pod that is gone. */
  ttlSeconds: 5,
  /** Far more than a Pod needs; one that runs wild takes a small part of a processor. */
  clientQueriesPerSecond: 20_000,
} as const;

/** Where it came to listen; for tests, which ask for port 0. */
export type DnsAddresses = { readonly port: number; readonly healthPort: number | undefined };

export type DnsDependencies = {
  readonly clock?: Clock;
  /** Called once, when the server listens and knows all names. */
  onReady?(addresses: DnsAddresses): void;
};

const noSockets: InheritedSockets = { udp: [], tcp: [] };

/** The failures of one upstream that are logged: the first of each so many. */
const forwardFailuresPerLine = 100;

/**
 * Cluster DNS: answers from the API's Services, EndpointSlices and Namespaces, asks others for the rest.
 * Runs until the signal aborts; rejects when it cannot listen.
 */
export async function runDns(
  config: DnsConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
  dependencies: DnsDependencies = {},
): Promise<void> {
  const clock = dependencies.clock ?? systemClock;
  const { metrics, table, forwarder, resolver, hostResolver, followers, settingsTasks } = createParts(
    config,
    client,
    clock,
    log,
  );
  const names = Promise.withResolvers<void>();
  const inherited = config.inherited ?? noSockets;
  const server = await serveAll(config.listen, inherited, names.promise, resolver, clock, log);
  const host =
    hostResolver &&
    serveInherited(config.host?.sockets ?? noSockets, names.promise, hostResolver, clock, log);
  const health =
    config.healthAddress &&
    (await serveHealth(config.healthAddress, {
      ready: () => table.synced,
      createRegistry: () => metrics.createRegistry(`dns://:${server.port}`),
      records: () => describeRecords(table, config.clusterDomain),
    }));
  try {
    await runTogether(
      [
        ...followers.flatMap(({ tasks }) => tasks),
        ...settingsTasks,
        {
          name: 'dns readiness',
          async run(stop) {
            for (const follower of followers) await follower.whenSynced(stop);
            table.synced = true;
            names.resolve();
            log.info('ready', {
              services: table.size,
              port: server.port,
              upstreams: config.upstreams.length,
            });
            dependencies.onReady?.({ port: server.port, healthPort: health?.port });
          },
        },
      ],
      signal,
    );
  } finally {
    health?.close();
    forwarder.close();
    await server.close();
    for (const listener of (await host?.close()) ?? []) await listener.close();
  }
}

function routesOf(config: DnsConfig, settings: DnsSettings): ForwardRoutes {
  return { upstreams: settings.upstreams ?? config.upstreams, stubDomains: settings.stubDomains };
}

/** Everything but sockets and time, put together. */
function createParts(config: DnsConfig, client: ApiClient, clock: Clock, log: Logger) {
  const metrics = new DnsMetrics();
  metrics.onForwardFailure = (upstream, reason, failures) => {
    if (failures % forwardFailuresPerLine !== 1) return;
    log.warn('an upstream did not answer', { upstream, reason, failures });
  };
  metrics.onLoop = () =>
    log.error(
      'questions to others come back: an upstream leads to this server; nothing is forwarded for a while',
    );
  const table = new DnsTable(Math.floor(clock.nowMs() / 1000));
  metrics.services = () => table.size;
  metrics.version = config.version ?? metrics.version;
  const forwarder = createForwarder(routesOf(config, noSettings), clock, metrics);
  const settings: { hosts: Hosts; version: number } = { hosts: noHosts, version: 0 };
  const applySettings = (next: DnsSettings): void => {
    forwarder.setRoutes(routesOf(config, next));
    settings.hosts = next.hosts;
    settings.version += 1;
    metrics.hosts = () => next.hosts.addresses.size;
  };
  const pods =
    config.podsVerified === true || config.autopath === true ? new PodTable(config.clusterDomain) : undefined;
  const perSecond = config.clientQueriesPerSecond ?? dnsDefaults.clientQueriesPerSecond;
  const common = {
    zone: config.clusterDomain,
    ttlSeconds: config.ttlSeconds,
    limits: perSecond === 0 ? undefined : new ClientLimits(perSecond),
    settings,
  };
  const resolver = createResolver(table, forwarder, metrics, clock, log, {
    ...common,
    pods,
    podsVerified: config.podsVerified === true,
    autopath: config.autopath === true,
  });
  const hostResolver =
    config.host &&
    createResolver(new HostView(table, config.host.published), forwarder, metrics, clock, log, {
      ...common,
      pods: new PodTable(config.clusterDomain), // none: nobody out there reaches a Pod
      podsVerified: true,
      zoneOnly: true,
    });
  const followers = [
    followNames(client, table, metrics, clock, log),
    ...(pods === undefined ? [] : [followPods(client, pods, log)]),
  ];
  const onWrong = (): void => {
    metrics.reloadsFailed += 1;
  };
  const settingsTasks = followSettings(client, config.clusterDomain, applySettings, onWrong, log);
  return { metrics, table, forwarder, resolver, hostResolver, followers, settingsTasks };
}
