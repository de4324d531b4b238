import { isJsonObject, type Json } from '../object.ts';

/** JSON as an expression without a schema sees it: whole numbers are CEL's integers. A copy; names stay as they are. */
export function celJson(value: Json): unknown {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celJson);
  if (!isJsonObject(value)) return value;
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) result[key] = celJson(item);
  return result;
}

/** What an expression gave, back as JSON. Undefined: it has no form in JSON. */
export function jsonOfCel(value: unknown): Json | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) {
    const items = value.map(jsonOfCel);
    return items.every((item) => item !== undefined) ? items : undefined;
  }
  const entries =
    value instanceof Map ? [...value.entries()] : isPlain(value) ? Object.entries(value) : undefined;
  if (entries === undefined) return undefined;
  const pairs = entries.map(([key, item]): [string, Json | undefined] => [String(key), jsonOfCel(item)]);
  if (pairs.some(([, item]) => item === undefined)) return undefined;
  return Object.fromEntries(pairs) as Json;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Elements of the longest list, map or, for expressions that take texts apart, text: what one loop can run over. */
export function longestOf(value: Json, countTexts: boolean): number {
  if (typeof value === 'string') return countTexts ? value.length : 1;
  const items = Array.isArray(value) ? value : isJsonObject(value) ? Object.values(value) : [];
  let longest = Math.max(1, items.length);
  for (const item of items) longest = Math.max(longest, longestOf(item, countTexts));
  return longest;
}
