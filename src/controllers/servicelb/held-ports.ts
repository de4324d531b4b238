import type { Pod, Service } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import { canonicalIp } from '../../base/ip.ts';
import { isPodFinished } from '../pod-status.ts';
import { hostPortsOf } from '../scheduler/cluster.ts';

/** Ports of the nodes that the cluster itself lives by. A Service there would take them away from it. */
const reservedPorts: ReadonlyMap<string, string> = new Map([
  ['6443/TCP', 'the API server'],
  ['10250/TCP', 'the kubelet'],
]);

/** Who has a port (`80/TCP`) of all nodes, other load balancers left out. Node ports have been given out by the API server. */
export function heldEverywhere(all: Iterable<Service>, except: ObjectKey): ReadonlyMap<string, string> {
  const held = new Map<string, string>();
  for (const service of all) {
    const { type, ports, healthCheckNodePort = 0 } = service.spec ?? {};
    if ((type !== 'NodePort' && type !== 'LoadBalancer') || keyOf(service) === except) continue;
    for (const { nodePort = 0, protocol = 'TCP' } of ports ?? []) {
      if (nodePort > 0) held.set(`${nodePort}/${protocol}`, `a node port of Service ${keyOf(service)}`);
    }
    if (healthCheckNodePort > 0) {
      held.set(`${healthCheckNodePort}/TCP`, `the health check of Service ${keyOf(service)}`);
    }
  }
  return new Map([...held, ...reservedPorts]);
}

export type NodePortHolder = {
  /** `80/TCP`. */
  readonly port: string;
  /** The one address of the node; undefined: all of them. */
  readonly address: string | undefined;
  readonly holder: string;
};

/** By node: what its Pods have of its ports, by hostPort or because they are in its network. */
export function heldByPods(pods: Iterable<Pod>): ReadonlyMap<string, readonly NodePortHolder[]> {
  const held = new Map<string, NodePortHolder[]>();
  for (const pod of pods) {
    const nodeName = pod.spec?.nodeName;
    if (nodeName === undefined || isPodFinished(pod)) continue;
    for (const { address, port } of hostPortsOf(pod)) {
      const [protocol = '', number = ''] = port.split('/');
      const canonical = canonicalIp(address);
      const isAny = canonical === undefined || canonical === '0.0.0.0' || canonical === '::';
      const holder = {
        port: `${number}/${protocol}`,
        address: isAny ? undefined : canonical,
        holder: `Pod ${keyOf(pod)}`,
      };
      const ofNode = held.get(nodeName);
      if (ofNode === undefined) held.set(nodeName, [holder]);
      else ofNode.push(holder);
    }
  }
  return held;
}
