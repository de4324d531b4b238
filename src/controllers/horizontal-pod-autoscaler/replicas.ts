import type { Pod } from '../../api/gen/core-v1.ts';
import { podCondition } from '../pod-status.ts';

/** How many replicas a metric asks for. All amounts are thousandths of a unit, as Kubernetes counts here. */

/** What one Pod used. */
export type Sample = {
  readonly amount: number;
  readonly timestampMs: number;
  /** The time before `timestampMs` that it covers. */
  readonly windowMs: number;
};

/** By name of the Pod. */
export type Samples = ReadonlyMap<string, Sample>;

/** Ratios from 1 − down to 1 + up change nothing. */
export type Tolerance = { readonly down: number; readonly up: number };

export type Recommendation = {
  readonly replicas: number;
  /** Percent of what the Pods ask for; undefined where the target is no percentage. */
  readonly utilization?: number | undefined;
  /** Of one Pod, or the value itself where the target is a value. */
  readonly amount: number;
};

/** Why there is no number, in Kubernetes' words. */
export type Failure = { readonly failure: string };

export type PodTarget =
  | { readonly kind: 'average'; readonly amount: number }
  | {
      readonly kind: 'utilization';
      readonly percent: number;
      readonly requests: ReadonlyMap<string, number>;
    };

/** A Pod's processor time is not looked at for this long after its start, unless it is ready. kube-controller-manager's own. */
const cpuInitializationMs = 5 * 60_000;
/** A Pod that was unready from this soon after its start on was never ready. kube-controller-manager's own. */
const initialReadinessDelayMs = 30_000;

type Groups = {
  readonly ready: number;
  readonly unready: readonly string[];
  readonly missing: readonly string[];
  readonly ignored: readonly string[];
};

/** @param resource `cpu` leaves out Pods that only start; other names do not */
export function groupPods(pods: readonly Pod[], samples: Samples, resource: string, nowMs: number): Groups {
  const groups = { ready: 0, unready: [] as string[], missing: [] as string[], ignored: [] as string[] };
  for (const pod of pods) {
    const name = pod.metadata?.name ?? '';
    const sample = samples.get(name);
    if (pod.metadata?.deletionTimestamp !== undefined || pod.status?.phase === 'Failed')
      groups.ignored.push(name);
    else if (pod.status?.phase === 'Pending') groups.unready.push(name);
    else if (sample === undefined) groups.missing.push(name);
    else if (resource === 'cpu' && isStarting(pod, sample, nowMs)) groups.unready.push(name);
    else groups.ready++;
  }
  return groups;
}

function isStarting(pod: Pod, sample: Sample, nowMs: number): boolean {
  const ready = podCondition(pod, 'Ready');
  const startMs = Date.parse(pod.status?.startTime ?? '');
  if (ready === undefined || Number.isNaN(startMs)) return true;
  const sinceMs = Date.parse(ready.lastTransitionTime ?? '') || 0;
  if (startMs + cpuInitializationMs > nowMs)
    return ready.status === 'False' || sample.timestampMs < sinceMs + sample.windowMs;
  return ready.status === 'False' && startMs + initialReadinessDelayMs > sinceMs;
}

/**
 * What Pods' own metrics ask for. Pods without a number count against the change: as much as their share when fewer replicas would
 * do, as nothing when more would.
 */
export function recommendByPods(
  input: {
    readonly pods: readonly Pod[];
    readonly samples: Samples;
    readonly resource: string;
    readonly current: number;
    readonly tolerance: Tolerance;
    readonly nowMs: number;
  },
  target: PodTarget,
): Recommendation | Failure {
  const { pods, samples, current, tolerance } = input;
  if (pods.length === 0) return { failure: 'no pods returned by selector while calculating replica count' };
  const { ready, unready, missing, ignored } = groupPods(pods, samples, input.resource, input.nowMs);
  const amounts = new Map([...samples].map(([name, { amount }]) => [name, amount]));
  for (const name of [...ignored, ...unready]) amounts.delete(name);
  if (amounts.size === 0)
    return { failure: 'did not receive metrics for targeted pods (pods might be unready)' };
  const first = readingOf(amounts, target);
  if (first === undefined) return { failure: 'no metrics returned matched known pods' };
  const { ratio, ...reading } = first;
  const countsUnready = unready.length > 0 && ratio > 1;
  if (!countsUnready && missing.length === 0) {
    return { ...reading, replicas: isWithin(tolerance, ratio) ? current : Math.ceil(ratio * ready) };
  }
  if (ratio < 1) for (const name of missing) amounts.set(name, fullShare(name, target));
  if (ratio > 1) for (const name of missing) amounts.set(name, 0);
  if (countsUnready) for (const name of unready) amounts.set(name, 0);
  const again = readingOf(amounts, target)?.ratio ?? ratio;
  const turned = (ratio < 1 && again > 1) || (ratio > 1 && again < 1);
  if (isWithin(tolerance, again) || turned) return { ...reading, replicas: current };
  const replicas = Math.ceil(again * amounts.size);
  const backwards = (again < 1 && replicas > current) || (again > 1 && replicas < current);
  return { ...reading, replicas: backwards ? current : replicas };
}

function readingOf(
  amounts: ReadonlyMap<string, number>,
  target: PodTarget,
): (Omit<Recommendation, 'replicas'> & { readonly ratio: number }) | undefined {
  let total = 0;
  if (target.kind === 'average') {
    for (const amount of amounts.values()) total += amount;
    const amount = Math.trunc(total / amounts.size);
    return { ratio: amount / target.amount, amount };
  }
  let requested = 0;
  let count = 0;
  for (const [name, amount] of amounts) {
    const request = target.requests.get(name);
    if (request === undefined) continue;
    total += amount;
    requested += request;
    count++;
  }
  if (requested === 0) return undefined;
  const utilization = Math.trunc((total * 100) / requested);
  return { ratio: utilization / target.percent, utilization, amount: Math.trunc(total / count) };
}

/** What a Pod without a number is taken to use before fewer replicas are recommended. */
function fullShare(name: string, target: PodTarget): number {
  if (target.kind === 'average') return target.amount;
  return Math.trunc(((target.requests.get(name) ?? 0) * Math.max(100, target.percent)) / 100);
}

/** What one value for all replicas together asks for. `replicas` 0: nothing runs that could be counted. */
export function recommendByValue(
  value: number,
  target: { readonly kind: 'value' | 'average'; readonly amount: number },
  input: { readonly pods: readonly Pod[]; readonly current: number; readonly tolerance: Tolerance },
): Recommendation {
  const { pods, current, tolerance } = input;
  if (target.kind === 'average') {
    const ratio = value / (target.amount * current);
    const replicas = isWithin(tolerance, ratio) ? current : Math.ceil(value / target.amount);
    return { replicas, amount: Math.ceil(value / Math.max(1, current)) };
  }
  const ratio = value / target.amount;
  if (current === 0) return { replicas: Math.ceil(ratio), amount: value };
  if (isWithin(tolerance, ratio)) return { replicas: current, amount: value };
  const ready = pods.filter(
    (pod) => pod.status?.phase === 'Running' && podCondition(pod, 'Ready')?.status === 'True',
  );
  return { replicas: Math.ceil(ratio * ready.length), amount: value };
}

function isWithin({ down, up }: Tolerance, ratio: number): boolean {
  return 1 - down <= ratio && ratio <= 1 + up;
}
