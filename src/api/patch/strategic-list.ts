import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { badRequest } from '../status.ts';

/** The list half of strategic merge patch. Nothing here changes its inputs. */

export type KeyedMerge = {
  /** The field that names an element. */
  readonly mergeKey: string;
  /** All fields that together name an element; settles the case of several elements with one merge key. */
  readonly exactKeys: readonly string[];
  merge(item: JsonObject, change: JsonObject): JsonObject;
};

/** Merges `changes` by key; then orders as `order` says, or without one as the changes themselves stand. */
export function mergeKeyedList(
  base: readonly Json[],
  changes: readonly Json[],
  order: readonly Json[] | undefined,
  rules: KeyedMerge,
): Json[] {
  if (changes.some((change) => isJsonObject(change) && change['$patch'] === 'replace')) {
    return replaceWhole(changes, rules);
  }
  let result: Json[] = [...base];
  for (const change of changes) {
    if (!isJsonObject(change)) {
      throw badRequest(
        `expected an object with the merge key ${rules.mergeKey}, got ${JSON.stringify(change)}`,
      );
    }
    const key = change[rules.mergeKey];
    if (key === undefined) {
      throw badRequest(
        `map: ${JSON.stringify(change)} does not contain declared merge key: ${rules.mergeKey}`,
      );
    }
    const directive = change['$patch'];
    if (directive === 'delete') {
      result = result.filter((item) => !isJsonObject(item) || item[rules.mergeKey] !== key);
      continue;
    }
    if (directive !== undefined && directive !== 'merge') {
      throw badRequest(
        `unknown patch type ${JSON.stringify(directive)}: $patch is one of replace, delete, merge`,
      );
    }
    const at = findElement(result, change, rules);
    const old = result[at];
    if (isJsonObject(old)) result[at] = rules.merge(old, change);
    else result.push(rules.merge({}, change));
  }
  return reorder(result, order ?? changes.filter(isKept), base, rules.mergeKey);
}

function isKept(change: Json): boolean {
  return !isJsonObject(change) || change['$patch'] !== 'delete';
}

function replaceWhole(changes: readonly Json[], rules: KeyedMerge): Json[] {
  return changes
    .filter((change) => !isJsonObject(change) || change['$patch'] === undefined)
    .map((change) => (isJsonObject(change) ? rules.merge({}, change) : change));
}

/** Index of the element that the change means, or -1. */
function findElement(list: readonly Json[], change: JsonObject, rules: KeyedMerge): number {
  const first = list.findIndex(
    (item) => isJsonObject(item) && item[rules.mergeKey] === change[rules.mergeKey],
  );
  if (rules.exactKeys.length < 2 || first === -1) return first;
  const exact = list.findIndex(
    (item) => isJsonObject(item) && rules.exactKeys.every((key) => item[key] === change[key]),
  );
  return exact === -1 ? first : exact;
}

/** Union that keeps first occurrences; then ordered as `order` says, or without one as `added` stands. */
export function mergePrimitiveList(
  base: readonly Json[],
  added: readonly Json[],
  order: readonly Json[] | undefined,
): Json[] {
  const merged = [...new Set([...base, ...added])];
  return reorder(merged, order ?? added, base, undefined);
}

export function deleteItems(list: readonly Json[], unwanted: readonly Json[]): Json[] {
  const gone = new Set(unwanted);
  return list.filter((item) => !gone.has(item));
}

/**
 * Elements named by `order` come in that order; the others keep their place relative to those neighbours that stood in
 * `before` (the live list), and go to the end where nothing tells: what is new comes before what was there.
 */
export function reorder(
  list: readonly Json[],
  order: readonly Json[],
  before: readonly Json[],
  mergeKey: string | undefined,
): Json[] {
  const keyOf = (item: Json): Json =>
    mergeKey !== undefined && isJsonObject(item) ? (item[mergeKey] ?? null) : item;
  const rank = ranks(order, keyOf);
  const place = ranks(before, keyOf);
  const listed = list
    .filter((item) => rank.has(keyOf(item)))
    .toSorted((a, b) => (rank.get(keyOf(a)) ?? 0) - (rank.get(keyOf(b)) ?? 0));
  const others = list.filter((item) => !rank.has(keyOf(item)));
  const result: Json[] = [];
  let next = 0;
  for (const item of listed) {
    const here = place.get(keyOf(item));
    while (next < others.length && here !== undefined) {
      const other = others[next];
      const otherPlace = other === undefined ? undefined : place.get(keyOf(other));
      if (other === undefined || otherPlace === undefined || otherPlace > here) break;
      result.push(other);
      next++;
    }
    result.push(item);
  }
  return [...result, ...others.slice(next)];
}

function ranks(list: readonly Json[], keyOf: (item: Json) => Json): Map<Json, number> {
  const result = new Map<Json, number>();
  list.forEach((item, position) => {
    const key = keyOf(item);
    if (!result.has(key)) result.set(key, position);
  });
  return result;
}
