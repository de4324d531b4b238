import { type ObjectKey, objectKey, splitKey } from '../api/object.ts';
import { type ReverseName, reverseNames, type ServiceRecords, sameRecords } from './records.ts';

/** A name that an address leads back to. `hostname` '' is the Service itself. */
export type ReverseTarget = {
  readonly namespace: string;
  readonly service: string;
  readonly hostname: string;
};

/** What answers are made from. */
export type DnsView = {
  /** False until everything has been listed once: what is not known then may still exist. */
  readonly synced: boolean;
  /** Of the zone's SOA; grows with every change of an answer. */
  readonly serial: number;
  /** Another number after every change of anything here. */
  readonly epoch: number;
  service(namespace: string, name: string): ServiceRecords | undefined;
  hasNamespace(namespace: string): boolean;
  /** Names of an address, given as `addressKey`. */
  reverse(address: string): readonly ReverseTarget[];
};

/**
 * The records of all Services, replaced one Service at a time, so that a change costs the same however many there are.
 * Names are computed when they are asked for; only reverse names are kept by address.
 */
export class DnsTable implements DnsView {
  synced = false;
  #serial: number;
  readonly #services = new Map<ObjectKey, ServiceRecords>();
  readonly #namespaces = new Set<string>();
  readonly #reverse = new Map<string, readonly ReverseTarget[]>();

  /** `serial` to begin with: the time in seconds, so that it grows over restarts too. */
  constructor(serial: number) {
    this.#serial = serial;
  }

  get serial(): number {
    return this.#serial;
  }

  get epoch(): number {
    return this.synced ? this.#serial + 1 : -1 - this.#serial;
  }

  get size(): number {
    return this.#services.size;
  }

  service(namespace: string, name: string): ServiceRecords | undefined {
    return this.#services.get(objectKey(namespace, name));
  }

  hasNamespace(namespace: string): boolean {
    return this.#namespaces.has(namespace);
  }

  reverse(address: string): readonly ReverseTarget[] {
    return this.#reverse.get(address) ?? [];
  }

  setNamespace(name: string, exists: boolean): void {
    if (this.#namespaces.has(name) === exists) return;
    if (exists) this.#namespaces.add(name);
    else this.#namespaces.delete(name);
    this.#changed();
  }

  /** `undefined`: the Service is gone. Returns whether an answer differs now. */
  setService(key: ObjectKey, records: ServiceRecords | undefined): boolean {
    const old = this.#services.get(key);
    if (old === undefined && records === undefined) return false;
    if (old !== undefined && records !== undefined && sameRecords(old, records)) return false;
    if (old !== undefined) for (const name of reverseNames(old)) this.#removeReverse(key, name);
    if (records === undefined) {
      this.#services.delete(key);
    } else {
      this.#services.set(key, records);
      for (const name of reverseNames(records)) this.#addReverse(key, name);
    }
    this.#changed();
    return true;
  }

  /** The whole table as stable text, for /debug/records. */
  *keys(): Generator<ObjectKey, void, void> {
    yield* [...this.#services.keys()].toSorted();
  }

  #changed(): void {
    this.#serial = (this.#serial + 1) >>> 0; // serials are 32 bits and wrap (RFC 1982)
  }

  #addReverse(key: ObjectKey, { address, hostname }: ReverseName): void {
    const { namespace = '', name } = splitKey(key);
    const target = { namespace, service: name, hostname };
    this.#reverse.set(address, [...this.reverse(address), target]);
  }

  #removeReverse(key: ObjectKey, { address, hostname }: ReverseName): void {
    const rest = this.reverse(address).filter(
      (target) => objectKey(target.namespace, target.service) !== key || target.hostname !== hostname,
    );
    if (rest.length === 0) this.#reverse.delete(address);
    else this.#reverse.set(address, rest);
  }
}
