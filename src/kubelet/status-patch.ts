import { isDeepStrictEqual } from 'node:util';
import type { PodStatus } from '../api/gen/core-v1.ts';
import { passingConditions } from './pod-status.ts';

type PatchBody = { [key: string]: unknown };

/**
 * The strategic merge patch of a Pod's status that turns `old` into `next`, or undefined where nothing differs.
 * Conditions are merged by type, so those of others stay; a field that `next` lacks is taken out. `uid` makes the patch
 * fail on another Pod of the same name.
 */
export function planStatusPatch(
  uid: string | undefined,
  old: PodStatus | undefined,
  next: PodStatus,
): PatchBody | undefined {
  const status: PatchBody = {};
  const before = (old ?? {}) as Readonly<Record<string, unknown>>;
  for (const [key, value] of Object.entries(next)) {
    if (key === 'conditions' || isDeepStrictEqual(before[key], value)) continue;
    // These two lists are merged by ip: without the directive an address that is gone would stay.
    status[key] =
      key === 'podIPs' || key === 'hostIPs' ? [...(value as unknown[]), { $patch: 'replace' }] : value;
  }
  const conditions = changedConditions(old, next);
  if (conditions.length > 0) status['conditions'] = conditions;
  if (Object.keys(status).length === 0) return undefined;
  return { metadata: uid === undefined ? {} : { uid }, status };
}

function changedConditions(old: PodStatus | undefined, next: PodStatus): PatchBody[] {
  const gone = (old?.conditions ?? [])
    .filter(({ type }) => passingConditions.has(type))
    .filter(({ type }) => next.conditions?.some((one) => one.type === type) !== true)
    .map(({ type }): PatchBody => ({ type, $patch: 'delete' }));
  const changed = (next.conditions ?? []).flatMap((condition): PatchBody[] => {
    const before = old?.conditions?.find(({ type }) => type === condition.type);
    const same =
      before !== undefined &&
      before.status === condition.status &&
      before.reason === condition.reason &&
      before.message === condition.message &&
      before.observedGeneration === condition.observedGeneration;
    if (same) return [];
    return [{ ...condition, reason: condition.reason ?? null, message: condition.message ?? null }];
  });
  return [...changed, ...gone];
}
