import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServiceSpec } from '../api/gen/core-v1.ts';
import { balancedAt, serviceOf, sliceOf } from '../../test/support/services.ts';
import { formatIp, ipFromBytes } from '../base/ip.ts';
import { answer } from './answer.ts';
import { HostView } from './host-view.ts';
import { addressesOf, compileService } from './records.ts';
import { noHosts } from './settings.ts';
import { DnsTable } from './table.ts';
import { rcodes, rrTypes } from './wire.ts';

const loopbacks = addressesOf(['127.0.0.1', '::1']);
const published = [
  { addresses: loopbacks, hostPort: 9090, port: 8080 },
  { addresses: addressesOf(['192.0.2.1']), hostPort: 8081, port: 8081 },
];

function view(): HostView {
  const table = new DnsTable(1);
  const balancer: Partial<ServiceSpec> = {
    type: 'LoadBalancer',
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'metrics', port: 9000, protocol: 'TCP' },
      { name: 'udp', port: 8080, protocol: 'UDP' },
    ],
  };
  const add = (service: ReturnType<typeof serviceOf>): void => {
    table.setService(
      `default/${service.metadata?.name ?? ''}`,
      compileService(service, () => [sliceOf('db', ['10.42.0.5'])]),
    );
  };
  table.setNamespace('default', true);
  add(serviceOf('web', '10.43.0.80'));
  add(serviceOf('shop', '10.43.0.81', balancer, balancedAt('10.41.0.2')));
  add(serviceOf('pending', '10.43.0.82', balancer));
  add(
    serviceOf(
      'both',
      '10.43.0.83',
      { type: 'LoadBalancer', ports: [{ port: 8080 }, { port: 8081 }] },
      balancedAt('10.41.0.2'),
    ),
  );
  add(serviceOf('db', 'None'));
  add({
    metadata: { name: 'outside' },
    spec: { type: 'ExternalName', externalName: 'www.example.com' },
  });
  table.synced = true;
  return new HostView(table, published);
}

function ask(line: string): string {
  const [name = '', type = ''] = line.replaceAll('$', 'svc.cluster.local').split(' ');
  const types: Readonly<Record<string, number>> = rrTypes;
  const told = answer({ name, type: types[type] ?? 0, class: 1 }, view(), {
    zone: 'cluster.local',
    ttlSeconds: 5,
    forwards: () => true,
    zoneOnly: true,
    hosts: noHosts,
    isPod: () => false,
    order: undefined,
  });
  if (told.kind === 'forward') return `forward ${told.name}`;
  const code = Object.entries(rcodes).find(([, value]) => value === told.rcode)?.[0] ?? '?';
  const records = told.answers.map(({ data }) => {
    if (data.type === 'A' || data.type === 'AAAA') return formatIp(ipFromBytes(data.address));
    if (data.type === 'SRV') return `${data.port} ${data.target}`;
    return data.type === 'PTR' ? data.target : data.type;
  });
  return [code, ...records].join(' ').replaceAll('svc.cluster.local', '$');
}

describe('names beside the cluster', () => {
  for (const { name, question, want } of [
    {
      name: 'a load balancer is where its port is published',
      question: 'shop.default.$ A',
      want: 'NOERROR 127.0.0.1',
    },
    { name: '… over IPv6 too', question: 'shop.default.$ AAAA', want: 'NOERROR ::1' },
    {
      name: 'a port has its number on this machine',
      question: '_http._tcp.shop.default.$ SRV',
      want: 'NOERROR 9090 shop.default.$',
    },
    {
      name: 'a port that is not published is none',
      question: '_metrics._tcp.shop.default.$ SRV',
      want: 'NXDOMAIN',
    },
    { name: 'published ports are TCP', question: '_udp._udp.shop.default.$ SRV', want: 'NXDOMAIN' },
    {
      name: 'several published ports, several addresses',
      question: 'both.default.$ A',
      want: 'NOERROR 127.0.0.1 192.0.2.1',
    },
    {
      name: 'a load balancer without an address is nowhere yet',
      question: 'pending.default.$ A',
      want: 'NOERROR',
    },
    { name: 'a ClusterIP is not reachable from here', question: 'web.default.$ A', want: 'NOERROR' },
    { name: 'nor are endpoints', question: 'db.default.$ A', want: 'NOERROR' },
    {
      name: 'which have no names of their own here',
      question: '10-42-0-5.db.default.$ A',
      want: 'NXDOMAIN',
    },
    { name: 'nor are Pods', question: '10-42-0-5.default.pod.cluster.local A', want: 'NXDOMAIN' },
    { name: 'what does not exist does not', question: 'gone.default.$ A', want: 'NXDOMAIN' },
    {
      name: 'an alias leads on',
      question: 'outside.default.$ A',
      want: 'forward www.example.com',
    },
    {
      name: 'addresses in logs have their names',
      question: '80.0.43.10.in-addr.arpa PTR',
      want: 'NOERROR web.default.$',
    },
    {
      name: 'an address without a name is not asked of others, who would ask us',
      question: '99.0.43.10.in-addr.arpa PTR',
      want: 'NXDOMAIN',
    },
    { name: 'other names are others’', question: 'www.example.com A', want: 'REFUSED' },
    { name: '… also in reverse', question: '8.8.8.8.in-addr.arpa PTR', want: 'REFUSED' },
    { name: '… and single labels', question: 'shop A', want: 'REFUSED' },
  ]) {
    test(name, () => assert.equal(ask(question), want));
  }
});
