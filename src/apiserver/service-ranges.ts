import { randomUUID } from 'node:crypto';
import { jsonEqual, objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import { ipAddressKind, serviceCidrFinalizer, serviceCidrKind } from '../api/kinds/servicecidr.ts';
import type { JsonObject } from '../api/object.ts';
import { type Clock, rfc3339 } from '../base/clock.ts';
import { canonicalIp, type Cidr, cidrContains, parseCidr, parseIp } from '../base/ip.ts';
import { aborted } from '../base/lifetime.ts';
import { type Entry, isStoreError, type Store, type StoreEvent } from '../store/store.ts';
import {
  isBeingDeleted,
  keyOfObject,
  parseEntry,
  prefixOf,
  type StoredObject,
  templateOf,
  templateOfEntry,
} from './objects.ts';

/** Ranges of Service addresses (ServiceCIDR), and an IPAddress for each address that a Service has. */

const servicesPrefix = '/services/';
const rangesPrefix = prefixOf(serviceCidrKind);
const addressesPrefix = prefixOf(ipAddressKind);

const managedLabel = 'ipaddress.kubernetes.io/managed-by';
const familyLabel = 'ipaddress.kubernetes.io/ip-family';
const allocatorName = 'ipallocator.k8s.io';

/** True for an IPAddress that shows a Service's address; others were made by hand. */
export function isAllocated(address: JsonObject): boolean {
  return stringMapAt(address, 'metadata', 'labels')[managedLabel] === allocatorName;
}

/**
 * The ranges that Services may get addresses of: the server's own first, then those that users made, as far as they are of a
 * family that the server has a range of.
 */
export function followServiceRanges(
  store: Store,
  own: readonly Cidr[],
): { usable(): readonly Cidr[]; stop(): void } {
  let ranges: readonly Cidr[] = [];
  const refresh = (): void => {
    const made = store
      .list(rangesPrefix)
      .entries.map((entry) => parseEntry(entry))
      .filter((range) => !isBeingDeleted(range))
      .flatMap(cidrsOf)
      .filter((cidr) => own.some(({ family }) => family === cidr.family))
      .filter((cidr) => !own.some((mine) => isSame(cidr, mine)));
    ranges = [...own, ...made];
  };
  refresh();
  const watching = store.watch(rangesPrefix, store.revision, refresh);
  return { usable: () => ranges, stop: () => watching.stop() };
}

function cidrsOf(range: JsonObject): readonly Cidr[] {
  return stringsAt(range, 'spec', 'cidrs').flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr === undefined ? [] : [cidr];
  });
}

function isSame(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.first === b.first && a.prefixBits === b.prefixBits;
}

type Owner = { readonly namespace: string; readonly name: string };

/**
 * Keeps an IPAddress for each address of a Service, and the Ready condition of each ServiceCIDR; lets a range that is being
 * deleted go once no Service has an address that lies in it alone. Several servers may do this at a time: each write
 * says what it expects, and whoever comes second looks again. Runs until aborted.
 */
export async function runServiceRanges(store: Store, clock: Clock, signal: AbortSignal): Promise<void> {
  const owners = new Map<string, Owner>();
  const dirtyAddresses = new Set<string>();
  let rangesAreDirty = true;
  let wake = Promise.withResolvers<void>();
  const noteService = (entry: Entry | undefined, isHere: boolean): void => {
    if (entry === undefined) return;
    const service = parseEntry(entry);
    const [, , namespace = '', name = ''] = entry.key.split('/');
    for (const ip of addressesOf(service)) {
      const owner = owners.get(ip);
      if (isHere) owners.set(ip, { namespace, name });
      else if (owner?.namespace === namespace && owner.name === name) owners.delete(ip);
      dirtyAddresses.add(ip);
    }
  };
  const onEvents = (events: readonly StoreEvent[]): void => {
    for (const { key, type, entry, previous } of events) {
      if (key.startsWith(servicesPrefix)) {
        noteService(previous, false);
        if (type === 'put') noteService(entry, true);
        rangesAreDirty ||= type === 'delete';
      } else if (key.startsWith(addressesPrefix)) dirtyAddresses.add(key.slice(addressesPrefix.length));
      else rangesAreDirty = true;
    }
    wake.resolve();
  };
  const start = store.revision;
  for (const entry of store.list(servicesPrefix).entries) noteService(entry, true);
  for (const { key } of store.list(addressesPrefix).entries) {
    dirtyAddresses.add(key.slice(addressesPrefix.length));
  }
  const watches = [servicesPrefix, addressesPrefix, rangesPrefix].map((prefix) =>
    store.watch(prefix, start, onEvents),
  );
  const end = aborted(signal);
  try {
    while (!signal.aborted) {
      const ips = [...dirtyAddresses];
      dirtyAddresses.clear();
      const looksAtRanges = rangesAreDirty;
      rangesAreDirty = false;
      await Promise.all(ips.map((ip) => again(() => keepAddress(store, clock, ip, owners.get(ip)))));
      if (looksAtRanges) {
        for (const entry of store.list(rangesPrefix).entries) {
          await again(() => keepRange(store, clock, entry, owners));
        }
      }
      await Promise.race([wake.promise, end]);
      wake = Promise.withResolvers();
    }
  } finally {
    for (const watching of watches) watching.stop();
  }
}

