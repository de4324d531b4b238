import type { Service } from '../../api/gen/core-v1.ts';
import type { Ingress, IngressLoadBalancerIngress } from '../../api/gen/networking-v1.ts';

/** The addresses of the Service that publishes this controller, with its ports, in the form that an Ingress's status has; sorted. */
export function publishedAddresses(service: Service | undefined): readonly IngressLoadBalancerIngress[] {
  const found = new Map<string, IngressLoadBalancerIngress>();
  for (const { ip, hostname, ports } of service?.status?.loadBalancer?.ingress ?? []) {
    const told = ports === undefined || ports.length === 0 ? {} : { ports };
    if (ip !== undefined && ip !== '') found.set(ip, { ip, ...told });
    else if (hostname !== undefined && hostname !== '') found.set(hostname, { hostname, ...told });
  }
  return [...found.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, address]) => address);
}

/**
 * The merge patch that brings an Ingress's status to `addresses`; undefined when it says so already, or when there is
 * nothing to say: addresses that are unknown for a moment are not taken away from users.
 */
export function planStatus(
  ingress: Ingress,
  addresses: readonly IngressLoadBalancerIngress[],
): { readonly status: NonNullable<Ingress['status']> } | undefined {
  if (addresses.length === 0) return undefined;
  const current = ingress.status?.loadBalancer?.ingress ?? [];
  const same =
    current.length === addresses.length &&
    addresses.every((address, index) => sameAddress(current[index]!, address));
  return same ? undefined : { status: { loadBalancer: { ingress: addresses } } };
}

/**
 * The merge patch that takes `addresses` out of the status of an Ingress that is ours no more; undefined when it has none of them.
 * What else stands there is another controller's, and so is a status that has changed meanwhile: then the patch is a conflict.
 */
export function planRemoval(ingress: Ingress, addresses: readonly IngressLoadBalancerIngress[]) {
  const current = ingress.status?.loadBalancer?.ingress ?? [];
  const rest = current.filter((other) => !addresses.some((address) => sameAddress(other, address)));
  if (rest.length === current.length) return undefined;
  const resourceVersion = ingress.metadata?.resourceVersion ?? '';
  return { metadata: { resourceVersion }, status: { loadBalancer: { ingress: rest } } };
}

function sameAddress(a: IngressLoadBalancerIngress, b: IngressLoadBalancerIngress): boolean {
  return a.ip === b.ip && a.hostname === b.hostname && samePorts(a.ports ?? [], b.ports ?? []);
}

type Ports = NonNullable<IngressLoadBalancerIngress['ports']>;

function samePorts(a: Ports, b: Ports): boolean {
  return (
    a.length === b.length &&
    a.every(({ port, protocol, error }, index) => {
      const other = b[index];
      return other?.port === port && other.protocol === protocol && other.error === error;
    })
  );
}
