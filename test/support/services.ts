/** Builders of Services, slices and nodes for tests: what a test does not name is as the API server would fill it. */
import type { Service, ServicePort, ServiceSpec, ServiceStatus } from '../../src/api/gen/core-v1.ts';
import type { Endpoint, EndpointConditions, EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import { serviceNameLabel } from '../../src/model/endpoints.ts';
import type { NodeFacts } from '../../src/model/view.ts';

/** A ClusterIP Service `default/NAME` with port 80, unless `spec` says otherwise. */
export function serviceOf(
  name: string,
  clusterIP: string,
  spec: Partial<ServiceSpec> = {},
  status?: ServiceStatus,
): Service {
  const ports: readonly ServicePort[] = [{ port: 80, protocol: 'TCP' }];
  return {
    metadata: { name, namespace: 'default', creationTimestamp: '2026-01-31T12:00:00Z' },
    spec: { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], ports, ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

/** A load balancer's status with these addresses. */
export function balancedAt(...ips: readonly string[]): ServiceStatus {
  return { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } };
}

export type EndpointSpec = {
  readonly address: string;
  readonly node?: string;
  readonly conditions?: EndpointConditions;
  readonly hints?: Endpoint['hints'];
};

/** A slice of `default/SERVICE` with the unnamed TCP port 8080, unless `ports` says otherwise. */
export function sliceOf(
  service: string,
  endpoints: readonly (string | EndpointSpec)[],
  ports: EndpointSlice['ports'] = [{ name: '', port: 8080, protocol: 'TCP' }],
): EndpointSlice {
  const specs = endpoints.map((entry) => (typeof entry === 'string' ? { address: entry } : entry));
  return {
    addressType: specs[0]?.address.includes(':') === true ? 'IPv6' : 'IPv4',
    metadata: {
      name: `${service}-1`,
      namespace: 'default',
      labels: { [serviceNameLabel]: service },
    },
    ports,
    endpoints: specs.map(({ address, node, conditions, hints }: EndpointSpec) => ({
      addresses: [address],
      nodeName: node ?? 'node-1',
      ...(conditions === undefined ? {} : { conditions }),
      ...(hints === undefined ? {} : { hints }),
    })),
  };
}

export const terminating: EndpointConditions = { ready: false, serving: true, terminating: true };
export const gone: EndpointConditions = { ready: false, serving: false, terminating: true };

/** node-0 with Pods in 10.42.0.0/24. */
export const nodeFacts: NodeFacts = {
  name: 'node-0',
  zone: 'zone-a',
  addresses: ['10.41.0.2', 'fd41::2'],
  podCidrs: ['10.42.0.0/24', 'fd42:0:0:0::/64'],
};
