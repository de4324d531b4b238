import type { PersistentVolume, Pod } from '../../api/gen/core-v1.ts';
import { type ClaimLookup, findClaimedPlaces } from './claims.ts';
import { type ClusterState, hostPortsOf, type NodeState, requestsOf } from './cluster.ts';
import { chooseVolumes, type VolumeChoice } from './delayed-claims.ts';
import { matchesNodeSelection, matchesTerm, tolerates, untoleratedTaint } from './node-match.ts';
import { countPodAffinities, type NamespaceLookup, type PodAffinities } from './pod-affinity.ts';
import { countSpread, type Spread } from './spread.ts';
import { isReachable } from './volume-reach.ts';

export type Placement =
  | { readonly kind: 'bind'; readonly nodeName: string }
  /** First these claims get their volumes; the Pod is bound when they have. */
  | { readonly kind: 'reserve'; readonly nodeName: string; readonly choices: readonly VolumeChoice[] }
  /** `message` is that of Kubernetes: `0/4 nodes are available: …`. */
  | { readonly kind: 'unschedulable'; readonly message: string };

export type PlacementContext = {
  readonly namespaceOf: NamespaceLookup;
  /** True for Pods behind the same Service. */
  readonly siblings: (other: Pod) => boolean;
  readonly claims: ClaimLookup;
};

const unschedulableTaint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;

/** Chooses the node for one Pod: those that it cannot run on fall out, of the rest the best score wins. */
export function placePod(pod: Pod, cluster: ClusterState, context: PlacementContext): Placement {
  if (cluster.size === 0) return { kind: 'unschedulable', message: 'no nodes available to schedule pods' };
  const places = findClaimedPlaces(pod, cluster.placedPods, context.claims);
  if (places.kind === 'nowhere')
    return {
      kind: 'unschedulable',
      message: `0/${cluster.size} nodes are available: ${places.reason}.`,
    };
  const wishes: Wishes = {
    volumes: places.volumes,
    choicesOn: ({ node }) =>
      places.delayed.length === 0
        ? []
        : chooseVolumes(node, places.delayed, context.claims.volumes(), (name) =>
            context.claims.promised(name),
          ),
    requests: requestsOf(pod),
    ports: hostPortsOf(pod),
    affinities: countPodAffinities(pod, cluster, context.namespaceOf),
    spread: countSpread(pod, cluster, context.siblings),
  };
  const refusals = new Map<string, number>();
  const feasible: NodeState[] = [];
  for (const node of cluster.nodes) {
    const reasons = refusalsOf(pod, node, wishes);
    if (reasons.length === 0) feasible.push(node);
    for (const reason of reasons) refusals.set(reason, (refusals.get(reason) ?? 0) + 1);
  }
  const best = bestOf(pod, feasible, wishes);
  if (best !== undefined) {
    const choices = wishes.choicesOn(best) ?? [];
    if (choices.length === 0) return { kind: 'bind', nodeName: best.name };
    return { kind: 'reserve', nodeName: best.name, choices };
  }
  const reasons = [...refusals].map(([reason, count]) => `${count} ${reason}`).toSorted();
  return {
    kind: 'unschedulable',
    message: `0/${cluster.size} nodes are available: ${reasons.join(', ')}.`,
  };
}

type Wishes = {
  readonly volumes: readonly PersistentVolume[];
  /** Volumes on that node for claims that wait for it; undefined: there are none. */
  choicesOn(node: NodeState): readonly VolumeChoice[] | undefined;
  readonly requests: ReadonlyMap<string, number>;
  readonly ports: ReturnType<typeof hostPortsOf>;
  readonly affinities: PodAffinities;
  readonly spread: Spread;
};

