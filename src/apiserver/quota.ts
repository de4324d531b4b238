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
import { forbidden } from '../api/status.ts';
import type { Clock } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import { isStoreError, type Store, type StoreEvent } from '../store/store.ts';
import { parseEntry, prefixOf, templateOf } from './objects.ts';

/** ResourceQuotas: what a namespace may hold, judged against what the store holds at that moment. */
export type Quotas = {
  /** Counts an object in before it is written; `release` after the write has ended, whatever became of it. */
  reserve(
    kind: Kind,
    namespace: string,
    object: JsonObject,
    /** The stored object that `object` takes the place of. */
    old: JsonObject | undefined,
  ): { release(): void };
  /** Keeps the status of the quotas, until the signal aborts. */
  run(clock: Clock, signal: AbortSignal): Promise<void>;
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

export function createQuotas(store: Store): Quotas {
  /** Objects whose write is under way: the store does not show them yet. */
  const pending = new Set<Pending>();

  const used = (quota: JsonObject, namespace: string, without = ''): ReadonlyMap<string, Quantity> =>
    usedOf(store, pending, quota, namespace, without);

  return {
    reserve(kind, namespace, object, old) {
      const { entries } = store.list(`${quotasPrefix}${namespace}/`);
      const replacedUid = stringAt(old, 'metadata', 'uid');
      const item: Pending = { kind, namespace, object, replacedUid };
      if (entries.length === 0) return { release() {} };
      for (const entry of entries) {
        const quota = parseEntry(entry);
        if (!quotaCovers(quota, kind, object)) continue;
        const refusal = refusalOf(quota, kind, object, used(quota, namespace, replacedUid));
        if (refusal !== undefined) throw forbidden(kind, stringAt(object, 'metadata', 'name'), refusal);
      }
      pending.add(item);
      return { release: () => void pending.delete(item) };
    },
    async run(clock, signal) {
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
    },
  };
}

/** What a quota counts: the stored objects but those that are being replaced, and those under way. `without`: a uid that does not count. */
function usedOf(
  store: Store,
  pending: ReadonlySet<Pending>,
  quota: JsonObject,
  namespace: string,
  without: string,
): ReadonlyMap<string, Quantity> {
  const replaced = new Set([without, ...[...pending].map(({ replacedUid }) => replacedUid)]);
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
  for (const item of pending) if (item.namespace === namespace) add(item.kind, item.object);
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
