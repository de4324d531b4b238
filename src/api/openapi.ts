import { createHash } from 'node:crypto';
import type { Kind } from './kind.ts';
import type { Json, JsonObject } from './object.ts';
import {
  type Dialect,
  definitions,
  fullName,
  kindsByApiVersion,
  openApi3,
  swagger2,
} from './openapi-definitions.ts';
import { type Operation, type Path, pathsOf } from './openapi-operations.ts';
import { encodeSwagger } from './openapi-protobuf.ts';
import { kinds } from './registry.ts';

/**
 * The OpenAPI documents of the served API, from the schema table, the markers and the registry. Built when first asked
 * for, then kept as bytes; only protobuf (kubectl up to 1.28) or only version 3 (kubectl from 1.29) is usually asked.
 */

/** What clients put into Accept. It is no valid media type ("@"), so the answer must not carry it as it stands. */
export const openApiV2ProtobufMediaType = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';

/** The Content-Type of the answer to that: client-go refuses to read one that it cannot parse. */
export const openApiV2ProtobufContentType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

const bodyTypes = ['application/json', 'application/yaml'] as const;
const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
] as const;
const answerTypes = ['application/json'] as const;

/** What another server says of one group version that it answers for. */
export type OtherDocuments = {
  /** `apis/GROUP/VERSION` */
  readonly path: string;
  /** Its part of the one document of version 2; undefined: it has none. */
  readonly v2: { readonly paths: JsonObject; readonly definitions: JsonObject } | undefined;
  /** The document of version 3, as it came. */
  readonly v3: Uint8Array | undefined;
};

/** The documents by the lists that they were built with; those of an old list go with it. */
const caches = new WeakMap<readonly Kind[], WeakMap<readonly OtherDocuments[], Map<string, Uint8Array>>>();
const noCustom: readonly Kind[] = [];
const noOthers: readonly OtherDocuments[] = [];

function cached(
  custom: readonly Kind[],
  others: readonly OtherDocuments[],
  key: string,
  build: () => Uint8Array,
): Uint8Array {
  const cache = inMap(
    inMap(caches, custom.length === 0 ? noCustom : custom, () => new WeakMap()),
    others.length === 0 ? noOthers : others,
    () => new Map<string, Uint8Array>(),
  );
  const known = cache.get(key);
  if (known !== undefined) return known;
  const bytes = build();
  cache.set(key, bytes);
  return bytes;
}

function inMap<Key extends WeakKey, Value>(map: WeakMap<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function jsonBytes(value: Json): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** /openapi/v2 as JSON. */
export function openApiV2Json(custom: readonly Kind[] = noCustom, others = noOthers): Uint8Array {
  return cached(custom, others, 'v2.json', () => jsonBytes(buildSwagger(custom, others)));
}

/** /openapi/v2 as the protobuf message openapi.v2.Document. */
export function openApiV2Protobuf(custom: readonly Kind[] = noCustom, others = noOthers): Uint8Array {
  return cached(custom, others, 'v2.pb', () => encodeSwagger(buildSwagger(custom, others)));
}

/** /openapi/v3: the index of group versions; the hash in an URL changes with the document. */
export function openApiV3Index(custom: readonly Kind[] = noCustom, others = noOthers): Uint8Array {
  return cached(custom, others, 'v3', () => {
    const own = [...kindsByApiVersion(custom).keys()].map(v3Path);
    const foreign = others.filter(({ v3 }) => v3 !== undefined).map(({ path }) => path);
    const paths = [...own, ...foreign].map((path): [string, Json] => {
      const bytes = openApiV3Document(path, custom, others) ?? new Uint8Array();
      const hash = createHash('sha256').update(bytes).digest('hex').toUpperCase();
      return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }];
    });
    return jsonBytes({ paths: Object.fromEntries(paths) });
  });
}

/** /openapi/v3/PATH with PATH as `api/v1` or `apis/apps/v1`; undefined when that is not served. */
export function openApiV3Document(
  path: string,
  custom: readonly Kind[] = noCustom,
  others = noOthers,
): Uint8Array | undefined {
  for (const [apiVersion, members] of kindsByApiVersion(custom)) {
    const list = members.some((kind) => kind.custom === true) ? custom : noCustom;
    if (v3Path(apiVersion) === path) {
      return cached(list, noOthers, path, () => jsonBytes(buildOpenApi3(members)));
    }
  }
  return others.find((other) => other.path === path)?.v3;
}

