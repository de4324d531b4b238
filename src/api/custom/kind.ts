import { ageOf } from '../duration.ts';
import { boolAt, ensureObject, objectAt, objectsAt, stringAt, stringsAt } from '../fields.ts';
import { type JsonPath, parseJsonPath, plainKeys, valuesAt } from '../json-path.ts';
import type {
  BodyStructure,
  Column,
  FieldError,
  Kind,
  ScalePaths,
  StoredForm,
  Subresource,
} from '../kind.ts';
import { ageColumn, nameColumn } from '../kinds/columns.ts';
import { defineKind } from '../kinds/define.ts';
import type { Json, JsonObject } from '../object.ts';
import { checkStructure } from '../schema.ts';
import { defaultBySchema, hasDefaults, pruneBySchema } from './prune.ts';
import { compileRules } from './rules.ts';
import { validateBySchema } from './validate.ts';

/** The registry's entries of one CustomResourceDefinition: one for each served version. */
export function kindsOfDefinition(definition: JsonObject): readonly Kind[] {
  const versions = objectsAt(definition, 'spec', 'versions');
  const storage = versions.find((version) => boolAt(version, 'storage'));
  if (storage === undefined) return [];
  return versions
    .filter((version) => boolAt(version, 'served'))
    .toSorted((a, b) => compareVersions(stringAt(a, 'name'), stringAt(b, 'name')))
    .map((version) => kindOfVersion(definition, version, stringAt(storage, 'name')));
}

/** Kubernetes' order: stable before beta before alpha, then the higher number; what is none of them comes last. */
export function compareVersions(a: string, b: string): number {
  const rank = (text: string): readonly number[] | undefined => {
    const found = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(text);
    if (found === null) return undefined;
    const stability = found[2] === undefined ? 2 : found[2] === 'beta' ? 1 : 0;
    return [stability, Number(found[1]), Number(found[3] ?? 0)];
  };
  const [first, second] = [rank(a), rank(b)];
  if (first === undefined || second === undefined) {
    if (first !== undefined) return -1;
    return second !== undefined ? 1 : a < b ? -1 : a > b ? 1 : 0;
  }
  for (const [at, value] of first.entries()) {
    const difference = (second[at] ?? 0) - value;
    if (difference !== 0) return difference;
  }
  return 0;
}

function kindOfVersion(definition: JsonObject, version: JsonObject, storageVersion: string): Kind {
  const spec = objectAt(definition, 'spec') ?? {};
  const group = stringAt(spec, 'group');
  const names = objectAt(spec, 'names') ?? {};
  const identity = {
    group,
    version: stringAt(version, 'name'),
    kind: stringAt(names, 'kind'),
    plural: stringAt(names, 'plural'),
  };
  const schema = objectAt(version, 'schema', 'openAPIV3Schema') ?? {};
  const hasStatus = objectAt(version, 'subresources', 'status') !== undefined;
  const scale = scalePaths(objectAt(version, 'subresources', 'scale'));
  const subresources: Subresource[] = [
    ...(hasStatus ? (['status'] as const) : []),
    ...(scale === undefined ? [] : (['scale'] as const)),
  ];
  const rules = compileRules(schema);
  const deprecated = deprecationWarning(version, identity);
  const selectable = objectsAt(version, 'selectableFields').map((entry) => stringAt(entry, 'jsonPath'));
  const validateWhole = (object: JsonObject, old?: JsonObject): readonly FieldError[] => {
    const errors = validateBySchema(schema, object, '', old);
    return errors.length > 0 ? errors : rules.validate(object, old);
  };
  const base = defineKind({
    ...identity,
    namespaced: stringAt(spec, 'scope') === 'Namespaced',
    schema: `custom/${group}/${identity.version}.${identity.kind}`,
    shortNames: stringsAt(names, 'shortNames'),
    categories: stringsAt(names, 'categories'),
    subresources,
    countsGenerations: true,
    columns: columnsOf(version),
    stored: storedForm(identity, storageVersion),
    ...(deprecated === undefined ? {} : { deprecated }),
    ...(selectable.length === 0 ? {} : { selectableFields: (object) => fieldsOf(object, selectable) }),
    setDefaults: (object) => defaultBySchema(schema, object),
    validate: validateWhole,
    validateUpdate: (object, old) => rules.validateTransition(object, old),
    // The status is a part of the schema, and unchanged parts are not validated again anyway.
    validateStatus: (object, old) => [
      ...validateWhole(object, old),
      ...rules.validateTransition(object, old),
    ],
  });
  return {
    ...base,
    singular: stringAt(names, 'singular'),
    custom: true,
    openApiSchema: schema,
    ...(hasDefaults(schema) ? { defaultsOnRead: true } : {}),
    ...(scale === undefined ? {} : { scale }),
    ...conversionOf(spec, storageVersion),
    structure: (body) => structureOf(schema, body),
  };
}

function conversionOf(spec: JsonObject, storageVersion: string): Pick<Kind, 'conversion'> {
  if (stringAt(spec, 'conversion', 'strategy') !== 'Webhook') return {};
  const webhook = objectAt(spec, 'conversion', 'webhook');
  const storage = objectsAt(spec, 'versions').find((version) => stringAt(version, 'name') === storageVersion);
  return {
    conversion: {
      clientConfig: objectAt(webhook, 'clientConfig') ?? {},
      reviewVersions: stringsAt(webhook, 'conversionReviewVersions'),
      storageSchema: objectAt(storage, 'schema', 'openAPIV3Schema') ?? {},
    },
  };
}

