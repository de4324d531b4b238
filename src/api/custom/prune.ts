import { boolAt, objectAt } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { checkStructure } from '../schema.ts';

/** What a structural schema does to a value: dropping what it does not name, and filling what is left out. */

const typeFields: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata']);

export type Pruned = { readonly value: Json; readonly unknownFields: readonly string[] };

/** A copy of `value` without the fields that the schema does not name; their paths in the order found. */
export function pruneBySchema(schema: JsonObject, value: Json, isRoot: boolean): Pruned {
  const unknownFields: string[] = [];
  return { value: prune(schema, value, '', isRoot, unknownFields), unknownFields };
}

function prune(schema: JsonObject, value: Json, path: string, isRoot: boolean, unknown: string[]): Json {
  if (Array.isArray(value)) {
    const items = objectAt(schema, 'items');
    if (items === undefined) return value;
    return value.map((item, at) => prune(items, item, `${path}[${at}]`, false, unknown));
  }
  if (!isJsonObject(value)) return value;
  const embedded = isRoot || boolAt(schema, 'x-kubernetes-embedded-resource');
  const keepsAll = boolAt(schema, 'x-kubernetes-preserve-unknown-fields');
  const properties = objectAt(schema, 'properties') ?? {};
  const additional = schema['additionalProperties'];
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const at = path === '' ? key : `${path}.${key}`;
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (embedded && typeFields.has(key)) {
      result[key] = key === 'metadata' && !isRoot ? pruneMetadata(item, at, unknown) : item;
    } else if (isJsonObject(property)) result[key] = prune(property, item, at, false, unknown);
    else if (isJsonObject(additional)) result[key] = prune(additional, item, at, false, unknown);
    else if (keepsAll || additional === true) result[key] = item;
    else unknown.push(at);
  }
  return result;
}

function pruneMetadata(metadata: Json, path: string, unknown: string[]): Json {
  const { pruned, unknownFields } = checkStructure('meta/v1.ObjectMeta', metadata);
  for (const field of unknownFields) unknown.push(`${path}.${field}`);
  return pruned;
}

/** Fills defaults in place, outermost first, so that defaults inside of defaults apply too. */
export function defaultBySchema(schema: JsonObject, value: Json): void {
  if (Array.isArray(value)) {
    const items = objectAt(schema, 'items');
    if (items !== undefined) for (const item of value) defaultBySchema(items, item);
    return;
  }
  if (!isJsonObject(value)) return;
  for (const [key, property] of Object.entries(objectAt(schema, 'properties') ?? {})) {
    if (!isJsonObject(property)) continue;
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    const fallback = property['default'];
    // A null where null is not allowed counts as left out, if there is something to put in its place.
    const isMissing = given === undefined || (given === null && property['nullable'] !== true);
    if (isMissing && fallback !== undefined) value[key] = structuredClone(fallback);
    const now = value[key];
    if (now !== undefined) defaultBySchema(property, now);
  }
  const additional = objectAt(schema, 'additionalProperties');
  if (additional === undefined) return;
  const properties = objectAt(schema, 'properties') ?? {};
  for (const [key, item] of Object.entries(value)) {
    if (!Object.hasOwn(properties, key)) defaultBySchema(additional, item);
  }
}

/** Whether defaultBySchema can fill anything. */
export function hasDefaults(schema: JsonObject): boolean {
  if (schema['default'] !== undefined) return true;
  const inner = [
    schema['items'],
    schema['additionalProperties'],
    ...Object.values(objectAt(schema, 'properties') ?? {}),
  ];
  return inner.some((value) => isJsonObject(value) && hasDefaults(value));
}
