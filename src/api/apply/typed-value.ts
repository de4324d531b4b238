import { type Marker, isAtomicType, markerOf } from '../list-markers.ts';
import { objectAt, stringAt, stringsAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { type FieldType, typeNode } from '../schema.ts';

/** How a value is owned: whole, or by its parts. */
export type Shape =
  | { readonly kind: 'leaf' }
  /** `schema`: of a part of a custom resource, which has no type with a name. */
  | {
      readonly kind: 'struct';
      readonly typeName: string;
      readonly schema?: JsonObject;
      readonly isRoot?: true;
    }
  /** A map whose keys are owned one by one; also a value without a schema. */
  | { readonly kind: 'map'; readonly of: FieldType | undefined; readonly schema?: JsonObject }
  | { readonly kind: 'set' }
  | {
      readonly kind: 'keyed';
      readonly of: FieldType | undefined;
      readonly keys: readonly string[];
      readonly schema?: JsonObject;
    };

/** A value's type together with what the field that holds it says of it. */
export type Place = {
  readonly type: FieldType | undefined;
  readonly marker: Marker;
  /** Of a value inside a custom resource, instead of a type. */
  readonly schema?: JsonObject;
  readonly isRoot?: true;
};

/** The name of a type in the schema table, or the structural schema of a custom kind. */
export type RootType = string | JsonObject;

/** What objects of the kind are made of. */
export function rootTypeOf(kind: Pick<Kind, 'schema' | 'openApiSchema'>): RootType {
  return kind.openApiSchema ?? kind.schema;
}

const unmarked: Marker = { patchMerge: false, patchRetainKeys: false };
const leaf: Shape = { kind: 'leaf' };

export function rootPlace(root: RootType): Place {
  if (typeof root !== 'string') return { type: undefined, marker: unmarked, schema: root, isRoot: true };
  return { type: { kind: 'type', name: root }, marker: unmarked };
}

/** The field's place inside a struct or a map. Of a field that no schema knows: one without type. */
export function placeOfField(shape: Shape, field: string): Place {
  if (shape.kind === 'map') return placeOf(shape.of, shape.schema);
  if (shape.kind !== 'struct') return placeOf(undefined, undefined);
  if (shape.schema !== undefined) {
    if (shape.isRoot === true && field === 'metadata') return rootPlace('meta/v1.ObjectMeta');
    return placeOf(undefined, propertyOf(shape.schema, field));
  }
  return {
    type: typeNode(shape.typeName)?.fields.get(field)?.type,
    marker: markerOf(shape.typeName, field),
  };
}

export function placeOfItem(shape: Shape): Place {
  return shape.kind === 'keyed' ? placeOf(shape.of, shape.schema) : placeOf(undefined, undefined);
}

function placeOf(type: FieldType | undefined, schema: JsonObject | undefined): Place {
  return { type, marker: unmarked, ...(schema === undefined ? {} : { schema }) };
}

function propertyOf(schema: JsonObject, field: string): JsonObject | undefined {
  const properties = objectAt(schema, 'properties') ?? {};
  const property = Object.hasOwn(properties, field) ? properties[field] : undefined;
  return isJsonObject(property) ? property : objectAt(schema, 'additionalProperties');
}

/** How `value` is owned at `place`. Null and empty containers are owned whole. */
export function shapeOf({ type, marker, schema, isRoot }: Place, value: Json | undefined): Shape {
  if (schema !== undefined) return shapeOfSchema(schema, value, isRoot);
  if (Array.isArray(value)) {
    if (type?.kind !== 'list') return leaf;
    if (marker.listType === 'set') return { kind: 'set' };
    if (marker.listType === 'map' && marker.listMapKeys !== undefined) {
      return { kind: 'keyed', of: type.of, keys: marker.listMapKeys };
    }
    return leaf;
  }
  if (!isJsonObject(value) || marker.mapType === 'atomic') return leaf;
  if (type === undefined) return { kind: 'map', of: undefined };
  switch (type.kind) {
    case 'type':
      if (isAtomicType(type.name)) return leaf;
      return typeNode(type.name) === undefined
        ? { kind: 'map', of: undefined }
        : { kind: 'struct', typeName: type.name };
    case 'map':
      return { kind: 'map', of: type.of };
    case 'scalar':
      return { kind: 'map', of: undefined };
    case 'list':
      return leaf;
  }
}

/** As a structural schema's own markers say; without them lists are owned whole and objects field by field. */
function shapeOfSchema(schema: JsonObject, value: Json | undefined, isRoot: true | undefined): Shape {
  if (Array.isArray(value)) {
    const keys = stringsAt(schema, 'x-kubernetes-list-map-keys');
    switch (stringAt(schema, 'x-kubernetes-list-type')) {
      case 'set':
        return { kind: 'set' };
      case 'map':
        return { kind: 'keyed', of: undefined, keys, schema: objectAt(schema, 'items') ?? {} };
      default:
        return leaf;
    }
  }
  if (!isJsonObject(value) || stringAt(schema, 'x-kubernetes-map-type') === 'atomic') return leaf;
  const additional = objectAt(schema, 'additionalProperties');
  if (additional !== undefined) return { kind: 'map', of: undefined, schema: additional };
  if (objectAt(schema, 'properties') === undefined) return { kind: 'map', of: undefined };
  return { kind: 'struct', typeName: '', schema, ...(isRoot === true ? { isRoot } : {}) };
}

/** Values that the API's schema gives to keys of lists when they are left out. */
const keyDefaults: Readonly<Record<string, Json>> = { protocol: 'TCP' };

/** The step to an element of a keyed list: keys in alphabetical order, absent ones by their default. */
export function keyStep(item: Json, { keys, schema }: Shape & { kind: 'keyed' }): string {
  const picked: JsonObject = {};
  for (const key of keys.toSorted()) {
    const fallback = schema === undefined ? keyDefaults[key] : propertyOf(schema, key)?.['default'];
    const value = (isJsonObject(item) ? item[key] : undefined) ?? fallback;
    if (value !== undefined) picked[key] = value;
  }
  return `k:${JSON.stringify(picked)}`;
}

export function valueStep(item: Json): string {
  return `v:${JSON.stringify(item)}`;
}

/** Elements by step. Of elements with the same step the first counts. */
export function itemsByStep(
  shape: Shape & { kind: 'set' | 'keyed' },
  list: readonly Json[],
): Map<string, Json> {
  const items = new Map<string, Json>();
  for (const item of list) {
    const step = shape.kind === 'set' ? valueStep(item) : keyStep(item, shape);
    if (!items.has(step)) items.set(step, item);
  }
  return items;
}
