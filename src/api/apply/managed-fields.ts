import { stringAt } from '../fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import {
  canonicalSet,
  difference,
  emptySet,
  type FieldSet,
  intersection,
  isEmptySet,
  parseFieldSet,
  pathTexts,
  union,
} from './field-set.ts';
import { compareObjects, type FieldChanges, fieldsOfObject } from './fields-of.ts';
import { mergeConfiguration, removeAbandoned } from './merge-configuration.ts';
import type { RootType } from './typed-value.ts';

/**
 * metadata.managedFields: who owns which fields of an object, and server-side apply over it
 * (Kubernetes' "Server-Side Apply" documentation; the algorithm of structured-merge-diff).
 */

/** Who writes. Entries with the same four are one manager. */
export type Manager = {
  readonly name: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  /** '' for the object itself. */
  readonly subresource: string;
};

type Owner = Manager & { readonly time: string; readonly fields: FieldSet };

/** Most Update entries an object keeps; the oldest are joined into one of `ancient-changes`, as in Kubernetes. */
const updateManagersMax = 10;
const ancientManager = 'ancient-changes';
/** Owns what an object had before anybody applied to it, where nothing was recorded. */
const beforeFirstApply = 'before-first-apply';

function ownersOf(object: JsonObject): readonly Owner[] {
  const metadata = object['metadata'];
  const entries = isJsonObject(metadata) ? metadata['managedFields'] : undefined;
  // What is stored was checked when it was written.
  return parseOwners(entries, (fields) => (isJsonObject(fields) ? (fields as FieldSet) : undefined)) ?? [];
}

/** Undefined: not what Kubernetes writes there. */
function parseOwners(
  entries: Json | undefined,
  readFields: (fields: Json) => FieldSet | undefined,
): readonly Owner[] | undefined {
  if (entries === undefined || entries === null) return [];
  if (!Array.isArray(entries)) return undefined;
  const owners: Owner[] = [];
  for (const entry of entries) {
    const fields = readFields(isJsonObject(entry) ? (entry['fieldsV1'] ?? {}) : null);
    const operation = stringAt(entry, 'operation');
    const fieldsType = stringAt(entry, 'fieldsType');
    if (fields === undefined || (operation !== 'Apply' && operation !== 'Update')) return undefined;
    if (fieldsType !== 'FieldsV1' && fieldsType !== '') return undefined;
    owners.push({
      name: stringAt(entry, 'manager'),
      operation,
      apiVersion: stringAt(entry, 'apiVersion'),
      subresource: stringAt(entry, 'subresource'),
      time: stringAt(entry, 'time'),
      fields,
    });
  }
  return owners;
}

