import type {
  HorizontalPodAutoscalerSpec,
  HPAScalingPolicy,
  HPAScalingRules,
} from '../../api/gen/autoscaling-v2.ts';

/** How fast replicas may follow what metrics recommend. */

type Recommended = { readonly atMs: number; readonly replicas: number };
/** Replicas that came or went, as a positive number. */
type Change = { readonly atMs: number; readonly count: number };

/** What is remembered of one autoscaler. Entries past the longest window or period that is asked of them are dropped. */
export type History = {
  readonly recommended: readonly Recommended[];
  readonly ups: readonly Change[];
  readonly downs: readonly Change[];
};

export const emptyHistory: History = { recommended: [], ups: [], downs: [] };

export type Verdict = { readonly reason: string; readonly message: string };

export type Bounded = {
  readonly replicas: number;
  /** Of condition AbleToScale, which is True. */
  readonly able: Verdict;
  /** Of condition ScalingLimited. */
  readonly limited: Verdict & { readonly isLimited: boolean };
  readonly history: History;
};

/** How long the highest recommendation counts before replicas are taken away, s. kube-controller-manager's own. */
const downscaleStabilizationSeconds = 300;
/** Without a behavior replicas at most double at once, or go to this many. */
const upLimitMin = 4;

const settled: Verdict = {
  reason: 'ReadyForNewScale',
  message: 'recommended size matches current size',
};
const heldUp: Verdict = {
  reason: 'ScaleUpStabilized',
  message: 'recent recommendations were lower than current one, applying the lowest recent recommendation',
};
const heldDown: Verdict = {
  reason: 'ScaleDownStabilized',
  message: 'recent recommendations were higher than current one, applying the highest recent recommendation',
};
const verdicts = {
  ScaleUpLimit: 'the desired replica count is increasing faster than the maximum scale rate',
  ScaleDownLimit: 'the desired replica count is decreasing faster than the maximum scale rate',
  TooManyReplicas: 'the desired replica count is more than the maximum replica count',
  TooFewReplicas: 'the desired replica count is less than the minimum replica count',
  DesiredWithinRange: 'the desired count is within the acceptable range',
} as const;

/** What becomes of a recommendation now. */
export function boundReplicas(
  recommended: number,
  current: number,
  spec: HorizontalPodAutoscalerSpec,
  history: History,
  nowMs: number,
): Bounded {
  const { behavior } = spec;
  const steady = stabilize(recommended, current, spec, history, nowMs);
  const held = recommended >= current && behavior !== undefined ? heldUp : heldDown;
  const [replicas, reason] =
    behavior === undefined
      ? limitPlainly(steady, current, spec)
      : limit(steady, current, spec, history, nowMs);
  const windowMs = 1000 * Math.max(windowOf(behavior?.scaleUp, 0), downWindow(spec));
  return {
    replicas,
    able: steady === recommended ? settled : held,
    limited: { isLimited: replicas !== steady, reason, message: verdicts[reason] },
    history: {
      ...history,
      recommended: [
        ...history.recommended.filter(({ atMs }) => atMs > nowMs - windowMs),
        { atMs: nowMs, replicas: recommended },
      ],
    },
  };
}

/** The history after replicas were changed. */
export function afterChange(
  history: History,
  from: number,
  to: number,
  { behavior }: HorizontalPodAutoscalerSpec,
  nowMs: number,
): History {
  if (behavior === undefined) return history;
  const recent = (changes: readonly Change[], rules: HPAScalingRules | undefined): readonly Change[] => {
    const longestMs =
      1000 * Math.max(0, ...(rules?.policies ?? []).map(({ periodSeconds }) => periodSeconds));
    return changes.filter(({ atMs }) => atMs > nowMs - longestMs);
  };
  const ups = recent(history.ups, behavior.scaleUp);
  const downs = recent(history.downs, behavior.scaleDown);
  const change = { atMs: nowMs, count: Math.abs(to - from) };
  return {
    ...history,
    ups: to > from ? [...ups, change] : ups,
    downs: to < from ? [...downs, change] : downs,
  };
}

