import { isDeepStrictEqual } from 'node:util';
import { objectAt, stringAt } from '../../api/fields.ts';
import { isJsonObject, type Json, type JsonObject } from '../../api/object.ts';
import type { OtherDocuments } from '../../api/openapi.ts';
import type { Backend } from '../proxy-location.ts';
import { getFromApi } from './ask.ts';
import type { RemoteApi } from './registry.ts';

/** What other servers say in OpenAPI of the group versions that they answer for, kept here to be served beside our own. */

/** Largest document of another server, bytes; of a larger one nothing is shown. */
const documentBytesMax = 4 * 1024 * 1024;

/** With what tells whether they have changed. */
export type KnownDocuments = OtherDocuments & { readonly v2Tag: string; readonly v3Place: string };

/** Asks for the documents anew, as far as they changed. A server that has none is fine. Rejects when it does not answer. */
export async function readDocuments(
  api: RemoteApi,
  backend: Backend,
  known: KnownDocuments | undefined,
  signal: AbortSignal,
): Promise<KnownDocuments> {
  const path = `apis/${api.group}/${api.version}`;
  const { v2, v2Tag } = await readV2(api, backend, known, signal);
  const { v3, v3Place } = await readV3(api, backend, path, known, signal);
  const isSame = known !== undefined && known.v2 === v2 && known.v3 === v3;
  return isSame ? known : { path, v2, v2Tag, v3, v3Place };
}

async function readV2(
  api: RemoteApi,
  backend: Backend,
  known: KnownDocuments | undefined,
  signal: AbortSignal,
): Promise<Pick<KnownDocuments, 'v2' | 'v2Tag'>> {
  const { status, etag, body } = await getFromApi(api, backend, '/openapi/v2', signal, {
    bytesMax: documentBytesMax,
    etag: known?.v2Tag ?? '',
  });
  if (status === 304 && known !== undefined) return known;
  if (status !== 200) return { v2: undefined, v2Tag: '' };
  const v2 = partOf(JSON.parse(body.toString()) as Json, `/apis/${api.group}/${api.version}`);
  // An equal one is the same one: what was built out of it stays.
  return { v2: isDeepStrictEqual(v2, known?.v2) ? known?.v2 : v2, v2Tag: etag };
}

async function readV3(
  api: RemoteApi,
  backend: Backend,
  path: string,
  known: KnownDocuments | undefined,
  signal: AbortSignal,
): Promise<Pick<KnownDocuments, 'v3' | 'v3Place'>> {
  const bounds = { bytesMax: documentBytesMax, etag: '' };
  const index = await getFromApi(api, backend, '/openapi/v3', signal, bounds);
  const paths = index.status === 200 ? objectAt(JSON.parse(index.body.toString()), 'paths') : undefined;
  const v3Place = stringAt(paths?.[path], 'serverRelativeURL');
  if (!v3Place.startsWith('/')) return { v3: undefined, v3Place: '' };
  if (known !== undefined && known.v3Place === v3Place) return known;
  const document = await getFromApi(api, backend, v3Place, signal, bounds);
  if (document.status !== 200) return { v3: undefined, v3Place: '' };
  JSON.parse(document.body.toString()); // what is no JSON is not passed on
  return { v3: document.body, v3Place };
}

/** The paths of one group version and the definitions that they lead to, out of a whole Swagger document. */
export function partOf(swagger: Json, prefix: string): OtherDocuments['v2'] {
  const paths: JsonObject = {};
  for (const [path, item] of Object.entries(objectAt(swagger, 'paths') ?? {})) {
    if (path === prefix || path.startsWith(`${prefix}/`)) paths[path] = item;
  }
  const all = objectAt(swagger, 'definitions') ?? {};
  const definitions: JsonObject = {};
  const left: Json[] = [paths];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    for (const name of referencesIn(next)) {
      const definition = all[name];
      if (definition === undefined || Object.hasOwn(definitions, name)) continue;
      definitions[name] = definition;
      left.push(definition);
    }
  }
  return { paths, definitions };
}

const referencePrefix = '#/definitions/';

function referencesIn(value: Json): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(referencesIn);
  if (!isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([field, inner]) =>
    field === '$ref' && typeof inner === 'string' && inner.startsWith(referencePrefix)
      ? [inner.slice(referencePrefix.length)]
      : referencesIn(inner),
  );
}
