import type { Kind, Subresource } from './kind.ts';
import type { JsonObject } from './object.ts';
import { groupVersionKind } from './openapi-definitions.ts';

/** The paths half of the OpenAPI documents, before it is written in one dialect. */

export type Action = 'get' | 'list' | 'post' | 'put' | 'patch' | 'delete' | 'deletecollection' | 'connect';

export type Operation = {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly action: Action;
  readonly id: string;
  readonly identity: JsonObject;
  readonly query: readonly QueryParameter[];
  /** Type of the body (schema table name), 'patch' for a patch document. */
  readonly body: string | undefined;
  /** Type of the answer; `list` wraps it. 'text' for what is no JSON. */
  readonly answer: { readonly type: string; readonly list: boolean } | 'text';
};

export type Path = {
  readonly path: string;
  readonly namespaced: boolean;
  readonly named: boolean;
  readonly operations: readonly Operation[];
};

export type QueryParameter = { readonly name: string; readonly type: 'string' | 'integer' | 'boolean' };

function query(type: QueryParameter['type'], ...names: readonly string[]): readonly QueryParameter[] {
  return names.map((name) => ({ name, type }));
}

const readQuery = query('string', 'pretty');
const writeQuery = [...query('string', 'dryRun', 'fieldManager', 'fieldValidation', 'pretty')];
const patchQuery = [...writeQuery, ...query('boolean', 'force')];
const deleteQuery = [
  ...query('string', 'dryRun', 'propagationPolicy', 'pretty'),
  ...query('integer', 'gracePeriodSeconds'),
  ...query('boolean', 'orphanDependents'),
];
const listQuery = [
  ...query('boolean', 'allowWatchBookmarks', 'sendInitialEvents', 'watch'),
  ...query(
    'string',
    'continue',
    'fieldSelector',
    'labelSelector',
    'pretty',
    'resourceVersion',
    'resourceVersionMatch',
  ),
  ...query('integer', 'limit', 'timeoutSeconds'),
];

const logQuery = [
  ...query('string', 'container', 'pretty'),
  ...query('boolean', 'follow', 'previous', 'timestamps'),
  ...query('integer', 'limitBytes', 'sinceSeconds', 'tailLines'),
];

/** The type that a subresource reads and writes; the main one for `status`. */
const subresourceTypes: Readonly<Partial<Record<Subresource, string>>> = {
  scale: 'autoscaling/v1.Scale',
  eviction: 'policy/v1.Eviction',
  binding: 'core/v1.Binding',
  token: 'authentication/v1.TokenRequest',
};

const subresourceIdentities: Readonly<Partial<Record<Subresource, JsonObject>>> = {
  scale: { group: 'autoscaling', kind: 'Scale', version: 'v1' },
  eviction: { group: 'policy', kind: 'Eviction', version: 'v1' },
  binding: { group: '', kind: 'Binding', version: 'v1' },
  token: { group: 'authentication.k8s.io', kind: 'TokenRequest', version: 'v1' },
};

/** Every path of a kind with its operations. */
export function pathsOf(kind: Kind): readonly Path[] {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const scope = kind.namespaced ? '/namespaces/{namespace}' : '';
  const collection = `${root}${scope}/${kind.plural}`;
  const item = `${collection}/{name}`;
  if (kind.ephemeral === true) {
    const path = { path: collection, namespaced: kind.namespaced, named: false };
    return [{ ...path, operations: [create(kind)] }];
  }
  if (kind.readOnly === true) {
    const all = { path: collection, namespaced: kind.namespaced, named: false, operations: [list(kind, '')] };
    return [all, { path: item, namespaced: kind.namespaced, named: true, operations: [read(kind)] }];
  }
  const paths: Path[] = [
    {
      path: collection,
      namespaced: kind.namespaced,
      named: false,
      operations: [list(kind, ''), create(kind), deleteCollection(kind)],
    },
    {
      path: item,
      namespaced: kind.namespaced,
      named: true,
      operations: [read(kind), replace(kind), patch(kind), remove(kind)],
    },
    ...kind.subresources.map((name) => subresourcePath(kind, name, item)),
  ];
  if (kind.namespaced) {
    const everywhere = { path: `${root}/${kind.plural}`, namespaced: false, named: false };
    paths.push({ ...everywhere, operations: [list(kind, 'ForAllNamespaces')] });
  }
  return paths;
}

