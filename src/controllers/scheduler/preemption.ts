import type { Pod } from '../../api/gen/core-v1.ts';
import type { PodDisruptionBudget } from '../../api/gen/policy-v1.ts';
import { keyOf } from '../../api/object.ts';
import { matchesSelector } from '../../control/selector.ts';
import { type ClusterState, type NodeState, priorityOf } from './cluster.ts';
import { type Cure, counted, type Refusal, unavailable } from './plan.ts';

/** Which Pods of lower priority leave so that one that fits nowhere can run: the PostFilter of kube-scheduler. */

export type Preemption =
  /** `victims` are to leave that node, the most important first. */
  | { readonly kind: 'preempt'; readonly nodeName: string; readonly victims: readonly Pod[] }
  /** It may not, or not yet: what was kept for it stays. The message is that of Kubernetes. */
  | { readonly kind: 'ineligible'; readonly message: string }
  /** Nobody's leaving would help. */
  | { readonly kind: 'helpless'; readonly message: string };

export type PreemptionContext = {
  readonly budgets: Iterable<PodDisruptionBudget>;
  /** True for Pods that are on their way out. */
  readonly isLeaving: (pod: Pod) => boolean;
};

/** Nodes that are compared, and this share of all if that is more; those past it are not looked at. kube-scheduler's own. */
const candidatesMin = 100;
const candidatesShare = 0.1;

type Candidate = {
  readonly nodeName: string;
  readonly victims: readonly Pod[];
  readonly violations: number;
};

/** @param cure of a Pod that cannot be placed; the cluster is as it was when this returns */
export function planPreemption(
  pod: Pod,
  cluster: ClusterState,
  cure: Cure,
  context: PreemptionContext,
): Preemption {
  const reason = ineligibility(pod, cluster, cure, context);
  if (reason !== undefined) return { kind: 'ineligible', message: `not eligible due to ${reason}.` };
  const candidatesMax = Math.max(candidatesMin, Math.floor(cluster.size * candidatesShare));
  const budgets = [...context.budgets];
  const candidates: Candidate[] = [];
  const refusals: { readonly reason: string }[] = [];
  for (const node of cure.nodes) {
    const found = candidateOn(node, pod, cluster, cure, budgets);
    if ('victims' in found) candidates.push(found);
    else refusals.push(...found.refusals);
    if (candidates.length >= candidatesMax && candidates.some(({ violations }) => violations === 0)) break;
  }
  const [best] = candidates.toSorted(compareCandidates);
  if (best !== undefined) return { kind: 'preempt', nodeName: best.nodeName, victims: best.victims };
  for (let at = cure.nodes.length; at < cluster.size; at++)
    refusals.push({ reason: 'Preemption is not helpful for scheduling' });
  return { kind: 'helpless', message: unavailable(cluster, counted(refusals)) };
}

function ineligibility(
  pod: Pod,
  cluster: ClusterState,
  cure: Cure,
  { isLeaving }: PreemptionContext,
): string | undefined {
  if (pod.spec?.preemptionPolicy === 'Never') return 'preemptionPolicy=Never';
  const nominated = cluster.nominationOf(keyOf(pod))?.nodeName;
  const node = cure.nodes.find(({ name }) => name === nominated);
  const isAwaited = lowerOn(node, pod).some(isLeaving);
  return isAwaited ? 'a terminating pod on the nominated node' : undefined;
}

function lowerOn(node: NodeState | undefined, pod: Pod): readonly Pod[] {
  return [...(node?.pods.values() ?? [])].filter((other) => priorityOf(other) < priorityOf(pod));
}

/** All that are less important leave in thought; then they come back one by one, where that leaves room for the Pod. */
function candidateOn(
  node: NodeState,
  pod: Pod,
  cluster: ClusterState,
  cure: Cure,
  budgets: readonly PodDisruptionBudget[],
): Candidate | { readonly refusals: readonly { readonly reason: string }[] } {
  const lower = lowerOn(node, pod).toSorted(compareImportance);
  if (lower.length === 0) return { refusals: [{ reason: 'No preemption victims found for incoming pod' }] };
  const { violating, others } = splitByBudgets(lower, budgets);
  return cluster.supposing([], lower, () => {
    const refusals: readonly Refusal[] = cure.refusals(node);
    if (refusals.length > 0) return { refusals };
    const leaves = (one: Pod): boolean => {
      cluster.setPod(keyOf(one), one);
      if (cure.refusals(node).length === 0) return false;
      cluster.setPod(keyOf(one), undefined);
      return true;
    };
    const violations = violating.filter(leaves);
    const victims = [...violations, ...others.filter(leaves)].toSorted(compareImportance);
    return { nodeName: node.name, victims, violations: violations.length };
  });
}

/** Those whose leaving breaks a budget, if all before them in the list leave too. */
function splitByBudgets(
  pods: readonly Pod[],
  budgets: readonly PodDisruptionBudget[],
): { readonly violating: readonly Pod[]; readonly others: readonly Pod[] } {
  const left = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const violating: Pod[] = [];
  const others: Pod[] = [];
  for (const pod of pods) {
    let breaks = false;
    for (const budget of budgets) {
      if (!covers(budget, pod)) continue;
      const allowed = (left.get(budget) ?? 0) - 1;
      left.set(budget, allowed);
      breaks ||= allowed < 0;
    }
    (breaks ? violating : others).push(pod);
  }
  return { violating, others };
}

/** An eviction that the API server has granted already is counted in the budget; an empty selector means no Pod here. */
function covers({ metadata, spec, status }: PodDisruptionBudget, pod: Pod): boolean {
  const { namespace, name = '', labels } = pod.metadata ?? {};
  if (metadata?.namespace !== namespace || Object.keys(labels ?? {}).length === 0) return false;
  if (status?.disruptedPods?.[name] !== undefined) return false;
  const { matchLabels = {}, matchExpressions = [] } = spec?.selector ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return false;
  return matchesSelector(spec?.selector, labels);
}

/** The more important first: by priority, then who has run for longer. */
function compareImportance(a: Pod, b: Pod): number {
  return priorityOf(b) - priorityOf(a) || startedMs(a) - startedMs(b);
}

/** A Pod that has not started counts as the youngest. */
function startedMs({ status }: Pod): number {
  return status?.startTime === undefined ? Number.MAX_SAFE_INTEGER : Date.parse(status.startTime);
}

/** The one that hurts least first: each rule decides only among those that the rules before it leave equal. */
function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    a.violations - b.violations ||
    highestPriority(a) - highestPriority(b) ||
    prioritySum(a) - prioritySum(b) ||
    a.victims.length - b.victims.length ||
    earliestStartMs(b) - earliestStartMs(a)
  );
}

function highestPriority({ victims }: Candidate): number {
  return victims[0] === undefined ? -(2 ** 31) : priorityOf(victims[0]);
}

/** Every victim weighs something, also one whose priority is negative. */
function prioritySum({ victims }: Candidate): number {
  return victims.reduce((sum, victim) => sum + priorityOf(victim) + 2 ** 31, 0);
}

/** Of the most important victims. */
function earliestStartMs(candidate: Candidate): number {
  const highest = highestPriority(candidate);
  const starts = candidate.victims.filter((pod) => priorityOf(pod) === highest).map(startedMs);
  return Math.min(...starts);
}
