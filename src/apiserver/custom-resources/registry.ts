import { kindsOfDefinition } from '../../api/custom/kind.ts';
import { objectsAt, stringAt } from '../../api/fields.ts';
import type { Kind } from '../../api/kind.ts';
import { metricsKinds } from '../../api/kinds/metrics.ts';
import type { JsonObject } from '../../api/object.ts';
import type { Store } from '../../store/store.ts';
import { parseEntry } from '../objects.ts';

export const definitionsPrefix = 'apiextensions.k8s.io/customresourcedefinitions/';

/** The kinds beside the built-in ones: those of CustomResourceDefinitions, and those that another server may take over. */
export type CustomKinds = {
  find(group: string, version: string, plural: string): Kind | undefined;
  /** All served ones; the same list until a definition changes. */
  all(): readonly Kind[];
  /** No object of a kind whose definition is going may be made any more. */
  isTerminating(kind: Kind): boolean;
  stop(): void;
};

/** Follows the definitions in the store: a kind is served from the commit of its definition on. */
export function createCustomKinds(store: Store): CustomKinds {
  const byDefinition = new Map<string, { readonly kinds: readonly Kind[]; readonly terminating: boolean }>();
  let byPath: ReadonlyMap<string, Kind> = new Map();
  let all: readonly Kind[] = [];

  function set(key: string, definition: JsonObject): void {
    const terminating = stringAt(definition, 'metadata', 'deletionTimestamp') !== '';
    const kinds = isEstablished(definition) ? kindsOfDefinition(definition) : [];
    byDefinition.set(key, { kinds, terminating });
  }

  function index(): void {
    all = [...metricsKinds, ...[...byDefinition.values()].flatMap(({ kinds }) => kinds)];
    byPath = new Map(all.map((kind) => [pathOf(kind.group, kind.version, kind.plural), kind]));
  }

  const listing = store.list(definitionsPrefix);
  for (const entry of listing.entries) set(entry.key, parseEntry(entry));
  index();
  const watching = store.watch(definitionsPrefix, listing.revision, (events) => {
    for (const event of events) {
      if (event.type === 'delete') byDefinition.delete(event.key);
      else set(event.key, parseEntry(event.entry));
    }
    index();
  });
  return {
    find: (group, version, plural) => byPath.get(pathOf(group, version, plural)),
    all: () => all,
    isTerminating: (kind) =>
      byDefinition.get(`${definitionsPrefix}${kind.plural}.${kind.group}`)?.terminating === true,
    stop: () => watching.stop(),
  };
}

function pathOf(group: string, version: string, plural: string): string {
  return `${group}/${version}/${plural}`;
}

function isEstablished(definition: JsonObject): boolean {
  return objectsAt(definition, 'status', 'conditions').some(
    (condition) => condition['type'] === 'Established' && condition['status'] === 'True',
  );
}
