import { publishedSchema } from './custom/published-schema.ts';
import { describeField, describeType } from './docs/field-docs.ts';
import type { Kind } from './kind.ts';
import { isAtomicType, markerOf } from './list-markers.ts';
import type { Json, JsonObject } from './object.ts';
import { apiVersionOfKind, kinds } from './registry.ts';
import { type FieldType, type Scalar, typeNode } from './schema.ts';

/** The schema half of the OpenAPI documents: the types of the schema table as JSON schemas, under Kubernetes' names. */

/** How a dialect of OpenAPI points at another schema, beside facts of the field that points: its text and its markers. */
export type Dialect = {
  reference(name: string): JsonObject;
  /** `facts` are `x-kubernetes-…` members of the property that refers. */
  propertyReference(name: string, facts: JsonObject): JsonObject;
};

export const swagger2: Dialect = {
  reference: (name) => ({ $ref: `#/definitions/${name}` }),
  propertyReference: (name, facts) => ({ $ref: `#/definitions/${name}`, ...facts }),
};

export const openApi3: Dialect = {
  reference: (name) => ({ $ref: `#/components/schemas/${name}` }),
  // Siblings of $ref are ignored in OpenAPI 3.0, so the reference is wrapped where there are any.
  propertyReference: (name, facts) => ({ allOf: [{ $ref: `#/components/schemas/${name}` }], ...facts }),
};

const metaPackage = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const apiPackage = 'io.k8s.api';

/** "core/v1.Service" → "io.k8s.api.core.v1.Service". */
export function fullName(typeName: string): string {
  const [group = '', rest = '', versioned = ''] = typeName.split('/');
  // "custom/stable.example.com/v1.CronTab" → "com.example.stable.v1.CronTab"
  if (group === 'custom') return `${rest.split('.').toReversed().join('.')}.${versioned}`;
  if (group === 'meta') return `io.k8s.apimachinery.pkg.apis.meta.${rest}`;
  if (group === 'apiextensions') return `io.k8s.apiextensions-apiserver.pkg.apis.${group}.${rest}`;
  if (group === 'apiregistration') return `io.k8s.kube-aggregator.pkg.apis.${group}.${rest}`;
  return `${apiPackage}.${group}.${rest}`;
}

/** Types that are one scalar on the wire but have a name of their own. */
const namedScalars: Readonly<
  Partial<Record<Scalar, { readonly name: string; readonly schema: JsonObject }>>
> = {
  time: { name: `${metaPackage}.Time`, schema: { type: 'string', format: 'date-time' } },
  microTime: { name: `${metaPackage}.MicroTime`, schema: { type: 'string', format: 'date-time' } },
  quantity: { name: 'io.k8s.apimachinery.pkg.api.resource.Quantity', schema: { type: 'string' } },
  intOrString: {
    name: 'io.k8s.apimachinery.pkg.util.intstr.IntOrString',
    schema: { type: 'string', format: 'int-or-string' },
  },
};

/** Free-form values that have a type's name, by their field. */
const namedValues: Readonly<Record<string, string>> = {
  'meta/v1.ManagedFieldsEntry.fieldsV1': `${metaPackage}.FieldsV1`,
  'apps/v1.ControllerRevision.data': 'io.k8s.apimachinery.pkg.runtime.RawExtension',
};

const plainScalars: Readonly<Record<Scalar, JsonObject>> = {
  string: { type: 'string' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  double: { type: 'number', format: 'double' },
  bool: { type: 'boolean' },
  bytes: { type: 'string', format: 'byte' },
  any: { type: 'object' },
  time: { type: 'string' },
  microTime: { type: 'string' },
  quantity: { type: 'string' },
  intOrString: { type: 'string' },
};

/** The definitions that the given kinds need, with the lists of those that are stored. Sorted by name. */
export function definitions(
  members: readonly Kind[],
  dialect: Dialect,
): Readonly<Record<string, JsonObject>> {
  const found = new Map<string, JsonObject>();
  const pending = members.filter((kind) => kind.custom !== true).map((kind) => kind.schema);
  for (const kind of members) {
    if (kind.custom === true) found.set(fullName(kind.schema), customDefinition(kind, dialect));
  }
  if (found.size > 0) pending.push('meta/v1.ObjectMeta');
  pending.push('meta/v1.Status', 'meta/v1.DeleteOptions', 'meta/v1.ListMeta', 'autoscaling/v1.Scale');
  if (members.some((kind) => kind.subresources.includes('eviction'))) {
    pending.push('policy/v1.Eviction', 'core/v1.Binding');
  }
  if (members.some((kind) => kind.subresources.includes('token')))
    pending.push('authentication/v1.TokenRequest');
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(fullName(next))) continue;
    found.set(
      fullName(next),
      definition(next, dialect, (type) => pending.push(type)),
    );
  }
  for (const { name, schema } of Object.values(namedScalars)) found.set(name, schema);
  for (const name of Object.values(namedValues)) found.set(name, { type: 'object' });
  for (const kind of members) {
    if (kind.ephemeral !== true) found.set(`${fullName(kind.schema)}List`, listDefinition(kind, dialect));
  }
  const names = [...found.keys()].toSorted();
  return Object.fromEntries(names.map((name) => [name, found.get(name) ?? {}]));
}

