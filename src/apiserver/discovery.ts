import { objectsAt, stringAt, stringsAt } from '../api/fields.ts';
import type { Kind, Subresource } from '../api/kind.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { apiVersionOfKind, type GroupVersion, groupVersions } from '../api/registry.ts';
import { pathNotFound } from '../api/status.ts';
import type { ApiRequest, Reply } from './exchange.ts';
import { jsonReply } from './exchange.ts';
import { acceptsJson, parseAccept } from './negotiate.ts';

/** Which resources there are, in the two forms that clients ask for: one document a group version, or all in one. */

const objectVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

type SubresourceFacts = {
  readonly verbs: readonly string[];
  /** What its body is, where that is not the object itself. */
  readonly responseKind?: (kind: Kind) => {
    readonly group: string;
    readonly version: string;
    readonly kind: string;
  };
};

const subresourceFacts: Readonly<Record<Subresource, SubresourceFacts>> = {
  status: { verbs: ['get', 'patch', 'update'] },
  ephemeralcontainers: { verbs: ['get', 'patch', 'update'] },
  resize: { verbs: ['get', 'patch', 'update'] },
  approval: { verbs: ['get', 'patch', 'update'] },
  scale: {
    verbs: ['get', 'patch', 'update'],
    responseKind: () => ({ group: 'autoscaling', version: 'v1', kind: 'Scale' }),
  },
  log: { verbs: ['get'] },
  exec: { verbs: ['create', 'get'], responseKind: () => core('PodExecOptions') },
  attach: { verbs: ['create', 'get'], responseKind: () => core('PodAttachOptions') },
  portforward: { verbs: ['create', 'get'], responseKind: () => core('PodPortForwardOptions') },
  proxy: {
    verbs: ['create', 'delete', 'get', 'patch', 'update'],
    responseKind: (kind) => core(`${kind.kind}ProxyOptions`),
  },
  eviction: {
    verbs: ['create'],
    responseKind: () => ({ group: 'policy', version: 'v1', kind: 'Eviction' }),
  },
  binding: { verbs: ['create'], responseKind: () => core('Binding') },
  token: {
    verbs: ['create'],
    responseKind: () => ({ group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }),
  },
  finalize: { verbs: ['update'] },
};

function core(kind: string): { readonly group: string; readonly version: string; readonly kind: string } {
  return { group: '', version: 'v1', kind };
}

/** A group version that another server answers for. */
export type RemoteVersion = {
  readonly group: string;
  readonly version: string;
  /** As aggregated discovery tells them. */
  readonly resources: readonly object[];
  /** False: the server does not answer; these are what it told last. */
  readonly isCurrent: boolean;
};

/** From the APIResourceList of the other server. */
export function remoteVersion(group: string, version: string, list: Json): RemoteVersion {
  const entries = objectsAt(list, 'resources');
  const responseKind = (entry: JsonObject): object => ({
    group: stringAt(entry, 'group') || group,
    version: stringAt(entry, 'version') || version,
    kind: stringAt(entry, 'kind'),
  });
  const resources = entries
    .filter((entry) => !stringAt(entry, 'name').includes('/'))
    .map((entry) => {
      const name = stringAt(entry, 'name');
      const subresources = entries
        .filter((other) => stringAt(other, 'name').startsWith(`${name}/`))
        .map((other) => ({
          subresource: stringAt(other, 'name').slice(name.length + 1),
          responseKind: responseKind(other),
          verbs: stringsAt(other, 'verbs'),
        }));
      return {
        resource: name,
        responseKind: responseKind(entry),
        scope: entry['namespaced'] === true ? 'Namespaced' : 'Cluster',
        singularResource: stringAt(entry, 'singularName'),
        verbs: stringsAt(entry, 'verbs'),
        ...optional('shortNames', stringsAt(entry, 'shortNames')),
        ...optional('categories', stringsAt(entry, 'categories')),
        ...(subresources.length === 0 ? {} : { subresources }),
      };
    });
  return { group, version, resources, isCurrent: true };
}

/** Answers /api, /apis, /apis/GROUP, /api/v1 and /apis/GROUP/VERSION. Throws StatusError 404 for others. */
export function answerDiscovery(
  request: ApiRequest,
  custom: readonly Kind[],
  remote: readonly RemoteVersion[],
): Reply {
  const segments = request.path.split('/').filter((segment) => segment !== '');
  const [root, ...rest] = segments;
  const found: readonly GroupVersion[] = [
    ...groupVersions(custom),
    ...remote.map(({ group, version }) => ({ group, version, kinds: [] })),
  ];
  if (rest.length === 0) {
    const aggregated = aggregatedVersion(request);
    if (aggregated !== undefined) return aggregatedList(found, remote, root === 'api', aggregated);
    return jsonReply(root === 'api' ? apiVersions() : apiGroupList(found));
  }
  if (root === 'api' && rest.length === 1) {
    return resourceList(found.find(({ group, version }) => group === '' && version === rest[0]));
  }
  if (root === 'apis' && rest.length === 1) return jsonReply(apiGroup(found, rest[0] ?? ''));
  if (root === 'apis' && rest.length === 2) {
    return resourceList(found.find(({ group, version }) => group === rest[0] && version === rest[1]));
  }
  throw pathNotFound();
}

