import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { type FieldSet, isMember } from './field-set.ts';
import {
  itemsByStep,
  keyStep,
  type Place,
  type RootType,
  placeOfField,
  placeOfItem,
  rootPlace,
  type Shape,
  shapeOf,
  valueStep,
} from './typed-value.ts';

/**
 * The live object with an applied configuration over it: structs and maps merge, keyed lists merge by key, sets unite,
 * everything else is taken from the configuration. Inputs are not changed; the result may share parts with them.
 */
export function mergeConfiguration(root: RootType, live: JsonObject, configuration: JsonObject): JsonObject {
  return merge(rootPlace(root), live, configuration) as JsonObject;
}

function merge(place: Place, live: Json | undefined, wanted: Json): Json {
  if (live === undefined) return wanted;
  const shape = shapeOf(place, wanted);
  if (isJsonObject(live) && isJsonObject(wanted) && (shape.kind === 'struct' || shape.kind === 'map')) {
    const result: JsonObject = { ...live };
    for (const [field, value] of Object.entries(wanted)) {
      const old = Object.hasOwn(live, field) ? live[field] : undefined;
      result[field] = merge(placeOfField(shape, field), old, value);
    }
    return result;
  }
  if (Array.isArray(live) && Array.isArray(wanted) && (shape.kind === 'set' || shape.kind === 'keyed')) {
    return mergeItems(shape, live, wanted);
  }
  return wanted;
}

/** The configuration's elements in its order; those that only the live list has stay behind their neighbour. */
function mergeItems(
  shape: Shape & { kind: 'set' | 'keyed' },
  live: readonly Json[],
  wanted: readonly Json[],
): Json[] {
  const wantedItems = itemsByStep(shape, wanted);
  const liveItems = itemsByStep(shape, live);
  const order = [...wantedItems.keys()];
  const result: Json[] = [];
  let next = 0;
  for (const [step, item] of liveItems) {
    const at = order.indexOf(step, next);
    if (at === -1) {
      if (!wantedItems.has(step)) result.push(item);
      continue; // already there: the configuration moved it forward
    }
    for (; next <= at; next++) pushMerged(order[next]);
  }
  for (; next < order.length; next++) pushMerged(order[next]);
  return result;

  function pushMerged(step: string | undefined): void {
    const item = step === undefined ? undefined : wantedItems.get(step);
    if (step === undefined || item === undefined) return;
    result.push(shape.kind === 'set' ? item : merge(placeOfItem(shape), liveItems.get(step), item));
  }
}

/**
 * Takes out of `object` what its manager applied before (`last`) and nobody owns any longer (`kept`, the union of all
 * sets of now). A field goes with everything below it, defaults included, when nothing below is owned.
 */
export function removeAbandoned(
  root: RootType,
  object: JsonObject,
  last: FieldSet,
  kept: FieldSet,
): JsonObject {
  return prune(rootPlace(root), object, last, kept) as JsonObject;
}

function prune(place: Place, value: Json, last: FieldSet, kept: FieldSet): Json {
  const shape = shapeOf(place, value);
  if (isJsonObject(value) && (shape.kind === 'struct' || shape.kind === 'map')) {
    const result: JsonObject = {};
    for (const [field, item] of Object.entries(value)) {
      const step = `f:${field}`;
      const below = last[step];
      const owned = kept[step];
      if (below === undefined) result[field] = item;
      else if (owned !== undefined) result[field] = prune(placeOfField(shape, field), item, below, owned);
    }
    return result;
  }
  if (Array.isArray(value) && (shape.kind === 'set' || shape.kind === 'keyed')) {
    return value.flatMap((item) => {
      const step = shape.kind === 'set' ? valueStep(item) : keyStep(item, shape);
      const below = last[step];
      const owned = kept[step];
      if (below === undefined) return [item];
      if (owned !== undefined) return [prune(placeOfItem(shape), item, below, owned)];
      return isMember(below) ? [] : [item];
    });
  }
  return value;
}

/** Paths of keyed lists and sets in which an element occurs twice, at most a few: such a configuration means nothing. */
export function duplicateElements(root: RootType, configuration: JsonObject): readonly string[] {
  const found: string[] = [];
  findDuplicates(rootPlace(root), configuration, '', found);
  return found;
}

const duplicatesReportedMax = 8;

function findDuplicates(place: Place, value: Json, path: string, found: string[]): void {
  if (found.length >= duplicatesReportedMax) return;
  const shape = shapeOf(place, value);
  if (isJsonObject(value) && (shape.kind === 'struct' || shape.kind === 'map')) {
    for (const [field, item] of Object.entries(value)) {
      findDuplicates(placeOfField(shape, field), item, `${path}.${field}`, found);
    }
  } else if (Array.isArray(value) && (shape.kind === 'set' || shape.kind === 'keyed')) {
    const items = itemsByStep(shape, value);
    if (items.size < value.length) found.push(path);
    for (const item of items.values()) findDuplicates(placeOfItem(shape), item, path, found);
  }
}