function windowOf(rules: HPAScalingRules | undefined, otherwise: number): number {
  return rules?.stabilizationWindowSeconds ?? otherwise;
}

function downWindow({ behavior }: HorizontalPodAutoscalerSpec): number {
  return windowOf(behavior?.scaleDown, downscaleStabilizationSeconds);
}

/** Up no further than all recommendations of a while agreed on, down no further than any of them. */
function stabilize(
  recommended: number,
  current: number,
  spec: HorizontalPodAutoscalerSpec,
  history: History,
  nowMs: number,
): number {
  const since = (seconds: number): readonly number[] =>
    history.recommended.filter(({ atMs }) => atMs > nowMs - seconds * 1000).map(({ replicas }) => replicas);
  const highest = Math.max(recommended, ...since(downWindow(spec)));
  if (spec.behavior === undefined) return highest;
  const lowest = Math.min(recommended, ...since(windowOf(spec.behavior.scaleUp, 0)));
  return Math.min(Math.max(current, lowest), highest);
}

type Reason = keyof typeof verdicts;

function limitPlainly(
  wanted: number,
  current: number,
  { minReplicas = 1, maxReplicas }: HorizontalPodAutoscalerSpec,
): readonly [number, Reason] {
  const upLimit = Math.max(2 * current, upLimitMin);
  if (wanted < minReplicas) return [minReplicas, 'TooFewReplicas'];
  if (wanted > Math.min(upLimit, maxReplicas))
    return upLimit < maxReplicas ? [upLimit, 'ScaleUpLimit'] : [maxReplicas, 'TooManyReplicas'];
  return [wanted, 'DesiredWithinRange'];
}

function limit(
  wanted: number,
  current: number,
  { minReplicas = 1, maxReplicas, behavior }: HorizontalPodAutoscalerSpec,
  history: History,
  nowMs: number,
): readonly [number, Reason] {
  if (wanted > current) {
    const upLimit = Math.max(current, rateLimit('up', current, behavior?.scaleUp, history, nowMs));
    if (wanted > Math.min(upLimit, maxReplicas))
      return upLimit < maxReplicas ? [upLimit, 'ScaleUpLimit'] : [maxReplicas, 'TooManyReplicas'];
  } else if (wanted < current) {
    const downLimit = Math.min(current, rateLimit('down', current, behavior?.scaleDown, history, nowMs));
    if (wanted < Math.max(downLimit, minReplicas))
      return downLimit > minReplicas ? [downLimit, 'ScaleDownLimit'] : [minReplicas, 'TooFewReplicas'];
  }
  return [wanted, 'DesiredWithinRange'];
}

/** How far policies let replicas go now, counted from where they were when each policy's period began. */
function rateLimit(
  direction: 'up' | 'down',
  current: number,
  rules: HPAScalingRules | undefined,
  { ups, downs }: History,
  nowMs: number,
): number {
  if (rules?.selectPolicy === 'Disabled') return current;
  const limits = (rules?.policies ?? []).map((policy) => {
    const countSince = (changes: readonly Change[]): number =>
      changes.reduce(
        (sum, { atMs, count }) => sum + (atMs > nowMs - policy.periodSeconds * 1000 ? count : 0),
        0,
      );
    return limitFrom(current - countSince(ups) + countSince(downs), direction, policy);
  });
  const isWide = rules?.selectPolicy !== 'Min';
  return isWide === (direction === 'up') ? Math.max(...limits) : Math.min(...limits);
}

function limitFrom(start: number, direction: 'up' | 'down', { type, value }: HPAScalingPolicy): number {
  if (direction === 'up') return type === 'Pods' ? start + value : Math.ceil((start * (100 + value)) / 100);
  return type === 'Pods' ? start - value : Math.trunc((start * (100 - value)) / 100);
}
