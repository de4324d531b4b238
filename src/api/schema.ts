import { schemaTable } from './gen/schema.ts';
import { isJsonObject, type Json, type JsonObject } from './object.ts';
import { canonicalQuantity, parseQuantity } from './quantity.ts';

/**
 * The types behind the schema table, parsed when first asked for.
 *
 * Grammar of a field: a scalar (`string int32 int64 double bool bytes time microTime quantity intOrString any`), a list
 * `[X]`, a map from strings `{X}`, or the name of another type (`core/v1.ServicePort`); a `!` at the end: required.
 */
export type Scalar =
  | 'string'
  | 'int32'
  | 'int64'
  | 'double'
  | 'bool'
  | 'bytes'
  | 'time'
  | 'microTime'
  | 'quantity'
  | 'intOrString'
  | 'any';

export type FieldType =
  | { readonly kind: 'scalar'; readonly scalar: Scalar }
  | { readonly kind: 'list'; readonly of: FieldType }
  | { readonly kind: 'map'; readonly of: FieldType }
  | { readonly kind: 'type'; readonly name: string };

export type Field = { readonly type: FieldType; readonly required: boolean };

export type TypeNode = { readonly name: string; readonly fields: ReadonlyMap<string, Field> };

const scalars: ReadonlySet<string> = new Set<Scalar>([
  'string',
  'int32',
  'int64',
  'double',
  'bool',
  'bytes',
  'time',
  'microTime',
  'quantity',
  'intOrString',
  'any',
]);

const parsed = new Map<string, TypeNode>();

/** The type of that name ("core/v1.Service"), or undefined when the table has none. */
export function typeNode(name: string): TypeNode | undefined {
  const known = parsed.get(name);
  if (known !== undefined) return known;
  const row = schemaTable[name];
  if (row === undefined) return undefined;
  const fields = new Map(Object.entries(row).map(([field, text]) => [field, parseField(text)]));
  const node: TypeNode = { name, fields };
  parsed.set(name, node);
  return node;
}

export function parseField(text: string): Field {
  const required = text.endsWith('!');
  return { type: parseType(required ? text.slice(0, -1) : text), required };
}

function parseType(text: string): FieldType {
  if (text.startsWith('[')) return { kind: 'list', of: parseType(text.slice(1, -1)) };
  if (text.startsWith('{')) return { kind: 'map', of: parseType(text.slice(1, -1)) };
  if (scalars.has(text)) return { kind: 'scalar', scalar: text as Scalar };
  return { kind: 'type', name: text };
}

export type Structure = {
  /** Decoding errors in Go's words, at most `decodeErrorsMax`; each makes the object unreadable (400). */
  readonly typeErrors: readonly string[];
  /** Paths of fields that the schema does not know, in the order found. */
  readonly unknownFields: readonly string[];
  /** The value without unknown fields and nulls, quantities in canonical form; shares nothing that was changed. */
  readonly pruned: Json;
};

/** More errors than these are not collected; one already refuses the object. */
const decodeErrorsMax = 8;

/** Checks a decoded value against a type, and prunes what the type does not have. Never throws. */
export function checkStructure(typeName: string, value: Json): Structure {
  const walk: Walk = { typeErrors: [], unknownFields: [] };
  const pruned = checkType(walk, { kind: 'type', name: typeName }, value, '', { struct: '', goPath: '' });
  return { ...walk, pruned: pruned ?? {} };
}

type Walk = { readonly typeErrors: string[]; readonly unknownFields: string[] };

/** Where Go's decoder would say that it is: the innermost struct and the path without indices. */
type GoPlace = { readonly struct: string; readonly goPath: string };

function checkType(walk: Walk, type: FieldType, value: Json, path: string, place: GoPlace): Json | undefined {
  if (value === null) return undefined; // Go leaves the zero value
  switch (type.kind) {
    case 'scalar':
      return checkScalar(walk, type.scalar, value, place);
    case 'list':
      return checkList(walk, type, value, path, place);
    case 'map':
      return checkMap(walk, type, value, path, place);
    case 'type':
      return checkStruct(walk, type.name, value, path, place);
  }
}

function checkStruct(walk: Walk, name: string, value: Json, path: string, place: GoPlace): Json | undefined {
  const node = typeNode(name);
  if (node === undefined) return value;
  if (!isJsonObject(value)) return refuse(walk, value, `v1.${shortName(name)}`, place);
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const field = node.fields.get(key);
    const fieldPath = path === '' ? key : `${path}.${key}`;
    if (field === undefined) {
      walk.unknownFields.push(fieldPath);
      continue;
    }
    const inner: GoPlace = {
      struct: shortName(name),
      goPath: place.goPath === '' ? key : `${place.goPath}.${key}`,
    };
    const checked = checkType(walk, field.type, item, fieldPath, inner);
    if (checked !== undefined) result[key] = checked;
  }
  return result;
}

