import type { Service } from '../api/gen/core-v1.ts';
import type { Condition } from '../api/gen/meta-v1.ts';

/** What a condition that is True should say. */
export type ConditionText = { readonly reason: string; readonly message: string };

/**
 * The Service's conditions with the one of this type as it should be: True with these words, or, `wanted` undefined, not there.
 * Those of others stay. undefined: they are so already. lastTransitionTime moves with the status alone.
 */
export function planCondition(
  service: Service,
  type: string,
  wanted: ConditionText | undefined,
  nowText: string,
): readonly Condition[] | undefined {
  const all = service.status?.conditions ?? [];
  const others = all.filter((condition) => condition.type !== type);
  const old = all.find((condition) => condition.type === type);
  if (wanted === undefined) return old === undefined ? undefined : others;
  const { generation } = service.metadata ?? {};
  const isSame =
    old?.status === 'True' &&
    old.reason === wanted.reason &&
    old.message === wanted.message &&
    old.observedGeneration === generation;
  if (isSame) return undefined;
  const condition: Condition = {
    type,
    status: 'True',
    reason: wanted.reason,
    message: wanted.message,
    lastTransitionTime: old?.status === 'True' ? old.lastTransitionTime : nowText,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
  return [...others, condition];
}

/**
 * The body of a merge patch. Several controllers write conditions of one Service, and a merge patch replaces the list: with the
 * version it meets a Conflict where another one was first.
 */
export function conditionsPatch(service: Service, conditions: readonly Condition[]) {
  return {
    metadata: { resourceVersion: service.metadata?.resourceVersion },
    status: { conditions: conditions.length === 0 ? null : conditions },
  };
}
