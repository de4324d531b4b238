import type { LabelSelector } from '../api/gen/meta-v1.ts';

type Labels = Readonly<Record<string, string>> | undefined;

/**
 * True if the labels satisfy the selector. An empty selector matches everything, undefined nothing
 * (metav1.LabelSelector).
 */
export function matchesSelector(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return false;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels?.[key] !== value) return false;
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const value = labels?.[key];
    switch (operator) {
      case 'In':
        if (value === undefined || values?.includes(value) !== true) return false;
        break;
      case 'NotIn':
        if (value !== undefined && values?.includes(value) === true) return false;
        break;
      case 'Exists':
        if (value === undefined) return false;
        break;
      case 'DoesNotExist':
        if (value !== undefined) return false;
        break;
      default:
        return false; // an operator that we do not know must not select too much
    }
  }
  return true;
}

/** True if every pair of `wanted` is among the labels: the old equality selectors of Services. Empty matches nothing. */
export function matchesLabels(wanted: Labels, labels: Labels): boolean {
  if (wanted === undefined) return false;
  let count = 0;
  for (const key in wanted) {
    if (labels?.[key] !== wanted[key]) return false;
    count++;
  }
  return count > 0;
}
