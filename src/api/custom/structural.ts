import { child, forbidden, index, invalid, mapKey, required } from '../field-errors.ts';
import { boolAt, objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { ruleProblems } from './rules.ts';
import { compiledPattern, validateBySchema } from './validate.ts';

/** Whether a schema is structural: every value that it describes has one type, said outside of allOf, anyOf, oneOf, not. */

const types: ReadonlySet<string> = new Set(['array', 'boolean', 'integer', 'number', 'object', 'string']);
/** Deepest nesting of a schema. */
const depthMax = 64;

export function validateStructural(schema: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(schema, 'type') === '') {
    errors.push(required(child(path, 'type'), 'must not be empty at the root'));
  } else if (stringAt(schema, 'type') !== 'object') {
    errors.push(invalid(child(path, 'type'), schema['type'], 'must be object at the root'));
  }
  visit(schema, path, errors, 0);
  return errors;
}

function visit(schema: JsonObject, path: string, errors: FieldError[], depth: number): void {
  if (depth > depthMax) {
    errors.push(forbidden(path, `must not be nested deeper than ${depthMax} levels`));
    return;
  }
  checkOwn(schema, path, errors, depth);
  for (const [name, property] of Object.entries(objectAt(schema, 'properties') ?? {})) {
    const at = mapKey(child(path, 'properties'), name);
    if (isJsonObject(property)) visit(property, at, errors, depth + 1);
  }
  const additional = objectAt(schema, 'additionalProperties');
  if (additional !== undefined) visit(additional, child(path, 'additionalProperties'), errors, depth + 1);
  const items = schema['items'];
  if (isJsonObject(items)) visit(items, child(path, 'items'), errors, depth + 1);
  else if (Array.isArray(items)) {
    errors.push(forbidden(child(path, 'items'), 'items must be a schema object and not an array'));
  }
  for (const keyword of ['allOf', 'anyOf', 'oneOf']) {
    objectsAt(schema, keyword).forEach((part, at) =>
      checkPart(part, index(child(path, keyword), at), errors, isIntOrString(schema)),
    );
  }
  const not = objectAt(schema, 'not');
  if (not !== undefined) checkPart(not, child(path, 'not'), errors, false);
}

function isIntOrString(schema: JsonObject): boolean {
  return boolAt(schema, 'x-kubernetes-int-or-string');
}

function checkOwn(schema: JsonObject, path: string, errors: FieldError[], depth: number): void {
  const type = stringAt(schema, 'type');
  const free = isIntOrString(schema) || boolAt(schema, 'x-kubernetes-preserve-unknown-fields');
  if (type === '' && !free && depth > 0) {
    errors.push(required(child(path, 'type'), 'must not be empty for specified object fields'));
  }
  if (type !== '' && !types.has(type)) {
    errors.push(
      invalid(child(path, 'type'), type, 'must be one of array, boolean, integer, number, object, string'),
    );
  }
  if (type === 'array' && schema['items'] === undefined) {
    errors.push(required(child(path, 'items'), 'must be specified'));
  }
  if (schema['properties'] !== undefined && schema['additionalProperties'] !== undefined) {
    errors.push(
      forbidden(
        child(path, 'additionalProperties'),
        'additionalProperties and properties are mutual exclusive',
      ),
    );
  }
  for (const field of ['$ref', 'definitions', 'dependencies', 'id', 'patternProperties']) {
    if (schema[field] !== undefined) errors.push(forbidden(child(path, field), `${field} is not supported`));
  }
  if (schema['uniqueItems'] === true) {
    errors.push(
      forbidden(
        child(path, 'uniqueItems'),
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    );
  }
  const pattern = stringAt(schema, 'pattern');
  if (pattern !== '' && compiledPattern(pattern) === undefined) {
    errors.push(invalid(child(path, 'pattern'), pattern, "must be a valid regular expression, but isn't"));
  }
  checkListType(schema, path, errors);
  errors.push(...ruleProblems(schema, path));
  const fallback = schema['default'];
  if (fallback !== undefined) errors.push(...validateBySchema(schema, fallback, child(path, 'default')));
}

function checkListType(schema: JsonObject, path: string, errors: FieldError[]): void {
  const listType = stringAt(schema, 'x-kubernetes-list-type');
  const keys = stringsAt(schema, 'x-kubernetes-list-map-keys');
  if (listType !== '' && stringAt(schema, 'type') !== 'array') {
    errors.push(
      invalid(
        child(path, 'type'),
        stringAt(schema, 'type'),
        'must be array if x-kubernetes-list-type is specified',
      ),
    );
  }
  if (listType === 'map' && keys.length === 0) {
    errors.push(
      required(
        child(path, 'x-kubernetes-list-map-keys'),
        'must not be empty if x-kubernetes-list-type is map',
      ),
    );
  }
  if (listType !== 'map' && keys.length > 0) {
    errors.push(
      invalid(
        child(path, 'x-kubernetes-list-type'),
        listType,
        'must be map if x-kubernetes-list-map-keys is non-empty',
      ),
    );
  }
}

/** Inside of a combination only rules may stand, nothing that says what the value is. */
function checkPart(part: JsonObject, path: string, errors: FieldError[], mayHaveType: boolean): void {
  for (const field of [
    'default',
    'additionalProperties',
    'nullable',
    'title',
    'description',
    ...(mayHaveType ? [] : ['type']),
  ]) {
    const value = part[field];
    if (value === undefined || value === '' || value === false) continue;
    errors.push(forbidden(child(path, field), 'must be empty to be structural'));
  }
  for (const [name, property] of Object.entries(objectAt(part, 'properties') ?? {})) {
    if (isJsonObject(property)) checkPart(property, mapKey(child(path, 'properties'), name), errors, false);
  }
  const items = objectAt(part, 'items');
  if (items !== undefined) checkPart(items, child(path, 'items'), errors, false);
}