/** Why the Pod cannot run there, by the first filter that says no; empty: it can. */
function refusalsOf(pod: Pod, state: NodeState, wishes: Wishes): readonly string[] {
  const { node } = state;
  const tolerations = pod.spec?.tolerations ?? [];
  if (node.spec?.unschedulable === true && !tolerations.some((t) => tolerates(t, unschedulableTaint))) {
    return ['node(s) were unschedulable'];
  }
  const taint = untoleratedTaint(tolerations, node.spec?.taints, ['NoSchedule', 'NoExecute']);
  if (taint !== undefined) return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`];
  if (!matchesNodeSelection(pod, node)) return ["node(s) didn't match Pod's node affinity/selector"];
  if (!wishes.volumes.every((volume) => isReachable(node, volume)))
    return ["node(s) didn't match PersistentVolume's node affinity"];
  if (wishes.choicesOn(state) === undefined)
    return ["node(s) didn't find available persistent volumes to bind"];
  if (hasPortConflict(state, wishes)) return ["node(s) didn't have free ports for the requested pod ports"];
  const short = shortResources(state, wishes.requests);
  if (short.length > 0) return short;
  const reason = wishes.spread.refusal(state) ?? wishes.affinities.refusal(state);
  return reason === undefined ? [] : [reason];
}

function hasPortConflict(state: NodeState, wishes: Wishes): boolean {
  if (wishes.ports.length === 0) return false;
  for (const other of state.pods.values()) {
    for (const taken of hostPortsOf(other)) {
      const clash = wishes.ports.some(
        ({ address, port }) =>
          port === taken.port &&
          (address === taken.address || address === '0.0.0.0' || taken.address === '0.0.0.0'),
      );
      if (clash) return true;
    }
  }
  return false;
}

function shortResources(state: NodeState, requests: ReadonlyMap<string, number>): readonly string[] {
  const short: string[] = [];
  for (const [name, amount] of requests) {
    if (amount === 0) continue;
    const allocatable = state.allocatable.get(name);
    // A node that does not tell how many Pods it takes is not limited by it; of anything else it has none.
    if (allocatable === undefined && name === 'pods') continue;
    if ((state.requested.get(name) ?? 0) + amount <= (allocatable ?? 0)) continue;
    short.push(name === 'pods' ? 'Too many pods' : `Insufficient ${name}`);
  }
  return short;
}

/** Weights of the scores, each of which is scaled to 0…100 over the feasible nodes. Those of kube-scheduler. */
const weights = { taints: 3, nodeAffinity: 2, spread: 2, podAffinity: 2, leastAllocated: 1 } as const;

function bestOf(pod: Pod, nodes: readonly NodeState[], wishes: Wishes): NodeState | undefined {
  if (nodes.length <= 1) return nodes[0];
  const preferredTerms =
    pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const rawScores = {
    taints: nodes.map((state) => -untoleratedPreferences(pod, state)),
    nodeAffinity: nodes.map(({ node }) =>
      preferredTerms.reduce(
        (sum, { weight, preference }) => sum + (matchesTerm(preference, node) ? weight : 0),
        0,
      ),
    ),
    spread: nodes.map((state) => -wishes.spread.crowd(state)),
    podAffinity: nodes.map((state) => wishes.affinities.score(state)),
    leastAllocated: nodes.map((state) => freeShare(state, wishes.requests)),
  };
  const totals = nodes.map(() => 0);
  for (const [name, weight] of Object.entries(weights)) {
    const raw = rawScores[name as keyof typeof weights];
    // Free shares are absolute already: stretching tiny differences would outweigh real ones.
    const scaled = name === 'leastAllocated' ? raw : stretched(raw);
    scaled.forEach((score, at) => {
      totals[at] = (totals[at] ?? 0) + weight * score;
    });
  }
  return nodes
    .map((state, at) => ({ state, total: totals[at] ?? 0 }))
    .toSorted(
      (a, b) =>
        b.total - a.total || a.state.pods.size - b.state.pods.size || (a.state.name < b.state.name ? -1 : 1),
    )[0]?.state;
}

function untoleratedPreferences(pod: Pod, { node }: NodeState): number {
  const taints = (node.spec?.taints ?? []).filter(({ effect }) => effect === 'PreferNoSchedule');
  return taints.filter((taint) => pod.spec?.tolerations?.some((t) => tolerates(t, taint)) !== true).length;
}

/** What a container that asks for nothing is counted as, so that such Pods spread too. */
const unstatedRequests = { cpu: 0.1, memory: 200 * 2 ** 20 } as const;

/** 0…100: the share of processor and memory that would stay free. */
function freeShare(state: NodeState, requests: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [name, unstated] of Object.entries(unstatedRequests)) {
    const total = state.allocatable.get(name) ?? 0;
    if (total <= 0) continue;
    const stated = (state.requested.get(name) ?? 0) + (requests.get(name) ?? unstated);
    const silent = [...state.pods.values()].filter((pod) => !requestsOf(pod).has(name)).length;
    sum += Math.max(0, 1 - (stated + silent * unstated) / total);
  }
  return (sum / 2) * 100;
}

function stretched(scores: readonly number[]): readonly number[] {
  const least = Math.min(...scores);
  const most = Math.max(...scores);
  return most === least
    ? scores.map(() => 0)
    : scores.map((score) => ((score - least) / (most - least)) * 100);
}