function entryOf({ name, operation, apiVersion, time, fields, subresource }: Owner): JsonObject {
  return {
    manager: name,
    operation,
    apiVersion,
    ...(time === '' ? {} : { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: fields as JsonObject,
    ...(subresource === '' ? {} : { subresource }),
  };
}

function isSameManager(a: Manager, b: Manager): boolean {
  return (
    a.name === b.name &&
    a.operation === b.operation &&
    a.subresource === b.subresource &&
    a.apiVersion === b.apiVersion
  );
}

function withOwners(object: JsonObject, owners: readonly Owner[]): JsonObject {
  const { managedFields: _old, ...metadata } = isJsonObject(object['metadata']) ? object['metadata'] : {};
  const entries = owners.filter((owner) => !isEmptySet(owner.fields)).toSorted(compareOwners);
  return {
    ...object,
    metadata: entries.length === 0 ? metadata : { ...metadata, managedFields: entries.map(entryOf) },
  };
}

function compareOwners(a: Owner, b: Owner): number {
  return compareText(a.operation, b.operation) || compareText(a.time, b.time) || compareText(a.name, b.name);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * The managedFields entries that the object has after `manager` wrote `after` over `before` (an empty object: created).
 * `sent`: the entries in the client's object, which may correct or reset the recorded ones; undefined: it sent none, or
 * is not asked. Undefined result: the object has no entries, and stays without.
 */
export function trackUpdate(
  root: RootType,
  before: JsonObject,
  after: JsonObject,
  manager: Manager,
  options: { readonly sent: Json | undefined; readonly created: boolean; readonly time: string },
): Json[] | undefined {
  const live = ownersOf(before);
  const base = baseOwners(live, options.sent);
  if (base.length === 0 && !options.created) return undefined;
  const changes = compareObjects(root, before, after);
  if (isEmptySet(changes.removed) && isEmptySet(changes.changed)) return base.map(entryOf);
  const others = base.filter((owner) => !isSameManager(owner, manager));
  const own = base.find((owner) => isSameManager(owner, manager));
  const fields = canonicalSet(union(difference(own?.fields ?? emptySet, changes.removed), changes.changed));
  const same = own !== undefined && isSameSet(own.fields, fields);
  const owners: Owner[] = [
    ...others.map((owner) => without(owner, changes)),
    same && own !== undefined ? own : { ...manager, time: options.time, fields },
  ];
  const metadata = withOwners({}, capUpdates(owners))['metadata'];
  const entries = isJsonObject(metadata) ? metadata['managedFields'] : undefined;
  return Array.isArray(entries) ? entries : undefined;
}

function isSameSet(a: FieldSet, b: FieldSet): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** What a client sends replaces the record when it can be read; a single empty entry clears it. */
function baseOwners(live: readonly Owner[], sent: Json | undefined): readonly Owner[] {
  if (sent === undefined) return live;
  if (
    Array.isArray(sent) &&
    sent.length === 1 &&
    isJsonObject(sent[0]) &&
    Object.keys(sent[0]).length === 0
  ) {
    return [];
  }
  const owners = parseOwners(sent, parseFieldSet);
  return owners === undefined || owners.length === 0 ? live : owners;
}

function without(owner: Owner, { removed, changed }: FieldChanges): Owner {
  const fields = difference(difference(owner.fields, changed), removed);
  return fields === owner.fields ? owner : { ...owner, fields };
}

function capUpdates(owners: readonly Owner[]): readonly Owner[] {
  const updates = owners.filter((owner) => owner.operation === 'Update' && !isEmptySet(owner.fields));
  if (updates.length <= updateManagersMax) return owners;
  const oldest = updates
    .toSorted((a, b) => compareText(a.time, b.time))
    .slice(0, updates.length - updateManagersMax + 1);
  const [first] = oldest;
  if (first === undefined) return owners;
  const ancient: Owner = {
    name: ancientManager,
    operation: 'Update',
    apiVersion: first.apiVersion,
    subresource: '',
    time: oldest.at(-1)?.time ?? '',
    fields: canonicalSet(oldest.reduce((fields, owner) => union(fields, owner.fields), emptySet)),
  };
  return [...owners.filter((owner) => !oldest.includes(owner)), ancient];
}

/** A field that another manager owns and the configuration wants different. */
export type ApplyConflict = {
  readonly manager: Manager;
  readonly path: string;
};

export type Applied =
  | { readonly kind: 'object'; readonly object: JsonObject }
  | { readonly kind: 'conflicts'; readonly conflicts: readonly ApplyConflict[] };

export type ApplyOptions = {
  readonly manager: Manager;
  readonly force: boolean;
  readonly time: string;
  /** Fields whose conflicts do not count, because the same user set them by client-side apply. */
  readonly allowed: FieldSet;
};

/**
 * Applies a configuration: merges it over the live object, takes out what the manager applied before and nobody owns
 * now, and records it. The result's managedFields are complete; its defaults are the caller's to set.
 */
export function applyConfiguration(
  root: RootType,
  live: JsonObject,
  configuration: JsonObject,
  { manager, force, time, allowed }: ApplyOptions,
): Applied {
  const recorded = ownersOf(live);
  const exists = Object.keys(live).length > 0;
  const base = recorded.length === 0 && exists ? [ownerBefore(root, live, manager, time)] : recorded;
  const last = base.find((owner) => isSameManager(owner, manager));
  const others = base.filter((owner) => !isSameManager(owner, manager));
  const applied = canonicalSet(fieldsOfObject(root, configuration));
  const merged = mergeConfiguration(root, live, configuration);
  const kept = others.reduce((fields, owner) => union(fields, owner.fields), applied);
  const object = last === undefined ? merged : removeAbandoned(root, merged, last.fields, kept);
  const changes = compareObjects(root, live, object);
  if (!force) {
    const conflicts = conflictsWith(others, difference(changes.changed, allowed));
    if (conflicts.length > 0) return { kind: 'conflicts', conflicts };
  }
  const unchanged = last !== undefined && isSameSet(last.fields, applied);
  const owners = [
    ...others.map((owner) => without(owner, changes)),
    unchanged ? last : { ...manager, time, fields: applied },
  ];
  return { kind: 'object', object: withOwners(object, owners) };
}

function ownerBefore(root: RootType, live: JsonObject, manager: Manager, time: string): Owner {
  return {
    name: beforeFirstApply,
    operation: 'Update',
    apiVersion: manager.apiVersion,
    subresource: '',
    time,
    fields: canonicalSet(compareObjects(root, {}, live).changed),
  };
}

function conflictsWith(owners: readonly Owner[], wanted: FieldSet): readonly ApplyConflict[] {
  return owners.flatMap((manager) =>
    pathTexts(intersection(manager.fields, wanted)).map((path) => ({ manager, path })),
  );
}

/** The managers of an object that own something, for messages and tests. */
export function managersOf(object: JsonObject): readonly (Manager & { readonly fields: FieldSet })[] {
  return ownersOf(object);
}
