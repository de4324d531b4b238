import { invalid } from '../api/field-errors.ts';
import { ensureObject, numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../api/fields.ts';
import type { FieldError, Kind } from '../api/kind.ts';
import { ipAddressKind } from '../api/kinds/servicecidr.ts';
import type { JsonObject } from '../api/object.ts';
import {
  canonicalIp,
  type Cidr,
  cidrAddress,
  cidrContains,
  cidrSize,
  formatCidr,
  formatIp,
  parseIp,
} from '../base/ip.ts';
import type { Claims, Entry, Store, StoreEvent } from '../store/store.ts';
import { parseEntry, prefixOf } from './objects.ts';
import { type FamilyName, keepsFamilies, settleFamilies } from './service-families.ts';
import { followServiceRanges, isAllocated } from './service-ranges.ts';

/** Addresses and node ports that one write of a Service holds until it is done. */
export type Reservation = {
  readonly errors: readonly FieldError[];
  /** Must be called when the write is committed or given up; what is committed stays taken by its Service. */
  release(): void;
};

export type ServiceAllocator = {
  /**
   * Fills clusterIP, clusterIPs, families, node ports and the health check port of `service` in place and reserves what
   * it took. `old` is the stored Service of an update: what it holds is kept, not taken again.
   */
  reserve(service: JsonObject, old: JsonObject | undefined): Reservation;
  stop(): void;
};

export type AllocatorOptions = {
  /** The server's own ranges: one, or one of each family. That of the first is the default family. */
  readonly serviceCidrs: readonly Cidr[];
  readonly nodePortRange: { readonly first: number; readonly last: number };
  /** Uniform in 0 … below - 1. */
  readonly random: (below: number) => number;
};

/** One address or port as a text: `ip 10.43.0.1`, `TCP 30080`. */
type Claim = string;

const prefix = '/services/';
const addressesPrefix = prefixOf(ipAddressKind);

/**
 * Allocation without a record of its own: what is taken is what the stored Services say, followed by a watch, and what
 * writes under way have reserved. So nothing can leak or need repair. What other servers on the same store take at the same
 * moment the store itself refuses (`claimsOfWrite`).
 */
export function createServiceAllocator(store: Store, options: AllocatorOptions): ServiceAllocator {
  const taken = new Map<Claim, number>();
  const count = (claims: readonly Claim[], step: 1 | -1): void => {
    for (const claim of claims) {
      const now = (taken.get(claim) ?? 0) + step;
      if (now <= 0) taken.delete(claim);
      else taken.set(claim, now);
    }
  };
  const claimsIn = (entry: Entry | undefined): readonly Claim[] => {
    if (entry === undefined) return [];
    const object = parseEntry(entry);
    return entry.key.startsWith(prefix) ? claimsOf(object) : claimsOfAddress(object);
  };
  const onEvents = (events: readonly StoreEvent[]): void => {
    for (const event of events) {
      count(claimsIn(event.previous), -1);
      if (event.type === 'put') count(claimsIn(event.entry), 1);
    }
  };
  const watches = [prefix, addressesPrefix].map((each) => {
    const { entries, revision } = store.list(each);
    for (const entry of entries) count(claimsIn(entry), 1);
    return store.watch(each, revision, onEvents);
  });
  const ranges = followServiceRanges(store, options.serviceCidrs);
  return {
    reserve(service, old) {
      const own = old === undefined ? [] : claimsOf(old);
      const reserved: Claim[] = [];
      const pool: Pool = {
        isFree: (claim) => !taken.has(claim) || own.includes(claim),
        take(claim) {
          if (own.includes(claim) || reserved.includes(claim)) return;
          reserved.push(claim);
          count([claim], 1);
        },
      };
      if (old !== undefined) keepAllocated(service, old);
      const errors = [
        ...fillAddresses(service, old, pool, { ...options, ranges: ranges.usable() }),
        ...fillPorts(service, pool, options),
      ];
      let released = false;
      return {
        errors,
        release() {
          if (released) return;
          released = true;
          count(reserved, -1);
        },
      };
    },
    stop() {
      for (const watching of watches) watching.stop();
      ranges.stop();
    },
  };
}

type Pool = { isFree(claim: Claim): boolean; take(claim: Claim): void };

function claimsOf(service: JsonObject): readonly Claim[] {
  const spec = objectAt(service, 'spec');
  const claims = new Set<Claim>();
  for (const ip of stringsAt(spec, 'clusterIPs'))
    if (ip !== 'None' && ip !== '') claims.add(addressClaim(ip));
  for (const port of objectsAt(spec, 'ports')) {
    const nodePort = numberAt(port, 'nodePort') ?? 0;
    if (nodePort > 0) claims.add(`${protocolOf(port)} ${nodePort}`);
  }
  const health = numberAt(spec, 'healthCheckNodePort') ?? 0;
  if (health > 0) claims.add(`TCP ${health}`);
  return [...claims];
}

/** An IPAddress that somebody made by hand keeps its address from Services; the allocator's own only show theirs. */
function claimsOfAddress(address: JsonObject): readonly Claim[] {
  return isAllocated(address) ? [] : [addressClaim(stringAt(address, 'metadata', 'name'))];
}

/**
 * What a write takes from all others, and what it gives back, for a store that other servers write to as well; undefined where
 * it does neither. `object` undefined: a deletion.
 */
export function claimsOfWrite(
  kind: Pick<Kind, 'group' | 'plural'>,
  object: JsonObject | undefined,
  old: JsonObject | undefined,
): Claims | undefined {
  const claims =
    kind.group === '' && kind.plural === 'services'
      ? claimsOf
      : kind.group === ipAddressKind.group && kind.plural === ipAddressKind.plural
        ? claimsOfAddress
        : undefined;
  if (claims === undefined) return undefined;
  const now = object === undefined ? [] : claims(object);
  const before = old === undefined ? [] : claims(old);
  return {
    taken: now.filter((claim) => !before.includes(claim)),
    released: before.filter((claim) => !now.includes(claim)),
  };
}

/** One claim for all ways to write an IPv6 address. */
function addressClaim(address: string): Claim {
  return `ip ${canonicalIp(address) ?? address}`;
}

function protocolOf(port: JsonObject): string {
  return stringAt(port, 'protocol') || 'TCP';
}

function typeOf(spec: JsonObject): string {
  return stringAt(spec, 'type') || 'ClusterIP';
}

function needsNodePorts(spec: JsonObject): boolean {
  const type = typeOf(spec);
  return type === 'NodePort' || (type === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false);
}

function needsHealthPort(spec: JsonObject): boolean {
  return typeOf(spec) === 'LoadBalancer' && stringAt(spec, 'externalTrafficPolicy') === 'Local';
}

/** Node ports that the client left out of an update stay; what the new type has no use for goes, unless the client changed it. */
function keepAllocated(service: JsonObject, old: JsonObject): void {
  const spec = ensureObject(service, 'spec');
  const oldSpec = objectAt(old, 'spec') ?? {};
  const oldPorts = objectsAt(oldSpec, 'ports');
  const ports = objectsAt(spec, 'ports');
  const given = new Set(ports.map((port) => numberAt(port, 'nodePort') ?? 0));
  for (const port of ports) {
    const same = oldPorts.find(
      (candidate) => candidate['port'] === port['port'] && protocolOf(candidate) === protocolOf(port),
    );
    const oldNodePort = numberAt(same, 'nodePort') ?? 0;
    if (oldNodePort === 0) continue;
    const nodePort = numberAt(port, 'nodePort') ?? 0;
    if (needsNodePorts(spec) && nodePort === 0 && !given.has(oldNodePort)) {
      port['nodePort'] = oldNodePort;
      given.add(oldNodePort);
    }
    const keepsPorts = typeOf(spec) === 'NodePort' || typeOf(spec) === 'LoadBalancer';
    if (!keepsPorts && nodePort === oldNodePort) delete port['nodePort'];
  }
  const oldHealth = numberAt(oldSpec, 'healthCheckNodePort') ?? 0;
  const health = numberAt(spec, 'healthCheckNodePort') ?? 0;
  if (needsHealthPort(spec) && health === 0 && oldHealth > 0) spec['healthCheckNodePort'] = oldHealth;
  if (!needsHealthPort(spec) && health === oldHealth) delete spec['healthCheckNodePort'];
}

/** An update keeps the addresses it has: only a second one may come, or go. */
function fillAddresses(
  service: JsonObject,
  old: JsonObject | undefined,
  pool: Pool,
  { serviceCidrs, ranges, random }: AllocatorOptions & { readonly ranges: readonly Cidr[] },
): readonly FieldError[] {
  const spec = ensureObject(service, 'spec');
  if (typeOf(spec) === 'ExternalName') return [];
  const oldSpec = objectAt(old, 'spec');
  if (oldSpec !== undefined && keepsFamilies(spec, oldSpec)) return [];
  const problems = settleFamilies(
    spec,
    oldSpec,
    serviceCidrs.map(({ family }): FamilyName => `IPv${family}`),
  );
  if (problems.length > 0) return problems;
  const addresses = [...stringsAt(spec, 'clusterIPs')];
  if (addresses[0] === 'None') return [];
  const kept = stringsAt(oldSpec, 'clusterIPs').length;
  for (const [position, family] of stringsAt(spec, 'ipFamilies').entries()) {
    if (position < kept) continue;
    const mine = ranges.filter((range) => `IPv${range.family}` === family);
    const asked = addresses[position];
    const problem = asked === undefined ? undefined : problemOfAddress(asked, pool, mine);
    if (problem !== undefined) {
      return [invalid('spec.clusterIPs', addresses, `failed to allocate IP ${asked}: ${problem}`)];
    }
    const address = asked ?? firstFree(mine, (range) => pickAddress(pool, range, random));
    if (address === undefined) {
      return [invalid('spec.clusterIPs', [], 'failed to allocate a serviceIP: range is full')];
    }
    pool.take(addressClaim(address));
    addresses[position] = address;
  }
  spec['clusterIP'] = addresses[0] ?? '';
  spec['clusterIPs'] = addresses;
  return [];
}

function problemOfAddress(text: string, pool: Pool, ranges: readonly Cidr[]): string | undefined {
  const ip = parseIp(text);
  const inRange = ranges.some(
    (range) => ip !== undefined && cidrContains(range, ip) && ip.value !== range.first,
  );
  if (!inRange) {
    return `the provided IP (${text}) is not in the valid range. The range of valid IPs is ${ranges.map(formatCidr).join(', ')}`;
  }
  return pool.isFree(addressClaim(text)) ? undefined : 'provided IP is already allocated';
}

function firstFree(ranges: readonly Cidr[], pick: (range: Cidr) => string | undefined): string | undefined {
  for (const range of ranges) {
    const found = pick(range);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * A random start, then the next free one. The lowest addresses (at most 256, at most a sixteenth of the range) are left to
 * those who ask for a certain address, and given out only when nothing else is free.
 */
function pickAddress(pool: Pool, serviceCidr: Cidr, random: AllocatorOptions['random']): string | undefined {
  const size = Number(cidrSize(serviceCidr) > 2n ** 20n ? 2n ** 20n : cidrSize(serviceCidr));
  const offset = Math.min(Math.max(16, Math.floor(size / 16)), 256);
  const low = Math.min(offset, size - 1);
  const last = size - 1; // neither the network's nor the broadcast address
  const bands = [
    [low, last],
    [1, low],
  ] as const;
  for (const [from, to] of bands) {
    const width = to - from;
    if (width <= 0) continue;
    const start = random(width);
    for (let step = 0; step < width; step++) {
      const ip = cidrAddress(serviceCidr, BigInt(from + ((start + step) % width)));
      if (ip === undefined) continue;
      const text = formatIp(ip);
      if (pool.isFree(`ip ${text}`)) return text;
    }
  }
  return undefined;
}

function fillPorts(service: JsonObject, pool: Pool, options: AllocatorOptions): readonly FieldError[] {
  const spec = ensureObject(service, 'spec');
  const errors: FieldError[] = [];
  const mine = new Set<Claim>();
  const ports = objectsAt(spec, 'ports');
  // Asked ports first, so that a chosen one does not take what a later port of this Service asks for.
  for (const [at, port] of ports.entries()) {
    const nodePort = numberAt(port, 'nodePort') ?? 0;
    if (nodePort === 0) continue;
    const problem = problemOfPort(nodePort, protocolOf(port), pool, mine, options);
    if (problem !== undefined) errors.push(invalid(`spec.ports[${at}].nodePort`, nodePort, problem));
    else takePort(pool, mine, protocolOf(port), nodePort);
  }
  if (!needsNodePorts(spec)) return errors;
  for (const [at, port] of ports.entries()) {
    if ((numberAt(port, 'nodePort') ?? 0) > 0) continue;
    // One port number under two protocols gets one node port, as users of DNS expect.
    const twin = ports.find(
      (other) => other['port'] === port['port'] && (numberAt(other, 'nodePort') ?? 0) > 0,
    );
    const chosen = pickPort(pool, mine, protocolOf(port), numberAt(twin, 'nodePort'), options);
    if (chosen === undefined) {
      errors.push(invalid(`spec.ports[${at}].nodePort`, 0, 'failed to allocate a nodePort: range is full'));
      continue;
    }
    port['nodePort'] = chosen;
    takePort(pool, mine, protocolOf(port), chosen);
  }
  return [...errors, ...fillHealthPort(spec, pool, mine, options)];
}

function fillHealthPort(
  spec: JsonObject,
  pool: Pool,
  mine: Set<Claim>,
  options: AllocatorOptions,
): readonly FieldError[] {
  if (!needsHealthPort(spec)) return [];
  const asked = numberAt(spec, 'healthCheckNodePort') ?? 0;
  if (asked > 0) {
    const problem = problemOfPort(asked, 'TCP', pool, mine, options);
    if (problem !== undefined) return [invalid('spec.healthCheckNodePort', asked, problem)];
  }
  const chosen = asked > 0 ? asked : pickPort(pool, mine, 'TCP', undefined, options);
  if (chosen === undefined) {
    return [invalid('spec.healthCheckNodePort', 0, 'failed to allocate a nodePort: range is full')];
  }
  spec['healthCheckNodePort'] = chosen;
  takePort(pool, mine, 'TCP', chosen);
  return [];
}

function takePort(pool: Pool, mine: Set<Claim>, protocol: string, port: number): void {
  mine.add(`${protocol} ${port}`);
  pool.take(`${protocol} ${port}`);
}

function problemOfPort(
  port: number,
  protocol: string,
  pool: Pool,
  mine: ReadonlySet<Claim>,
  { nodePortRange }: AllocatorOptions,
): string | undefined {
  if (port < nodePortRange.first || port > nodePortRange.last) {
    return `provided port is not in the valid range. The range of valid ports is ${nodePortRange.first}-${nodePortRange.last}`;
  }
  const claim = `${protocol} ${port}`;
  return pool.isFree(claim) && !mine.has(claim) ? undefined : 'provided port is already allocated';
}

function pickPort(
  pool: Pool,
  mine: ReadonlySet<Claim>,
  protocol: string,
  preferred: number | undefined,
  { nodePortRange, random }: AllocatorOptions,
): number | undefined {
  const free = (port: number): boolean =>
    pool.isFree(`${protocol} ${port}`) && !mine.has(`${protocol} ${port}`);
  if (preferred !== undefined && free(preferred)) return preferred;
  const width = nodePortRange.last - nodePortRange.first + 1;
  const start = random(width);
  for (let step = 0; step < width; step++) {
    const port = nodePortRange.first + ((start + step) % width);
    // A port free for this protocol but taken by another Service's other protocol would confuse readers.
    if (free(port) && pool.isFree(`${protocol === 'TCP' ? 'UDP' : 'TCP'} ${port}`)) return port;
  }
  return undefined;
}
