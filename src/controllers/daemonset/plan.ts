import type { DaemonSet, DaemonSetStatus } from '../../api/gen/apps-v1.ts';
import type { Node, Pod, Toleration } from '../../api/gen/core-v1.ts';
import { daemonSets } from '../../api/resource.ts';
import { intOrPercent } from '../deployment/scale.ts';
import { controllerReference } from '../ownership.ts';
import { isPodFinished, isPodReady, msUntilAvailable } from '../pod-status.ts';
import { revisionHashLabel } from '../revisions.ts';
import { matchesNodeSelection, untoleratedTaint } from '../scheduler/node-match.ts';
import { nonZero } from '../status-patch.ts';

export type DaemonSetPlan = {
  /** Names of nodes that get a Pod of the newest template. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  readonly status: DaemonSetStatus;
  readonly recheckAfterMs: number | undefined;
};

/** What every daemon's Pod tolerates: it belongs to the node, in whatever state that is. */
const nodeTolerations: readonly Toleration[] = [
  ...['not-ready', 'unreachable'].map((name) => ({
    key: `node.kubernetes.io/${name}`,
    operator: 'Exists',
    effect: 'NoExecute',
  })),
  ...['disk-pressure', 'memory-pressure', 'pid-pressure', 'unschedulable'].map((name) => ({
    key: `node.kubernetes.io/${name}`,
    operator: 'Exists',
    effect: 'NoSchedule',
  })),
];

/** One Pod on every node that the template fits; a new template replaces them within the bounds of the strategy. */
export function planDaemonSet(
  set: DaemonSet,
  nodes: Iterable<Node>,
  owned: readonly Pod[],
  updateRevision: string,
  nowMs: number,
): DaemonSetPlan {
  const rows = rowsOf(set, nodes, owned);
  const minReady = set.spec?.minReadySeconds ?? 0;
  const untilAvailable = (pod: Pod): number | undefined => msUntilAvailable(pod, minReady, nowMs);
  const isAvailable = (pod: Pod): boolean =>
    pod.metadata?.deletionTimestamp === undefined && untilAvailable(pod) === 0;
  const waits = owned.map(untilAvailable).filter((ms): ms is number => ms !== undefined && ms > 0);
  const status = statusOf(set, rows, updateRevision, isAvailable);
  const recheckAfterMs = waits.length === 0 ? undefined : Math.min(...waits);
  if (set.metadata?.deletionTimestamp !== undefined)
    return { create: [], remove: [], status, recheckAfterMs };
  const create: string[] = [];
  const remove: Pod[] = [];
  for (const { node, wanted, pods } of rows) {
    const alive = pods.filter((pod) => pod.metadata?.deletionTimestamp === undefined);
    const finished = alive.filter(isPodFinished);
    remove.push(...(wanted ? finished : alive));
    if (wanted && pods.length === 0) create.push(node);
  }
  if (set.spec?.updateStrategy?.type !== 'OnDelete') {
    const update = planUpdate(set, rows, updateRevision, isAvailable);
    create.push(...update.create);
    remove.push(...update.remove);
  }
  return { create, remove, status, recheckAfterMs };
}

type Row = { readonly node: string; readonly wanted: boolean; readonly pods: readonly Pod[] };

function rowsOf(set: DaemonSet, nodes: Iterable<Node>, owned: readonly Pod[]): readonly Row[] {
  const byNode = Map.groupBy(owned, targetNode);
  const rows: Row[] = [];
  for (const node of nodes) {
    const name = node.metadata?.name ?? '';
    const { fits, stays } = judgeNode(set, node);
    const pods = byNode.get(name) ?? [];
    byNode.delete(name);
    rows.push({ node: name, wanted: fits || (stays && pods.length > 0), pods });
  }
  for (const [node, pods] of byNode) rows.push({ node, wanted: false, pods }); // the node is gone
  return rows;
}

/** The node that the Pod is on or made for. */
export function targetNode(pod: Pod): string {
  if (pod.spec?.nodeName !== undefined && pod.spec.nodeName !== '') return pod.spec.nodeName;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const field = required?.nodeSelectorTerms[0]?.matchFields?.find(({ key }) => key === 'metadata.name');
  return field?.values?.[0] ?? '';
}

/** `fits`: a Pod may be made there. `stays`: one that is there is not driven away. */
function judgeNode(set: DaemonSet, node: Node): { readonly fits: boolean; readonly stays: boolean } {
  const spec = set.spec?.template.spec;
  const pod: Pod = { spec: { containers: [], ...spec } };
  if (spec?.nodeName !== undefined && spec.nodeName !== '' && spec.nodeName !== node.metadata?.name) {
    return { fits: false, stays: false };
  }
  if (!matchesNodeSelection(pod, node)) return { fits: false, stays: false };
  const tolerations = [...(spec?.tolerations ?? []), ...tolerationsOf(set)];
  const taints = node.spec?.taints;
  const driven = untoleratedTaint(tolerations, taints, ['NoExecute']) !== undefined;
  return {
    fits: !driven && untoleratedTaint(tolerations, taints, ['NoSchedule']) === undefined,
    stays: !driven,
  };
}

function tolerationsOf(set: DaemonSet): readonly Toleration[] {
  if (set.spec?.template.spec?.hostNetwork !== true) return nodeTolerations;
  const effect = 'NoSchedule';
  return [...nodeTolerations, { key: 'node.kubernetes.io/network-unavailable', operator: 'Exists', effect }];
}

function isUpdated(pod: Pod, updateRevision: string): boolean {
  return pod.metadata?.labels?.[revisionHashLabel] === updateRevision;
}

function planUpdate(
  set: DaemonSet,
  rows: readonly Row[],
  updateRevision: string,
  isAvailable: (pod: Pod) => boolean,
): { readonly create: readonly string[]; readonly remove: readonly Pod[] } {
  const wanted = rows.filter((row) => row.wanted);
  const { maxSurge = 0, maxUnavailable = 1 } = set.spec?.updateStrategy?.rollingUpdate ?? {};
  const surgeMax = intOrPercent(maxSurge, wanted.length, Math.ceil);
  let unavailableMax = intOrPercent(maxUnavailable, wanted.length, Math.ceil);
  if (surgeMax === 0 && unavailableMax === 0) unavailableMax = 1;
  const missing = wanted.filter(({ pods }) => !pods.some(isAvailable)).length;
  let room = unavailableMax - missing;
  let surging = wanted.filter(({ pods }) => pods.length > 1).length;
  const create: string[] = [];
  const remove: Pod[] = [];
  for (const { node, pods } of wanted) {
    const alive = pods.filter((pod) => pod.metadata?.deletionTimestamp === undefined && !isPodFinished(pod));
    const old = alive.filter((pod) => !isUpdated(pod, updateRevision));
    const fresh = alive.filter((pod) => isUpdated(pod, updateRevision));
    if (old.length === 0) {
      remove.push(...fresh.slice(1));
      continue;
    }
    if (fresh.some(isAvailable)) remove.push(...old);
    else if (surgeMax > 0) {
      if (fresh.length === 0 && pods.length === 1 && surging < surgeMax) {
        create.push(node);
        surging++;
      }
    } else if (!old.some(isAvailable)) {
      remove.push(...old); // serves nobody: replacing it costs nothing
    } else if (room > 0) {
      remove.push(...old);
      room--;
    }
  }
  return { create, remove };
}

function statusOf(
  set: DaemonSet,
  rows: readonly Row[],
  updateRevision: string,
  isAvailable: (pod: Pod) => boolean,
): DaemonSetStatus {
  const wanted = rows.filter((row) => row.wanted);
  const count = (holds: (pod: Pod) => boolean): number =>
    wanted.filter(({ pods }) => pods.some(holds)).length;
  const available = count(isAvailable);
  return {
    currentNumberScheduled: wanted.filter(({ pods }) => pods.length > 0).length,
    numberMisscheduled: rows.filter((row) => !row.wanted && row.pods.length > 0).length,
    desiredNumberScheduled: wanted.length,
    numberReady: count((pod) => pod.metadata?.deletionTimestamp === undefined && isPodReady(pod)),
    numberAvailable: nonZero(available),
    numberUnavailable: nonZero(wanted.length - available),
    updatedNumberScheduled: nonZero(count((pod) => isUpdated(pod, updateRevision))),
    observedGeneration: set.metadata?.generation,
    collisionCount: set.status?.collisionCount,
    conditions: set.status?.conditions,
  };
}

/** A Pod that the scheduler can put on this node only. */
export function podOfNode(set: DaemonSet, node: string, revision: string): Pod {
  const { metadata, spec } = set.spec?.template ?? {};
  const onNode = { key: 'metadata.name', operator: 'In', values: [node] };
  const affinity = spec?.affinity;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${set.metadata?.name ?? ''}-`,
      namespace: set.metadata?.namespace,
      labels: { ...metadata?.labels, [revisionHashLabel]: revision },
      annotations: metadata?.annotations,
      finalizers: metadata?.finalizers,
      ownerReferences: [controllerReference(daemonSets, set)],
    },
    spec: {
      containers: [],
      ...spec,
      affinity: {
        ...affinity,
        nodeAffinity: {
          ...affinity?.nodeAffinity,
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields: [onNode] }] },
        },
      },
      tolerations: [...(spec?.tolerations ?? []), ...tolerationsOf(set)],
    },
  };
}
