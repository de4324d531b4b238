/**
 * External and load-balancer addresses are free text of users, so two Services may claim one address and port. The older one has
 * it, by creationTimestamp, then by name. The other loses that front only.
 */
import type { ObjectKey } from '../api/object.ts';
import type { IpFamily } from '../base/ip.ts';
import type { MapChange } from '../base/persistent-map.ts';
import type { ServicePortFacts } from '../model/service-port.ts';
import type { ServiceView } from '../model/view.ts';
import type { Claims, Transport } from './ruleset.ts';

/** A front that a Service wants and another one has. */
export type Denial = { readonly front: string; readonly holder: ObjectKey };

/**
 * The claims after these changes, and the Services that share a front with a changed one: what they hold may be another now.
 */
export function updateClaims(
  claims: Claims,
  changes: readonly MapChange<ObjectKey, ServiceView>[],
  family: IpFamily,
): { readonly claims: Claims; readonly contested: ReadonlySet<ObjectKey> } {
  const contested = new Set<ObjectKey>();
  const updated = new Map<string, readonly ServiceView[]>();
  const change = (
    front: string,
    next: (claimants: readonly ServiceView[]) => readonly ServiceView[],
  ): void => {
    const claimants = updated.get(front) ?? claims.get(front) ?? [];
    for (const { key } of claimants) contested.add(key);
    updated.set(front, next(claimants));
  };
  for (const { key, old, now } of changes) {
    for (const front of claimedFronts(old, family)) {
      change(front, (claimants) => claimants.filter((claimant) => claimant.key !== key));
    }
    if (now === undefined) continue;
    for (const front of claimedFronts(now, family)) {
      change(front, (claimants) => [...claimants, now].toSorted(compareAge));
    }
  }
  const entries = [...updated].map(
    ([front, claimants]) => [front, claimants.length === 0 ? undefined : claimants] as const,
  );
  return { claims: claims.with(entries), contested };
}

/** The fronts that the Service does not get. */
export function denialsOf(service: ServiceView, claims: Claims, family: IpFamily): readonly Denial[] {
  return claimedFronts(service, family).flatMap((front) => {
    const holder = claims.get(front)?.[0]?.key ?? service.key;
    return holder === service.key ? [] : [{ front, holder }];
  });
}

function claimedFronts(service: ServiceView | undefined, family: IpFamily): readonly string[] {
  return (service?.ports ?? []).flatMap(({ facts }) =>
    sharedAddresses(facts, family).map((address) => frontKey(address, facts)),
  );
}

export function compareAge(a: ServiceView, b: ServiceView): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

export function sharedAddresses(facts: ServicePortFacts, family: IpFamily): readonly string[] {
  if (facts.externalIps.length + facts.loadBalancerIps.length === 0) return [];
  return [...new Set([...facts.externalIps, ...facts.loadBalancerIps])].filter(
    (address) => textFamily(address) === family,
  );
}

/** The family of an address or a range in text form. */
export function textFamily(text: string): IpFamily {
  return text.includes(':') ? 6 : 4;
}

export function transportOf(facts: ServicePortFacts): Transport {
  return facts.protocol === 'TCP' ? 'tcp' : facts.protocol === 'UDP' ? 'udp' : 'sctp';
}

export function frontKey(address: string, facts: ServicePortFacts): string {
  return `${address} . ${transportOf(facts)} . ${facts.port}`;
}
