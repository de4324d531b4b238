import { ensureObject, jsonEqual, numberAt, stringMapAt } from '../fields.ts';
import type { FieldError, Kind, Subresource } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import {
  type NameRule,
  validateMetaTexts,
  validateObjectMeta,
  validateObjectMetaUpdate,
} from '../object-meta.ts';
import { plainColumns } from './columns.ts';

/** What a kind's own file says of it; all that is usual may be left out. */
export type KindRules = Pick<Kind, 'group' | 'version' | 'kind' | 'plural' | 'namespaced' | 'schema'> &
  Partial<
    Pick<
      Kind,
      | 'shortNames'
      | 'categories'
      | 'subresources'
      | 'parts'
      | 'readOnly'
      | 'ephemeral'
      | 'columns'
      | 'selectableFields'
      | 'stored'
      | 'deprecated'
      | 'warnings'
      | 'setDefaults'
      | 'prepareForCreate'
      | 'prepareForUpdate'
      | 'validate'
      | 'validateUpdate'
      | 'validateStatus'
    >
  > & {
    /** @default subdomain */
    readonly nameRule?: NameRule;
    /** metadata.generation counts changes of `spec`. @default false */
    readonly countsGenerations?: boolean;
    /** A create keeps the status that the client sends: nodes register themselves with it. @default false */
    readonly createsWithStatus?: boolean;
  };

/** A registry entry: the usual rules of metadata, status and generation around a kind's own. */
export function defineKind(rules: KindRules): Kind {
  const subresources: readonly Subresource[] = rules.subresources ?? [];
  const hasStatus = subresources.includes('status');
  const name = rules.nameRule ?? 'subdomain';
  return {
    group: rules.group,
    version: rules.version,
    kind: rules.kind,
    plural: rules.plural,
    singular: rules.kind.toLowerCase(),
    shortNames: rules.shortNames ?? [],
    categories: rules.categories ?? [],
    namespaced: rules.namespaced,
    schema: rules.schema,
    subresources,
    columns: rules.columns ?? plainColumns,
    ...(rules.readOnly === undefined ? {} : { readOnly: rules.readOnly }),
    ...(rules.parts === undefined ? {} : { parts: rules.parts }),
    ...(rules.ephemeral === undefined ? {} : { ephemeral: rules.ephemeral }),
    ...(rules.stored === undefined ? {} : { stored: rules.stored }),
    ...(rules.deprecated === undefined ? {} : { deprecated: rules.deprecated }),
    ...(rules.warnings === undefined ? {} : { warnings: rules.warnings }),
    ...(rules.selectableFields === undefined ? {} : { selectableFields: rules.selectableFields }),
    ...(rules.setDefaults === undefined ? {} : { setDefaults: rules.setDefaults }),
    prepareForCreate(object: JsonObject): void {
      if (hasStatus && rules.createsWithStatus !== true) delete object['status'];
      const meta = ensureObject(object, 'metadata');
      if (rules.countsGenerations === true) meta['generation'] = 1;
      else delete meta['generation'];
      rules.prepareForCreate?.(object);
    },
    prepareForUpdate(object: JsonObject, old: JsonObject): void {
      if (hasStatus) restore(object, old, 'status');
      rules.prepareForUpdate?.(object, old);
      if (rules.countsGenerations === true) countGeneration(object, old);
      else delete ensureObject(object, 'metadata')['generation'];
    },
    validate(object: JsonObject, old?: JsonObject): readonly FieldError[] {
      if (rules.ephemeral === true) return rules.validate?.(object) ?? [];
      if (old !== undefined && isSameBesideMeta(object, old, hasStatus)) return validateMetaTexts(object);
      return [
        ...(old === undefined
          ? validateObjectMeta(object, { namespaced: rules.namespaced, name })
          : validateMetaTexts(object)),
        ...(rules.validate?.(object, old) ?? []),
      ];
    },
    validateUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
      return [...validateObjectMetaUpdate(object, old), ...(rules.validateUpdate?.(object, old) ?? [])];
    },
    validateStatus(object: JsonObject, old: JsonObject): readonly FieldError[] {
      return [
        ...validateMetaTexts(object),
        ...validateObjectMetaUpdate(object, old),
        ...(rules.validateStatus?.(object, old) ?? []),
      ];
    },
  };
}

/** Nothing changed that a kind's own rules are about: of metadata only annotations may mean something to them. */
function isSameBesideMeta(object: JsonObject, old: JsonObject, hasStatus: boolean): boolean {
  const body = ({ metadata: _metadata, status, ...rest }: JsonObject): JsonObject =>
    hasStatus || status === undefined ? rest : { ...rest, status };
  return (
    jsonEqual(body(object), body(old)) &&
    jsonEqual(stringMapAt(object, 'metadata', 'annotations'), stringMapAt(old, 'metadata', 'annotations'))
  );
}

function restore(object: JsonObject, old: JsonObject, field: string): void {
  const value = old[field];
  if (value === undefined) delete object[field];
  else object[field] = value;
}

/** Everything beside metadata and status counts: most kinds have only `spec` there. */
function countGeneration(object: JsonObject, old: JsonObject): void {
  const before = numberAt(old, 'metadata', 'generation') ?? 0;
  const { metadata: _newMeta, status: _newStatus, ...wanted } = object;
  const { metadata: _oldMeta, status: _oldStatus, ...had } = old;
  ensureObject(object, 'metadata')['generation'] = jsonEqual(wanted, had) ? before : before + 1;
}
