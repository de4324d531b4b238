import { boolAt, objectAt, stringAt } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';

/** JSON as the Common Expression Language sees it: integers of their own type, names that an expression can spell. */

/** Words that CEL keeps for itself; a field of that name is `__word__`. */
const reserved: ReadonlySet<string> = new Set([
  ...['true', 'false', 'null', 'in', 'as', 'break', 'const', 'continue', 'else', 'for', 'function', 'if'],
  ...['import', 'let', 'loop', 'package', 'namespace', 'return', 'var', 'void', 'while'],
]);

export function celValue(schema: JsonObject, value: Json, isRoot = false): unknown {
  if (Array.isArray(value)) {
    const items = objectAt(schema, 'items') ?? {};
    return value.map((item) => celValue(items, item));
  }
  if (isJsonObject(value)) return celObject(schema, value, isRoot);
  if (typeof value === 'number') return celNumber(schema, value);
  return value;
}

function celNumber(schema: JsonObject, value: number): number | bigint {
  if (stringAt(schema, 'type') === 'number') return value;
  return Number.isInteger(value) ? BigInt(value) : value;
}

function celObject(schema: JsonObject, value: JsonObject, isRoot: boolean): Record<string, unknown> {
  const properties = objectAt(schema, 'properties') ?? {};
  const additional = objectAt(schema, 'additionalProperties');
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (isJsonObject(property)) result[fieldName(key)] = celValue(property, item);
    else if (additional !== undefined) result[key] = celValue(additional, item);
    // Of what the schema does not describe, rules see no more than what names the object.
    else if (isRoot || boolAt(schema, 'x-kubernetes-embedded-resource')) {
      if (key === 'apiVersion' || key === 'kind') result[key] = item;
      if (key === 'metadata') result[key] = namesOf(item);
    } else if (schema['additionalProperties'] === true) result[key] = celValue({}, item);
  }
  return result;
}

function namesOf(metadata: Json): JsonObject {
  if (!isJsonObject(metadata)) return {};
  const { name, generateName } = metadata;
  return { ...(name === undefined ? {} : { name }), ...(generateName === undefined ? {} : { generateName }) };
}

function fieldName(key: string): string {
  if (reserved.has(key)) return `__${key}__`;
  return key
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

/** Values in it, a text counting a part of its length: the measure of what a rule may have to look at. At least 1. */
export function sizeOf(value: Json): number {
  if (typeof value === 'string') return 1 + Math.floor(value.length / 64);
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + sizeOf(item), 1);
  if (!isJsonObject(value)) return 1;
  return Object.values(value).reduce<number>((sum, item) => sum + sizeOf(item), 1);
}
