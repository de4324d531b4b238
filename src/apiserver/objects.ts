import { numberAt, stringAt, stringsAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import { isJsonObject, type JsonObject } from '../api/object.ts';
import { apiVersionOfKind } from '../api/registry.ts';
import { assert } from '../base/assert.ts';
import type { Entry, ValueTemplate } from '../store/store.ts';

type StoredPlace = Pick<Kind, 'group' | 'plural' | 'stored'>;

/**
 * How objects lie in the store. The key is GROUP/PLURAL/NAMESPACE/NAME (GROUP empty for core, no NAMESPACE segment for
 * cluster-scoped kinds). The value is the JSON that clients get, always starting
 *
 *     {"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"
 *
 * so the store can put its revision there without anybody encoding the object again, and readers know where it stands.
 */
export function keyOfObject(place: StoredPlace, namespace: string, name: string): string {
  const kind = place.stored ?? place;
  return namespace === ''
    ? `${kind.group}/${kind.plural}/${name}`
    : `${kind.group}/${kind.plural}/${namespace}/${name}`;
}

/** Of all objects of the kind, or those of one namespace. */
export function prefixOf(place: StoredPlace, namespace = ''): string {
  const kind = place.stored ?? place;
  return namespace === '' ? `${kind.group}/${kind.plural}/` : `${kind.group}/${kind.plural}/${namespace}/`;
}

export function templateOf(kind: Kind, object: JsonObject): ValueTemplate {
  const form = kind.stored === undefined ? object : kind.stored.toStored(object);
  const { kind: _kind, apiVersion: _apiVersion, metadata, ...rest } = form;
  const { resourceVersion: _revision, ...others } = isJsonObject(metadata) ? metadata : {};
  const restText = JSON.stringify(rest);
  return {
    before: headOf(kind.stored ?? kind),
    // Metadata always has a name, so a comma follows; the rest may be empty.
    after: `",${JSON.stringify(others).slice(1)}${restText === '{}' ? '' : `,${restText.slice(1, -1)}`}}`,
  };
}

function headOf(kind: Pick<Kind, 'group' | 'version' | 'kind'>): string {
  return `{"kind":"${kind.kind}","apiVersion":"${apiVersionOfKind(kind)}","metadata":{"resourceVersion":"`;
}

/** An object that is not stored but shown like one. It has no revision of its own, and says so by none. */
export function transientEntry(kind: Kind, object: JsonObject): Entry {
  const { before, after } = templateOf(kind, object);
  const value = Buffer.from(`${before}${after}`.replace('"resourceVersion":"",', ''));
  const namespace = kind.namespaced ? stringAt(object, 'metadata', 'namespace') : '';
  return { key: keyOfObject(kind, namespace, stringAt(object, 'metadata', 'name')), value, revision: 0 };
}

/** The same object at another revision: what a delete event shows. */
export function templateOfEntry(entry: Entry): ValueTemplate {
  const text = entry.value.toString();
  const marker = '"resourceVersion":"';
  const start = text.indexOf(marker) + marker.length;
  return { before: text.slice(0, start), after: text.slice(text.indexOf('"', start)) };
}

/** Entries as kinds with a conversion webhook serve them, as JSON. Dies with the entry, and with the kind. */
const convertedEntries = new WeakMap<Kind, WeakMap<Entry, Buffer>>();

/** Whether `parseEntry` has the entry in the form of `kind`. Always, but for kinds with a conversion webhook. */
export function isConverted(entry: Entry, kind: Kind): boolean {
  return kind.conversion === undefined || convertedBytes(entry, kind) !== undefined;
}

export function rememberConverted(entry: Entry, kind: Kind, object: JsonObject): void {
  const { kind: _kind, apiVersion: _apiVersion, metadata, ...rest } = object;
  const ordered = { kind: kind.kind, apiVersion: apiVersionOfKind(kind), metadata: metadata ?? {}, ...rest };
  let entries = convertedEntries.get(kind);
  if (entries === undefined) {
    entries = new WeakMap();
    convertedEntries.set(kind, entries);
  }
  entries.set(entry, Buffer.from(JSON.stringify(ordered)));
}

function convertedBytes(entry: Entry, kind: Kind): Buffer | undefined {
  const head = headOf(kind);
  const isServedForm = entry.value.subarray(0, head.length).toString() === head;
  return isServedForm ? entry.value : convertedEntries.get(kind)?.get(entry);
}

/** A fresh copy, the caller's to change; as `kind` serves it where a kind is given. */
export function parseEntry(entry: Entry, kind?: Kind): StoredObject {
  const object = parseForm(entry, kind);
  if (kind?.defaultsOnRead === true) kind.setDefaults?.(object);
  return object;
}

function parseForm(entry: Entry, kind: Kind | undefined): StoredObject {
  if (kind?.conversion !== undefined) {
    const bytes = convertedBytes(entry, kind);
    assert(bytes !== undefined, `${entry.key} was converted before it is read`);
    return JSON.parse(bytes.toString()) as StoredObject;
  }
  const object = JSON.parse(entry.value.toString()) as StoredObject;
  return kind?.stored === undefined ? object : (kind.stored.fromStored(object) as StoredObject);
}

/** Entries with defaults that they were stored without. Dies with the entry, and with the kind. */
const defaultedEntries = new WeakMap<Kind, WeakMap<Entry, Uint8Array>>();

function defaultedBytes(entry: Entry, kind: Kind): Uint8Array {
  let entries = defaultedEntries.get(kind);
  if (entries === undefined) {
    entries = new WeakMap();
    defaultedEntries.set(kind, entries);
  }
  let bytes = entries.get(entry);
  if (bytes === undefined) {
    bytes = Buffer.from(JSON.stringify(parseEntry(entry, kind)));
    entries.set(entry, bytes);
  }
  return bytes;
}

/** The bytes that `kind` serves: the stored ones, but where they were stored in another form or before it had defaults. */
export function servedBytes(entry: Entry, kind: Kind): Uint8Array {
  if (kind.stored === undefined) return entry.value;
  if (kind.defaultsOnRead === true) return defaultedBytes(entry, kind);
  if (kind.conversion !== undefined) {
    return convertedBytes(entry, kind) ?? Buffer.from(JSON.stringify(parseEntry(entry, kind)));
  }
  const head = headOf(kind);
  const isServedForm = entry.value.subarray(0, head.length).toString() === head;
  return isServedForm ? entry.value : Buffer.from(JSON.stringify(parseEntry(entry, kind)));
}

/** An object with metadata, as every stored one is. */
export type StoredObject = JsonObject & { metadata: JsonObject };

export function isBeingDeleted(object: JsonObject): boolean {
  return stringAt(object, 'metadata', 'deletionTimestamp') !== '';
}

/** Marked for deletion, no grace left to wait for, and nobody holds it. */
export function isReadyToGo(object: JsonObject): boolean {
  if (stringAt(object, 'metadata', 'deletionTimestamp') === '') return false;
  if ((numberAt(object, 'metadata', 'deletionGracePeriodSeconds') ?? 0) > 0) return false;
  if (stringsAt(object, 'metadata', 'finalizers').length > 0) return false;
  return object['kind'] !== 'Namespace' || stringsAt(object, 'spec', 'finalizers').length === 0;
}

/** `count` characters of Kubernetes' suffix alphabet: no vowels and nothing that looks like something else. */
export function randomSuffix(count: number, random: Uint8Array): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  let suffix = '';
  for (let at = 0; at < count; at++) suffix += alphabet.charAt((random[at] ?? 0) % alphabet.length);
  return suffix;
}
