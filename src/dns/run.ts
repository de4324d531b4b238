import type { Namespace, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { ObjectMeta } from '../api/gen/meta-v1.ts';
import { type ObjectKey } from '../api/object.ts';
import { endpointSlices, namespaces, services } from '../api/resource.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { runTogether } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import { serviceKeyOfSlice, serviceNameLabel } from '../model/endpoints.ts';
import { ClientLimits } from './client-limits.ts';
import { describeRecords } from './describe.ts';
import { createForwarder, type Upstream } from './forward.ts';
import { serveHealth } from './health.ts';
import { DnsMetrics } from './metrics.ts';
import { compileService, isHeadless } from './records.ts';
import { createResolver } from './resolver.ts';
import { type InheritedSockets, type ListenAddress, serveDns } from './server.ts';
import { DnsTable } from './table.ts';

export type DnsConfig = {
  readonly listen: ListenAddress;
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

/** When the Pods behind a slice last changed; kubelets' and controllers' common stamp. */
const changeTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
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
  const metrics = new DnsMetrics();
  metrics.onForwardFailure = (upstream, reason, failures) => {
    if (failures % forwardFailuresPerLine !== 1) return;
    log.warn('an upstream did not answer', { upstream, reason, failures });
  };
  const table = new DnsTable(Math.floor(clock.nowMs() / 1000));
  metrics.services = () => table.size;
  const forwarder =
    config.upstreams.length === 0 ? undefined : createForwarder(config.upstreams, clock, metrics);
  const perSecond = config.clientQueriesPerSecond ?? dnsDefaults.clientQueriesPerSecond;
  const resolver = createResolver(table, forwarder, metrics, clock, log, {
    zone: config.clusterDomain,
    ttlSeconds: config.ttlSeconds,
    limits: perSecond === 0 ? undefined : new ClientLimits(perSecond),
  });
  const follower = followApi(client, table, metrics, clock, log);
  const names = Promise.withResolvers<void>();
  const inherited = config.inherited ?? { udp: [], tcp: [] };
  const server = await serveDns(config.listen, inherited, names.promise, resolver, clock, log);
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
        ...follower.tasks,
        {
          name: 'dns readiness',
          async run(stop) {
            await follower.whenSynced(stop);
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
    forwarder?.close();
    await server.close();
  }
}

/** Keeps the table equal to the API, one Service at a time, within the call that tells of a change. */
function followApi(client: ApiClient, table: DnsTable, metrics: DnsMetrics, clock: Clock, log: Logger) {
  const serviceInformer = createInformer(client, services, { transform: neededOfService, log });
  const sliceInformer = createInformer(client, endpointSlices, { transform: neededOfSlice, log });
  const namespaceInformer = createInformer(client, namespaces, { transform: neededOfNamespace, log });
  sliceInformer.addIndex('service', (slice) => {
    const key = serviceKeyOfSlice(slice);
    return key === undefined ? [] : [key];
  });
  const compile = (key: ObjectKey): boolean => {
    const service = serviceInformer.get(key);
    const records = service && compileService(service, () => sliceInformer.byIndex('service', key));
    return table.setService(key, records);
  };
  serviceInformer.onChange(compile);
  sliceInformer.onChange((_key, now, old) => {
    const affected = new Set([now, old].flatMap((slice) => (slice && serviceKeyOfSlice(slice)) ?? []));
    for (const key of affected) {
      const service = serviceInformer.get(key);
      if (service === undefined || !isHeadless(service) || !compile(key) || !table.synced) continue;
      const changedMs = Date.parse(now?.metadata?.annotations?.[changeTimeAnnotation] ?? '');
      if (!Number.isNaN(changedMs)) metrics.programmingDurations.add(clock.nowMs() - changedMs);
    }
  });
  namespaceInformer.onChange((key, now) => table.setNamespace(key, now !== undefined));
  const informers = [
    ['services', serviceInformer],
    ['slices', sliceInformer],
    ['namespaces', namespaceInformer],
  ] as const;
  return {
    tasks: informers.map(([name, informer]) => ({ name, run: (stop: AbortSignal) => informer.run(stop) })),
    async whenSynced(stop: AbortSignal): Promise<void> {
      for (const [, informer] of informers) await informer.whenSynced(stop);
    },
  };
}

function neededOfMeta(meta: ObjectMeta | undefined): ObjectMeta {
  return { name: meta?.name, namespace: meta?.namespace, resourceVersion: meta?.resourceVersion };
}

function neededOfService(service: Service): Service {
  const spec = service.spec;
  return {
    metadata: neededOfMeta(service.metadata),
    spec: {
      type: spec?.type,
      clusterIP: spec?.clusterIP,
      clusterIPs: spec?.clusterIPs,
      externalName: spec?.externalName,
      ports: spec?.ports?.map(({ name, protocol, port }) => ({ name, protocol, port })),
    },
  };
}

function neededOfSlice(slice: EndpointSlice): EndpointSlice {
  const service = slice.metadata?.labels?.[serviceNameLabel];
  const changed = slice.metadata?.annotations?.[changeTimeAnnotation];
  return {
    metadata: {
      ...neededOfMeta(slice.metadata),
      labels: service === undefined ? undefined : { [serviceNameLabel]: service },
      annotations: changed === undefined ? undefined : { [changeTimeAnnotation]: changed },
    },
    addressType: slice.addressType,
    ports: slice.ports?.map(({ name, protocol, port }) => ({ name, protocol, port })),
    endpoints: slice.endpoints?.map((endpoint) => ({
      addresses: endpoint.addresses,
      hostname: endpoint.hostname,
      conditions: { ready: endpoint.conditions?.ready },
    })),
  };
}

function neededOfNamespace(namespace: Namespace): Namespace {
  return { metadata: neededOfMeta(namespace.metadata) };
}
