import type { EtcdClient } from './etcd-client.ts';
import { etcdMethods } from './etcd-messages.ts';
import { entryOf, eventOf, markerKey, prefixEnd } from './etcd-value.ts';
import { type Entry, type Revision, StoreError, type StoreEvent } from './store.ts';

/** Entries of one page while the state is loaded. */
const pageEntries = 1000;

/** Events of one delivery with the revision that it reaches; or those in between are gone up to `compacted`. */
export type Delivery =
  | { readonly kind: 'events'; readonly events: readonly StoreEvent[]; readonly reached: Revision }
  | { readonly kind: 'compacted'; readonly revision: Revision };

/** Writes the marker; its revision is above all that was committed before. */
export async function putMarker(client: EtcdClient, prefix: string): Promise<Revision> {
  const key = Buffer.from(prefix + markerKey);
  const { response } = await client.call(etcdMethods.put, { key, value: Buffer.of() });
  return revisionOf(response.header);
}

/** The newest revision of etcd, whoever wrote it. */
export async function newestRevision(client: EtcdClient, prefix: string): Promise<Revision> {
  const key = Buffer.from(prefix + markerKey);
  const { response } = await client.call(etcdMethods.range, { key, keysOnly: true });
  return revisionOf(response.header);
}

/** All entries as of `revision`, read in pages. */
export async function loadEntries(
  client: EtcdClient,
  prefix: string,
  revision: Revision,
): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const rangeEnd = prefixEnd(prefix);
  let key: Buffer = Buffer.from(prefix);
  for (;;) {
    const request = { key, rangeEnd, limit: pageEntries, revision };
    const { response } = await client.call(etcdMethods.range, request);
    for (const kv of response.kvs) {
      const entry = entryOf(prefix, kv);
      if (entry !== undefined) entries.push(entry);
    }
    const last = response.kvs.at(-1);
    if (!response.more || last === undefined) return entries;
    key = Buffer.concat([last.key, Buffer.of(0)]); // the next key in byte order
  }
}

/** What happened below the prefix from `from` on, until the stream breaks or the signal aborts. */
export async function* follow(
  client: EtcdClient,
  prefix: string,
  from: Revision,
  signal: AbortSignal,
): AsyncGenerator<Delivery, void, void> {
  const create = {
    key: Buffer.from(prefix),
    rangeEnd: prefixEnd(prefix),
    startRevision: from,
    withPrevious: true,
  };
  for await (const response of client.stream(etcdMethods.watch, { create }, signal)) {
    if (response.compactRevision > 0) {
      yield { kind: 'compacted', revision: response.compactRevision };
      return;
    }
    if (response.canceled) throw new StoreError('Failed', 'etcd ended the watch');
    const reached = response.events.at(-1)?.current?.modRevision;
    if (reached === undefined) continue;
    const events = response.events.flatMap((event) => eventOf(prefix, event) ?? []);
    yield { kind: 'events', events, reached };
  }
}

/** The events after `after` up to `until`, or what is left of them, and where they begin. */
export async function loadHistory(
  client: EtcdClient,
  prefix: string,
  after: Revision,
  until: Revision,
): Promise<{ readonly events: readonly StoreEvent[]; readonly compacted: Revision }> {
  const events: StoreEvent[] = [];
  const done = new AbortController();
  let compacted = after;
  for (;;) {
    let retry = false;
    for await (const delivery of follow(client, prefix, compacted + 1, done.signal)) {
      if (delivery.kind === 'compacted') {
        // The state at the compacted revision is still there, so the first event has what stood before it.
        compacted = Math.max(delivery.revision, compacted + 1);
        retry = true;
        break;
      }
      for (const event of delivery.events) if (event.revision <= until) events.push(event);
      if (delivery.reached >= until) return { events, compacted };
    }
    if (!retry) throw new StoreError('Failed', 'etcd ended the watch of the past');
  }
}

export function revisionOf(header: { readonly revision: number } | undefined): Revision {
  if (header === undefined) throw new StoreError('Failed', 'etcd answered without a revision');
  return header.revision;
}
