import { Agent } from 'node:https';
import { boolAt, numberAt, objectAt, stringAt } from '../../api/fields.ts';
import type { JsonObject } from '../../api/object.ts';
import type { OtherDocuments } from '../../api/openapi.ts';
import type { Store } from '../../store/store.ts';
import type { ApiServerConfig } from '../config.ts';
import type { RemoteVersion } from '../discovery.ts';
import { parseEntry } from '../objects.ts';
import type { ServiceAddress } from '../service-endpoints.ts';
import type { KnownDocuments } from './documents.ts';

export const apiServicesPrefix = 'apiregistration.k8s.io/apiservices/';

/** One group version that another server answers for. */
export type RemoteApi = {
  readonly key: string;
  readonly group: string;
  readonly version: string;
  readonly service: ServiceAddress;
  /** Whom its certificate must name. */
  readonly serverName: string;
  readonly agent: Agent;
  /** What it serves, as far as it was asked. */
  readonly discovery: { current: RemoteVersion };
  /** What it says of that in OpenAPI; undefined until it was asked. */
  readonly documents: { current: KnownDocuments | undefined };
};

export type AggregationRegistry = {
  find(group: string, version: string): RemoteApi | undefined;
  all(): readonly RemoteApi[];
  /** Their resources for discovery documents. */
  versions(): readonly RemoteVersion[];
  /** Their parts of OpenAPI. The same list until something changes. */
  documents(): readonly OtherDocuments[];
  stop(): void;
};

/** Open connections to one server; more requests than these wait. */
const socketsMax = 256;
const freeSocketsMax = 16;

/** Follows the APIServices in the store that name a Service: they are served from their commit on. */
export function createAggregationRegistry(
  store: Store,
  { pki }: Pick<ApiServerConfig, 'pki'>,
): AggregationRegistry {
  const apis = new Map<string, RemoteApi>();
  let documents: readonly OtherDocuments[] = [];

  function set(key: string, object: JsonObject): void {
    const spec = objectAt(object, 'spec') ?? {};
    const service = objectAt(spec, 'service');
    const before = apis.get(key);
    if (service === undefined) {
      remove(key);
      return;
    }
    const made = remoteApi(key, spec, service, pki);
    // The status is written often, and connections need not end for it.
    if (before !== undefined && before.agent.options.ca === made.agent.options.ca && isSame(before, made))
      return;
    remove(key);
    apis.set(key, made);
  }
  function remove(key: string): void {
    apis.get(key)?.agent.destroy();
    apis.delete(key);
  }

  const listing = store.list(apiServicesPrefix);
  for (const entry of listing.entries) set(entry.key, parseEntry(entry));
  const watching = store.watch(apiServicesPrefix, listing.revision, (events) => {
    for (const event of events) {
      if (event.type === 'delete') remove(event.key);
      else set(event.key, parseEntry(event.entry));
    }
  });
  return {
    find(group, version) {
      return apis.size === 0 ? undefined : apis.get(`${apiServicesPrefix}${version}.${group}`);
    },
    all: () => [...apis.values()],
    versions: () => [...apis.values()].map(({ discovery }) => discovery.current),
    documents() {
      const now = [...apis.values()].flatMap((api) => api.documents.current ?? []);
      const isSame = now.length === documents.length && now.every((each, at) => each === documents[at]);
      if (!isSame) documents = now;
      return documents;
    },
    stop() {
      watching.stop();
      for (const { agent } of apis.values()) agent.destroy();
    },
  };
}

function isSame(a: RemoteApi, b: RemoteApi): boolean {
  return (
    a.serverName === b.serverName &&
    a.service.port === b.service.port &&
    a.agent.options.rejectUnauthorized === b.agent.options.rejectUnauthorized
  );
}

function remoteApi(
  key: string,
  spec: JsonObject,
  service: JsonObject,
  pki: ApiServerConfig['pki'],
): RemoteApi {
  const namespace = stringAt(service, 'namespace');
  const name = stringAt(service, 'name');
  const group = stringAt(spec, 'group');
  const version = stringAt(spec, 'version');
  const bundle = stringAt(spec, 'caBundle');
  const serverName = `${name}.${namespace}.svc`;
  return {
    key,
    group,
    version,
    service: { namespace, name, port: numberAt(service, 'port') ?? 443 },
    serverName,
    agent: new Agent({
      keepAlive: true,
      maxSockets: socketsMax,
      maxFreeSockets: freeSocketsMax,
      servername: serverName,
      rejectUnauthorized: !boolAt(spec, 'insecureSkipTLSVerify'),
      // Proves to the other server that the X-Remote- headers are this one's.
      cert: pki.kubeletClientCert,
      key: pki.kubeletClientKey,
      ...(bundle === '' ? {} : { ca: Buffer.from(bundle, 'base64').toString() }),
    }),
    discovery: { current: { group, version, resources: [], isCurrent: false } },
    documents: { current: undefined },
  };
}
