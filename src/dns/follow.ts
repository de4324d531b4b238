import type { ConfigMap, Namespace, Pod, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { ObjectMeta } from '../api/gen/meta-v1.ts';
import { type ObjectKey } from '../api/object.ts';
import { configMaps, endpointSlices, namespaces, pods, services } from '../api/resource.ts';
import type { Clock } from '../base/clock.ts';
import type { Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import { createRecorder } from '../control/recorder.ts';
import { serviceKeyOfSlice, serviceNameLabel } from '../model/endpoints.ts';
import type { DnsMetrics } from './metrics.ts';
import type { PodTable } from './pods.ts';
import { compileService, isHeadless } from './records.ts';
import { type DnsSettings, noSettings, parseSettings, settingsName } from './settings.ts';
import type { DnsTable } from './table.ts';

/** What follows something in the API. */
export type Follower = {
  readonly tasks: readonly Task[];
  /** Resolves when everything has been listed once. */
  whenSynced(stop: AbortSignal): Promise<void>;
};

/** When the Pods behind a slice last changed; kubelets' and controllers' common stamp. */
const changeTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Keeps the table equal to the API, one Service at a time, within the call that tells of a change. */
export function followNames(
  client: ApiClient,
  table: DnsTable,
  metrics: DnsMetrics,
  clock: Clock,
  log: Logger,
): Follower {
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
  const isBalanced = (service.status?.loadBalancer?.ingress ?? []).length > 0;
  return {
    metadata: neededOfMeta(service.metadata),
    spec: {
      type: spec?.type,
      clusterIP: spec?.clusterIP,
      clusterIPs: spec?.clusterIPs,
      externalName: spec?.externalName,
      ports: spec?.ports?.map(({ name, protocol, port }) => ({ name, protocol, port })),
    },
    status: isBalanced ? { loadBalancer: { ingress: [{}] } } : undefined,
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

/** Keeps the addresses of Pods. */
export function followPods(client: ApiClient, table: PodTable, log: Logger): Follower {
  const informer = createInformer(client, pods, { transform: neededOfPod, log });
  informer.onChange((key, now) => table.set(key, now));
  return {
    tasks: [{ name: 'pods', run: (stop) => informer.run(stop) }],
    whenSynced: (stop) => informer.whenSynced(stop),
  };
}

function neededOfPod(pod: Pod): Pod {
  const { phase, podIP, podIPs } = pod.status ?? {};
  return {
    metadata: neededOfMeta(pod.metadata),
    spec: {
      containers: [],
      hostNetwork: pod.spec?.hostNetwork,
      dnsPolicy: pod.spec?.dnsPolicy,
      dnsConfig: { searches: pod.spec?.dnsConfig?.searches },
    },
    status: { phase, podIP, podIPs },
  };
}

/**
 * Follows the ConfigMap of settings. One that is wrong changes nothing: the last good one stays in force, and an Event at
 * the ConfigMap tells what is wrong. Nobody waits for it: without leave to read it there are just no settings.
 */
export function followSettings(
  client: ApiClient,
  zone: string,
  apply: (settings: DnsSettings) => void,
  onWrong: () => void,
  log: Logger,
): readonly Task[] {
  const { namespace, name } = settingsName;
  const fieldSelector = `metadata.name=${name}`;
  const informer = createInformer(client, configMaps, { namespace, fieldSelector, log });
  const recorder = createRecorder(client, 'fairlead-dns', { log });
  let applied = '';
  const follow = (now: ConfigMap | undefined): void => {
    const data = now?.data ?? {};
    const text = JSON.stringify(data);
    if (text === applied) return;
    if (now === undefined) {
      apply(noSettings);
      applied = text;
      log.info('settings removed', { configMap: `${namespace}/${name}` });
      return;
    }
    const parsed = parseSettings(data, zone);
    const subject = { ...now, apiVersion: 'v1', kind: 'ConfigMap' };
    if (!parsed.ok) {
      const wrong = parsed.errors.join('; ');
      onWrong();
      log.warn('settings are wrong, the last good ones stay in force', { errors: parsed.errors });
      recorder.event(subject, 'Warning', 'InvalidSettings', `${wrong}. The last good settings stay in force`);
      applied = '';
      return;
    }
    apply(parsed.settings);
    applied = text;
    log.info('settings applied', { configMap: `${namespace}/${name}` });
    recorder.event(subject, 'Normal', 'SettingsApplied', 'DNS uses these settings');
  };
  informer.onChange((_key, now) => follow(now));
  return [
    { name: 'settings', run: (stop) => informer.run(stop) },
    { name: 'events', run: (stop) => recorder.run(stop) },
  ];
}
