import { jsonEqual, objectsAt, stringAt, stringMapAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import { resourceQuotaKind } from '../api/kinds/quota.ts';
import type { JsonObject } from '../api/object.ts';
import {
  addQuantities,
  canonicalQuantity,
  formatQuantity,
  parseQuantity,
  type Quantity,
} from '../api/quantity.ts';
import { quotaCovers, usageOf } from '../api/quota-usage.ts';
import { conflict, forbidden } from '../api/status.ts';
import type { Clock } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import { type Entry, isStoreError, type Store, type StoreEvent, type Turn } from '../store/store.ts';
import { parseEntry, prefixOf, templateOf } from './objects.ts';
import { createTurns, takeTurn } from './turns.ts';

/** ResourceQuotas: what a namespace may hold, judged against what the store holds at that moment. */
export type Quotas = {
  /**
   * Counts an object in before it is written.
   * @param old the stored object that `object` takes the place of
   * Throws StatusError 403 where that would be too much.
   */
  reserve(kind: Kind, namespace: string, object: JsonObject, old: JsonObject | undefined): QuotaReservation;
  /** Keeps the status of the quotas, until the signal aborts. */
  run(clock: Clock, signal: AbortSignal): Promise<void>;
};

export type QuotaReservation = {
  /**
   * Makes the write. Where other servers write to the same store one is made at a time in a namespace with quotas, and one that
   * another server's came before is judged and made again. Throws StatusError 403 where it is too much now, and what `put` throws.
   */
  write(put: (turn: Turn | undefined) => Promise<Entry>): Promise<Entry>;
  /** After the write has ended, whatever became of it. */
  release(): void;
};

const quotasPrefix = '/resourcequotas/';
/** Changes within this are counted together, ms. */
const recountMs = 20;

type Pending = {
  readonly kind: Kind;
  readonly namespace: string;
  readonly object: JsonObject;
  /** Of the stored object that it replaces; '' where it is new. */
  readonly replacedUid: string;
};

/** @param shared other servers write to the same store */
export function createQuotas(store: Store, shared: boolean): Quotas {
  /** Objects whose write is under way: the store does not show them yet. */
  const pending = new Set<Pending>();
  const inTurn = createTurns();

  const used = (quota: JsonObject, namespace: string, without?: Pending): ReadonlyMap<string, Quantity> =>
    usedOf(store, pending, quota, namespace, without);

  /** False where the namespace has no quotas. Throws StatusError. */
  const judge = (item: Pending): boolean => {
    const { kind, namespace, object } = item;
    const { entries } = store.list(`${quotasPrefix}${namespace}/`);
    for (const entry of entries) {
      const quota = parseEntry(entry);
      if (!quotaCovers(quota, kind, object)) continue;
      const refusal = refusalOf(quota, kind, object, used(quota, namespace, item));
      if (refusal !== undefined) throw forbidden(kind, stringAt(object, 'metadata', 'name'), refusal);
    }
    return entries.length > 0;
  };

  return {
    reserve(kind, namespace, object, old) {
      const item: Pending = { kind, namespace, object, replacedUid: stringAt(old, 'metadata', 'uid') };
      if (!judge(item)) return { write: (put) => put(undefined), release() {} };
      pending.add(item);
      return {
        async write(put) {
          // Before anybody is judged again: either the store shows it now, or it is not made.
          const settle = (): void => void pending.delete(item);
          if (!shared) return put(undefined).finally(settle);
          return inTurn(namespace, async () => {
            try {
              return await takeTurn(store, `quota ${namespace}`, () => judge(item), put);
            } catch (error) {
              if (!isStoreError(error, 'Overtaken')) throw error;
              throw conflict(kind, stringAt(object, 'metadata', 'name'), error.message);
            } finally {
              settle();
            }
          });
        },
        release: () => void pending.delete(item),
      };
    },
    run: (clock, signal) => keepStatuses(store, used, clock, signal),
  };
}

/** Counts anew what changed, a little later. */
async function keepStatuses(
  store: Store,
  used: (quota: JsonObject, namespace: string) => ReadonlyMap<string, Quantity>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const dirty = new Set<string>();
  let cancel: (() => void) | undefined;
  const recount = (): void => {
    cancel = undefined;
    const namespaces = [...dirty];
    dirty.clear();
    for (const namespace of namespaces) {
      for (const entry of store.list(`${quotasPrefix}${namespace}/`).entries) {
        const quota = parseEntry(entry);
        const status = statusOf(quota, used(quota, namespace));
        if (jsonEqual(quota['status'], status)) continue;
        const template = templateOf(resourceQuotaKind, { ...quota, status });
        store.put(entry.key, template, entry.revision).catch((error: unknown) => {
          // Somebody changed the quota meanwhile: that change brings the next count.
          if (!isStoreError(error, 'Conflict') && !isStoreError(error, 'Missing')) mark(namespace);
        });
      }
    }
  };
  const mark = (namespace: string): void => {
    dirty.add(namespace);
    if (!signal.aborted) cancel ??= clock.after(recountMs, recount);
  };
  const onEvents = (events: readonly StoreEvent[]): void => {
    if (store.count(quotasPrefix) === 0) return;
    for (const { key } of events) {
      const [, , namespace = '', name] = key.split('/');
      if (name !== undefined) mark(namespace);
    }
  };
  const watching = store.watch('', store.revision, onEvents);
  for (const { key } of store.list(quotasPrefix).entries) mark(key.split('/')[2] ?? '');
  await aborted(signal);
  watching.stop();
  cancel?.();
}

/** What a quota counts: the stored objects but those that are being replaced, and those under way but `without`, which is judged. */
function usedOf(
  store: Store,
  pending: ReadonlySet<Pending>,
  quota: JsonObject,
  namespace: string,
  without: Pending | undefined,
): ReadonlyMap<string, Quantity> {
  const replaced = new Set(
    [...pending, ...(without === undefined ? [] : [without])].map((one) => one.replacedUid),
  );
  const totals = new Map<string, Quantity>();
  const names = Object.keys(stringMapAt(quota, 'spec', 'hard'));
  for (const name of names) totals.set(name, { nanos: 0n, format: 'decimal' });
  const add = (place: Pick<Kind, 'group' | 'plural'>, object: JsonObject): void => {
    if (!quotaCovers(quota, place, object)) return;
    for (const [name, amount] of usageOf(place, object)) {
      const before = totals.get(name);
      if (before !== undefined) totals.set(name, addQuantities(before, amount));
    }
  };
  for (const place of placesOf(names)) {
    for (const entry of store.list(prefixOf(place, namespace)).entries) {
      const object = parseEntry(entry);
      if (!replaced.has(stringAt(object, 'metadata', 'uid'))) add(place, object);
    }
  }
  for (const item of pending)
    if (item !== without && item.namespace === namespace) add(item.kind, item.object);
  return totals;
}

/** Kinds whose objects the named resources count. */
function placesOf(names: readonly string[]): readonly Pick<Kind, 'group' | 'plural'>[] {
  const places = new Map<string, Pick<Kind, 'group' | 'plural'>>();
  for (const name of names) {
    const counted = name.startsWith('count/') ? name.slice('count/'.length) : undefined;
    const [plural = '', ...group] = (counted ?? corePlural(name)).split('.');
    places.set(`${group.join('.')}/${plural}`, { group: group.join('.'), plural });
  }
  return [...places.values()];
}

function corePlural(name: string): string {
  if (name === 'requests.storage' || name === 'persistentvolumeclaims') return 'persistentvolumeclaims';
  if (name.startsWith('services')) return 'services';
  const counted = ['configmaps', 'replicationcontrollers', 'resourcequotas', 'secrets'];
  return counted.includes(name) ? name : 'pods';
}

const computeName = /^(?:(?:requests|limits)\.)?(?:cpu|memory|ephemeral-storage)$/;

function refusalOf(
  quota: JsonObject,
  kind: Kind,
  object: JsonObject,
  used: ReadonlyMap<string, Quantity>,
): string | undefined {
  const name = stringAt(quota, 'metadata', 'name');
  const hard = stringMapAt(quota, 'spec', 'hard');
  const asked = usageOf(kind, object);
  if (kind.group === '' && kind.plural === 'pods') {
    const missing = Object.keys(hard).filter((key) => computeName.test(key) && !isGiven(object, key));
    if (missing.length > 0) {
      return `failed quota: ${name}: must specify ${missing.toSorted().join(',')} for: ${containerNames(object)}`;
    }
  }
  const over = Object.entries(hard).filter(([key, text]) => {
    const amount = asked.get(key);
    const most = parseQuantity(text);
    const before = used.get(key);
    if (amount === undefined || most === undefined || before === undefined) return false;
    return before.nanos + amount.nanos > most.nanos;
  });
  if (over.length === 0) return undefined;
  const list = (of: (key: string) => string): string =>
    over
      .map(([key]) => `${key}=${of(key)}`)
      .toSorted()
      .join(',');
  const shown = (amount: Quantity | undefined): string =>
    amount === undefined ? '0' : formatQuantity(amount);
  return `exceeded quota: ${name}, requested: ${list((key) => shown(asked.get(key)))}, used: ${list((key) => shown(used.get(key)))}, limited: ${list((key) => canonicalQuantity(hard[key] ?? '0'))}`;
}

function isGiven(pod: JsonObject, key: string): boolean {
  const kind = key.startsWith('limits.') ? 'limits' : 'requests';
  const resource = key.replace(/^(requests|limits)\./, '');
  return objectsAt(pod, 'spec', 'containers').every(
    (container) => stringMapAt(container, 'resources', kind)[resource] !== undefined,
  );
}

function containerNames(pod: JsonObject): string {
  return objectsAt(pod, 'spec', 'containers')
    .map((container) => stringAt(container, 'name'))
    .join(',');
}

function statusOf(quota: JsonObject, used: ReadonlyMap<string, Quantity>): JsonObject {
  const entries = [...used].map(([name, amount]): [string, string] => [name, formatQuantity(amount)]);
  return { hard: { ...stringMapAt(quota, 'spec', 'hard') }, used: Object.fromEntries(entries) };
}
