import { child, duplicate, index, invalid, mapKey, notOneOf, required, tooMany } from '../field-errors.ts';
import { boolAt, jsonEqual, listAt, numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { cidrProblems, isIPv4, isIPv6 } from '../names.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';

/** Errors of one object at most: a list of a thousand wrong items needs no thousand lines. */
const errorsMax = 100;

/**
 * Checks a value against an OpenAPI v3 schema, in the words of apiextensions. Never throws. `old`: what was there before
 * an update; a part that did not change is not checked again, so that a stricter schema does not lock old objects.
 */
export function validateBySchema(
  schema: JsonObject,
  value: Json,
  path: string,
  old?: Json,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  check({ errors }, schema, value, path, old);
  return errors.slice(0, errorsMax);
}

type Walk = { readonly errors: FieldError[] };

function check(walk: Walk, schema: JsonObject, value: Json, path: string, old?: Json): void {
  if (walk.errors.length >= errorsMax) return;
  if (old !== undefined && jsonEqual(value, old)) return;
  if (value === null && schema['nullable'] === true) return;
  if (!checkType(walk, schema, value, path)) return;
  checkEnum(walk, schema, value, path);
  if (typeof value === 'string') checkText(walk, schema, value, path);
  else if (typeof value === 'number') checkNumber(walk, schema, value, path);
  else if (Array.isArray(value)) checkList(walk, schema, value, path, old);
  else if (isJsonObject(value)) checkObject(walk, schema, value, path, old);
  checkCombined(walk, schema, value, path);
}

function typeOf(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function checkType(walk: Walk, schema: JsonObject, value: Json, path: string): boolean {
  const found = typeOf(value);
  if (boolAt(schema, 'x-kubernetes-int-or-string')) {
    if (found === 'integer' || found === 'string') return true;
    return typeError(walk, value, path, 'integer,string', found);
  }
  const wanted = stringAt(schema, 'type');
  if (wanted === '' || wanted === found || (wanted === 'number' && found === 'integer')) return true;
  return typeError(walk, value, path, wanted, found);
}

function typeError(walk: Walk, value: Json, path: string, wanted: string, found: string): false {
  const quoted = JSON.stringify(typeof value === 'object' && value !== null ? found : value);
  walk.errors.push({
    type: 'FieldValueTypeInvalid',
    field: path,
    message: `Invalid value: ${quoted}: ${path === '' ? '<root>' : path} in body must be of type ${wanted}: ${JSON.stringify(found)}`,
  });
  return false;
}

function checkEnum(walk: Walk, schema: JsonObject, value: Json, path: string): void {
  const allowed = listAt(schema, 'enum');
  if (allowed.length === 0 || allowed.some((item) => jsonEqual(item, value))) return;
  const texts = allowed.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)));
  walk.errors.push(notOneOf(path, value, texts)); // in the schema's order
}

function say(walk: Walk, path: string, value: Json, detail: string): void {
  walk.errors.push(invalid(path, value, `${path} in body ${detail}`));
}

const formats: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': (text) => /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d/.test(text) && !Number.isNaN(Date.parse(text)),
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  ipv4: isIPv4,
  ipv6: isIPv6,
  cidr: (text) => cidrProblems(text).length === 0,
  email: (text) => /^[^\s@]+@[^\s@]+$/.test(text),
  hostname: (text) => /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,252}[a-zA-Z0-9])?$/.test(text),
  uri: (text) => URL.canParse(text),
  uuid: (text) => /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(text),
  byte: (text) => /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0,
  duration: (text) => /^-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text),
};

function checkText(walk: Walk, schema: JsonObject, value: string, path: string): void {
  const length = Array.from(value).length;
  const most = numberAt(schema, 'maxLength');
  const least = numberAt(schema, 'minLength');
  if (most !== undefined && length > most) {
    walk.errors.push({
      type: 'FieldValueTooLong',
      field: path,
      message: `Too long: may not be more than ${most} bytes`,
    });
  }
  if (least !== undefined && length < least) {
    say(walk, path, value, `should be at least ${least} chars long`);
  }
  const pattern = stringAt(schema, 'pattern');
  if (pattern !== '' && compiledPattern(pattern)?.test(value) !== true) {
    say(walk, path, value, `should match '${pattern}'`);
  }
  const format = stringAt(schema, 'format');
  if (formats[format]?.(value) === false)
    say(walk, path, value, `must be of type ${format}: ${JSON.stringify(value)}`);
}

/** Patterns that were compiled once. Bound: patternsMax; past it all are forgotten. */
const patterns = new Map<string, RegExp | undefined>();
const patternsMax = 1000;

/** Undefined when the pattern is none. Go's syntax, as far as it is the same. */
export function compiledPattern(text: string): RegExp | undefined {
  if (patterns.has(text)) return patterns.get(text);
  if (patterns.size >= patternsMax) patterns.clear();
  let pattern: RegExp | undefined;
  try {
    pattern = new RegExp(text.replaceAll('\\z', '$').replaceAll('\\A', '^'), 'u');
  } catch {
    try {
      pattern = new RegExp(text);
    } catch {
      pattern = undefined; // told when the definition is made
    }
  }
  patterns.set(text, pattern);
  return pattern;
}

