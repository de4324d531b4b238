/**
 * A merge patch from one status to another, undefined if they are equal. Members are compared as JSON text, so their
 * order of keys must be stable, as that of objects which one function builds is.
 */
export function statusPatch(old: object | undefined, next: object): { readonly status: object } | undefined {
  const before: Readonly<Record<string, unknown>> = { ...old };
  const after: Readonly<Record<string, unknown>> = { ...next };
  const patch: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (canonicalJson(before[key]) !== canonicalJson(after[key])) patch[key] = after[key] ?? null;
  }
  return Object.keys(patch).length === 0 ? undefined : { status: patch };
}

/** JSON text with sorted keys and without undefined members: equal for equal values. */
export function canonicalJson(value: unknown): string {
  if (value === undefined) return 'null';
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** Zero counts are left out of a status, as Kubernetes does. */
export function nonZero(count: number): number | undefined {
  return count === 0 ? undefined : count;
}
