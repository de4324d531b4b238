import type { Json, JsonObject } from './object.ts';

/** One thing wrong with an object. `field` is a path as kubectl users know it: `spec.ports[0].port`. */
export type FieldError = {
  readonly type:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueDuplicate'
    | 'FieldValueForbidden'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
    | 'FieldValueTypeInvalid'
    | 'FieldValueNotFound'
    | 'InternalError';
  readonly field: string;
  /** The whole text of the cause, in Kubernetes' words: `Invalid value: 70000: must be between 1 and 65535, inclusive`. */
  readonly message: string;
};

/** A column of `kubectl get`. `priority` 0 is always shown, 1 with -o wide. */
export type Column = {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date' | 'boolean' | 'number';
  readonly format?: 'name';
  readonly priority: 0 | 1;
  readonly description: string;
  /** The cell of one object. `nowMs` is for ages. Never throws on a half-filled object. */
  cell(object: JsonObject, nowMs: number): string | number | boolean | null;
};

export type Subresource =
  | 'status'
  | 'scale'
  | 'log'
  | 'exec'
  | 'attach'
  | 'portforward'
  | 'proxy'
  | 'eviction'
  | 'binding'
  | 'token'
  | 'finalize'
  | PartName;

/** Subresources that read and write one part of their object. */
export type PartName = 'ephemeralcontainers' | 'resize' | 'approval';

/** How such a part is written. */
export type Part = {
  /** What it is a part of: changes of the spec are counted and take from quotas. */
  readonly of: 'spec' | 'status';
  /** The stored object with the part of the wanted one. Changes neither. */
  take(wanted: JsonObject, old: JsonObject): JsonObject;
  /** Rules between old and new, in place of `validateUpdate`; for a part of the status in place of `validate`, too. */
  validate(object: JsonObject, old: JsonObject): readonly FieldError[];
};

/** How objects lie in the store where that is not how they are served: another version, or another group. */
export type StoredForm = {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Both may reuse parts of what they are given, and never change it. */
  toStored(object: JsonObject): JsonObject;
  fromStored(object: JsonObject): JsonObject;
};

/** What reading a body against a schema tells, see checkStructure in schema.ts. */
export type BodyStructure = {
  readonly typeErrors: readonly string[];
  readonly unknownFields: readonly string[];
  readonly pruned: Json;
};

/** Where a custom kind keeps what its Scale shows: paths of keys below the object. */
export type ScalePaths = {
  readonly specReplicas: readonly string[];
  readonly statusReplicas: readonly string[];
  /** A field with the text of a label selector. */
  readonly labelSelector?: readonly string[];
};

/**
 * One entry of the registry: all that the API server needs to know of a kind.
 * The hooks get parsed JSON that is theirs to change (`object`) or only to read (`old`).
 */
export type Kind = {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** Name in the schema table: `core/v1.Service`. */
  readonly schema: string;
  readonly subresources: readonly Subresource[];
  readonly parts?: Readonly<Partial<Record<PartName, Part>>>;
  /** Kinds that are answered but never stored, such as SubjectAccessReview: create only. */
  readonly ephemeral?: true;
  /** Answered from what the server knows, never stored: get and list only. */
  readonly readOnly?: true;
  readonly columns: readonly Column[];
  /** Absent: stored as it is served. */
  readonly stored?: StoredForm;
  /** Of a custom kind whose schema has defaults: what was stored before it had them gets them when it is read. */
  readonly defaultsOnRead?: true;
  /** Reads a body of a kind whose schema is not in the table. */
  structure?(body: JsonObject): BodyStructure;
  /** Strategic merge patch needs Go types, which custom kinds do not have. */
  readonly custom?: true;
  readonly scale?: ScalePaths;
  /** Of a custom kind whose versions only a webhook can turn into each other. */
  readonly conversion?: {
    readonly clientConfig: JsonObject;
    readonly reviewVersions: readonly string[];
    /** Of the version that is stored, which need not be served. */
    readonly storageSchema: JsonObject;
  };
  /** The schema of a custom kind for OpenAPI documents. */
  readonly openApiSchema?: JsonObject;
  /** The text of a Warning that every answer about it has. */
  readonly deprecated?: string;
  /** Texts for Warning headers of a create or an update. */
  warnings?(object: JsonObject): readonly string[];
  /** Fields beside metadata.name and metadata.namespace that a fieldSelector may name. */
  readonly selectableFields?: (object: JsonObject) => Readonly<Record<string, string>>;
  /** Fills Kubernetes' defaults in place. Idempotent. */
  setDefaults?(object: JsonObject): void;
  /** Before validation of a create: drops what clients may not set (status), sets generation and the like. */
  prepareForCreate?(object: JsonObject): void;
  /** Before validation of an update of the main resource: keeps old status, bumps generation where the spec changed. */
  prepareForUpdate?(object: JsonObject, old: JsonObject): void;
  /**
   * Rules beyond the schema's types, on create and on update of the main resource. `old`: on an update, where what stayed as it
   * was is not looked at again: it may have been stored under other rules.
   */
  validate?(object: JsonObject, old?: JsonObject): readonly FieldError[];
  /** Rules between old and new of the main resource, such as immutable fields. */
  validateUpdate?(object: JsonObject, old: JsonObject): readonly FieldError[];
  /** The rules of a write of the status, in place of both: a spec that was stored under other rules must not stop it. */
  validateStatus?(object: JsonObject, old: JsonObject): readonly FieldError[];
};
