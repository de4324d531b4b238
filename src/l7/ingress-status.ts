import type { Service } from '../api/gen/core-v1.ts';
import type { Ingress, IngressLoadBalancerIngress } from '../api/gen/networking-v1.ts';

/** The addresses of the Service that publishes this controller, in the form that an Ingress's status has; sorted. */
export function publishedAddresses(service: Service | undefined): readonly IngressLoadBalancerIngress[] {
  const found = new Map<string, IngressLoadBalancerIngress>();
  for (const { ip, hostname } of service?.status?.loadBalancer?.ingress ?? []) {
    if (ip !== undefined && ip !== '') found.set(ip, { ip });
    else if (hostname !== undefined && hostname !== '') found.set(hostname, { hostname });
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
    addresses.every(({ ip, hostname }, index) => {
      const other = current[index];
      return other?.ip === ip && other?.hostname === hostname;
    });
  return same ? undefined : { status: { loadBalancer: { ingress: addresses } } };
}
