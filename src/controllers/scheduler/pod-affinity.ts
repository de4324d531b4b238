import type { Namespace, Node, Pod, PodAffinityTerm } from '../../api/gen/core-v1.ts';
import { matchesSelector } from '../../control/selector.ts';
import type { ClusterState, NodeState } from './cluster.ts';
import type { Refusal } from './plan.ts';

export type NamespaceLookup = (name: string) => Namespace | undefined;

/** Counts Pods that a term means by the value of its topology key. */
type TermCounts = {
  readonly term: PodAffinityTerm;
  readonly byTopology: ReadonlyMap<string, number>;
  readonly matchesSelf: boolean;
};

/** The Pod's own and other Pods' wishes, counted once so that asking for a node is a look-up. */
export type PodAffinities = {
  /** Undefined: the node is fine. */
  refusal(node: NodeState): Refusal | undefined;
  /** Sum of preferred weights that hold on this node; anti-affinity counts against it. */
  score(node: NodeState): number;
};

export function countPodAffinities(
  pod: Pod,
  cluster: ClusterState,
  namespaceOf: NamespaceLookup,
): PodAffinities {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const count = (term: PodAffinityTerm): TermCounts => countTerm(pod, term, cluster, namespaceOf);
  const required = (podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(count);
  const forbidden = (podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(count);
  const preferred = [
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ weight, podAffinityTerm }) => ({
        weight,
        counts: count(podAffinityTerm),
      }),
    ),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ weight, podAffinityTerm }) => ({ weight: -weight, counts: count(podAffinityTerm) }),
    ),
  ];
  const closed = closedTopologies(pod, cluster, namespaceOf);
  let pulls: readonly Pull[] | undefined; // counted by the first who asks for a score
  return {
    refusal({ node }) {
      if (!required.every((counts) => isSatisfied(counts, node)))
        return { reason: "node(s) didn't match pod affinity rules", curable: false };
      if (forbidden.some((counts) => countOn(counts, node) > 0)) {
        return { reason: "node(s) didn't match pod anti-affinity rules", curable: true };
      }
      for (const [topologyKey, values] of closed) {
        if (values.has(labelOf(node, topologyKey) ?? '')) {
          return { reason: "node(s) didn't satisfy existing pods anti-affinity rules", curable: true };
        }
      }
      return undefined;
    },
    score({ node }) {
      pulls ??= pullsOfOthers(pod, cluster, namespaceOf);
      let sum = 0;
      for (const { weight, counts } of preferred) sum += weight * countOn(counts, node);
      for (const { topologyKey, value, weight } of pulls)
        if (labelOf(node, topologyKey) === value) sum += weight;
      return sum;
    },
  };
}

/** The first Pod of a group that wants to be with itself may go anywhere that has the topology. */
function isSatisfied(counts: TermCounts, node: Node): boolean {
  if (labelOf(node, counts.term.topologyKey) === undefined) return false;
  return countOn(counts, node) > 0 || (counts.byTopology.size === 0 && counts.matchesSelf);
}

function countOn(counts: TermCounts, node: Node): number {
  const value = labelOf(node, counts.term.topologyKey);
  return value === undefined ? 0 : (counts.byTopology.get(value) ?? 0);
}

function countTerm(
  pod: Pod,
  term: PodAffinityTerm,
  cluster: ClusterState,
  namespaceOf: NamespaceLookup,
): TermCounts {
  const byTopology = new Map<string, number>();
  for (const { node, pods } of cluster.nodes) {
    const value = labelOf(node, term.topologyKey);
    if (value === undefined) continue;
    for (const other of pods.values()) {
      if (!termMeans(term, pod, other, namespaceOf)) continue;
      byTopology.set(value, (byTopology.get(value) ?? 0) + 1);
    }
  }
  return { term, byTopology, matchesSelf: termMeans(term, pod, pod, namespaceOf) };
}

/** Topologies that Pods which are already there want for themselves. */
function closedTopologies(
  pod: Pod,
  cluster: ClusterState,
  namespaceOf: NamespaceLookup,
): ReadonlyMap<string, ReadonlySet<string>> {
  const closed = new Map<string, Set<string>>();
  for (const other of cluster.antiAffinePods) {
    const state = cluster.node(other.spec?.nodeName ?? '');
    if (state === undefined) continue;
    const terms = other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    for (const term of terms) {
      const value = labelOf(state.node, term.topologyKey);
      if (value === undefined || !termMeans(term, other, pod, namespaceOf)) continue;
      const values = closed.get(term.topologyKey);
      if (values === undefined) closed.set(term.topologyKey, new Set([value]));
      else values.add(value);
    }
  }
  return closed;
}

type Pull = { readonly topologyKey: string; readonly value: string; readonly weight: number };

/** What a required affinity of a Pod that is there weighs for those that come. Kubernetes' own number. */
const requiredWeight = 1;

/** Where Pods that are there would like this one to be, or not to be. */
function pullsOfOthers(pod: Pod, cluster: ClusterState, namespaceOf: NamespaceLookup): readonly Pull[] {
  const pulls: Pull[] = [];
  for (const other of cluster.choosyPods) {
    const state = cluster.node(other.spec?.nodeName ?? '');
    if (state === undefined) continue;
    for (const { term, weight } of pullingTerms(other)) {
      const value = labelOf(state.node, term.topologyKey);
      if (value === undefined || !termMeans(term, other, pod, namespaceOf)) continue;
      pulls.push({ topologyKey: term.topologyKey, value, weight });
    }
  }
  return pulls;
}

function pullingTerms({ spec }: Pod): readonly { readonly term: PodAffinityTerm; readonly weight: number }[] {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  return [
    ...(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => ({
      term,
      weight: requiredWeight,
    })),
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ weight, podAffinityTerm: term }) => ({ term, weight }),
    ),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ weight, podAffinityTerm: term }) => ({ term, weight: -weight }),
    ),
  ];
}

/** True if `term` of the Pod `holder` means the Pod `other`. */
function termMeans(term: PodAffinityTerm, holder: Pod, other: Pod, namespaceOf: NamespaceLookup): boolean {
  const namespace = other.metadata?.namespace ?? '';
  const listed = term.namespaces ?? [];
  const ownOnly = listed.length === 0 && term.namespaceSelector === undefined;
  const inScope = ownOnly
    ? namespace === holder.metadata?.namespace
    : listed.includes(namespace) ||
      matchesSelector(term.namespaceSelector, namespaceOf(namespace)?.metadata?.labels);
  if (!inScope || !matchesSelector(term.labelSelector, other.metadata?.labels)) return false;
  return (
    labelledKeys(term.matchLabelKeys, holder).every((key) => sameLabel(key, holder, other)) &&
    labelledKeys(term.mismatchLabelKeys, holder).every((key) => !sameLabel(key, holder, other))
  );
}

/** A key that the Pod itself has no label for says nothing. */
export function labelledKeys(keys: readonly string[] | undefined, pod: Pod): readonly string[] {
  return (keys ?? []).filter((key) => pod.metadata?.labels?.[key] !== undefined);
}

function sameLabel(key: string, a: Pod, b: Pod): boolean {
  return a.metadata?.labels?.[key] === b.metadata?.labels?.[key];
}

function labelOf(node: Node, key: string): string | undefined {
  return node.metadata?.labels?.[key];
}
