import type { RootType } from '../apply/typed-value.ts';
import { objectAt, stringAt } from '../fields.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { type FieldType, type Scalar, typeNode } from '../schema.ts';

/** The types of objects as the Common Expression Language writes them. Pure. */

/** Fields with their types by the name of a message type. */
export type CelTypes = Map<string, Readonly<Record<string, string>>>;

const scalarTypes: Readonly<Record<Scalar, string>> = {
  string: 'string',
  int32: 'int',
  int64: 'int',
  double: 'double',
  bool: 'bool',
  // Objects are read as JSON: times, bytes and quantities are texts there.
  bytes: 'string',
  time: 'string',
  microTime: 'string',
  quantity: 'dyn',
  intOrString: 'dyn',
  any: 'dyn',
};

/** Adds the type and all that it leads to. Returns its name; `name` is that of a custom resource's. */
export function addTypes(types: CelTypes, root: RootType, name: string): string {
  return typeof root === 'string' ? addNamed(types, root) : addSchema(types, root, name, true);
}

function addNamed(types: CelTypes, typeName: string): string {
  const node = typeNode(typeName);
  if (node === undefined) return 'dyn';
  const name = typeName.replace('/', '.');
  if (types.has(name)) return name;
  const fields: Record<string, string> = {};
  types.set(name, fields); // before its fields: some types hold themselves
  for (const [field, { type }] of node.fields) setField(fields, field, celTypeOf(types, type));
  return name;
}

function celTypeOf(types: CelTypes, type: FieldType): string {
  switch (type.kind) {
    case 'scalar':
      return scalarTypes[type.scalar];
    case 'list':
      return `list<${celTypeOf(types, type.of)}>`;
    case 'map':
      return `map<string, ${celTypeOf(types, type.of)}>`;
    case 'type':
      return addNamed(types, type.name);
  }
}

/** Of a structural schema. What it leaves open is `dyn`. */
function addSchema(types: CelTypes, schema: JsonObject, name: string, isRoot: boolean): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'dyn';
  switch (stringAt(schema, 'type')) {
    case 'string':
      return 'string';
    case 'boolean':
      return 'bool';
    case 'integer':
      return 'int';
    case 'number':
      return 'double';
    case 'array': {
      const { items } = schema;
      return `list<${isJsonObject(items) ? addSchema(types, items, `${name}.item`, false) : 'dyn'}>`;
    }
    case 'object':
      return addObject(types, schema, name, isRoot);
    default:
      return 'dyn';
  }
}

function addObject(types: CelTypes, schema: JsonObject, name: string, isRoot: boolean): string {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return 'dyn';
  const { additionalProperties } = schema;
  if (isJsonObject(additionalProperties)) {
    return `map<string, ${addSchema(types, additionalProperties, `${name}.value`, false)}>`;
  }
  if (additionalProperties === true) return 'map<string, dyn>';
  const fields: Record<string, string> = {};
  types.set(name, fields);
  for (const [field, property] of Object.entries(objectAt(schema, 'properties') ?? {})) {
    const type = isJsonObject(property) ? addSchema(types, property, `${name}.${field}`, false) : 'dyn';
    setField(fields, field, type);
  }
  if (isRoot || schema['x-kubernetes-embedded-resource'] === true) {
    setField(fields, 'apiVersion', 'string');
    setField(fields, 'kind', 'string');
    setField(fields, 'metadata', addNamed(types, 'meta/v1.ObjectMeta'));
  }
  return name;
}

/** Words of the language; as names of fields they are also written `__namespace__`. */
const reserved = new Set(
  'as break const continue else false for function if import in let loop namespace null package return true var void while'.split(
    ' ',
  ),
);

function setField(fields: Record<string, string>, field: string, type: string): void {
  fields[field] = type;
  if (reserved.has(field)) fields[`__${field}__`] = type;
}
