import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { Committed, committedDefaults } from './committed.ts';
import { createEtcdClient, type EtcdClient, type EtcdClientOptions } from './etcd-client.ts';
import { etcdPrefixDefault } from './etcd-endpoints.ts';
import { compareResults, compareTargets, type EtcdKeyValue, etcdMethods } from './etcd-messages.ts';
import { follow, loadEntries, loadHistory, newestRevision, putMarker, revisionOf } from './etcd-reading.ts';
import { claimPath, decodeEntry, encodeTemplate, entryOf, eventsBetween } from './etcd-value.ts';
import { refusalOf } from './expectation.ts';
import {
  type Claims,
  claimsMax,
  type Entry,
  type Listing,
  type ListRange,
  type Revision,
  type Store,
  StoreError,
  type StoreEvent,
  type ValueTemplate,
  type Watching,
} from './store.ts';

export type EtcdStoreOptions = EtcdClientOptions & {
  /** Everything lies below it; ends in "/". Several clusters may share an etcd. */
  readonly prefix: string;
  /** See CommittedOptions. */
  readonly historyEventsMax?: number | undefined;
  /** etcd is told so often to forget what our history no longer reaches, ms. */
  readonly compactionIntervalMs: number;
  /** Events that have not come by then are asked for anew, from another member, ms. */
  readonly staleAfterMs: number;
};

export const etcdStoreDefaults = {
  prefix: etcdPrefixDefault,
  compactionIntervalMs: 5 * 60_000,
  staleAfterMs: 2_000,
} as const satisfies Partial<EtcdStoreOptions>;

type Waiter = { readonly revision: Revision; resolve(): void };

/**
 * Loads what lies in etcd and follows it; reads come from memory. A revision is etcd's own: the same for every server on
 * that etcd and after a restart, so a client's watch can go on with another server. While etcd is away reads and watches
 * go on with what is known and writes are refused. Rejects (`Failed`) when no member answers at the start.
 */
export async function openEtcdStore(clock: Clock, log: Logger, options: EtcdStoreOptions): Promise<Store> {
  const client = createEtcdClient(clock, options);
  const { prefix, historyEventsMax = committedDefaults.historyEventsMax } = options;
  try {
    const revision = await putMarker(client, prefix);
    const entries = await loadEntries(client, prefix, revision);
    const floor = Math.max(0, revision - historyEventsMax);
    const { events, compacted } = await loadHistory(client, prefix, floor, revision);
    const committed = new Committed(entries, revision, { historyEventsMax }, compacted);
    committed.remember(events);
    return new EtcdStore({ client, clock, log, committed, options });
  } catch (cause) {
    client.close();
    const places = options.endpoints.map(({ host, port }) => `${host}:${port}`).join(', ');
    throw new StoreError('Failed', `cannot read the store from etcd at ${places}`, { cause });
  }
}

type EtcdStoreParts = {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly committed: Committed;
  readonly options: EtcdStoreOptions;
};

class EtcdStore implements Store {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #committed: Committed;
  readonly #options: EtcdStoreOptions;
  readonly #closing = new AbortController();
  readonly #tasks: Promise<unknown>;
  /** Aborted: the stream of events begins anew. */
  #stream = new AbortController();
  #waiters: Waiter[] = [];
  /** Those who want to catch up at the same time ask once. */
  #newest: Promise<Revision> | undefined;

