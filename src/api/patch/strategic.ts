import { type Marker, markerOf } from '../list-markers.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { type FieldType, typeNode } from '../schema.ts';
import { badRequest } from '../status.ts';
import { deleteItems, mergeKeyedList, mergePrimitiveList, reorder } from './strategic-list.ts';

/**
 * Strategic merge patch: an RFC 7386 merge that knows, from the schema and the markers, which lists are sets or are
 * keyed. Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/F`, `$deleteFromPrimitiveList/F`
 * (Kubernetes design proposal "strategic merge patch" and its addendum on order). Neither input is changed.
 * Throws StatusError 400 for a malformed directive.
 */
export function applyStrategicPatch(typeName: string, document: JsonObject, patch: Json): JsonObject {
  if (!isJsonObject(patch))
    throw badRequest('error decoding patch: a strategic merge patch must be an object');
  return mergeObject(document, patch, { kind: 'type', name: typeName });
}

const orderPrefix = '$setElementOrder/';
const deletePrefix = '$deleteFromPrimitiveList/';

/** Merges two objects of one type; `undefined` type: unknown to the schema, lists are then replaced. */
function mergeObject(document: JsonObject, patch: JsonObject, type: FieldType | undefined): JsonObject {
  const directive = patch['$patch'];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge') throw unknownDirective(directive);
  const result = retainKeys(document, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (key === '$patch' || key === '$retainKeys' || key.startsWith(orderPrefix)) continue;
    if (key.startsWith(deletePrefix)) {
      const field = key.slice(deletePrefix.length);
      const list = result[field];
      if (Array.isArray(list)) result[field] = deleteItems(list, listOf(key, value));
      continue;
    }
    if (value === null) {
      delete result[key];
      continue;
    }
    result[key] = mergeField(result[key], value, key, type, patch);
  }
  reorderUntouched(result, patch, type);
  return result;
}

function mergeField(
  old: Json | undefined,
  value: Json,
  key: string,
  type: FieldType | undefined,
  patch: JsonObject,
): Json {
  const fieldType = fieldTypeOf(type, key);
  const keep = isJsonObject(old) && fieldMarker(type, key).patchReplace !== true;
  if (isJsonObject(value)) return mergeObject(keep ? old : {}, value, fieldType);
  if (!Array.isArray(value)) return value;
  const marker = fieldMarker(type, key);
  const base = Array.isArray(old) ? old : [];
  const order = patch[orderPrefix + key];
  const wantedOrder = order === undefined ? undefined : listOf(orderPrefix + key, order);
  if (!marker.patchMerge) return replaceList(value, fieldType);
  if (marker.patchMergeKey === undefined) return mergePrimitiveList(base, value, wantedOrder);
  const itemType = fieldType?.kind === 'list' ? fieldType.of : undefined;
  return mergeKeyedList(base, value, wantedOrder, {
    mergeKey: marker.patchMergeKey,
    exactKeys: marker.listMapKeys ?? [],
    merge: (item, change) => mergeObject(item, change, itemType),
  });
}

/** A list taken whole may still carry directives inside, when the client wrote it for a keyed list. */
function replaceList(value: readonly Json[], fieldType: FieldType | undefined): Json[] {
  const itemType = fieldType?.kind === 'list' ? fieldType.of : undefined;
  return value.map((item) => (isJsonObject(item) ? mergeObject({}, item, itemType) : item));
}

/** `$setElementOrder/F` without F: the elements stay, their order changes. */
function reorderUntouched(result: JsonObject, patch: JsonObject, type: FieldType | undefined): void {
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith(orderPrefix)) continue;
    const field = key.slice(orderPrefix.length);
    const list = result[field];
    if (patch[field] !== undefined || !Array.isArray(list)) continue;
    result[field] = reorder(list, listOf(key, value), list, fieldMarker(type, field).patchMergeKey);
  }
}

function retainKeys(document: JsonObject, patch: JsonObject): JsonObject {
  const kept = patch['$retainKeys'];
  if (kept === undefined) return { ...document };
  const keys = new Set(listOf('$retainKeys', kept));
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$') || value === null || keys.has(key)) continue;
    throw badRequest('the $retainKeys list must contain all fields present in the patch');
  }
  return Object.fromEntries(Object.entries(document).filter(([key]) => keys.has(key)));
}

function withoutDirectives(patch: JsonObject): JsonObject {
  const entries = Object.entries(patch).filter(([key, value]) => !key.startsWith('$') && value !== null);
  return Object.fromEntries(entries);
}

function fieldTypeOf(type: FieldType | undefined, key: string): FieldType | undefined {
  if (type === undefined) return undefined;
  if (type.kind === 'map') return type.of;
  return type.kind === 'type' ? typeNode(type.name)?.fields.get(key)?.type : undefined;
}

function fieldMarker(type: FieldType | undefined, key: string): Marker {
  return type?.kind === 'type' ? markerOf(type.name, key) : { patchMerge: false, patchRetainKeys: false };
}

function listOf(directive: string, value: Json): readonly Json[] {
  if (Array.isArray(value)) return value;
  throw badRequest(`${directive} must be a list`);
}

function unknownDirective(directive: Json): Error {
  return badRequest(
    `unknown patch type ${JSON.stringify(directive)}: $patch is one of replace, delete, merge`,
  );
}
