import type { Pod, TopologySpreadConstraint } from '../../api/gen/core-v1.ts';
import { matchesSelector } from '../../control/selector.ts';
import { controllerOf } from '../ownership.ts';
import type { ClusterState, NodeState } from './cluster.ts';
import { matchesNodeSelection, untoleratedTaint } from './node-match.ts';
import type { Refusal } from './plan.ts';
import { labelledKeys } from './pod-affinity.ts';

const zoneKey = 'topology.kubernetes.io/zone';

type Counted = {
  readonly constraint: TopologySpreadConstraint;
  readonly byTopology: ReadonlyMap<string, number>;
  readonly least: number;
  /** 1 if the Pod counts itself once it is placed. */
  readonly self: number;
};

/** How evenly the Pods like this one are spread, counted once for all nodes. */
export type Spread = {
  refusal(node: NodeState): Refusal | undefined;
  /** Like Pods in the node's topologies, less is better. */
  crowd(node: NodeState): number;
};

/**
 * @param siblings true for Pods of the same owner or Service: the default spreading of Pods that ask for none
 */
export function countSpread(pod: Pod, cluster: ClusterState, siblings: (other: Pod) => boolean): Spread {
  const constraints = pod.spec?.topologySpreadConstraints ?? [];
  const hard: Counted[] = [];
  const soft: Counted[] = [];
  for (const constraint of constraints) {
    const alike = constraints.filter((one) => one.whenUnsatisfiable === constraint.whenUnsatisfiable);
    const keys = alike.map(({ topologyKey }) => topologyKey);
    const counted = countConstraint(pod, constraint, cluster, keys);
    if (constraint.whenUnsatisfiable === 'DoNotSchedule') hard.push(counted);
    else soft.push(counted);
  }
  let zones: ReadonlyMap<string, number> | undefined; // counted by the first who asks for a score
  return {
    refusal({ node }) {
      for (const { constraint, byTopology, least, self } of hard) {
        const value = node.metadata?.labels?.[constraint.topologyKey];
        if (value === undefined)
          return {
            reason: "node(s) didn't match pod topology spread constraints (missing required label)",
            curable: false,
          };
        if ((byTopology.get(value) ?? 0) + self - least > constraint.maxSkew) {
          return { reason: "node(s) didn't match pod topology spread constraints", curable: true };
        }
      }
      return undefined;
    },
    crowd(state) {
      if (constraints.length > 0) {
        return soft.reduce((sum, { constraint, byTopology }) => {
          const value = state.node.metadata?.labels?.[constraint.topologyKey];
          // Outside of the topology is worse than its most crowded part, but no more than that.
          const outside = Math.max(0, ...byTopology.values()) + 1;
          return sum + (value === undefined ? outside : (byTopology.get(value) ?? 0));
        }, 0);
      }
      zones ??= countBy(cluster, zoneKey, pod, siblings);
      let here = 0;
      for (const other of state.pods.values()) if (isLike(pod, other, siblings)) here++;
      // A crowded node is worse than a crowded zone: the zone is the average of its nodes.
      const zone = state.node.metadata?.labels?.[zoneKey];
      return here + (zone === undefined ? 0 : (zones.get(zone) ?? 0) / (cluster.size + 1));
    },
  };
}

/** `keys`: of all constraints that are looked at together; a node without one of them is no domain of any. */
function countConstraint(
  pod: Pod,
  constraint: TopologySpreadConstraint,
  cluster: ClusterState,
  keys: readonly string[],
): Counted {
  const byTopology = new Map<string, number>();
  const selects = (other: Pod): boolean =>
    other.metadata?.namespace === pod.metadata?.namespace &&
    matchesSelector(constraint.labelSelector, other.metadata?.labels) &&
    labelledKeys(constraint.matchLabelKeys, pod).every(
      (key) => other.metadata?.labels?.[key] === pod.metadata?.labels?.[key],
    );
  for (const { node, pods } of cluster.nodes) {
    const value = node.metadata?.labels?.[constraint.topologyKey];
    if (value === undefined || keys.some((key) => node.metadata?.labels?.[key] === undefined)) continue;
    if (constraint.nodeAffinityPolicy !== 'Ignore' && !matchesNodeSelection(pod, node)) continue;
    if (constraint.nodeTaintsPolicy === 'Honor') {
      const taint = untoleratedTaint(pod.spec?.tolerations, node.spec?.taints, ['NoSchedule', 'NoExecute']);
      if (taint !== undefined) continue;
    }
    let count = byTopology.get(value) ?? 0;
    for (const other of pods.values()) {
      if (other.metadata?.deletionTimestamp === undefined && selects(other)) count++;
    }
    byTopology.set(value, count);
  }
  const tooFewDomains = byTopology.size < (constraint.minDomains ?? 1);
  const least = byTopology.size === 0 || tooFewDomains ? 0 : Math.min(...byTopology.values());
  return { constraint, byTopology, least, self: selects(pod) ? 1 : 0 };
}

function countBy(
  cluster: ClusterState,
  topologyKey: string,
  pod: Pod,
  siblings: (other: Pod) => boolean,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { node, pods } of cluster.nodes) {
    const value = node.metadata?.labels?.[topologyKey];
    if (value === undefined) continue;
    for (const other of pods.values()) {
      if (isLike(pod, other, siblings)) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  return counts;
}

function isLike(pod: Pod, other: Pod, siblings: (other: Pod) => boolean): boolean {
  if (other.metadata?.namespace !== pod.metadata?.namespace) return false;
  if (other.metadata?.deletionTimestamp !== undefined) return false;
  const owner = controllerOf(pod)?.uid;
  return (owner !== undefined && controllerOf(other)?.uid === owner) || siblings(other);
}