function checkNumber(walk: Walk, schema: JsonObject, value: number, path: string): void {
  const most = numberAt(schema, 'maximum');
  const least = numberAt(schema, 'minimum');
  if (most !== undefined && (boolAt(schema, 'exclusiveMaximum') ? value >= most : value > most)) {
    const bound = boolAt(schema, 'exclusiveMaximum') ? 'less than' : 'less than or equal to';
    say(walk, path, value, `should be ${bound} ${most}`);
  }
  if (least !== undefined && (boolAt(schema, 'exclusiveMinimum') ? value <= least : value < least)) {
    const bound = boolAt(schema, 'exclusiveMinimum') ? 'greater than' : 'greater than or equal to';
    say(walk, path, value, `should be ${bound} ${least}`);
  }
  const factor = numberAt(schema, 'multipleOf');
  if (factor !== undefined && Math.abs(value / factor - Math.round(value / factor)) > 1e-9) {
    say(walk, path, value, `should be a multiple of ${factor}`);
  }
  const format = stringAt(schema, 'format');
  if (format === 'int32' && (value > 2_147_483_647 || value < -2_147_483_648)) {
    say(walk, path, value, 'must be of type int32');
  }
}

function checkList(walk: Walk, schema: JsonObject, value: readonly Json[], path: string, old?: Json): void {
  const most = numberAt(schema, 'maxItems');
  const least = numberAt(schema, 'minItems');
  if (most !== undefined && value.length > most) walk.errors.push(tooMany(path, value.length, most));
  if (least !== undefined && value.length < least) {
    say(walk, path, value.length, `should have at least ${least} items`);
  }
  const items = objectAt(schema, 'items');
  if (items !== undefined) {
    const before = counterparts(schema, old);
    value.forEach((item, at) => check(walk, items, item, index(path, at), before(item)));
  }
  checkListType(walk, schema, value, path);
}

/** Finds the element of the old list that an element was: only lists with keys can tell. */
export function counterparts(schema: JsonObject, old: Json | undefined): (item: Json) => Json | undefined {
  const keys = stringsAt(schema, 'x-kubernetes-list-map-keys');
  if (keys.length === 0 || !Array.isArray(old)) return () => undefined;
  const keyOf = (item: Json): string =>
    JSON.stringify(keys.map((name) => (isJsonObject(item) ? (item[name] ?? null) : null)));
  const byKey = new Map(old.toReversed().map((item): [string, Json] => [keyOf(item), item]));
  return (item) => byKey.get(keyOf(item));
}

function checkListType(walk: Walk, schema: JsonObject, value: readonly Json[], path: string): void {
  const type = stringAt(schema, 'x-kubernetes-list-type');
  if (type !== 'set' && type !== 'map') return;
  const keys = stringsAt(schema, 'x-kubernetes-list-map-keys');
  const properties = objectAt(schema, 'items', 'properties') ?? {};
  const seen = new Set<string>();
  value.forEach((item, at) => {
    const identity: Json =
      type === 'set'
        ? item
        : Object.fromEntries(
            keys.flatMap((name): [string, Json][] => {
              const own = isJsonObject(item) ? item[name] : undefined;
              const known = own ?? objectAt(properties, name)?.['default'];
              return known === undefined ? [] : [[name, known]];
            }),
          );
    const text = JSON.stringify(identity);
    if (seen.has(text)) walk.errors.push(duplicate(index(path, at), identity));
    seen.add(text);
  });
}

function checkObject(walk: Walk, schema: JsonObject, value: JsonObject, path: string, old?: Json): void {
  for (const name of stringsAt(schema, 'required')) {
    if (!Object.hasOwn(value, name)) walk.errors.push(required(child(path, name)));
  }
  const count = Object.keys(value).length;
  const most = numberAt(schema, 'maxProperties');
  const least = numberAt(schema, 'minProperties');
  if (most !== undefined && count > most) walk.errors.push(tooMany(path, count, most));
  if (least !== undefined && count < least)
    say(walk, path, count, `should have at least ${least} properties`);
  const properties = objectAt(schema, 'properties') ?? {};
  const additional = schema['additionalProperties'];
  for (const [key, item] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    const before = isJsonObject(old) && Object.hasOwn(old, key) ? old[key] : undefined;
    if (isJsonObject(property)) check(walk, property, item, child(path, key), before);
    else if (isJsonObject(additional)) check(walk, additional, item, mapKey(path, key), before);
  }
  if (boolAt(schema, 'x-kubernetes-embedded-resource')) checkEmbedded(walk, value, path);
}

function checkEmbedded(walk: Walk, value: JsonObject, path: string): void {
  for (const field of ['apiVersion', 'kind']) {
    if (stringAt(value, field) === '') walk.errors.push(required(child(path, field), 'must not be empty'));
  }
}

function passes(schema: JsonObject, value: Json): boolean {
  return validateBySchema(schema, value, '').length === 0;
}

function checkCombined(walk: Walk, schema: JsonObject, value: Json, path: string): void {
  for (const part of objectsAt(schema, 'allOf')) check(walk, part, value, path);
  const any = objectsAt(schema, 'anyOf');
  if (any.length > 0 && !any.some((part) => passes(part, value))) {
    say(walk, path, describe(value), 'must validate at least one schema (anyOf)');
  }
  const one = objectsAt(schema, 'oneOf');
  if (one.length > 0 && one.filter((part) => passes(part, value)).length !== 1) {
    say(walk, path, describe(value), 'must validate one and only one schema (oneOf)');
  }
  const not = objectAt(schema, 'not');
  if (not !== undefined && passes(not, value))
    say(walk, path, describe(value), 'must not validate the schema (not)');
}

function describe(value: Json): Json {
  return typeof value === 'object' && value !== null ? typeOf(value) : value;
}
