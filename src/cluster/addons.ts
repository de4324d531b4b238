import { fairleadDefinitions } from '../api/fairlead-kinds.ts';
import type { Pod, Service } from '../api/gen/core-v1.ts';
import type { IngressClass } from '../api/gen/networking-v1.ts';
import type { KubeObject } from '../api/object.ts';
import { customResourceDefinitions, ingressClasses, type Resource, services } from '../api/resource.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { type ClusterConfig, type NetworkConfig, pathsOf } from './config.ts';
import { rangesOf } from './ranges.ts';

export const systemNamespace = 'kube-system';

/** Where the dns and ingress processes serve, in server-0's namespace. */
export const addonPorts = { dns: 53, dnsHealth: 9153, http: 8000, https: 8443, ingressHealth: 9113 } as const;

/** The Services through which the cluster finds its DNS and the world its Ingresses. Pure. */
export function systemServices(config: NetworkConfig): readonly Service[] {
  const addresses = rangesOf(config).map(({ dns }) => dns);
  // Unsaid it would be one family, in a cluster of two as well.
  const families = addresses.length === 1 ? {} : { ipFamilyPolicy: 'PreferDualStack' };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: 'kube-dns',
        namespace: systemNamespace,
        labels: {
          'k8s-app': 'kube-dns',
          'kubernetes.io/cluster-service': 'true',
          'kubernetes.io/name': 'CoreDNS',
        },
      },
      spec: {
        type: 'ClusterIP',
        ...families,
        clusterIP: addresses[0],
        clusterIPs: addresses,
        selector: { 'k8s-app': 'kube-dns' },
        // The server's sockets outlive it: while it is started again queries wait there and are answered, whereas
        // without an endpoint they would be refused.
        publishNotReadyAddresses: true,
        ports: [
          { name: 'dns', port: 53, targetPort: addonPorts.dns, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, targetPort: addonPorts.dns, protocol: 'TCP' },
          { name: 'metrics', port: 9153, targetPort: addonPorts.dnsHealth, protocol: 'TCP' },
        ],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'ingress', namespace: systemNamespace, labels: { app: 'fairlead-ingress' } },
      spec: {
        ...families,
        type: 'LoadBalancer',
        selector: { app: 'fairlead-ingress' },
        ports: [
          { name: 'http', port: 80, targetPort: addonPorts.http, protocol: 'TCP' },
          { name: 'https', port: 443, targetPort: addonPorts.https, protocol: 'TCP' },
        ],
      },
    },
  ];
}

/** The classes that the ingress serves, as k3s has "traefik"; the first is what an Ingress without a class gets. */
export function systemIngressClasses(names: readonly string[]): readonly IngressClass[] {
  return names.map((name, index) => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: {
      name,
      ...(index === 0 ? { annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } } : {}),
    },
    spec: { controller: 'fairlead.dev/ingress' },
  }));
}

/** How the host processes dns and ingress appear as Pods: files for the kubelet's static Pod directory. Pure. */
export function staticPods(config: ClusterConfig): ReadonlyMap<string, Pod> {
  const pod = (process: string, labels: Record<string, string>, healthPort: number): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: process,
      namespace: systemNamespace,
      labels,
      annotations: {
        'fairlead.dev/process': process,
        'fairlead.dev/log-file': pathsOf(config).logOf(process),
      },
    },
    spec: {
      hostNetwork: true,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: process,
          image: `fairlead.dev/${process}:0.1.0`,
          imagePullPolicy: 'Never',
          // Told, so that no Service takes it from the probe. The ports of the traffic are reached through our Services alone: others
          // may have these of the nodes.
          ports: [{ name: 'health', containerPort: healthPort, protocol: 'TCP' }],
          readinessProbe: {
            httpGet: { path: '/readyz', port: healthPort },
            periodSeconds: 1,
            failureThreshold: 2,
          },
        },
      ],
    },
  });
  return new Map([
    ['dns.json', pod('dns', { 'k8s-app': 'kube-dns' }, addonPorts.dnsHealth)],
    ['ingress.json', pod('ingress', { app: 'fairlead-ingress' }, addonPorts.ingressHealth)],
  ]);
}

/** Creates what is missing of Services (kube-system exists from the server's first moment), IngressClasses and our own kinds; what is there, even changed by the user, stays. */
export async function ensureAddons(
  api: ApiClient,
  config: ClusterConfig,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all([
    ...systemServices(config).map(async (service) => ensure(api, services, service, signal)),
    ...fairleadDefinitions.map(async (definition) =>
      ensure(api, customResourceDefinitions, definition, signal),
    ),
    ...systemIngressClasses(config.ingressClasses).map(async (ingressClass) =>
      ensure(api, ingressClasses, ingressClass, signal),
    ),
  ]);
}

/** Asks first: creating a Service with an address that is taken, be it by itself, is invalid rather than a conflict. */
async function ensure<T extends KubeObject>(
  api: ApiClient,
  resource: Resource<T>,
  object: T,
  signal: AbortSignal,
): Promise<void> {
  const { name = '', namespace } = object.metadata ?? {};
  try {
    await api.get(resource, namespace, name, signal);
    return;
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error;
  }
  try {
    await api.create(resource, object, { signal });
  } catch (error) {
    if (!isApiError(error, 'AlreadyExists')) throw error; // another `up` was faster
  }
}
