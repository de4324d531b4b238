import type { Node } from '../../api/gen/core-v1.ts';
import type { Endpoint } from '../../api/gen/discovery-v1.ts';
import { quantityValue } from '../scheduler/quantity.ts';

export const zoneLabel = 'topology.kubernetes.io/zone';

/** How much more than its fair share of traffic an endpoint may get from its zone before hints are given up (KEP-2433). */
const overloadMax = 0.2;

const controlPlaneLabels = ['node-role.kubernetes.io/control-plane', 'node-role.kubernetes.io/master'];

/** Nodes of the control plane are not for traffic: their cores say nothing of a zone's share. */
export function isControlPlane(node: Node | undefined): boolean {
  return controlPlaneLabels.some((label) => node?.metadata?.labels?.[label] !== undefined);
}

/**
 * Cores of the ready nodes by zone, the control plane's left out; undefined when one of them has no zone or tells no cores, so that
 * shares are unknown.
 */
export function coresByZone(nodes: Iterable<Node>): ReadonlyMap<string, number> | undefined {
  const cores = new Map<string, number>();
  for (const node of nodes) {
    const { metadata, status } = node;
    const ready = status?.conditions?.some(
      (condition) => condition.type === 'Ready' && condition.status === 'True',
    );
    if (ready !== true || isControlPlane(node)) continue;
    const zone = metadata?.labels?.[zoneLabel] ?? '';
    const own = quantityValue(status?.allocatable?.['cpu']);
    if (zone === '' || own <= 0) return undefined;
    cores.set(zone, (cores.get(zone) ?? 0) + own);
  }
  return cores;
}

/** For whom endpoints are, or why that cannot be said, in Kubernetes' own words. */
export type ZoneShares =
  | { readonly kind: 'shared'; readonly zones: ReadonlyMap<Endpoint, string> }
  | { readonly kind: 'impossible'; readonly problem: string };

/**
 * Topology mode Auto: gives each zone endpoints in proportion to its cores, its own ones first. Impossible where that cannot be done
 * well: fewer than two zones, fewer endpoints than zones, an endpoint or node without zone, or an endpoint that would get more
 * than a fifth above its share. No hints then, so that every zone uses all.
 */
export function shareZones(
  endpoints: readonly Endpoint[],
  cores: ReadonlyMap<string, number> | undefined,
): ZoneShares {
  const impossible = (problem: string): ZoneShares => ({ kind: 'impossible', problem });
  if (cores === undefined || cores.size === 0) {
    return impossible(
      'Insufficient Node information: allocatable CPU or zone not specified on one or more nodes',
    );
  }
  if (cores.size === 1) return impossible('Nodes only ready in one zone');
  const numbers = `(${endpoints.length} endpoints, ${cores.size} zones)`;
  if (endpoints.length < cores.size) return impossible(`Insufficient number of endpoints ${numbers}`);
  const counts = apportion(endpoints.length, cores);
  if (counts === undefined) {
    const why =
      'Unable to allocate minimum required endpoints to each zone without exceeding overload threshold';
    return impossible(`${why} ${numbers}`);
  }
  if (endpoints.some(({ zone }) => zone === undefined)) {
    return impossible('One or more endpoints do not have a zone specified');
  }
  const zones = new Map<Endpoint, string>();
  const spare: Endpoint[] = [];
  for (const endpoint of endpoints) {
    const { zone = '' } = endpoint;
    const left = counts.get(zone) ?? 0;
    if (left === 0) {
      spare.push(endpoint);
      continue;
    }
    counts.set(zone, left - 1);
    zones.set(endpoint, zone);
  }
  for (const [zone, left] of counts) for (const endpoint of spare.splice(0, left)) zones.set(endpoint, zone);
  return { kind: 'shared', zones };
}

/**
 * Whole numbers in proportion to the cores: what a zone needs at least, then one by one to the zone that lacks most, of equal
 * ones the first by name. Undefined: there are too few for what all need.
 */
function apportion(endpoints: number, cores: ReadonlyMap<string, number>): Map<string, number> | undefined {
  const total = [...cores.values()].reduce((sum, own) => sum + own, 0);
  const exact = new Map(
    [...cores]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([zone, own]) => [zone, (endpoints * own) / total]),
  );
  // What is whole but for the last digits of its fraction stays so.
  const counts = new Map(
    [...exact].map(([zone, share]) => [zone, Math.ceil(share / (1 + overloadMax) - 1e-9)]),
  );
  let left = endpoints - [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (left < 0) return undefined;
  const lackOf = (zone: string): number => (exact.get(zone) ?? 0) - (counts.get(zone) ?? 0);
  for (; left > 0; left--) {
    const neediest = [...exact.keys()].reduce((most, zone) => (lackOf(zone) > lackOf(most) ? zone : most));
    counts.set(neediest, (counts.get(neediest) ?? 0) + 1);
  }
  return counts;
}

/** Of one Service, by address type: why hints are impossible; undefined: they are given. Empty: nobody asks for them. */
export type TopologyState = ReadonlyMap<string, string | undefined>;

export type TopologyEvent = {
  readonly type: 'Normal' | 'Warning';
  readonly reason: 'TopologyAwareHintsEnabled' | 'TopologyAwareHintsDisabled';
  readonly message: string;
};

/** What is to be told of a Service whose state was `before`: each change once. */
export function topologyEvents(before: TopologyState, now: TopologyState): readonly TopologyEvent[] {
  const events: TopologyEvent[] = [];
  for (const [addressType, problem] of now) {
    if (before.has(addressType) && before.get(addressType) === problem) continue;
    const message = `${problem ?? 'Topology Aware Hints has been enabled'}, addressType: ${addressType}`;
    events.push(
      problem === undefined
        ? { type: 'Normal', reason: 'TopologyAwareHintsEnabled', message }
        : { type: 'Warning', reason: 'TopologyAwareHintsDisabled', message },
    );
  }
  const isNoLongerAsked = [...before].some(
    ([addressType, problem]) => problem === undefined && !now.has(addressType),
  );
  if (isNoLongerAsked) {
    const message = 'Topology Aware Hints has been disabled';
    events.push({ type: 'Warning', reason: 'TopologyAwareHintsDisabled', message });
  }
  return events;
}