/** A write that came second is no failure: the first one's event brings the next look. */
async function again(write: () => Promise<unknown> | undefined): Promise<void> {
  try {
    await write();
  } catch (error) {
    const isLate = (['Conflict', 'Exists', 'Missing', 'Closed'] as const).some((code) =>
      isStoreError(error, code),
    );
    if (!isLate) throw error;
  }
}

function addressesOf(service: JsonObject): readonly string[] {
  return stringsAt(service, 'spec', 'clusterIPs').flatMap((ip) => canonicalIp(ip) ?? []);
}

function keepAddress(
  store: Store,
  clock: Clock,
  ip: string,
  owner: Owner | undefined,
): Promise<unknown> | undefined {
  const key = keyOfObject(ipAddressKind, '', ip);
  const entry = store.get(key);
  if (entry === undefined) {
    if (owner === undefined) return undefined;
    return store.put(key, templateOf(ipAddressKind, addressObject(ip, owner, clock.nowMs())), 0);
  }
  const found = parseEntry(entry);
  if (!isAllocated(found) || isBeingDeleted(found)) return undefined;
  if (owner !== undefined && jsonEqual(objectAt(found, 'spec', 'parentRef'), parentRefOf(owner))) {
    return undefined;
  }
  return store.delete(key, templateOfEntry(entry), entry.revision);
}

function parentRefOf({ namespace, name }: Owner): JsonObject {
  return { resource: 'services', namespace, name };
}

function addressObject(ip: string, owner: Owner, nowMs: number): JsonObject {
  return {
    metadata: {
      name: ip,
      uid: randomUUID(),
      creationTimestamp: rfc3339(nowMs),
      generation: 1,
      labels: { [familyLabel]: ip.includes(':') ? 'IPv6' : 'IPv4', [managedLabel]: allocatorName },
    },
    spec: { parentRef: parentRefOf(owner) },
  };
}

function keepRange(
  store: Store,
  clock: Clock,
  entry: Entry,
  owners: ReadonlyMap<string, Owner>,
): Promise<unknown> | undefined {
  const range = parseEntry(entry);
  if (!isBeingDeleted(range)) {
    return putCondition(store, clock, entry, range, {
      status: 'True',
      reason: '',
      message: 'Kubernetes Service CIDR is ready',
    });
  }
  if (isNeeded(store, entry, range, owners)) {
    const message =
      'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR';
    return putCondition(store, clock, entry, range, { status: 'False', reason: 'Terminating', message });
  }
  const finalizers = stringsAt(range.metadata, 'finalizers').filter((name) => name !== serviceCidrFinalizer);
  if (finalizers.length === 0) return store.delete(entry.key, templateOfEntry(entry), entry.revision);
  return put(store, serviceCidrKind, entry, { ...range, metadata: { ...range.metadata, finalizers } });
}

/** True while a Service has an address of the range that lies in no other range which stays. */
function isNeeded(
  store: Store,
  entry: Entry,
  range: JsonObject,
  owners: ReadonlyMap<string, Owner>,
): boolean {
  const others = store
    .list(rangesPrefix)
    .entries.filter(({ key }) => key !== entry.key)
    .map((other) => parseEntry(other))
    .filter((other) => !isBeingDeleted(other))
    .flatMap(cidrsOf);
  const own = cidrsOf(range);
  return [...owners.keys()].some((text) => {
    const ip = parseIp(text);
    if (ip === undefined) return false;
    const isIn = (cidr: Cidr): boolean => cidrContains(cidr, ip);
    return own.some(isIn) && !others.some(isIn);
  });
}

type Ready = { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string };

function putCondition(
  store: Store,
  clock: Clock,
  entry: Entry,
  range: StoredObject,
  ready: Ready,
): Promise<unknown> | undefined {
  const conditions = objectsAt(range, 'status', 'conditions');
  const before = conditions.find(({ type }) => type === 'Ready');
  if (before !== undefined && stringAt(before, 'status') === ready.status) return undefined;
  const condition = { type: 'Ready', ...ready, lastTransitionTime: rfc3339(clock.nowMs()) };
  const others = conditions.filter(({ type }) => type !== 'Ready');
  return put(store, serviceCidrKind, entry, { ...range, status: { conditions: [...others, condition] } });
}

function put(store: Store, kind: Kind, entry: Entry, object: JsonObject): Promise<unknown> {
  return store.put(entry.key, templateOf(kind, object), entry.revision);
}
