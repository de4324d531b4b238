import { type Addresses, noAddresses, type ServiceRecords } from './records.ts';
import type { DnsView, ReverseTarget } from './table.ts';

/** A port of the machine around the cluster that leads to the load balancers' port of that number. */
export type HostPort = {
  /** Where the machine's own programs reach it. */
  readonly addresses: Addresses;
  readonly hostPort: number;
  readonly port: number;
};

/** What a Service has none of outside of the cluster. */
const unreachable: ServiceRecords = { kind: 'cluster', addresses: noAddresses, ports: [], balancedPorts: [] };

/**
 * The names as programs see them that run beside the cluster, not in it. Addresses of Services and Pods are not reachable from
 * there, and a packet to them would leave the machine by its default route; so a name leads to the ports that are
 * published for it, SRV records to their numbers, and a name without any exists but has no address. Names of addresses
 * are the same everywhere.
 */
export class HostView implements DnsView {
  readonly #view: DnsView;
  readonly #published: readonly HostPort[];

  constructor(view: DnsView, published: readonly HostPort[]) {
    this.#view = view;
    this.#published = published;
  }

  get synced(): boolean {
    return this.#view.synced;
  }

  get serial(): number {
    return this.#view.serial;
  }

  get epoch(): number {
    return this.#view.epoch;
  }

  service(namespace: string, name: string): ServiceRecords | undefined {
    const records = this.#view.service(namespace, name);
    switch (records?.kind) {
      case undefined:
      case 'external':
        return records;
      case 'headless':
        return unreachable;
      case 'cluster':
        return this.#publishedOf(records);
    }
  }

  hasNamespace(namespace: string): boolean {
    return this.#view.hasNamespace(namespace);
  }

  reverse(address: string): readonly ReverseTarget[] {
    return this.#view.reverse(address);
  }

  #publishedOf(records: Extract<ServiceRecords, { kind: 'cluster' }>): ServiceRecords {
    const reached = this.#published.filter(({ port }) => records.balancedPorts.includes(port));
    const ports = records.ports.flatMap((port) => {
      const at = port.protocol === 'tcp' ? reached.find((each) => each.port === port.port) : undefined;
      return at === undefined ? [] : [{ ...port, port: at.hostPort }];
    });
    const addresses = reached.reduce((all, each) => joined(all, each.addresses), noAddresses);
    return { kind: 'cluster', addresses, ports, balancedPorts: records.balancedPorts };
  }
}

function joined(a: Addresses, b: Addresses): Addresses {
  const add = (all: readonly Uint8Array[], more: readonly Uint8Array[]): readonly Uint8Array[] => [
    ...all,
    ...more.filter((one) => !all.some((other) => Buffer.compare(one, other) === 0)),
  ];
  return { v4: add(a.v4, b.v4), v6: add(a.v6, b.v6) };
}
