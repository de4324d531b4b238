import type { Deployment, ReplicaSet } from '../../api/gen/apps-v1.ts';
import { byCreation, maxReplicasAnnotation } from './revision.ts';

/** How many Pods there may be above spec.replicas, and how many may be missing, while rolling. */
export type RollingBounds = { readonly maxSurge: number; readonly maxUnavailable: number };

export type Scale = { readonly set: ReplicaSet; readonly replicas: number };

export function replicasOf(set: ReplicaSet): number {
  return set.spec?.replicas ?? 1;
}

export function wantedReplicas(deployment: Deployment): number {
  return deployment.spec?.replicas ?? 1;
}

export function totalReplicas(sets: readonly ReplicaSet[]): number {
  return sets.reduce((sum, set) => sum + replicasOf(set), 0);
}

export function availableReplicas(sets: readonly ReplicaSet[]): number {
  return sets.reduce((sum, set) => sum + (set.status?.availableReplicas ?? 0), 0);
}

/** Percentages round up for the surge and down for the unavailable; both 0 would never get on, so one may be missing. */
export function rollingBounds(deployment: Deployment): RollingBounds {
  const { strategy } = deployment.spec ?? {};
  if (strategy?.type === 'Recreate') return { maxSurge: 0, maxUnavailable: 0 };
  const replicas = wantedReplicas(deployment);
  const maxSurge = intOrPercent(strategy?.rollingUpdate?.maxSurge ?? '25%', replicas, Math.ceil);
  const maxUnavailable = intOrPercent(strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas, Math.floor);
  return {
    maxSurge,
    maxUnavailable: Math.min(replicas, maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable),
  };
}

export function intOrPercent(value: number | string, total: number, round: (x: number) => number): number {
  if (typeof value === 'number') return value;
  return value.endsWith('%')
    ? round((Number.parseFloat(value) * total) / 100)
    : Number.parseInt(value, 10) || 0;
}

/** Size of the new ReplicaSet in the next step of a rollout: as many more Pods as the surge allows. */
export function nextNewReplicas(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  current: number,
): number {
  const wanted = wantedReplicas(deployment);
  if (deployment.spec?.strategy?.type === 'Recreate') return wanted;
  const room = wanted + rollingBounds(deployment).maxSurge - totalReplicas(sets);
  return room <= 0 ? current : current + Math.min(room, wanted - current);
}

/** Scales old ReplicaSets down as far as enough Pods stay available; those that are not healthy go first. */
export function scaleDownOld(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
): readonly Scale[] {
  const all = newSet === undefined ? oldSets : [...oldSets, newSet];
  if (totalReplicas(oldSets) === 0) return [];
  const minAvailable = wantedReplicas(deployment) - rollingBounds(deployment).maxUnavailable;
  const newUnavailable =
    newSet === undefined ? 0 : replicasOf(newSet) - (newSet.status?.availableReplicas ?? 0);
  let mayGo = totalReplicas(all) - minAvailable - newUnavailable;
  if (mayGo <= 0) return [];
  const sizes = new Map(oldSets.toSorted(byCreation).map((set) => [set, replicasOf(set)]));
  for (const [set, size] of sizes) {
    const unhealthy = Math.max(0, size - (set.status?.availableReplicas ?? 0));
    const go = Math.min(unhealthy, mayGo);
    sizes.set(set, size - go);
    mayGo -= go;
  }
  let availableMayGo = Math.min(mayGo, availableReplicas(all) - minAvailable);
  for (const [set, size] of sizes) {
    if (availableMayGo <= 0) break;
    const go = Math.min(size, availableMayGo);
    sizes.set(set, size - go);
    availableMayGo -= go;
  }
  return [...sizes]
    .filter(([set, size]) => size !== replicasOf(set))
    .map(([set, replicas]) => ({ set, replicas }));
}

/**
 * Scaling in the middle of a rollout, or of a paused one: the change is shared among the ReplicaSets by their sizes, so
 * that the share of new Pods stays the same. What rounding leaves goes to the largest.
 */
export function scaleProportionally(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
): readonly Scale[] {
  const all = newSet === undefined ? oldSets : [...oldSets, newSet];
  const active = all.filter((set) => replicasOf(set) > 0);
  const wanted = wantedReplicas(deployment);
  const only = active.length > 1 ? undefined : (active[0] ?? newSet ?? all.toSorted(byCreation).at(-1));
  if (only !== undefined) return replicasOf(only) === wanted ? [] : [{ set: only, replicas: wanted }];
  if (newSet !== undefined && isSaturated(newSet, wanted)) {
    return oldSets.filter((set) => replicasOf(set) > 0).map((set) => ({ set, replicas: 0 }));
  }
  if (deployment.spec?.strategy?.type === 'Recreate') return [];
  return share(deployment, active);
}

function isSaturated(set: ReplicaSet, wanted: number): boolean {
  return replicasOf(set) === wanted && (set.status?.availableReplicas ?? 0) === wanted;
}

function share(deployment: Deployment, active: readonly ReplicaSet[]): readonly Scale[] {
  const wanted = wantedReplicas(deployment);
  const allowed = wanted > 0 ? wanted + rollingBounds(deployment).maxSurge : 0;
  const toAdd = allowed - totalReplicas(active);
  if (toAdd === 0) return [];
  // Largest first; of equal ones the newer grows and the older shrinks.
  const sorted = active.toSorted((a, b) => {
    const bySize = replicasOf(b) - replicasOf(a);
    return bySize !== 0 ? bySize : toAdd > 0 ? byCreation(b, a) : byCreation(a, b);
  });
  let added = 0;
  const sizes = sorted.map((set) => {
    const left = toAdd - added;
    const fraction = wanted === 0 ? -replicasOf(set) : shareOf(deployment, set, allowed);
    const change = toAdd > 0 ? Math.max(0, Math.min(fraction, left)) : Math.min(0, Math.max(fraction, left));
    added += change;
    return { set, replicas: Math.max(0, replicasOf(set) + change) };
  });
  const [largest] = sizes;
  if (largest !== undefined) largest.replicas = Math.max(0, largest.replicas + toAdd - added);
  return sizes.filter(({ set, replicas }) => replicas !== replicasOf(set));
}

/** The set's part of the new total less what it has, by the total it was last scaled for. */
function shareOf(deployment: Deployment, set: ReplicaSet, allowed: number): number {
  const before = Number(
    set.metadata?.annotations?.[maxReplicasAnnotation] ?? deployment.status?.replicas ?? 0,
  );
  if (before <= 0) return 0;
  return Math.round((replicasOf(set) * allowed) / before) - replicasOf(set);
}
