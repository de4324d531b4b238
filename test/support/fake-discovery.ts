import { apiVersionOf, type Resource } from '../../src/api/resource.ts';

/** The legacy discovery documents for these resources. */
export function discoveryDocuments(resources: readonly Resource[]): Map<string, string> {
  const documents = new Map<string, string>();
  const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
  const byGroupVersion = Map.groupBy(resources, apiVersionOf);
  for (const [groupVersion, members] of byGroupVersion) {
    const root = groupVersion.includes('/') ? '/apis' : '/api';
    const list = members.map(({ plural, kind, namespaced }) => ({ name: plural, kind, namespaced, verbs }));
    const document = { kind: 'APIResourceList', groupVersion, resources: list };
    documents.set(`${root}/${groupVersion}`, JSON.stringify(document));
  }
  const groups = [...byGroupVersion.keys()].filter((groupVersion) => groupVersion.includes('/'));
  const groupList = groups.map((groupVersion) => ({
    name: groupVersion.split('/')[0],
    versions: [{ groupVersion }],
    preferredVersion: { groupVersion },
  }));
  documents.set('/api', JSON.stringify({ kind: 'APIVersions', versions: ['v1'] }));
  documents.set('/apis', JSON.stringify({ kind: 'APIGroupList', groups: groupList }));
  return documents;
}