function apiVersions(): unknown {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [],
  };
}

function apiGroupList(found: readonly GroupVersion[]): unknown {
  const groups = [...new Set(found.map(({ group }) => group))].filter((group) => group !== '');
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map((group) => groupEntry(found, group)) };
}

function apiGroup(found: readonly GroupVersion[], group: string): unknown {
  if (group === '' || !found.some((candidate) => candidate.group === group)) throw pathNotFound();
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(found, group) };
}

function groupEntry(found: readonly GroupVersion[], group: string): object {
  const versions = found
    .filter((candidate) => candidate.group === group)
    .map(({ version }) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions, preferredVersion: versions[0] };
}

function resourceList(found: GroupVersion | undefined): Reply {
  if (found === undefined) throw pathNotFound();
  return jsonReply({
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOfKind(found),
    resources: found.kinds.flatMap((kind) => [
      {
        name: kind.plural,
        singularName: kind.singular,
        namespaced: kind.namespaced,
        kind: kind.kind,
        verbs: verbsOf(kind),
        ...optional('shortNames', kind.shortNames),
        ...optional('categories', kind.categories),
      },
      ...kind.subresources.map((subresource) => legacySubresource(kind, subresource)),
    ]),
  });
}

function legacySubresource(kind: Kind, subresource: Subresource): object {
  const { verbs, responseKind } = subresourceFacts[subresource];
  const response = responseKind?.(kind);
  return {
    name: `${kind.plural}/${subresource}`,
    singularName: '',
    namespaced: kind.namespaced,
    ...(response === undefined || response.group === kind.group
      ? {}
      : { group: response.group, version: response.version }),
    kind: response?.kind ?? kind.kind,
    verbs,
  };
}

function verbsOf(kind: Kind): readonly string[] {
  if (kind.readOnly === true) return ['get', 'list'];
  return kind.ephemeral === true ? ['create'] : objectVerbs;
}

function optional(name: string, values: readonly string[]): object {
  return values.length === 0 ? {} : { [name]: values };
}

type AggregatedVersion = 'v2' | 'v2beta1';

/** The version of apidiscovery.k8s.io that the client prefers over the legacy form; undefined: legacy. */
function aggregatedVersion(request: ApiRequest): AggregatedVersion | undefined {
  for (const { type, parameters } of parseAccept(request.headers.accept)) {
    if (!acceptsJson(type)) continue;
    const version = parameters.get('v');
    if (parameters.get('as') === undefined) return undefined;
    if (parameters.get('g') !== 'apidiscovery.k8s.io' || parameters.get('as') !== 'APIGroupDiscoveryList') {
      continue;
    }
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

function aggregatedList(
  found: readonly GroupVersion[],
  remote: readonly RemoteVersion[],
  coreOnly: boolean,
  version: AggregatedVersion,
): Reply {
  const grouped = Map.groupBy(
    found.filter(({ group }) => (group === '') === coreOnly),
    ({ group }) => group,
  );
  const items = [...grouped].map(([group, members]) => ({
    metadata: { name: group, creationTimestamp: null },
    versions: members.map((member) => {
      const other = remote.find(({ group: g, version: v }) => g === group && v === member.version);
      return {
        version: member.version,
        resources: other?.resources ?? member.kinds.map(aggregatedResource),
        freshness: other?.isCurrent === false ? 'Stale' : 'Current',
      };
    }),
  }));
  return jsonReply(
    { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items },
    200,
    { contentType: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList` },
  );
}

function aggregatedResource(kind: Kind): object {
  const { group, version } = kind;
  return {
    resource: kind.plural,
    responseKind: { group, version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: verbsOf(kind),
    ...optional('shortNames', kind.shortNames),
    ...optional('categories', kind.categories),
    ...(kind.subresources.length === 0
      ? {}
      : {
          subresources: kind.subresources.map((subresource) => ({
            subresource,
            responseKind: subresourceFacts[subresource].responseKind?.(kind) ?? {
              group,
              version,
              kind: kind.kind,
            },
            verbs: subresourceFacts[subresource].verbs,
          })),
        }),
  };
}