  constructor({ client, clock, log, committed, options }: EtcdStoreParts) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#committed = committed;
    this.#options = options;
    this.#tasks = Promise.all([this.#follow(), this.#compactAgainAndAgain()]);
  }

  get revision(): Revision {
    return this.#committed.revision;
  }

  get compactedRevision(): Revision {
    return this.#committed.compactedRevision;
  }

  get(key: string): Entry | undefined {
    return this.#committed.get(key);
  }

  list(prefix: string, range?: ListRange): Listing {
    return this.#committed.list(prefix, range);
  }

  count(prefix: string): number {
    return this.#committed.count(prefix);
  }

  watch(prefix: string, after: Revision, sink: (events: readonly StoreEvent[]) => void): Watching {
    return this.#committed.watch(prefix, after, sink);
  }

  compact(revision: Revision): void {
    this.#committed.compact(revision);
  }

  put(key: string, value: ValueTemplate, expected: Revision, claims = noClaims): Promise<Entry> {
    return this.#write({ type: 'put', key, value: encodeTemplate(value), expected, claims });
  }

  delete(key: string, final: ValueTemplate, expected: Revision, claims = noClaims): Promise<Entry> {
    return this.#write({ type: 'delete', key, value: encodeTemplate(final), expected, claims });
  }

  async catchUp(revision?: Revision): Promise<void> {
    if (revision !== undefined && revision <= this.revision) return;
    if (!(await this.#reaches(revision ?? (await this.#askNewest())))) {
      throw new StoreError('Failed', 'etcd has newer objects that have not arrived here in time');
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#stream.abort();
    this.#committed.stopWatchers();
    await this.#tasks;
    this.#client.close();
    for (const waiter of this.#waiters) waiter.resolve();
  }

  /** One transaction: the key is at `expected` and the claims are free, or nothing happens and we are told what there is. */
  async #write(write: Write): Promise<Entry> {
    if (this.#closing.signal.aborted) throw new StoreError('Closed', 'the store is closed');
    const { type, key, value, expected } = write;
    const { response, repeated } = await this.#transact(write);
    const revision = revisionOf(response.header);
    // Also after a refusal: who reads again and tries again must not read the same once more.
    await this.#reaches(revision);
    if (response.succeeded) return decodeEntry(key, value, revision);
    const found = response.responses[0]?.range?.kvs[0];
    const done = repeated ? doneEarlier(write, found) : undefined;
    if (done !== undefined) return decodeEntry(key, value, done === 'now' ? revision : done);
    const current = found === undefined ? undefined : entryOf(this.#options.prefix, found);
    const refusal = refusalOf(type, key, current, expected);
    if (refusal !== undefined) throw refusal;
    const owner = response.responses.slice(1).flatMap(({ range }) => range?.kvs ?? [])[0];
    if (owner !== undefined)
      throw new StoreError('Claimed', `${key} needs what ${Buffer.from(owner.value).toString()} has`);
    if (write.claims.turn === undefined)
      throw new StoreError('Failed', `etcd refused the write of ${key} though it is at ${expected}`);
    throw new StoreError(
      'Overtaken',
      `another write of ${write.claims.turn.name} came before that of ${key}`,
    );
  }

  async #transact(write: Write) {
    try {
      return await this.#client.call(etcdMethods.transaction, transactionOf(this.#options.prefix, write));
    } catch (cause) {
      throw new StoreError('Failed', `the write of ${write.key} was not confirmed by etcd`, { cause });
    }
  }

  /** True when reads show `revision`; false when they still do not after another member was asked. */
  async #reaches(revision: Revision): Promise<boolean> {
    if (this.revision >= revision) return true;
    const { staleAfterMs } = this.#options;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { revision, resolve: () => resolve(this.revision >= revision) };
    this.#waiters.push(waiter);
    let cancel = this.#clock.after(staleAfterMs, () => {
      this.#log.warn('events of etcd are late; asking another member', { revision, at: this.revision });
      this.#stream.abort();
      cancel = this.#clock.after(staleAfterMs, () => waiter.resolve());
    });
    const reached = await promise;
    cancel();
    if (!reached) this.#waiters = this.#waiters.filter((other) => other !== waiter);
    return reached;
  }

  /** Others than us may write to this etcd, too, and their revisions are never delivered here: hence the marker. */
  #askNewest(): Promise<Revision> {
    this.#newest ??= this.#readNewest().finally(() => {
      this.#newest = undefined;
    });
    return this.#newest;
  }

  async #readNewest(): Promise<Revision> {
    const { prefix } = this.#options;
    try {
      const newest = await newestRevision(this.#client, prefix);
      return newest <= this.revision ? newest : await putMarker(this.#client, prefix);
    } catch (cause) {
      throw new StoreError('Failed', 'etcd does not answer', { cause });
    }
  }

  async #follow(): Promise<void> {
    const closing = this.#closing.signal;
    const { prefix } = this.#options;
    while (!closing.aborted) {
      this.#stream = new AbortController();
      try {
        for await (const delivery of follow(this.#client, prefix, this.revision + 1, this.#stream.signal)) {
          if (delivery.kind === 'events') this.#take(delivery.events, delivery.reached);
          else await this.#reload();
        }
      } catch (error) {
        if (!closing.aborted) this.#log.warn('the watch of etcd broke; beginning again', { error });
      }
      if (!closing.aborted) await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    await this.#clock.sleep(this.#options.retryDelayMs, this.#closing.signal).catch(() => {});
  }

  #take(events: readonly StoreEvent[], reached: Revision): void {
    this.#committed.apply(events);
    this.#committed.advance(reached);
    const ready = this.#waiters.filter((waiter) => waiter.revision <= this.revision);
    if (ready.length > 0) {
      this.#waiters = this.#waiters.filter((waiter) => waiter.revision > this.revision);
      for (const waiter of ready) waiter.resolve();
    }
    if (events.length > 0) this.#committed.announce(events);
  }

  /** We were away for so long that etcd has forgotten what happened: the difference of the states stands in for it. */
  async #reload(): Promise<void> {
    const { prefix } = this.#options;
    const revision = await putMarker(this.#client, prefix);
    const loaded = await loadEntries(this.#client, prefix, revision);
    const known = this.#committed.list('').entries;
    this.#take(eventsBetween(known, loaded, revision), revision);
    this.#committed.compact(revision);
    this.#log.warn('etcd had compacted events that we missed; the state was read again', { revision });
  }

  async #compactAgainAndAgain(): Promise<void> {
    const closing = this.#closing.signal;
    let last: Revision = 0;
    while (!closing.aborted) {
      await this.#clock.sleep(this.#options.compactionIntervalMs, closing).catch(() => {});
      const revision = this.compactedRevision;
      if (closing.aborted || revision <= last) continue;
      last = revision;
      try {
        await this.#client.call(etcdMethods.compact, { revision });
      } catch (error) {
        // Another server on this etcd may have been first.
        this.#log.debug('etcd did not compact', { revision, error });
      }
    }
  }
}