function deprecationWarning(
  version: JsonObject,
  { group, kind }: { readonly group: string; readonly kind: string },
): string | undefined {
  if (!boolAt(version, 'deprecated')) return undefined;
  const own = stringAt(version, 'deprecationWarning');
  return own === '' ? `${group}/${stringAt(version, 'name')} ${kind} is deprecated` : own;
}

/** The metadata is Kubernetes' own; the rest is what the schema says. */
function structureOf(schema: JsonObject, body: JsonObject): BodyStructure {
  const { metadata, ...rest } = body;
  const meta = checkStructure('meta/v1.ObjectMeta', metadata ?? {});
  const { value, unknownFields } = pruneBySchema(schema, rest, true);
  const pruned = value as JsonObject;
  return {
    typeErrors: meta.typeErrors,
    unknownFields: [...meta.unknownFields.map((path) => `metadata.${path}`), ...unknownFields],
    pruned: { ...pruned, metadata: meta.pruned },
  };
}

type Identity = Pick<Kind, 'group' | 'version' | 'kind' | 'plural'>;

/** Conversion None: the versions differ in nothing but their name. With a webhook the objects come here converted. */
function storedForm(identity: Identity, storageVersion: string): StoredForm {
  const { group, version, kind, plural } = identity;
  const named = (object: JsonObject, apiVersion: string): JsonObject => ({ ...object, apiVersion });
  return {
    ...{ group, version: storageVersion, kind, plural },
    toStored: (object) => named(object, `${group}/${storageVersion}`),
    fromStored: (object) => named(object, `${group}/${version}`),
  };
}

function scalePaths(scale: JsonObject | undefined): ScalePaths | undefined {
  if (scale === undefined) return undefined;
  const keysAt = (field: string): readonly string[] | undefined => {
    const parsed = parseJsonPath(stringAt(scale, field));
    return parsed === undefined ? undefined : plainKeys(parsed);
  };
  const labelSelector = keysAt('labelSelectorPath');
  return {
    specReplicas: keysAt('specReplicasPath') ?? ['spec', 'replicas'],
    statusReplicas: keysAt('statusReplicasPath') ?? ['status', 'replicas'],
    ...(labelSelector === undefined ? {} : { labelSelector }),
  };
}

function fieldsOf(object: JsonObject, paths: readonly string[]): Readonly<Record<string, string>> {
  const entries = paths.map((path): [string, string] => {
    const [value] = valuesAt(parseJsonPath(path) ?? [], object);
    return [path.replace(/^\./, ''), value === undefined ? '' : textOf(value)];
  });
  return Object.fromEntries(entries);
}

function columnsOf(version: JsonObject): readonly Column[] {
  const extra = objectsAt(version, 'additionalPrinterColumns').map(columnOf);
  if (extra.length === 0) return [nameColumn, ageColumn];
  return [nameColumn, ...extra];
}

function columnOf(entry: JsonObject): Column {
  const path = parseJsonPath(stringAt(entry, 'jsonPath')) ?? [];
  const type = stringAt(entry, 'type') as Column['type'];
  return {
    name: stringAt(entry, 'name'),
    // Dates become ages here, so what goes over the wire is a text.
    type: type === 'date' ? 'string' : type,
    priority: entry['priority'] === undefined || entry['priority'] === 0 ? 0 : 1,
    description:
      stringAt(entry, 'description') ||
      `Custom resource definition column (in JSONPath format): ${stringAt(entry, 'jsonPath')}`,
    cell: (object, nowMs) => cellOf(path, type, object, nowMs),
  };
}

function cellOf(
  path: JsonPath,
  type: Column['type'],
  object: JsonObject,
  nowMs: number,
): string | number | boolean | null {
  const values = valuesAt(path, object);
  const [value] = values;
  if (value === undefined || value === null) return null;
  switch (type) {
    case 'date':
      return typeof value === 'string' ? ageOf(value, nowMs) : '<unknown>';
    case 'integer':
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'string':
      return values.length > 1 ? values.map(textOf).join(',') : textOf(value);
  }
}

function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The status that the server gives a definition whose names are free. */
export function acceptedStatus(
  definition: JsonObject,
  conflict: string | undefined,
  now: string,
): JsonObject {
  const old = objectAt(definition, 'status') ?? {};
  const versions = objectsAt(definition, 'spec', 'versions');
  const storage = versions.find((version) => boolAt(version, 'storage'));
  const stored = new Set([...stringsAt(old, 'storedVersions'), stringAt(storage, 'name')]);
  const names = ensureObject(ensureObject(structuredClone(definition), 'spec'), 'names');
  const free = conflict === undefined;
  const condition = (type: string, holds: boolean, reason: string, message: string): JsonObject => {
    const status = holds ? 'True' : 'False';
    const before = objectsAt(old, 'conditions').find((entry) => entry['type'] === type);
    const since = before?.['status'] === status ? stringAt(before, 'lastTransitionTime') : now;
    return { type, status, reason, message, lastTransitionTime: since };
  };
  const others = objectsAt(old, 'conditions').filter(
    (entry) => entry['type'] !== 'NamesAccepted' && entry['type'] !== 'Established',
  );
  return {
    ...old,
    acceptedNames: free ? names : (objectAt(old, 'acceptedNames') ?? { plural: '', kind: '' }),
    conditions: [
      ...others,
      condition(
        'NamesAccepted',
        free,
        free ? 'NoConflicts' : 'NamesConflict',
        conflict ?? 'no conflicts found',
      ),
      condition(
        'Established',
        free,
        free ? 'InitialNamesAccepted' : 'NotAccepted',
        free ? 'the initial names have been accepted' : 'not all names are accepted',
      ),
    ],
    storedVersions: [...stored],
  };
}
