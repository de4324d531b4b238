import type { Endpoint, EndpointPort, EndpointSlice } from '../../api/gen/discovery-v1.ts';
import { canonicalJson } from '../status-patch.ts';

/** Endpoints a slice; more make another slice. kube-controller-manager's default. */
export const endpointsPerSliceMax = 100;

export type SliceWrite =
  | { readonly kind: 'create'; readonly slice: EndpointSlice }
  | { readonly kind: 'replace'; readonly slice: EndpointSlice }
  | { readonly kind: 'delete'; readonly slice: EndpointSlice };

/** Endpoints with the same ports may share slices. */
export type Group = { readonly ports: readonly EndpointPort[]; readonly endpoints: Endpoint[] };

/** A slice with these contents; `base` is the one that it replaces. */
export type MakeSlice = (
  ports: readonly EndpointPort[],
  endpoints: readonly Endpoint[],
  base: EndpointSlice | undefined,
) => EndpointSlice;

const writeOrder = { create: 0, replace: 1, delete: 2 } as const;

/** New slices first and deletions last: an endpoint is never missing in between. */
export function inSafeOrder(writes: readonly SliceWrite[]): readonly SliceWrite[] {
  return writes.toSorted((a, b) => writeOrder[a.kind] - writeOrder[b.kind]);
}

/**
 * The writes that make `existing`, the slices of one Service and family, hold these groups. Endpoints stay in the slice where
 * they are, so one changed endpoint changes one slice; a slice has at most `endpointsPerSliceMax`. Slices that are written anyway are
 * filled and merged; others are left alone, so that watchers of a large Service get little to read.
 */
export function planFill(
  groups: ReadonlyMap<string, Group>,
  existing: readonly EndpointSlice[],
  make: MakeSlice,
): SliceWrite[] {
  const writes: SliceWrite[] = [];
  const byPorts = Map.groupBy(existing, (slice) => canonicalJson(slice.ports ?? []));
  if (groups.size === 0) {
    // An empty slice says "there is a Service and nobody serves", which is not the same as no slice.
    const [keep, ...rest] = existing;
    for (const slice of rest) writes.push({ kind: 'delete', slice });
    const wanted = make([], [], keep);
    if (keep === undefined) writes.push({ kind: 'create', slice: wanted });
    else if (differs(keep, wanted)) writes.push({ kind: 'replace', slice: wanted });
    return writes;
  }
  for (const [ports, group] of groups) {
    writes.push(...planGroup(group, byPorts.get(ports) ?? [], make));
    byPorts.delete(ports);
  }
  for (const slice of [...byPorts.values()].flat()) writes.push({ kind: 'delete', slice });
  return writes;
}

/** A slice as it will be. */
type Filling = { readonly slice: EndpointSlice; kept: Endpoint[]; readonly changes: boolean };

function planGroup(group: Group, existing: readonly EndpointSlice[], make: MakeSlice): SliceWrite[] {
  const waiting = new Map(group.endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
  const fillings = existing.map((slice): Filling => {
    const kept: Endpoint[] = [];
    for (const endpoint of slice.endpoints ?? []) {
      const key = endpointKey(endpoint);
      const wanted = waiting.get(key);
      if (wanted === undefined) continue;
      kept.push(wanted);
      waiting.delete(key);
    }
    return { slice, kept, changes: differs(slice, make(group.ports, kept, slice)) };
  });
  const created = place([...waiting.values()], fillings);
  mergeChanged(fillings);
  const writes: SliceWrite[] = created.map((part) => ({
    kind: 'create',
    slice: make(group.ports, part, undefined),
  }));
  for (const { slice, kept } of fillings) {
    if (kept.length === 0) {
      writes.push({ kind: 'delete', slice });
      continue;
    }
    const wanted = make(group.ports, kept, slice);
    if (differs(slice, wanted)) writes.push({ kind: 'replace', slice: wanted });
  }
  return writes;
}

/**
 * Puts new endpoints where they cost the fewest writes: first into slices that are written anyway, the fullest first; then whole
 * new slices; the rest into one slice that has room for all of it, or a new one. Returns the contents of new slices.
 */
function place(fresh: Endpoint[], fillings: readonly Filling[]): readonly Endpoint[][] {
  const fullestFirst = fillings.toSorted((a, b) => b.kept.length - a.kept.length);
  for (const { kept, changes } of fullestFirst) if (changes) kept.push(...fresh.splice(0, roomIn(kept)));
  const created: Endpoint[][] = [];
  while (fresh.length >= endpointsPerSliceMax) created.push(fresh.splice(0, endpointsPerSliceMax));
  if (fresh.length === 0) return created;
  const roomy = fullestFirst.find(({ kept, changes }) => !changes && roomIn(kept) >= fresh.length);
  if (roomy === undefined) created.push(fresh);
  else roomy.kept.push(...fresh);
  return created;
}

/** Of slices that are written anyway, those that fit into another one move there: a deletion instead of a write, and one slice less. */
function mergeChanged(fillings: readonly Filling[]): void {
  const changed = fillings
    .filter(({ kept, changes }) => changes && kept.length > 0)
    .toSorted((a, b) => a.kept.length - b.kept.length);
  for (const [index, small] of changed.entries()) {
    const target = changed.slice(index + 1).findLast(({ kept }) => roomIn(kept) >= small.kept.length);
    if (target === undefined) continue;
    target.kept.push(...small.kept);
    small.kept = [];
  }
}

function roomIn(kept: readonly Endpoint[]): number {
  return Math.max(0, endpointsPerSliceMax - kept.length);
}

function differs(slice: EndpointSlice, wanted: EndpointSlice): boolean {
  return (
    canonicalJson(slice.endpoints ?? []) !== canonicalJson(wanted.endpoints) ||
    canonicalJson(slice.ports ?? []) !== canonicalJson(wanted.ports) ||
    canonicalJson(slice.metadata?.labels) !== canonicalJson(wanted.metadata?.labels)
  );
}

function endpointKey(endpoint: Endpoint): string {
  return `${endpoint.targetRef?.uid ?? ''} ${endpoint.addresses[0] ?? ''}`;
}
