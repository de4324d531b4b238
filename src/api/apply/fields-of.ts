import { jsonEqual } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { emptySet, type FieldSet, type FieldSetBuilder, isEmptySet, memberNode } from './field-set.ts';
import {
  itemsByStep,
  type Place,
  type RootType,
  placeOfField,
  placeOfItem,
  rootPlace,
  type Shape,
  shapeOf,
} from './typed-value.ts';

/** Fields that nobody owns: identity, and what only the server sets. */
const unownedFields: ReadonlySet<string> = new Set(['apiVersion', 'kind']);
const unownedMetadata: ReadonlySet<string> = new Set([
  'name',
  'namespace',
  'generateName',
  'creationTimestamp',
  'selfLink',
  'uid',
  'generation',
  'managedFields',
  'resourceVersion',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
]);

/** The object without what nobody owns. Shares everything else. */
export function ownable(object: JsonObject): JsonObject {
  const result: JsonObject = {};
  for (const [field, value] of Object.entries(object)) {
    if (unownedFields.has(field)) continue;
    if (field !== 'metadata' || !isJsonObject(value)) {
      result[field] = value;
      continue;
    }
    const metadata = Object.entries(value).filter(([key]) => !unownedMetadata.has(key));
    if (metadata.length > 0) result['metadata'] = Object.fromEntries(metadata);
  }
  return result;
}

/** What an applied configuration of the type says, as the set that its manager owns. */
export function fieldsOfObject(root: RootType, object: JsonObject): FieldSet {
  return fieldsOf(rootPlace(root), ownable(object), false) ?? emptySet;
}

/**
 * The node of one value: the empty set for a leaf. `whole`: containers count as members too, as for values that an
 * update added.
 */
function fieldsOf(place: Place, value: Json, whole: boolean): FieldSet {
  const shape = shapeOf(place, value);
  const result: FieldSetBuilder = {};
  if (Array.isArray(value)) {
    if (shape.kind !== 'set' && shape.kind !== 'keyed') return emptySet;
    for (const [step, item] of itemsByStep(shape, value)) {
      const below = shape.kind === 'set' ? emptySet : fieldsOf(placeOfItem(shape), item, whole);
      result[step] = memberNode(below) as FieldSetBuilder;
    }
  } else if (isJsonObject(value) && shape.kind !== 'leaf') {
    for (const [field, item] of Object.entries(value)) {
      const below = fieldsOf(placeOfField(shape, field), item, whole);
      // Keys of a map are members themselves; fields of a struct only where nothing is below them.
      result[`f:${field}`] = (shape.kind === 'map' ? memberNode(below) : below) as FieldSetBuilder;
    }
  }
  return whole && shape.kind === 'map' ? memberNode(result) : result;
}

/** What differs between two states of an object. */
export type FieldChanges = {
  readonly removed: FieldSet;
  /** Added or with another value. */
  readonly changed: FieldSet;
};

export function compareObjects(root: RootType, before: JsonObject, after: JsonObject): FieldChanges {
  return compare(rootPlace(root), ownable(before), ownable(after)) ?? noChanges;
}

const noChanges: FieldChanges = { removed: emptySet, changed: emptySet };

function compare(place: Place, before: Json | undefined, after: Json | undefined): FieldChanges | undefined {
  if (before === after) return undefined;
  if (before === undefined) {
    return after === undefined ? undefined : { removed: emptySet, changed: fieldsOf(place, after, true) };
  }
  if (after === undefined) return { removed: fieldsOf(place, before, true), changed: emptySet };
  const shape = shapeOf(place, after);
  if (Array.isArray(before) && Array.isArray(after) && (shape.kind === 'set' || shape.kind === 'keyed')) {
    return compareItems(shape, before, after);
  }
  if (isJsonObject(before) && isJsonObject(after) && (shape.kind === 'struct' || shape.kind === 'map')) {
    return compareFields(shape, before, after);
  }
  return jsonEqual(before, after) ? undefined : { removed: emptySet, changed: emptySet };
}

type Collected = { readonly removed: FieldSetBuilder; readonly changed: FieldSetBuilder };

function compareFields(shape: Shape, before: JsonObject, after: JsonObject): FieldChanges | undefined {
  const collected: Collected = { removed: {}, changed: {} };
  const asMap = shape.kind === 'map';
  for (const [field, value] of Object.entries(after)) {
    // A label may well be named `constructor`.
    const old = Object.hasOwn(before, field) ? before[field] : undefined;
    if (old === value) continue;
    collect(collected, `f:${field}`, compare(placeOfField(shape, field), old, value), {
      added: asMap && old === undefined,
      removed: false,
    });
  }
  for (const [field, old] of Object.entries(before)) {
    if (Object.hasOwn(after, field)) continue;
    collect(collected, `f:${field}`, compare(placeOfField(shape, field), old, undefined), {
      added: false,
      removed: true,
    });
  }
  return collectedChanges(collected);
}

function compareItems(
  shape: Shape & { kind: 'set' | 'keyed' },
  before: readonly Json[],
  after: readonly Json[],
): FieldChanges | undefined {
  const collected: Collected = { removed: {}, changed: {} };
  const olds = itemsByStep(shape, before);
  const news = itemsByStep(shape, after);
  const place = placeOfItem(shape);
  for (const [step, item] of news) {
    const old = olds.get(step);
    collect(collected, step, compare(place, old, item), { added: old === undefined, removed: false });
  }
  for (const [step, old] of olds) {
    if (!news.has(step)) {
      collect(collected, step, compare(place, old, undefined), { added: false, removed: true });
    }
  }
  return collectedChanges(collected);
}

/** Puts what was found below `step` there; `self`: the step itself was added or removed. */
function collect(
  into: Collected,
  step: string,
  found: FieldChanges | undefined,
  self: { readonly added: boolean; readonly removed: boolean },
): void {
  if (found === undefined) return;
  const { removed, changed } = found;
  const nothingBelow = isEmptySet(removed) && isEmptySet(changed);
  if (self.removed || (!isEmptySet(removed) && !self.added)) {
    into.removed[step] = (self.removed ? memberNode(removed) : removed) as FieldSetBuilder;
  }
  if (self.removed) return;
  if (self.added || !isEmptySet(changed) || nothingBelow) {
    into.changed[step] = (self.added ? memberNode(changed) : changed) as FieldSetBuilder;
  }
}

function collectedChanges({ removed, changed }: Collected): FieldChanges | undefined {
  return isEmptySet(removed) && isEmptySet(changed) ? undefined : { removed, changed };
}
