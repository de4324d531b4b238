import { ageOf } from '../duration.ts';
import { stringAt } from '../fields.ts';
import type { Column } from '../kind.ts';

type Cell = Column['cell'];

export const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  priority: 0,
  description: 'Unique within the namespace, or within the cluster for a cluster-scoped kind.',
  cell: (object) => stringAt(object, 'metadata', 'name'),
};

export const ageColumn: Column = {
  name: 'Age',
  type: 'string',
  priority: 0,
  description: 'Time since the object was created.',
  cell: (object, nowMs) => ageOf(stringAt(object, 'metadata', 'creationTimestamp'), nowMs),
};

/** A column that is always shown. */
export function column(
  name: string,
  description: string,
  cell: Cell,
  type: Column['type'] = 'string',
): Column {
  return { name, type, priority: 0, description, cell };
}

/** A column of `-o wide`. */
export function wideColumn(name: string, description: string, cell: Cell): Column {
  return { name, type: 'string', priority: 1, description, cell };
}

/** What kubectl shows where a value is not there. */
export const noneText = '<none>';

export function orNone(text: string): string {
  return text === '' ? noneText : text;
}

/** `a=1,b=2`, sorted by key, or "<none>". */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return orNone(pairs.map(([key, value]) => `${key}=${value}`).join(','));
}

/** The first `shownMax` items, then `+ n more...`. */
export function abbreviated(items: readonly string[], shownMax: number): string {
  if (items.length === 0) return noneText;
  if (items.length <= shownMax) return items.join(',');
  return `${items.slice(0, shownMax).join(',')} + ${items.length - shownMax} more...`;
}

/** Columns of a kind that has nothing to say but its name and age. */
export const plainColumns: readonly Column[] = [nameColumn, ageColumn];
