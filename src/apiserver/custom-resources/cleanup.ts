import { stringAt, stringsAt } from '../../api/fields.ts';
import { cleanupFinalizer, customResourceDefinitionKind } from '../../api/kinds/customresourcedefinition.ts';
import type { JsonObject } from '../../api/object.ts';
import { type Clock, rfc3339 } from '../../base/clock.ts';
import { aborted } from '../../base/lifetime.ts';
import { type Entry, isStoreError, type Store, type ValueTemplate } from '../../store/store.ts';
import { isBeingDeleted, parseEntry, type StoredObject, templateOf, templateOfEntry } from '../objects.ts';
import { definitionsPrefix } from './registry.ts';

/** Objects deleted in one commit at most. */
const batchMax = 500;
/** How soon a definition is looked at again whose objects wait for finalizers of others, ms. */
const recheckMs = 250;

/** Deletes the objects of every definition that is being deleted, then lets the definition go. Runs until aborted. */
export async function runDefinitionCleanup(store: Store, clock: Clock, signal: AbortSignal): Promise<void> {
  const waiting = new Set<string>();
  let wake = Promise.withResolvers<void>();
  const note = (entry: Entry): void => {
    if (!isBeingDeleted(parseEntry(entry))) return;
    waiting.add(entry.key);
    wake.resolve();
  };
  const listing = store.list(definitionsPrefix);
  for (const entry of listing.entries) note(entry);
  const watching = store.watch(definitionsPrefix, listing.revision, (events) => {
    for (const event of events) if (event.type === 'put') note(event.entry);
  });
  const end = aborted(signal);
  try {
    while (!signal.aborted) {
      await Promise.race([wake.promise, end]);
      if (signal.aborted) return;
      wake = Promise.withResolvers();
      for (const key of [...waiting]) if (await cleanUp(store, clock, key)) waiting.delete(key);
      if (waiting.size > 0) clock.after(recheckMs, wake.resolve);
    }
  } finally {
    watching.stop();
  }
}

/** True when there is nothing left to do. */
async function cleanUp(store: Store, clock: Clock, key: string): Promise<boolean> {
  const entry = store.get(key);
  if (entry === undefined) return true;
  const definition = parseEntry(entry);
  if (!stringsAt(definition.metadata, 'finalizers').includes(cleanupFinalizer)) return true;
  const prefix = `${stringAt(definition, 'spec', 'group')}/${stringAt(definition, 'spec', 'names', 'plural')}/`;
  try {
    const { entries } = store.list(prefix, { limit: batchMax });
    if (entries.length > 0) {
      await Promise.all(entries.map((object) => removeOne(store, clock, object)));
      return false;
    }
    const finalizers = stringsAt(definition.metadata, 'finalizers').filter(
      (name) => name !== cleanupFinalizer,
    );
    if (finalizers.length === 0) await store.delete(key, templateOfEntry(entry), entry.revision);
    else {
      const next = { ...definition, metadata: { ...definition.metadata, finalizers } };
      await store.put(key, templateOf(customResourceDefinitionKind, next), entry.revision);
    }
    return true;
  } catch (error) {
    if (isStoreError(error, 'Conflict') || isStoreError(error, 'Missing')) return false; // somebody was first: look again
    throw error;
  }
}

async function removeOne(store: Store, clock: Clock, entry: Entry): Promise<void> {
  const object = parseEntry(entry);
  if (stringsAt(object.metadata, 'finalizers').length === 0) {
    await store.delete(entry.key, templateOfEntry(entry), entry.revision);
  } else if (!isBeingDeleted(object)) {
    await store.put(entry.key, markedTemplate(object, clock), entry.revision);
  }
}

function markedTemplate(object: StoredObject, clock: Clock): ValueTemplate {
  const [group = '', version = ''] = stringAt(object, 'apiVersion').split('/');
  const metadata: JsonObject = {
    ...object.metadata,
    deletionTimestamp: rfc3339(clock.nowMs()),
    deletionGracePeriodSeconds: 0,
  };
  const kind = { ...customResourceDefinitionKind, group, version, kind: stringAt(object, 'kind') };
  return templateOf(kind, { ...object, metadata });
}
