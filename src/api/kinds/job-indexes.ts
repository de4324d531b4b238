/** Completion indexes of a Job as text: "0-2,5", rising. */

export type IndexRange = { readonly from: number; readonly to: number };

/** The ranges of a text, or what is wrong with it. Indexes are below `completions`. */
export function parseIndexes(
  text: string,
  completions: number,
): { readonly ranges: readonly IndexRange[] } | { readonly problem: string } {
  const ranges: IndexRange[] = [];
  let last = -1;
  for (const part of text === '' ? [] : text.split(',')) {
    const ends = part.split('-');
    if (ends.length > 2) {
      const quoted = JSON.stringify(part);
      return {
        problem: `the fragment ${quoted} violates the requirement that an index interval can have at most two parts separated by '-'`,
      };
    }
    for (const end of ends) {
      const quoted = JSON.stringify(end);
      if (!/^\d{1,10}$/.test(end))
        return { problem: `cannot convert string to integer for index: ${quoted}` };
      if (Number(end) >= completions) return { problem: `too large index: ${quoted}` };
      if (last >= Number(end)) return { problem: `non-increasing order, previous: ${last}, current: ${end}` };
      last = Number(end);
    }
    ranges.push({ from: Number(ends[0]), to: last });
  }
  return { ranges };
}

export function countIndexes(ranges: readonly IndexRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
}

/** Sorted, runs joined; undefined where there are none. */
export function formatIndexes(indexes: ReadonlySet<number>): string | undefined {
  const sorted = [...indexes].toSorted((a, b) => a - b);
  const runs: { from: number; to: number }[] = [];
  for (const index of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && index === last.to + 1) last.to = index;
    else runs.push({ from: index, to: index });
  }
  if (runs.length === 0) return undefined;
  return runs.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}
