import { type Marker, isAtomicType, markerOf } from '../list-markers.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { type FieldType, typeNode } from '../schema.ts';

/** How a value is owned: whole, or by its parts. */
export type Shape =
  | { readonly kind: 'leaf' }
  | { readonly kind: 'struct'; readonly typeName: string }
  /** A map whose keys are owned one by one; also a value without a schema. */
  | { readonly kind: 'map'; readonly of: FieldType | undefined }
  | { readonly kind: 'set' }
  | { readonly kind: 'keyed'; readonly of: FieldType; readonly keys: readonly string[] };

/** A value's type together with what the field that holds it says of it. */
export type Place = { readonly type: FieldType | undefined; readonly marker: Marker };

const unmarked: Marker = { patchMerge: false, patchRetainKeys: false };
const leaf: Shape = { kind: 'leaf' };

export function rootPlace(typeName: string): Place {
  return { type: { kind: 'type', name: typeName }, marker: unmarked };
}

/** The field's place inside a struct or a map. Of a field that no schema knows: one without type. */
export function placeOfField(shape: Shape, field: string): Place {
  if (shape.kind === 'map') return { type: shape.of, marker: unmarked };
  if (shape.kind !== 'struct') return { type: undefined, marker: unmarked };
  return {
    type: typeNode(shape.typeName)?.fields.get(field)?.type,
    marker: markerOf(shape.typeName, field),
  };
}

export function placeOfItem(shape: Shape): Place {
  return { type: shape.kind === 'keyed' ? shape.of : undefined, marker: unmarked };
}

/** How `value` is owned at `place`. Null and empty containers are owned whole. */
export function shapeOf({ type, marker }: Place, value: Json | undefined): Shape {
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

/** Values that the API's schema gives to keys of lists when they are left out. */
const keyDefaults: Readonly<Record<string, Json>> = { protocol: 'TCP' };

/** The step to an element of a keyed list: keys in alphabetical order, absent ones by their default. */
export function keyStep(item: Json, keys: readonly string[]): string {
  const picked: JsonObject = {};
  for (const key of keys.toSorted()) {
    const value = (isJsonObject(item) ? item[key] : undefined) ?? keyDefaults[key];
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
    const step = shape.kind === 'set' ? valueStep(item) : keyStep(item, shape.keys);
    if (!items.has(step)) items.set(step, item);
  }
  return items;
}