function subresourcePath(kind: Kind, name: Subresource, item: string): Path {
  const path = { path: `${item}/${name}`, namespaced: kind.namespaced, named: true };
  const type = subresourceTypes[name] ?? kind.schema;
  const identity = subresourceIdentities[name] ?? groupVersionKind(kind);
  const about = { identity, answer: { type, list: false } } as const;
  const id = (verb: string): string => operationId(kind, verb, name);
  switch (name) {
    case 'status':
    case 'ephemeralcontainers':
    case 'resize':
    case 'approval':
    case 'scale':
      return {
        ...path,
        operations: [
          { ...about, method: 'get', action: 'get', id: id('read'), query: readQuery, body: undefined },
          { ...about, method: 'put', action: 'put', id: id('replace'), query: writeQuery, body: type },
          { ...about, method: 'patch', action: 'patch', id: id('patch'), query: patchQuery, body: 'patch' },
        ],
      };
    case 'eviction':
    case 'binding':
    case 'token':
      return {
        ...path,
        operations: [
          { ...about, method: 'post', action: 'post', id: id('create'), query: writeQuery, body: type },
        ],
      };
    case 'finalize':
      return {
        ...path,
        operations: [
          { ...about, method: 'put', action: 'put', id: id('replace'), query: writeQuery, body: type },
        ],
      };
    case 'log':
      return {
        ...path,
        operations: [
          {
            identity,
            answer: 'text',
            method: 'get',
            action: 'get',
            id: id('read'),
            query: logQuery,
            body: undefined,
          },
        ],
      };
    case 'exec':
    case 'attach':
    case 'portforward':
    case 'proxy':
      return {
        ...path,
        operations: (['get', 'post'] as const).map((method) => ({
          identity,
          answer: 'text',
          method,
          action: 'connect',
          id: id(`connect${method === 'get' ? 'Get' : 'Post'}`),
          query: [],
          body: undefined,
        })),
      };
  }
}

function own(kind: Kind, isList = false): Pick<Operation, 'identity' | 'answer'> {
  return { identity: groupVersionKind(kind), answer: { type: kind.schema, list: isList } };
}

function list(kind: Kind, suffix: string): Operation {
  const id = operationId(kind, 'list', '', suffix);
  return { ...own(kind, true), method: 'get', action: 'list', id, query: listQuery, body: undefined };
}

function create(kind: Kind): Operation {
  const id = operationId(kind, 'create');
  return { ...own(kind), method: 'post', action: 'post', id, query: writeQuery, body: kind.schema };
}

function deleteCollection(kind: Kind): Operation {
  return {
    identity: groupVersionKind(kind),
    answer: { type: 'meta/v1.Status', list: false },
    method: 'delete',
    action: 'deletecollection',
    id: operationId(kind, 'deleteCollection'),
    query: deleteQuery,
    body: 'meta/v1.DeleteOptions',
  };
}

function read(kind: Kind): Operation {
  return {
    ...own(kind),
    method: 'get',
    action: 'get',
    id: operationId(kind, 'read'),
    query: readQuery,
    body: undefined,
  };
}

function replace(kind: Kind): Operation {
  const id = operationId(kind, 'replace');
  return { ...own(kind), method: 'put', action: 'put', id, query: writeQuery, body: kind.schema };
}

function patch(kind: Kind): Operation {
  const id = operationId(kind, 'patch');
  return { ...own(kind), method: 'patch', action: 'patch', id, query: patchQuery, body: 'patch' };
}

function remove(kind: Kind): Operation {
  return {
    identity: groupVersionKind(kind),
    answer: { type: 'meta/v1.Status', list: false },
    method: 'delete',
    action: 'delete',
    id: operationId(kind, 'delete'),
    query: deleteQuery,
    body: 'meta/v1.DeleteOptions',
  };
}

/** "readCoreV1NamespacedPodLog": the names that generated clients use. */
function operationId(kind: Kind, verb: string, subresource = '', suffix = ''): string {
  const group = kind.group === '' ? 'core' : (kind.group.split('.')[0] ?? '');
  const scope = kind.namespaced && suffix === '' ? 'Namespaced' : '';
  return `${verb}${capital(group)}${capital(kind.version)}${scope}${kind.kind}${capital(subresource)}${suffix}`;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
