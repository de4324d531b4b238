import { isJsonObject, type Json, type JsonObject } from '../object.ts';

/**
 * Applies an RFC 7386 merge patch; `document` is not changed. Null deletes, objects merge, all else replaces. A key
 * `__proto__` is left out: assigning it would change the result's prototype instead of adding a field.
 */
export function applyMergePatch(document: Json, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  const result: JsonObject = isJsonObject(document) ? { ...document } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (key === '__proto__') continue;
    if (value === null) delete result[key];
    else result[key] = applyMergePatch(result[key] ?? null, value);
  }
  return result;
}
