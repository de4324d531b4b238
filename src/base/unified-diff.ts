/** Lines around a change that are shown with it. */
const contextLines = 3;
/** Compared lines times lines; beyond, what lies between the common ends is shown as replaced. */
const cellsMax = 4_000_000;

/** One line of a diff: `' '` stays, `'-'` goes, `'+'` comes. */
type DiffLine = { readonly sign: ' ' | '-' | '+'; readonly text: string };

/** A unified diff of two texts, as `diff -u` prints it; '' if they are equal. Both must end with a newline or be ''. */
export function unifiedDiff(before: string, after: string, beforeName: string, afterName: string): string {
  if (before === after) return '';
  const lines = diffLines(linesOf(before), linesOf(after));
  const out = [`--- ${beforeName}`, `+++ ${afterName}`];
  for (const [from, to] of hunksOf(lines)) out.push(...renderHunk(lines, from, to));
  return `${out.join('\n')}\n`;
}

function linesOf(text: string): readonly string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

function diffLines(a: readonly string[], b: readonly string[]): readonly DiffLine[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const stay = (text: string): DiffLine => ({ sign: ' ', text });
  return [
    ...a.slice(0, start).map(stay),
    ...diffMiddle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map(stay),
  ];
}

/** By the longest common subsequence. */
function diffMiddle(a: readonly string[], b: readonly string[]): readonly DiffLine[] {
  const width = b.length + 1;
  const longest = new Uint32Array(a.length * b.length > cellsMax ? 0 : (a.length + 1) * width);
  if (longest.length > 0) {
    for (let i = a.length - 1; i >= 0; i -= 1) {
      for (let j = b.length - 1; j >= 0; j -= 1) {
        longest[i * width + j] =
          a[i] === b[j]
            ? longest[(i + 1) * width + j + 1]! + 1
            : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!);
      }
    }
  }
  const out: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ sign: ' ', text: a[i]! });
      i += 1;
      j += 1;
    } else if (
      j >= b.length ||
      (i < a.length && !(longest[i * width + j + 1]! > longest[(i + 1) * width + j]!))
    ) {
      out.push({ sign: '-', text: a[i]! });
      i += 1;
    } else {
      out.push({ sign: '+', text: b[j]! });
      j += 1;
    }
  }
  return out;
}

/** Ranges of lines to show: changes with what is around them, joined where they touch. */
function hunksOf(lines: readonly DiffLine[]): readonly (readonly [from: number, to: number])[] {
  const hunks: [number, number][] = [];
  for (const [index, { sign }] of lines.entries()) {
    if (sign === ' ') continue;
    const from = Math.max(0, index - contextLines);
    const to = Math.min(lines.length, index + contextLines + 1);
    const last = hunks.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = to;
    else hunks.push([from, to]);
  }
  return hunks;
}

function renderHunk(lines: readonly DiffLine[], from: number, to: number): readonly string[] {
  const count = (slice: readonly DiffLine[], other: '-' | '+'): number =>
    slice.filter(({ sign }) => sign !== other).length;
  const before = lines.slice(0, from);
  const shown = lines.slice(from, to);
  const range = (other: '-' | '+'): string => {
    const length = count(shown, other);
    return `${count(before, other) + (length === 0 ? 0 : 1)},${length}`;
  };
  return [`@@ -${range('+')} +${range('-')} @@`, ...shown.map(({ sign, text }) => `${sign}${text}`)];
}