function customDefinition(kind: Kind, dialect: Dialect): JsonObject {
  const described = (field: string): JsonObject => ({ description: describeField('', field, true) ?? '' });
  return {
    ...publishedSchema(kind.openApiSchema ?? {}, {
      version: dialect === swagger2 ? 2 : 3,
      objectFields: {
        apiVersion: { type: 'string', ...described('apiVersion') },
        kind: { type: 'string', ...described('kind') },
        metadata: dialect.propertyReference(`${metaPackage}.ObjectMeta`, described('metadata')),
      },
    }),
    'x-kubernetes-group-version-kind': [groupVersionKind(kind)],
  };
}

function definition(typeName: string, dialect: Dialect, needs: (type: string) => void): JsonObject {
  const node = typeNode(typeName);
  const properties: JsonObject = {};
  const required: string[] = [];
  const isObject = node?.fields.has('metadata') === true;
  const about = describeType(typeName);
  for (const [name, field] of node?.fields ?? []) {
    const text = describeField(typeName, name, isObject);
    const facts = { ...(text === undefined ? {} : { description: text }), ...markerFacts(typeName, name) };
    const named = namedValues[`${typeName}.${name}`];
    properties[name] =
      named === undefined
        ? schemaOf(field.type, dialect, needs, facts)
        : dialect.propertyReference(named, facts);
    if (field.required) required.push(name);
  }
  const identity = groupVersionKinds(typeName);
  return {
    ...(about === undefined ? {} : { description: about }),
    type: 'object',
    ...(Object.keys(properties).length === 0 ? {} : { properties }),
    ...(required.length === 0 ? {} : { required: required.toSorted() }),
    ...(identity.length === 0 ? {} : { 'x-kubernetes-group-version-kind': identity }),
    ...(isAtomicType(typeName) ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  };
}

function schemaOf(
  type: FieldType,
  dialect: Dialect,
  needs: (type: string) => void,
  facts: JsonObject | undefined,
): JsonObject {
  const refer = (name: string): JsonObject =>
    facts === undefined ? dialect.reference(name) : dialect.propertyReference(name, facts);
  switch (type.kind) {
    case 'list':
      return { type: 'array', items: schemaOf(type.of, dialect, needs, undefined), ...facts };
    case 'map':
      return { type: 'object', additionalProperties: schemaOf(type.of, dialect, needs, undefined), ...facts };
    case 'type':
      needs(type.name);
      return refer(fullName(type.name));
    case 'scalar': {
      const named = namedScalars[type.scalar];
      return named === undefined ? { ...plainScalars[type.scalar], ...facts } : refer(named.name);
    }
  }
}

function markerFacts(typeName: string, field: string): JsonObject {
  const marker = markerOf(typeName, field);
  const strategies = [
    ...(marker.patchMerge ? ['merge'] : []),
    ...(marker.patchRetainKeys ? ['retainKeys'] : []),
    ...(marker.patchReplace === true ? ['replace'] : []),
  ];
  return {
    ...(marker.listType === undefined ? {} : { 'x-kubernetes-list-type': marker.listType }),
    ...(marker.listMapKeys === undefined ? {} : { 'x-kubernetes-list-map-keys': [...marker.listMapKeys] }),
    ...(marker.mapType === undefined ? {} : { 'x-kubernetes-map-type': marker.mapType }),
    ...(strategies.length === 0 ? {} : { 'x-kubernetes-patch-strategy': strategies.join(',') }),
    ...(marker.patchMergeKey === undefined ? {} : { 'x-kubernetes-patch-merge-key': marker.patchMergeKey }),
  };
}

/** Types that are objects of the API without being in the registry. */
const otherIdentities: Readonly<Record<string, JsonObject>> = {
  'meta/v1.Status': { group: '', kind: 'Status', version: 'v1' },
  'meta/v1.DeleteOptions': { group: '', kind: 'DeleteOptions', version: 'v1' },
  'autoscaling/v1.Scale': { group: 'autoscaling', kind: 'Scale', version: 'v1' },
  'policy/v1.Eviction': { group: 'policy', kind: 'Eviction', version: 'v1' },
  'core/v1.Binding': { group: '', kind: 'Binding', version: 'v1' },
  'authentication/v1.TokenRequest': { group: 'authentication.k8s.io', kind: 'TokenRequest', version: 'v1' },
};

export function groupVersionKind(kind: Pick<Kind, 'group' | 'version' | 'kind'>): JsonObject {
  return { group: kind.group, kind: kind.kind, version: kind.version };
}

function groupVersionKinds(typeName: string): JsonObject[] {
  const kind = kinds.find((entry) => entry.schema === typeName);
  if (kind !== undefined) return [groupVersionKind(kind)];
  const other = otherIdentities[typeName];
  return other === undefined ? [] : [other];
}

function listDefinition(kind: Kind, dialect: Dialect): JsonObject {
  const items: Json = { type: 'array', items: dialect.reference(fullName(kind.schema)) };
  return {
    type: 'object',
    properties: {
      apiVersion: { type: 'string' },
      items,
      kind: { type: 'string' },
      metadata: dialect.propertyReference(`${metaPackage}.ListMeta`, {}),
    },
    required: ['items'],
    'x-kubernetes-group-version-kind': [groupVersionKind({ ...kind, kind: `${kind.kind}List` })],
  };
}

/** Kinds by group version ("v1", "apps/v1"). */
export function kindsByApiVersion(custom: readonly Kind[] = []): ReadonlyMap<string, readonly Kind[]> {
  return Map.groupBy([...kinds, ...custom], apiVersionOfKind);
}
