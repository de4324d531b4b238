/**
 * Which endpoint gets the next request: plain round robin, except that an endpoint with many more requests under way
 * than its successor is passed over once. So equal endpoints get equal shares, and a slow one gets fewer.
 */

/** What balancing needs to know of an endpoint. The values change between calls. */
export type Candidate = {
  /** Requests under way. */
  readonly pending: number;
  /** Not to be asked now: it has just refused a connection, or is at its connection limit. */
  readonly avoided: boolean;
};

/** By how many requests an endpoint must be busier than the next one to be passed over. */
export const pendingDifferenceMin = 4;

/**
 * Index of the chosen endpoint, or -1 if every one is excluded. Avoided ones are taken only if all others are excluded.
 * @param cursor grows by one a request; any integer of 0 or more
 * @param excluded those that this request has tried in vain; usually undefined
 */
export function pickEndpoint(
  candidates: readonly Candidate[],
  cursor: number,
  excluded: ReadonlySet<Candidate> | undefined,
): number {
  const count = candidates.length;
  if (count === 0) return -1;
  const start = cursor % count;
  let fallback = -1;
  let first = -1;
  for (let step = 0; step < count; step += 1) {
    const index = start + step < count ? start + step : start + step - count;
    const candidate = candidates[index]!;
    if (excluded?.has(candidate)) continue;
    if (candidate.avoided) {
      if (fallback === -1) fallback = index;
      continue;
    }
    if (first === -1) {
      first = index;
      continue;
    }
    return candidate.pending + pendingDifferenceMin <= candidates[first]!.pending ? index : first;
  }
  return first === -1 ? fallback : first;
}
