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

/**
 * Topology mode Auto: gives each zone endpoints in proportion to its cores, its own ones first. Empty when that cannot be done
 * well: fewer than two zones, fewer endpoints than zones, an endpoint or node without zone, or an endpoint that would get more
 * than a fifth above its share. No hints then, so that every zone uses all.
 */
export function shareZones(
  endpoints: readonly Endpoint[],
  cores: ReadonlyMap<string, number> | undefined,
): ReadonlyMap<Endpoint, string> {
  const none: ReadonlyMap<Endpoint, string> = new Map();
  if (cores === undefined || cores.size < 2 || endpoints.length < cores.size) return none;
  if (endpoints.some(({ zone }) => zone === undefined || !cores.has(zone))) return none;
  const counts = apportion(endpoints.length, cores);
  const total = [...cores.values()].reduce((sum, own) => sum + own, 0);
  for (const [zone, own] of cores) {
    const expected = (endpoints.length * own) / total;
    if (expected / (counts.get(zone) ?? 0) - 1 > overloadMax) return none;
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
  return zones;
}

/** Whole numbers in proportion to the cores, by largest remainder; of equal remainders the zone first by name gains. */
function apportion(endpoints: number, cores: ReadonlyMap<string, number>): Map<string, number> {
  const total = [...cores.values()].reduce((sum, own) => sum + own, 0);
  const shares = [...cores]
    .map(([zone, own]) => ({ zone, exact: (endpoints * own) / total }))
    .toSorted((a, b) => (a.zone < b.zone ? -1 : 1));
  const counts = new Map(shares.map(({ zone, exact }) => [zone, Math.floor(exact)]));
  let left = endpoints - [...counts.values()].reduce((sum, count) => sum + count, 0);
  for (const { zone, exact } of shares.toSorted((a, b) => (b.exact % 1) - (a.exact % 1))) {
    if (left-- <= 0) break;
    counts.set(zone, Math.floor(exact) + 1);
  }
  return counts;
}
