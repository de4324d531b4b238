import type { Node, NodeCondition, Pod, Taint } from '../../api/gen/core-v1.ts';
import { rfc3339 } from '../../base/clock.ts';
import { tolerates } from '../scheduler/node-match.ts';
import { canonicalJson } from '../status-patch.ts';

const conditionTypes = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'] as const;
const taintKeys = {
  notReady: 'node.kubernetes.io/not-ready',
  unreachable: 'node.kubernetes.io/unreachable',
  unschedulable: 'node.kubernetes.io/unschedulable',
  memory: 'node.kubernetes.io/memory-pressure',
  disk: 'node.kubernetes.io/disk-pressure',
  pid: 'node.kubernetes.io/pid-pressure',
  network: 'node.kubernetes.io/network-unavailable',
} as const;
const ownedKeys: ReadonlySet<string> = new Set(Object.values(taintKeys));

/** The conditions of a node that has fallen silent; undefined if they say so already. */
export function silentConditions(node: Node, nowMs: number): readonly NodeCondition[] | undefined {
  const old = node.status?.conditions ?? [];
  const now = rfc3339(nowMs);
  const others = old.filter(({ type }) => !conditionTypes.some((known) => known === type));
  const unknown = conditionTypes.map((type): NodeCondition => {
    const before = old.find((condition) => condition.type === type);
    if (before?.status === 'Unknown') return before;
    const never = before === undefined;
    return {
      type,
      status: 'Unknown',
      reason: never ? 'NodeStatusNeverUpdated' : 'NodeStatusUnknown',
      message: never ? 'Kubelet never posted node status.' : 'Kubelet stopped posting node status.',
      lastHeartbeatTime: before?.lastHeartbeatTime ?? node.metadata?.creationTimestamp,
      lastTransitionTime: now,
    };
  });
  const next = [...others, ...unknown];
  const byType = (list: readonly NodeCondition[]) =>
    canonicalJson(list.toSorted((a, b) => (a.type < b.type ? -1 : 1)));
  return byType(next) === byType(old) ? undefined : next;
}

/** The taints that a node should have; those that are not about its conditions stay. Undefined: as it is. */
export function planTaints(node: Node, nowMs: number): readonly Taint[] | undefined {
  const statusOf = (type: string) =>
    node.status?.conditions?.find((condition) => condition.type === type)?.status;
  const wanted: { readonly key: string; readonly effect: string }[] = [];
  const ready = statusOf('Ready');
  if (ready === 'False' || ready === 'Unknown') {
    const key = ready === 'False' ? taintKeys.notReady : taintKeys.unreachable;
    wanted.push({ key, effect: 'NoSchedule' }, { key, effect: 'NoExecute' });
  } else if (ready === undefined) {
    wanted.push({ key: taintKeys.notReady, effect: 'NoSchedule' });
  }
  if (node.spec?.unschedulable === true) wanted.push({ key: taintKeys.unschedulable, effect: 'NoSchedule' });
  if (statusOf('MemoryPressure') === 'True') wanted.push({ key: taintKeys.memory, effect: 'NoSchedule' });
  if (statusOf('DiskPressure') === 'True') wanted.push({ key: taintKeys.disk, effect: 'NoSchedule' });
  if (statusOf('PIDPressure') === 'True') wanted.push({ key: taintKeys.pid, effect: 'NoSchedule' });
  if (statusOf('NetworkUnavailable') === 'True')
    wanted.push({ key: taintKeys.network, effect: 'NoSchedule' });

  const old = node.spec?.taints ?? [];
  const foreign = old.filter(({ key }) => !ownedKeys.has(key));
  const own = wanted.map(({ key, effect }): Taint => {
    const kept = old.find((taint) => taint.key === key && taint.effect === effect);
    return kept ?? { key, effect, ...(effect === 'NoExecute' ? { timeAdded: rfc3339(nowMs) } : {}) };
  });
  const next = [...foreign, ...own];
  const sorted = (taints: readonly Taint[]) =>
    canonicalJson(taints.map((taint) => canonicalJson(taint)).toSorted());
  return sorted(next) === sorted(old) ? undefined : next;
}

/**
 * When a Pod must leave a node with these taints, ms since the epoch: undefined never, the past at once.
 * The shortest tolerationSeconds counts from when the taint was added.
 */
export function evictionTimeMs(pod: Pod, taints: readonly Taint[], nowMs: number): number | undefined {
  let evictAtMs: number | undefined;
  for (const taint of taints.filter(({ effect }) => effect === 'NoExecute')) {
    const matching = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return nowMs;
    const seconds = matching.flatMap(({ tolerationSeconds }) => tolerationSeconds ?? []);
    if (seconds.length === 0) continue;
    const sinceMs = taint.timeAdded === undefined ? nowMs : Date.parse(taint.timeAdded);
    const atMs = sinceMs + Math.max(0, Math.min(...seconds)) * 1000;
    evictAtMs = Math.min(evictAtMs ?? atMs, atMs);
  }
  return evictAtMs;
}
