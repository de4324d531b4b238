import { assert } from '../base/assert.ts';
import type { EtcdEvent, EtcdKeyValue } from './etcd-messages.ts';
import { eventTypes } from './etcd-messages.ts';
import { type Entry, type Revision, StoreError, type StoreEvent, type ValueTemplate } from './store.ts';

/**
 * How entries lie in etcd. Keys have the store's prefix in front. A value holds no revision, for etcd alone knows it: it is
 * the template, `N` newline BEFORE AFTER, where N is the length of BEFORE in bytes, in decimal. `etcdctl get` shows it
 * as text.
 */

const newline = 0x0a;

/** A key beside the objects whose writing makes a revision that every server's watch must deliver. */
export const markerKey = '.marker';

/** Beside the objects, too: a key for each name that has one owner, whose value is the owner's key. */
const claimsPrefix = '.claims/';

export function claimPath(prefix: string, name: string): Buffer {
  return Buffer.from(`${prefix}${claimsPrefix}${name}`);
}

export function encodeTemplate({ before, after }: ValueTemplate): Buffer {
  return Buffer.from(`${Buffer.byteLength(before)}\n${before}${after}`);
}

/** An entry that remembers where in its value the revision stands, in bytes. */
type PlacedEntry = Entry & { readonly revisionAt: number };

/** The entry at `revision`. Throws StoreError `Failed` on bytes that no version of Fairlead wrote. */
export function decodeEntry(key: string, template: Uint8Array, revision: Revision): PlacedEntry {
  const bytes = Buffer.from(template.buffer, template.byteOffset, template.byteLength);
  const end = bytes.indexOf(newline);
  const digits = bytes.toString('latin1', 0, Math.max(0, Math.min(end, 10)));
  const before = /^\d{1,9}$/.test(digits) ? Number(digits) : Number.NaN;
  const at = end + 1 + before;
  if (Number.isNaN(before) || at > bytes.length) {
    throw new StoreError('Failed', `etcd holds a value under ${key} that no version of Fairlead wrote`);
  }
  const value = joinBytes(bytes.subarray(end + 1, at), revision, bytes.subarray(at));
  return { key, value, revision, revisionAt: before };
}

/** The same value with another revision inside. */
function atRevision(entry: Entry, revision: Revision): PlacedEntry {
  assert('revisionAt' in entry && typeof entry.revisionAt === 'number', 'entries from etcd know their place');
  const { key, value, revisionAt } = entry;
  const after = value.subarray(revisionAt + String(entry.revision).length);
  return { key, value: joinBytes(value.subarray(0, revisionAt), revision, after), revision, revisionAt };
}

function joinBytes(before: Buffer, revision: Revision, after: Buffer): Buffer {
  const middle = String(revision);
  const value = Buffer.allocUnsafeSlow(before.length + middle.length + after.length);
  before.copy(value);
  value.write(middle, before.length, 'latin1');
  after.copy(value, before.length + middle.length);
  return value;
}

/**
 * An entry from etcd; undefined for the marker and for claims, which are none. `revision`: other than that of its last write, for the
 * final state of something deleted.
 */
export function entryOf(
  prefix: string,
  kv: EtcdKeyValue,
  revision: Revision = kv.modRevision,
): Entry | undefined {
  const path = Buffer.from(kv.key.buffer, kv.key.byteOffset, kv.key.byteLength);
  const key = path.toString('utf8', Buffer.byteLength(prefix));
  return key === markerKey || key.startsWith(claimsPrefix) ? undefined : decodeEntry(key, kv.value, revision);
}

/** undefined: nothing that a store shows, such as the marker or the removal of what was never there. */
export function eventOf(prefix: string, { type, current, previous }: EtcdEvent): StoreEvent | undefined {
  if (current === undefined) return undefined;
  const revision = current.modRevision;
  const before = previous === undefined ? undefined : entryOf(prefix, previous);
  if (type === eventTypes.put) {
    const entry = entryOf(prefix, current);
    return entry && { type: 'put', key: entry.key, revision, entry, previous: before };
  }
  if (previous === undefined || before === undefined) return undefined;
  const entry = entryOf(prefix, previous, revision);
  return entry && { type: 'delete', key: entry.key, revision, entry, previous: before };
}

/**
 * The events that lead from `known` to `loaded`, for when those in between are lost to compaction: each key changes at
 * most once. Deletions get `revision`, that of the loaded state.
 */
export function eventsBetween(
  known: readonly Entry[],
  loaded: readonly Entry[],
  revision: Revision,
): readonly StoreEvent[] {
  const before = new Map(known.map((entry) => [entry.key, entry]));
  const events: StoreEvent[] = [];
  for (const entry of loaded) {
    const previous = before.get(entry.key);
    before.delete(entry.key);
    if (previous?.revision === entry.revision) continue;
    events.push({ type: 'put', key: entry.key, revision: entry.revision, entry, previous });
  }
  events.sort((a, b) => a.revision - b.revision);
  for (const previous of before.values()) {
    events.push({
      type: 'delete',
      key: previous.key,
      revision,
      entry: atRevision(previous, revision),
      previous,
    });
  }
  return events;
}

/** The first key behind all that start with `prefix`. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1; // a prefix ends in "/"
  return end;
}