type Write = {
  readonly type: StoreEvent['type'];
  readonly key: string;
  readonly value: Buffer;
  readonly expected: Revision;
  readonly claims: Claims;
};

const noClaims: Claims = { taken: [], released: [] };

function transactionOf(prefix: string, { type, key, value, expected, claims }: Write) {
  const path = Buffer.from(prefix + key);
  const taken = claims.taken.slice(0, claimsMax).map((name) => claimPath(prefix, name));
  const released = claims.released.slice(0, claimsMax - taken.length).map((name) => claimPath(prefix, name));
  const turn = claims.turn === undefined ? [] : [claimPath(prefix, claims.turn.name)];
  const isAt = (at: Buffer, modRevision: Revision) => ({
    result: compareResults.equal,
    target: compareTargets.modification,
    key: at,
    modRevision,
  });
  return {
    compare: [
      isAt(path, expected),
      ...taken.map((claim) => isAt(claim, 0)),
      ...turn.map((name) => ({ ...isAt(name, (claims.turn?.seen ?? 0) + 1), result: compareResults.less })),
    ],
    success: [
      type === 'put' ? { put: { key: path, value } } : { deleteRange: { key: path } },
      ...[...taken, ...turn].map((name) => ({ put: { key: name, value: Buffer.from(key) } })),
      ...released.map((claim) => ({ deleteRange: { key: claim } })),
    ],
    failure: [path, ...taken].map((at) => ({ range: { key: at } })),
  };
}

/**
 * After a connection that broke: whether the refused write is refused because it has been made already, by the attempt
 * whose answer was lost. Returns the revision of that write; `now` for a deletion, whose own is not known.
 */
function doneEarlier(
  { type, value, expected }: Write,
  found: EtcdKeyValue | undefined,
): Revision | 'now' | undefined {
  if (type === 'put') {
    return found !== undefined && found.modRevision > expected && value.equals(found.value)
      ? found.modRevision
      : undefined;
  }
  return found === undefined || found.createRevision > expected ? 'now' : undefined;
}