function v3Path(apiVersion: string): string {
  return apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`;
}

const info: Json = { title: 'Kubernetes', version: 'unversioned' };

/** A definition that another server has under one of our names is the same type, so ours stands for both. */
function buildSwagger(custom: readonly Kind[], others: readonly OtherDocuments[]): JsonObject {
  const members = [...kinds, ...custom];
  const paths = members.flatMap(pathsOf).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const own = Object.fromEntries(paths.map((path) => [path.path, swaggerPath(path)]));
  return {
    swagger: '2.0',
    info,
    paths: Object.assign({}, ...others.map(({ v2 }) => v2?.paths), own) as JsonObject,
    definitions: Object.assign(
      {},
      ...others.map(({ v2 }) => v2?.definitions),
      definitions(members, swagger2),
    ) as JsonObject,
  };
}

function buildOpenApi3(members: readonly Kind[]): JsonObject {
  const paths = members.flatMap(pathsOf).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return {
    openapi: '3.0.0',
    info,
    paths: Object.fromEntries(paths.map((path) => [path.path, openApi3Path(path)])),
    components: { schemas: { ...definitions(members, openApi3) } },
  };
}

function extensions(operation: Operation): JsonObject {
  return {
    'x-kubernetes-action': operation.action,
    'x-kubernetes-group-version-kind': operation.identity,
  };
}

function pathParameters(path: Path): readonly string[] {
  return [...(path.named ? ['name'] : []), ...(path.namespaced ? ['namespace'] : [])];
}

function answerSchema(operation: Operation, dialect: Dialect): JsonObject {
  const { answer } = operation;
  if (answer === 'text') return { type: 'string' };
  return dialect.reference(answer.list ? `${fullName(answer.type)}List` : fullName(answer.type));
}

function bodySchema(operation: Operation, dialect: Dialect): JsonObject | undefined {
  if (operation.body === undefined) return undefined;
  return operation.body === 'patch' ? { type: 'object' } : dialect.reference(fullName(operation.body));
}

/** kubectl chooses its patch by what is listed here: custom kinds have no strategic merge. */
function bodyTypesOf({ body, answer }: Operation): readonly string[] {
  if (body !== 'patch') return bodyTypes;
  const isCustom = answer !== 'text' && answer.type.startsWith('custom/');
  return isCustom ? patchTypes.filter((type) => !type.includes('strategic')) : patchTypes;
}

function swaggerPath(path: Path): JsonObject {
  const operations = path.operations.map((operation): [string, Json] => {
    const schema = bodySchema(operation, swagger2);
    const body: Json[] =
      schema === undefined ? [] : [{ in: 'body', name: 'body', schema, required: isRequired(operation) }];
    const query = operation.query.map(
      ({ name, type }): Json => ({ in: 'query', name, type, uniqueItems: true }),
    );
    return [
      operation.method,
      {
        consumes: [...bodyTypesOf(operation)],
        operationId: operation.id,
        parameters: [...body, ...query],
        produces: [...answerTypes],
        responses: { '200': { description: 'OK', schema: answerSchema(operation, swagger2) } },
        schemes: ['https'],
        ...extensions(operation),
      },
    ];
  });
  const parameters = pathParameters(path).map(
    (name): Json => ({ in: 'path', name, required: true, type: 'string', uniqueItems: true }),
  );
  return { ...Object.fromEntries(operations), ...(parameters.length === 0 ? {} : { parameters }) };
}

function isRequired(operation: Operation): boolean {
  return operation.method !== 'delete';
}

function openApi3Path(path: Path): JsonObject {
  const operations = path.operations.map((operation): [string, Json] => {
    const schema = bodySchema(operation, openApi3);
    const content = Object.fromEntries(
      bodyTypesOf(operation).map((type) => [type, { schema: schema ?? {} }]),
    );
    const answerContent = { 'application/json': { schema: answerSchema(operation, openApi3) } };
    return [
      operation.method,
      {
        operationId: operation.id,
        parameters: operation.query.map(
          ({ name, type }): Json => ({ in: 'query', name, schema: { type, uniqueItems: true } }),
        ),
        ...(schema === undefined ? {} : { requestBody: { content, required: isRequired(operation) } }),
        responses: { '200': { description: 'OK', content: answerContent } },
        ...extensions(operation),
      },
    ];
  });
  const parameters = pathParameters(path).map(
    (name): Json => ({ in: 'path', name, required: true, schema: { type: 'string', uniqueItems: true } }),
  );
  return { ...Object.fromEntries(operations), ...(parameters.length === 0 ? {} : { parameters }) };
}
