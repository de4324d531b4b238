import type { Node } from '../api/gen/core-v1.ts';

/** A route of the node's own table. `via` undefined: whatever no Pod's own route takes is refused at once. */
export type Route = { readonly destination: string; readonly via: string | undefined };

/** Marks our routes, so that those of an earlier node agent are found and taken over. */
export const routeProtocol = 150;

/**
 * Routes to the other nodes' Pods, one a Pod range. A node without an address or a range has none yet. This node's own
 * range is unreachable but for the Pods that live, so that packets to one that has gone do not leave by the default route.
 */
export function planRoutes(nodes: Iterable<Node>, ownName: string): readonly Route[] {
  const routes: Route[] = [];
  for (const node of nodes) {
    const own = node.metadata?.name === ownName;
    const addresses = (node.status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
    for (const destination of node.spec?.podCIDRs ??
      (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR])) {
      if (own) routes.push({ destination, via: undefined });
      const via = addresses.find(
        ({ address }) => address.includes(':') === destination.includes(':'),
      )?.address;
      if (!own && via !== undefined) routes.push({ destination, via });
    }
  }
  return routes.toSorted((a, b) => (a.destination < b.destination ? -1 : 1));
}

/** True for addresses and ranges of the families of these addresses. */
export function familyFilter(addresses: readonly string[]): (text: string) => boolean {
  const families = new Set(addresses.map((address) => address.includes(':')));
  return (text) => families.has(text.includes(':'));
}

/** Commands for `ip -batch` that turn `applied` into `wanted`. Replacing is idempotent. */
export function renderRouteChanges(applied: readonly Route[], wanted: readonly Route[]): readonly string[] {
  const has = (routes: readonly Route[], one: Route) =>
    routes.some(({ destination, via }) => destination === one.destination && via === one.via);
  const gone = applied.filter(({ destination }) => !wanted.some((one) => one.destination === destination));
  return [
    ...gone.map(
      ({ destination, via }) =>
        `route del ${via === undefined ? 'unreachable ' : ''}${destination} proto ${routeProtocol}`,
    ),
    ...wanted
      .filter((route) => !has(applied, route))
      .map(({ destination, via }) =>
        via === undefined
          ? `route replace unreachable ${destination} proto ${routeProtocol}`
          : `route replace ${destination} via ${via} proto ${routeProtocol}`,
      ),
  ];
}

/**
 * Commands for `ip -batch`, which may be repeated: Services by the node's own interface (`device`; undefined: it is down, and the
 * routes would have nowhere to lead), everything else by the gateway of its family.
 */
export function renderFixedRoutes(
  wanted: { readonly serviceCidrs: readonly string[]; readonly gateways: readonly string[] },
  device: string | undefined,
): readonly string[] {
  const { serviceCidrs, gateways } = wanted;
  return [
    ...(device === undefined ? [] : serviceCidrs.map((cidr) => `route replace ${cidr} dev ${device}`)),
    ...gateways.map((gateway) => `route replace default via ${gateway}`),
  ];
}
