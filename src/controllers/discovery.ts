import { isJsonObject, type Json, type JsonObject } from '../api/object.ts';
import type { Resource } from '../api/resource.ts';
import { type ApiClient, ApiError, isApiError } from '../client/client.ts';

/** Kinds that the server has, as far as it could tell. */
export type Discovered = {
  readonly resources: readonly Resource[];
  /** Groups that did not answer; their objects are unknown, not absent. */
  readonly failed: readonly string[];
};

/** Asks the server for every kind that can be listed, watched and deleted, each once and in its preferred version. */
export async function discoverResources(client: ApiClient, signal: AbortSignal): Promise<Discovered> {
  const groups = listOf(parse(await client.raw('/apis', signal)), 'groups');
  const versions = groups.flatMap((group) => {
    const preferred = isJsonObject(group) ? group['preferredVersion'] : undefined;
    const groupVersion = isJsonObject(preferred) ? preferred['groupVersion'] : undefined;
    return typeof groupVersion === 'string' ? [groupVersion] : [];
  });
  const failed: string[] = [];
  const lists = await Promise.all(
    ['v1', ...versions].map(async (groupVersion) => {
      try {
        return resourcesOf(groupVersion, parse(await client.raw(pathOf(groupVersion), signal)));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        failed.push(groupVersion); // an aggregated server that is down must not stop the rest
        return [];
      }
    }),
  );
  return { resources: lists.flat(), failed };
}

/**
 * The resource of a kind, as a reference to an object names it; undefined where the server has none. An apiVersion of "" is
 * that of core. Throws ApiError.
 */
export async function findResource(
  client: Pick<ApiClient, 'raw'>,
  { apiVersion, kind }: { readonly apiVersion?: string | undefined; readonly kind: string },
  signal: AbortSignal,
): Promise<Resource | undefined> {
  const groupVersion = apiVersion === undefined || apiVersion === '' ? 'v1' : apiVersion;
  try {
    const document = parse(await client.raw(pathOf(groupVersion), signal));
    return resourcesOf(groupVersion, document).find((resource) => resource.kind === kind);
  } catch (error) {
    if (isApiError(error, 'NotFound')) return undefined;
    throw error;
  }
}

function pathOf(groupVersion: string): string {
  return groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
}

function resourcesOf(groupVersion: string, document: JsonObject): Resource[] {
  const slash = groupVersion.indexOf('/');
  return listOf(document, 'resources').flatMap((entry): Resource[] => {
    if (!isJsonObject(entry)) return [];
    const { name, kind, namespaced } = entry;
    if (typeof name !== 'string' || typeof kind !== 'string' || name.includes('/')) return [];
    const verbs = listOf(entry, 'verbs');
    if (!['list', 'watch', 'delete'].every((verb) => verbs.includes(verb))) return [];
    return [
      {
        group: slash === -1 ? '' : groupVersion.slice(0, slash),
        version: groupVersion.slice(slash + 1),
        plural: name,
        kind,
        namespaced: namespaced === true,
      },
    ];
  });
}

function parse(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApiError('Unknown', 'a discovery document is not JSON', { cause });
  }
  return isJsonObject(value) ? value : {};
}

function listOf(object: JsonObject, field: string): readonly Json[] {
  const value = object[field];
  return Array.isArray(value) ? value : [];
}