function checkList(
  walk: Walk,
  type: FieldType & { kind: 'list' },
  value: Json,
  path: string,
  place: GoPlace,
): Json | undefined {
  if (!Array.isArray(value)) return refuse(walk, value, goType(type), place);
  return value.map(
    (item, position) => checkType(walk, type.of, item, `${path}[${position}]`, place) ?? zeroOf(type.of),
  );
}

function checkMap(
  walk: Walk,
  type: FieldType & { kind: 'map' },
  value: Json,
  path: string,
  place: GoPlace,
): Json | undefined {
  if (!isJsonObject(value)) return refuse(walk, value, goType(type), place);
  const result: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const fieldPath = path === '' ? key : `${path}.${key}`;
    result[key] = checkType(walk, type.of, item, fieldPath, place) ?? zeroOf(type.of);
  }
  return result;
}

function zeroOf(type: FieldType): Json {
  switch (type.kind) {
    case 'type':
    case 'map':
      return {};
    case 'list':
      return [];
    case 'scalar':
      return type.scalar === 'int32' || type.scalar === 'int64' || type.scalar === 'double'
        ? 0
        : type.scalar === 'bool'
          ? false
          : type.scalar === 'any'
            ? null
            : '';
  }
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const rfc3339Form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
const quantityHint =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

function checkScalar(walk: Walk, scalar: Scalar, value: Json, place: GoPlace): Json | undefined {
  switch (scalar) {
    case 'any':
      return value;
    case 'string':
      return typeof value === 'string' ? value : refuse(walk, value, 'string', place);
    case 'bool':
      return typeof value === 'boolean' ? value : refuse(walk, value, 'bool', place);
    case 'double':
      return typeof value === 'number' ? value : refuse(walk, value, 'float64', place);
    case 'int32':
    case 'int64':
      return checkInteger(walk, scalar, value, place);
    case 'intOrString':
      if (typeof value === 'string') return value;
      if (typeof value === 'number' && Number.isInteger(value)) return value;
      return refuse(walk, value, 'intstr.IntOrString', place);
    case 'quantity':
      if (typeof value === 'number') return canonicalQuantity(String(value));
      if (typeof value !== 'string') return refuse(walk, value, 'resource.Quantity', place);
      if (parseQuantity(value) === undefined) return refuseText(walk, quantityHint);
      return canonicalQuantity(value);
    case 'bytes':
      if (typeof value !== 'string') return refuse(walk, value, '[]uint8', place);
      if (!base64.test(value)) return refuseText(walk, `illegal base64 data at input byte ${badByte(value)}`);
      return value;
    case 'time':
    case 'microTime':
      if (typeof value !== 'string') return refuse(walk, value, 'string', place);
      if (value === '') return undefined;
      if (!rfc3339Form.test(value) || Number.isNaN(Date.parse(value))) {
        return refuseText(
          walk,
          `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse it`,
        );
      }
      return value;
  }
}

function checkInteger(
  walk: Walk,
  scalar: 'int32' | 'int64',
  value: Json,
  place: GoPlace,
): number | undefined {
  if (typeof value !== 'number') return refuse(walk, value, scalar, place);
  const limit = scalar === 'int32' ? 2 ** 31 : 2 ** 63;
  if (!Number.isInteger(value) || value >= limit || value < -limit) {
    return refuse(walk, value, scalar, place, `number ${String(value)}`);
  }
  return value;
}

function badByte(text: string): number {
  const bad = text.search(/[^A-Za-z0-9+/=]/);
  return bad === -1 ? text.length - (text.length % 4) : bad;
}

function refuse(walk: Walk, value: Json, wanted: string, place: GoPlace, got = jsonType(value)): undefined {
  const where = place.struct === '' ? 'Go value' : `Go struct field ${place.struct}.${place.goPath}`;
  return refuseText(walk, `json: cannot unmarshal ${got} into ${where} of type ${wanted}`);
}

function refuseText(walk: Walk, text: string): undefined {
  if (walk.typeErrors.length < decodeErrorsMax) walk.typeErrors.push(text);
  return undefined;
}

function jsonType(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function shortName(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf('.') + 1);
}

const goScalars: Readonly<Record<Scalar, string>> = {
  string: 'string',
  int32: 'int32',
  int64: 'int64',
  double: 'float64',
  bool: 'bool',
  bytes: '[]uint8',
  time: 'v1.Time',
  microTime: 'v1.MicroTime',
  quantity: 'resource.Quantity',
  intOrString: 'intstr.IntOrString',
  any: 'interface {}',
};

function goType(type: FieldType): string {
  switch (type.kind) {
    case 'scalar':
      return goScalars[type.scalar];
    case 'list':
      return `[]${goType(type.of)}`;
    case 'map':
      return `map[string]${goType(type.of)}`;
    case 'type':
      return `v1.${shortName(type.name)}`;
  }
}
