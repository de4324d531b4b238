import { splitKey } from '../api/object.ts';
import { formatIp, ipFromBytes } from '../base/ip.ts';
import type { Addresses, NamedPort, ServiceRecords } from './records.ts';
import type { DnsTable } from './table.ts';

/** The table as lines of text, sorted by Service: what /debug/records shows. */
export function* describeRecords(table: DnsTable, zone: string): Generator<string, void, void> {
  yield `; zone ${zone}. serial ${table.serial} ${table.synced ? 'synced' : 'not synced'}\n`;
  for (const key of table.keys()) {
    const { namespace = '', name } = splitKey(key);
    const records = table.service(namespace, name);
    if (records !== undefined) yield `${name}.${namespace}.svc.${zone}. ${describeService(records)}\n`;
  }
}

function describeService(records: ServiceRecords): string {
  switch (records.kind) {
    case 'external':
      return `CNAME ${records.target}.`;
    case 'cluster':
      return `${describeAddresses(records.addresses)}${describePorts(records.ports)}`;
    case 'headless': {
      const endpoints = [...records.endpoints.values()].map(
        ({ hostname, addresses, ports }) =>
          `\n  ${hostname} ${describeAddresses(addresses)}${describePorts(ports)}`,
      );
      return `headless, ${endpoints.length} endpoints${endpoints.join('')}`;
    }
  }
}

function describeAddresses({ v4, v6 }: Addresses): string {
  return [...v4, ...v6].map((bytes) => formatIp(ipFromBytes(bytes))).join(' ') || 'no address';
}

function describePorts(ports: readonly NamedPort[]): string {
  return ports.map(({ name, protocol, port }) => ` ${name}:${port}/${protocol}`).join('');
}
