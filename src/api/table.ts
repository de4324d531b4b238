import { objectAt } from './fields.ts';
import type { Kind } from './kind.ts';
import type { JsonObject } from './object.ts';

/** The two versions of meta.k8s.io that carry Table and PartialObjectMetadata; their shapes are equal. */
export type MetaVersion = 'v1' | 'v1beta1';

/** How much of each object a row carries beside its cells; kubectl asks for Metadata by default, Object to sort. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

export type TableOptions = {
  readonly version: MetaVersion;
  readonly includeObject: IncludeObject;
  /** Now, for ages: milliseconds since the epoch. */
  readonly nowMs: number;
  /** ListMeta of the list that the rows come from (resourceVersion, continue, remainingItemCount). */
  readonly listMeta?: JsonObject;
  /** Watch events after the first leave out the columns' definitions. Default true. */
  readonly withColumns?: boolean;
};

/** What a server-side printed list looks like on the wire: meta.k8s.io Table. */
export function renderTable(
  kind: Pick<Kind, 'columns'>,
  objects: readonly JsonObject[],
  options: TableOptions,
): JsonObject {
  const { columns } = kind;
  const definitions = columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description,
    priority: column.priority,
  }));
  const rows = objects.map((object): JsonObject => {
    const cells = columns.map((column) => column.cell(object, options.nowMs));
    const included = includedObject(object, options);
    return included === undefined ? { cells } : { cells, object: included };
  });
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata: options.listMeta ?? {},
    columnDefinitions: options.withColumns === false ? [] : definitions,
    rows,
  };
}

function includedObject(object: JsonObject, options: TableOptions): JsonObject | undefined {
  switch (options.includeObject) {
    case 'None':
      return undefined;
    case 'Metadata':
      return partialObjectMetadata(object, options.version);
    case 'Object':
      return object;
  }
}

/** An object reduced to its metadata, in the form that metadata-only clients ask for. */
export function partialObjectMetadata(object: JsonObject, version: MetaVersion): JsonObject {
  return {
    kind: 'PartialObjectMetadata',
    apiVersion: `meta.k8s.io/${version}`,
    metadata: objectAt(object, 'metadata') ?? {},
  };
}

export function partialObjectMetadataList(
  objects: readonly JsonObject[],
  listMeta: JsonObject,
  version: MetaVersion,
): {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: JsonObject;
  readonly items: readonly JsonObject[];
} {
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: `meta.k8s.io/${version}`,
    metadata: listMeta,
    items: objects.map((object) => partialObjectMetadata(object, version)),
  };
}
