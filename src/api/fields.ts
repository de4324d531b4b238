import { isJsonObject, type Json, type JsonObject } from './object.ts';

/** Reading and defaulting of half-filled JSON objects: an absent or odd value on the way reads as absent. */

function at(value: Json | undefined, path: readonly string[]): Json | undefined {
  let here = value;
  for (const key of path) {
    if (!isJsonObject(here)) return undefined;
    here = here[key];
  }
  return here;
}

export function objectAt(value: Json | undefined, ...path: readonly string[]): JsonObject | undefined {
  const found = at(value, path);
  return isJsonObject(found) ? found : undefined;
}

/** Elements that are objects; none when there is no list. */
export function objectsAt(value: Json | undefined, ...path: readonly string[]): readonly JsonObject[] {
  const found = at(value, path);
  return Array.isArray(found) ? found.filter(isJsonObject) : [];
}

export function listAt(value: Json | undefined, ...path: readonly string[]): readonly Json[] {
  const found = at(value, path);
  return Array.isArray(found) ? found : [];
}

/** '' when absent. */
export function stringAt(value: Json | undefined, ...path: readonly string[]): string {
  const found = at(value, path);
  return typeof found === 'string' ? found : '';
}

export function stringsAt(value: Json | undefined, ...path: readonly string[]): readonly string[] {
  return listAt(value, ...path).filter((item) => typeof item === 'string');
}

export function numberAt(value: Json | undefined, ...path: readonly string[]): number | undefined {
  const found = at(value, path);
  return typeof found === 'number' ? found : undefined;
}

export function boolAt(value: Json | undefined, ...path: readonly string[]): boolean {
  return at(value, path) === true;
}

/** The pairs of a map of strings; other values are left out. */
export function stringMapAt(
  value: Json | undefined,
  ...path: readonly string[]
): Readonly<Record<string, string>> {
  const entries = Object.entries(objectAt(value, ...path) ?? {});
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** Sets a field that is absent. */
export function setDefault(object: JsonObject, key: string, value: Json): void {
  if (object[key] === undefined || object[key] === null) object[key] = value;
}

/** The object under `key`, made when absent. */
export function ensureObject(object: JsonObject, key: string): JsonObject {
  const found = object[key];
  if (isJsonObject(found)) return found;
  const made: JsonObject = {};
  object[key] = made;
  return made;
}

/** Deep equality of JSON values; the order of keys does not matter. An absent field equals null. */
export function jsonEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return (
      Array.isArray(b) && a.length === b.length && a.every((item, position) => jsonEqual(item, b[position]))
    );
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return (a ?? null) === (b ?? null);
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => jsonEqual(a[key], b[key]));
}
