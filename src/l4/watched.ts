import type { Node, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import { keyOf } from '../api/object.ts';
import { endpointSlices, nodes, serviceCidrs, services } from '../api/resource.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import { serviceKeyOfSlice } from '../model/endpoints.ts';
import { sctpUnavailableCondition } from '../model/node-protocols.ts';
import type { ProxyConfig } from './config.ts';
import { proxyNameLabel } from '../model/service-port.ts';
import { ViewTracker } from './view-tracker.ts';

const sliceIndex = 'service';

/** The informers of a proxy. Objects are stripped to what is read here: a node has them all in memory. */
export function createWatched(config: Pick<ProxyConfig, 'nodeName'>, client: ApiClient, log: Logger) {
  const serviceInformer = createInformer(client, services, {
    log,
    labelSelector: `!${proxyNameLabel}`,
    transform: withoutBallast<Service>,
  });
  const sliceInformer = createInformer(client, endpointSlices, {
    log,
    labelSelector: '!service.kubernetes.io/headless', // nobody needs rules for them
    transform: withoutBallast<EndpointSlice>,
  });
  const nodeInformer = createInformer(client, nodes, { log, transform: nodeEssence });
  // A cluster may be too old to have them: then the ranges are those of the options.
  const rangeInformer = createInformer(client, serviceCidrs, { log, mayBeAbsent: true });
  sliceInformer.addIndex(sliceIndex, (slice) => {
    const key = serviceKeyOfSlice(slice);
    return key === undefined ? [] : [key];
  });
  return {
    services: serviceInformer,
    slices: sliceInformer,
    nodes: nodeInformer,
    ranges: rangeInformer,
    tracker: new ViewTracker(config.nodeName, {
      service: (key) => serviceInformer.get(key),
      slices: (key) => sliceInformer.byIndex(sliceIndex, key),
      services: () => Iterator.from(serviceInformer.list()).map((service) => keyOf(service)),
      node: () => nodeInformer.get(config.nodeName),
    }),
    tasks: [
      { name: 'services informer', run: (scope: AbortSignal) => serviceInformer.run(scope) },
      { name: 'endpointslices informer', run: (scope: AbortSignal) => sliceInformer.run(scope) },
      { name: 'nodes informer', run: (scope: AbortSignal) => nodeInformer.run(scope) },
      { name: 'servicecidrs informer', run: (scope: AbortSignal) => rangeInformer.run(scope) },
    ],
  };
}

export type Watched = ReturnType<typeof createWatched>;

function withoutBallast<T extends Service | EndpointSlice>(object: T): T {
  if (object.metadata?.managedFields === undefined) return object;
  const { managedFields: _managedFields, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function nodeEssence(node: Node): Node {
  const { name, resourceVersion, labels, deletionTimestamp } = node.metadata ?? {};
  return {
    metadata: { name, resourceVersion, labels, deletionTimestamp },
    spec: { podCIDR: node.spec?.podCIDR, podCIDRs: node.spec?.podCIDRs, taints: node.spec?.taints },
    status: {
      addresses: node.status?.addresses,
      conditions: node.status?.conditions?.filter(({ type }) => type === sctpUnavailableCondition),
    },
  };
}
