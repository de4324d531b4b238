import type { EndpointAddress, EndpointSubset, Endpoints, Pod, Service } from '../../api/gen/core-v1.ts';
import { addressOf, familiesOf, portsOf } from '../endpointslice/plan.ts';
import { isPodFinished, isPodReady } from '../pod-status.ts';
import { canonicalJson } from '../status-patch.ts';

/** Addresses in one Endpoints object; more are left out and the object says so by an annotation. */
export const addressesMax = 1000;
const overCapacity = 'endpoints.kubernetes.io/over-capacity';
const managedByLabel = 'endpoints.kubernetes.io/managed-by';

/** The Endpoints object of a Service: what old clients read instead of EndpointSlices. First family only. */
export function planEndpoints(service: Service, pods: Iterable<Pod>, old: Endpoints | undefined): Endpoints {
  const family = familiesOf(service)[0] ?? 'IPv4';
  const subsets = new Map<
    string,
    { ports: EndpointSubset['ports']; ready: EndpointAddress[]; waiting: EndpointAddress[] }
  >();
  const members = [...pods]
    .filter((pod) => !isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined)
    .toSorted((a, b) => ((addressOf(a, family) ?? '') < (addressOf(b, family) ?? '') ? -1 : 1));
  let count = 0;
  for (const pod of members) {
    const ip = addressOf(pod, family);
    const ports = portsOf(service, pod).map(({ name, ...rest }) => (name === '' ? rest : { name, ...rest }));
    if (ip === undefined || (ports.length === 0 && service.spec?.clusterIP !== 'None')) continue;
    if (++count > addressesMax) break;
    const key = canonicalJson(ports);
    let subset = subsets.get(key);
    if (subset === undefined) {
      // A port of an Endpoints object always has a number: portsOf gives no other.
      subset = { ports: ports.map((port) => ({ ...port, port: port.port ?? 0 })), ready: [], waiting: [] };
      subsets.set(key, subset);
    }
    const isReady = isPodReady(pod) || service.spec?.publishNotReadyAddresses === true;
    (isReady ? subset.ready : subset.waiting).push(endpointAddress(service, pod, ip));
  }
  const { [overCapacity]: _old, ...annotations } = old?.metadata?.annotations ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      ...old?.metadata,
      name: service.metadata?.name,
      namespace: service.metadata?.namespace,
      labels: { ...service.metadata?.labels, [managedByLabel]: 'endpoint-controller' },
      ...(count > addressesMax
        ? { annotations: { ...annotations, [overCapacity]: 'truncated' } }
        : { annotations }),
    },
    subsets: [...subsets.values()].map(({ ports, ready, waiting }) => ({
      ...(ready.length === 0 ? {} : { addresses: ready }),
      ...(waiting.length === 0 ? {} : { notReadyAddresses: waiting }),
      ...(ports?.length === 0 ? {} : { ports }),
    })),
  };
}

function endpointAddress(service: Service, pod: Pod, ip: string): EndpointAddress {
  const { namespace, name, uid } = pod.metadata ?? {};
  const { nodeName, hostname = '', subdomain } = pod.spec ?? {};
  return {
    ip,
    ...(hostname !== '' && subdomain === service.metadata?.name ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}
