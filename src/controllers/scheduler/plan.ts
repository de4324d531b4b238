import type { PersistentVolume, Pod } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';
import { type ClaimedPlaces, type ClaimLookup, findClaimedPlaces } from './claims.ts';
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
  | {
      readonly kind: 'unschedulable';
      /** That of Kubernetes: `0/4 nodes are available: …`. */
      readonly message: string;
      /** Undefined: there is no node at all. */
      readonly cure: Cure | undefined;
    };

/** Where a Pod might run if others left. */
export type Cure = {
  readonly nodes: readonly NodeState[];
  /** Why the Pod cannot run on that node, by the cluster as it is when this is asked; empty: it can. */
  refusals(node: NodeState): readonly Refusal[];
};

export type PlacementContext = {
  readonly namespaceOf: NamespaceLookup;
  /** True for Pods behind the same Service. */
  readonly siblings: (other: Pod) => boolean;
  readonly claims: ClaimLookup;
};

/** Why a Pod cannot run on a node, in Kubernetes' words. */
export type Refusal = {
  readonly reason: string;
  /** The Pods that are there are why. */
  readonly curable: boolean;
};

const unschedulableTaint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;

/**
 * Chooses the node for one Pod: those that it cannot run on fall out, of the rest the best score wins; before all others that
 * on which room was made for it.
 */
export function placePod(pod: Pod, cluster: ClusterState, context: PlacementContext): Placement {
  if (cluster.size === 0)
    return { kind: 'unschedulable', message: 'no nodes available to schedule pods', cure: undefined };
  const places = findClaimedPlaces(pod, cluster.placedPods, context.claims);
  if (places.kind === 'nowhere') {
    const cure = { nodes: [], refusals: () => [] };
    return { kind: 'unschedulable', message: unavailable(cluster, [places.reason]), cure };
  }
  const count = (): Wishes => wishesOf(pod, cluster, context, places);
  const wishes = count();
  const looked = [...cluster.nodes].map((node) => ({
    node,
    refusals: refusalsOn(node, pod, cluster, count, wishes),
  }));
  const feasible = looked.filter(({ refusals }) => refusals.length === 0).map(({ node }) => node);
  const nominated = cluster.nominationOf(keyOf(pod))?.nodeName;
  const best = feasible.find(({ name }) => name === nominated) ?? bestOf(pod, feasible, wishes);
  if (best !== undefined) {
    const choices = wishes.choicesOn(best) ?? [];
    if (choices.length === 0) return { kind: 'bind', nodeName: best.name };
    return { kind: 'reserve', nodeName: best.name, choices };
  }
  const curable = looked.filter(({ refusals }) => refusals.every((refusal) => refusal.curable));
  return {
    kind: 'unschedulable',
    message: unavailable(cluster, counted(looked.flatMap(({ refusals }) => refusals))),
    cure: {
      nodes: curable.map(({ node }) => node),
      refusals: (node) => refusalsOn(node, pod, cluster, count, count()),
    },
  };
}

/** Kubernetes' sentence of a Pod that no node takes. */
export function unavailable(cluster: ClusterState, reasons: readonly string[]): string {
  return `0/${cluster.size} nodes are available: ${reasons.join(', ')}.`;
}

/** Each reason once, with the number of its nodes before it. */
export function counted(refusals: readonly { readonly reason: string }[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const { reason } of refusals) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${count} ${reason}`).toSorted();
}

/**
 * Why the Pod cannot run on that node; empty: it can. Pods for which room was made there and which come first count as if
 * they had come, but nothing may rely on them: they may never come.
 */
function refusalsOn(
  node: NodeState,
  pod: Pod,
  cluster: ClusterState,
  count: () => Wishes,
  wishes: Wishes,
): readonly Refusal[] {
  const expected = cluster.nominatedBefore(pod).filter(({ nodeName }) => nodeName === node.name);
  const crowded =
    expected.length === 0 ? [] : cluster.supposing(expected, [], () => refusalsOf(pod, node, count()));
  return crowded.length > 0 ? crowded : refusalsOf(pod, node, wishes);
}

type VolumePlaces = Extract<ClaimedPlaces, { readonly kind: 'volumes' }>;

type Wishes = {
  readonly volumes: readonly PersistentVolume[];
  /** Volumes on that node for claims that wait for it; undefined: there are none. */
  choicesOn(node: NodeState): readonly VolumeChoice[] | undefined;
  readonly requests: ReadonlyMap<string, number>;
  readonly ports: ReturnType<typeof hostPortsOf>;
  readonly affinities: PodAffinities;
  readonly spread: Spread;
};

function wishesOf(pod: Pod, cluster: ClusterState, context: PlacementContext, places: VolumePlaces): Wishes {
  return {
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
}

/** By the first filter that says no. */
function refusalsOf(pod: Pod, state: NodeState, wishes: Wishes): readonly Refusal[] {
  const { node } = state;
  const tolerations = pod.spec?.tolerations ?? [];
  if (node.spec?.unschedulable === true && !tolerations.some((t) => tolerates(t, unschedulableTaint))) {
    return incurable('node(s) were unschedulable');
  }
  const taint = untoleratedTaint(tolerations, node.spec?.taints, ['NoSchedule', 'NoExecute']);
  if (taint !== undefined)
    return incurable(`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`);
  if (!matchesNodeSelection(pod, node)) return incurable("node(s) didn't match Pod's node affinity/selector");
  if (!wishes.volumes.every((volume) => isReachable(node, volume)))
    return incurable("node(s) didn't match PersistentVolume's node affinity");
  if (wishes.choicesOn(state) === undefined)
    return incurable("node(s) didn't find available persistent volumes to bind");
  if (hasPortConflict(state, wishes))
    return [{ reason: "node(s) didn't have free ports for the requested pod ports", curable: true }];
  const short = shortResources(state, wishes.requests);
  if (short.length > 0) return short;
  const refusal = wishes.spread.refusal(state) ?? wishes.affinities.refusal(state);
  return refusal === undefined ? [] : [refusal];
}

function incurable(reason: string): readonly Refusal[] {
  return [{ reason, curable: false }];
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

function shortResources(state: NodeState, requests: ReadonlyMap<string, number>): readonly Refusal[] {
  const short: Refusal[] = [];
  for (const [name, amount] of requests) {
    if (amount === 0) continue;
    const allocatable = state.allocatable.get(name);
    // A node that does not tell how many Pods it takes is not limited by it; of anything else it has none.
    if (allocatable === undefined && name === 'pods') continue;
    if ((state.requested.get(name) ?? 0) + amount <= (allocatable ?? 0)) continue;
    const reason = name === 'pods' ? 'Too many pods' : `Insufficient ${name}`;
    short.push({ reason, curable: amount <= (allocatable ?? 0) });
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
