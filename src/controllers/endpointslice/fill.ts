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
 * they are, so one changed endpoint changes one slice; a slice has at most `endpointsPerSliceMax`.
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

function planGroup(group: Group, existing: readonly EndpointSlice[], make: MakeSlice): SliceWrite[] {
  const waiting = new Map(group.endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
  const filled = existing.map((slice) => {
    const kept: Endpoint[] = [];
    for (const endpoint of slice.endpoints ?? []) {
      const key = endpointKey(endpoint);
      const wanted = waiting.get(key);
      if (wanted === undefined) continue;
      kept.push(wanted);
      waiting.delete(key);
    }
    return { slice, kept };
  });
  const fresh = [...waiting.values()];
  // Fullest first: slices fill up instead of many staying half empty.
  for (const { kept } of filled.toSorted((a, b) => b.kept.length - a.kept.length)) {
    kept.push(...fresh.splice(0, Math.max(0, endpointsPerSliceMax - kept.length)));
  }
  const writes: SliceWrite[] = [];
  for (const { slice, kept } of filled) {
    if (kept.length === 0) {
      writes.push({ kind: 'delete', slice });
      continue;
    }
    const wanted = make(group.ports, kept, slice);
    if (differs(slice, wanted)) writes.push({ kind: 'replace', slice: wanted });
  }
  while (fresh.length > 0) {
    const part = fresh.splice(0, endpointsPerSliceMax);
    writes.push({ kind: 'create', slice: make(group.ports, part, undefined) });
  }
  return writes;
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
