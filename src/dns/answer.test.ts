import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Service } from '../api/gen/core-v1.ts';
import type { Endpoint, EndpointSlice } from '../api/gen/discovery-v1.ts';
import { formatIp, ipFromBytes } from '../base/ip.ts';
import { aliasesMax, type Answer, type AnswerOptions, answer, endpointTtlSecondsMax } from './answer.ts';
import { PodTable } from './pods.ts';
import { compileService } from './records.ts';
import { noHosts, parseSettings } from './settings.ts';
import { DnsTable } from './table.ts';
import { type RecordData, type ResourceRecord, rcodes, rrTypes } from './wire.ts';

type Spec = NonNullable<Service['spec']>;

function service(spec: Spec): Service {
  return { metadata: { name: 'x', namespace: 'default' }, spec };
}

function slice(addressType: string, endpoints: readonly Endpoint[], name = 'http'): EndpointSlice {
  return { addressType, ports: [{ name, port: 8080, protocol: 'TCP' }], endpoints };
}

const cluster: Spec = {
  type: 'ClusterIP',
  clusterIP: '10.43.0.80',
  clusterIPs: ['10.43.0.80', 'fd00:43::80'],
  ports: [
    { name: 'http', port: 80, protocol: 'TCP' },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ],
};
const headless: Spec = { type: 'ClusterIP', clusterIP: 'None', clusterIPs: ['None'] };

function exampleTable(): DnsTable {
  const table = new DnsTable(7);
  const add = (key: string, spec: Spec, slices: readonly EndpointSlice[] = []): void => {
    table.setService(
      key,
      compileService(service(spec), () => slices),
    );
  };
  for (const namespace of ['default', 'kube-system', 'other']) table.setNamespace(namespace, true);
  add('default/web', cluster);
  add('default/bare', { type: 'ClusterIP', clusterIP: '10.43.0.81', ports: [{ port: 80 }] });
  add('kube-system/kube-dns', { type: 'ClusterIP', clusterIP: '10.43.0.10', ports: [] });
  add('default/db', headless, [
    slice('IPv4', [
      { addresses: ['10.42.0.5'], hostname: 'db-0' },
      { addresses: ['10.42.1.5'], hostname: 'DB-1', conditions: { ready: true } },
      { addresses: ['10.42.2.5'], conditions: {} },
      { addresses: ['10.42.3.5'], hostname: 'db-3', conditions: { ready: false, serving: true } },
    ]),
    slice('IPv6', [{ addresses: ['fd00:42::5'], hostname: 'db-0' }]),
  ]);
  add('default/idle', headless, [
    slice('IPv4', [{ addresses: ['10.42.9.9'], conditions: { ready: false } }]),
  ]);
  add('default/outside', { type: 'ExternalName', externalName: 'WWW.example.com.' });
  add('default/alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' });
  add('default/ring', { type: 'ExternalName', externalName: 'ring.default.svc.cluster.local' });
  add('default/lost', { type: 'ExternalName', externalName: 'gone.default.svc.cluster.local' });
  table.synced = true;
  return table;
}

const options: AnswerOptions = {
  zone: 'cluster.local',
  ttlSeconds: 5,
  forwards: () => true,
  zoneOnly: false,
  hosts: noHosts,
  isPod: undefined,
  order: undefined,
};
const types: Readonly<Record<string, number>> = rrTypes;

function ask(line: string, table: DnsTable = exampleTable(), changed: Partial<AnswerOptions> = {}): Answer {
  const [name = '', type = ''] = line.split(' ');
  return answer({ name, type: types[type] ?? Number(type), class: 1 }, table, { ...options, ...changed });
}

/** An answer in one readable line each. */
function render(it: Answer): string {
  if (it.kind === 'forward') return [...it.aliases.map(renderRecord), `forward ${it.name}`].join('; ');
  const code = Object.entries(rcodes).find(([, value]) => value === it.rcode)?.[0] ?? '?';
  const lines = [
    code,
    ...it.answers.map(renderRecord),
    ...it.authorities.map((each) => `authority ${renderRecord(each)}`),
    ...it.additionals.map((each) => `also ${renderRecord(each)}`),
  ];
  return lines.join('; ').replaceAll('cluster.local', '$');
}

function renderRecord({ name, data }: ResourceRecord): string {
  return `${name} ${data.type} ${renderData(data)}`;
}

function renderData(data: RecordData): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return formatIp(ipFromBytes(data.address));
    case 'SRV':
      return `${data.port} ${data.target}`;
    case 'TXT':
      return data.texts.map((text) => Buffer.from(text).toString()).join('');
    case 'SOA':
      return String(data.serial > 0);
    case 'MX':
    case 'other':
      return '';
    default:
      return data.target;
  }
}

const soa = 'authority $ SOA true';
const web = 'web.default.svc.$';
const db = 'db.default.svc.$';
const webAddresses = `also ${web} A 10.43.0.80; also ${web} AAAA fd00:43::80`;

const cases: readonly (readonly [question: string, want: string])[] = [
  // 2.2 schema version
  ['dns-version.$ TXT', 'NOERROR; dns-version.$ TXT 1.1.0'],
  ['dns-version.$ A', `NOERROR; ${soa}`],
  ['x.dns-version.$ TXT', `NXDOMAIN; ${soa}`],
  // the zone itself
  ['$ SOA', 'NOERROR; $ SOA true'],
  ['$ NS', 'NOERROR; $ NS ns.dns.$; also ns.dns.$ A 10.43.0.10'],
  ['$ A', `NOERROR; ${soa}`],
  ['ns.dns.$ A', 'NOERROR; ns.dns.$ A 10.43.0.10'],
  ['dns.$ A', `NOERROR; ${soa}`],
  ['nothing.$ A', `NXDOMAIN; ${soa}`],
  // 2.3 Services with an address
  [`${web} A`, `NOERROR; ${web} A 10.43.0.80`],
  [`${web} AAAA`, `NOERROR; ${web} AAAA fd00:43::80`],
  [`${web} TXT`, `NOERROR; ${soa}`],
  ['bare.default.svc.$ AAAA', `NOERROR; ${soa}`],
  [`_http._tcp.${web} SRV`, `NOERROR; _http._tcp.${web} SRV 80 ${web}; ${webAddresses}`],
  [`_dns._udp.${web} SRV`, `NOERROR; _dns._udp.${web} SRV 53 ${web}; ${webAddresses}`],
  [`_http._udp.${web} SRV`, `NXDOMAIN; ${soa}`],
  [`_none._tcp.${web} SRV`, `NXDOMAIN; ${soa}`],
  [`_http._tcp.${web} A`, `NOERROR; ${soa}`],
  [`_tcp.${web} SRV`, `NOERROR; ${soa}`],
  [`_sctp.${web} SRV`, `NXDOMAIN; ${soa}`],
  [`http._tcp.${web} SRV`, `NXDOMAIN; ${soa}`],
  ['_tcp.bare.default.svc.$ SRV', `NXDOMAIN; ${soa}`], // only named ports have SRV records
  [`${web} SRV`, `NOERROR; ${web} SRV 80 ${web}; ${web} SRV 53 ${web}; ${webAddresses}`], // as CoreDNS
  [`x.${web} A`, `NXDOMAIN; ${soa}`],
  ['gone.default.svc.$ A', `NXDOMAIN; ${soa}`],
  ['80.0.43.10.in-addr.arpa PTR', `NOERROR; 80.0.43.10.in-addr.arpa PTR ${web}`],
  [
    '0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.4.0.0.0.0.d.f.ip6.arpa PTR',
    `NOERROR; 0.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.4.0.0.0.0.d.f.ip6.arpa PTR ${web}`,
  ],
  ['80.0.43.10.in-addr.arpa A', 'NOERROR'],
  // namespaces and what lies between
  ['svc.$ A', `NOERROR; ${soa}`],
  ['default.svc.$ A', `NOERROR; ${soa}`],
  ['nowhere.svc.$ A', `NXDOMAIN; ${soa}`],
  ['web.other.svc.$ A', `NXDOMAIN; ${soa}`],
  // 2.4 headless Services
  [`${db} A`, `NOERROR; ${db} A 10.42.0.5; ${db} A 10.42.1.5; ${db} A 10.42.2.5`],
  [`${db} AAAA`, `NOERROR; ${db} AAAA fd00:42::5`],
  [`db-0.${db} A`, `NOERROR; db-0.${db} A 10.42.0.5`],
  [`db-0.${db} AAAA`, `NOERROR; db-0.${db} AAAA fd00:42::5`],
  [`db-1.${db} A`, `NOERROR; db-1.${db} A 10.42.1.5`],
  [`db-1.${db} AAAA`, `NOERROR; ${soa}`],
  [`10-42-2-5.${db} A`, `NOERROR; 10-42-2-5.${db} A 10.42.2.5`],
  [`10-42-0-5.${db} A`, `NXDOMAIN; ${soa}`], // it has a hostname instead
  [`db-3.${db} A`, `NXDOMAIN; ${soa}`], // not ready
  [
    `_http._tcp.${db} SRV`,
    `NOERROR; _http._tcp.${db} SRV 8080 10-42-2-5.${db}; _http._tcp.${db} SRV 8080 db-0.${db}; _http._tcp.${db} SRV 8080 db-1.${db}; ` +
      `also 10-42-2-5.${db} A 10.42.2.5; also db-0.${db} A 10.42.0.5; also db-0.${db} AAAA fd00:42::5; also db-1.${db} A 10.42.1.5`,
  ],
  ['idle.default.svc.$ A', `NXDOMAIN; ${soa}`],
  ['5.0.42.10.in-addr.arpa PTR', `NOERROR; 5.0.42.10.in-addr.arpa PTR db-0.${db}`],
  ['5.2.42.10.in-addr.arpa PTR', `NOERROR; 5.2.42.10.in-addr.arpa PTR 10-42-2-5.${db}`],
  ['5.3.42.10.in-addr.arpa PTR', 'forward 5.3.42.10.in-addr.arpa'],
  // 2.5 ExternalName
  ['outside.default.svc.$ A', 'outside.default.svc.$ CNAME www.example.com; forward www.example.com'],
  ['outside.default.svc.$ CNAME', 'NOERROR; outside.default.svc.$ CNAME www.example.com'],
  ['alias.default.svc.$ A', `NOERROR; alias.default.svc.$ CNAME ${web}; ${web} A 10.43.0.80`],
  ['lost.default.svc.$ A', `NXDOMAIN; lost.default.svc.$ CNAME gone.default.svc.$; ${soa}`],
  ['ring.default.svc.$ A', 'SERVFAIL'],
  // Pods by address
  ['10-42-0-5.default.pod.$ A', 'NOERROR; 10-42-0-5.default.pod.$ A 10.42.0.5'],
  ['10-42-0-5.default.pod.$ AAAA', `NOERROR; ${soa}`],
  ['fd00-42--5.default.pod.$ AAAA', 'NOERROR; fd00-42--5.default.pod.$ AAAA fd00:42::5'],
  ['10-42-0-5.nowhere.pod.$ A', `NXDOMAIN; ${soa}`],
  ['10-42-0-500.default.pod.$ A', `NXDOMAIN; ${soa}`],
  ['x.10-42-0-5.default.pod.$ A', `NXDOMAIN; ${soa}`],
  ['default.pod.$ A', `NOERROR; ${soa}`],
  ['pod.$ A', `NOERROR; ${soa}`],
  // search lists: `curl caddy.local.example.com` asks for these first
  ['caddy.local.example.com.default.svc.$ A', `NXDOMAIN; ${soa}`],
  ['www.example.com.svc.$ A', `NXDOMAIN; ${soa}`],
  ['www.example.com.$ AAAA', `NXDOMAIN; ${soa}`],
  ['web A', 'NXDOMAIN'],
  ['web.default A', 'forward web.default'],
  ['com NS', 'forward com'],
  // everything else
  ['www.example.com A', 'forward www.example.com'],
  ['x$ A', 'forward x$'],
  ['localhost A', 'NOERROR; localhost A 127.0.0.1'],
  ['localhost AAAA', 'NOERROR; localhost AAAA ::1'],
  ['a.localhost TXT', 'NOERROR'],
  [`${web} AXFR`, 'REFUSED'],
  [`bare.default.svc.$ ANY`, 'NOERROR; bare.default.svc.$ A 10.43.0.81'],
];

describe('answer', () => {
  for (const [question, want] of cases) {
    test(`${question}`, () => {
      const got = render(ask(question.replaceAll('$', 'cluster.local')));
      assert.equal(got.replaceAll('cluster.local', '$'), want);
    });
  }

  test('every kind of record of the zone is asked for above', () => {
    for (const type of ['A', 'AAAA', 'SRV', 'PTR', 'CNAME', 'TXT', 'SOA', 'NS', 'ANY']) {
      assert.ok(
        cases.some(([question]) => question.endsWith(` ${type}`)),
        type,
      );
    }
  });

  test('before the first list is complete, "no" is SERVFAIL and what is known is answered', () => {
    const table = exampleTable();
    table.synced = false;
    const zone = 'cluster.local';
    assert.equal(render(ask(`gone.default.svc.${zone} A`, table)), 'SERVFAIL');
    assert.equal(render(ask(`web.default.svc.${zone} TXT`, table)), 'SERVFAIL');
    assert.equal(render(ask('5.3.42.10.in-addr.arpa PTR', table)), 'SERVFAIL');
    assert.match(render(ask(`web.default.svc.${zone} A`, table)), /10\.43\.0\.80/);
    assert.match(render(ask('www.example.com A', table)), /forward/);
  });

  test('with nobody to ask, outside names are refused and private addresses have no name', () => {
    const alone = { forwards: () => false };
    assert.equal(render(ask('www.example.com A', exampleTable(), alone)), 'REFUSED');
    assert.equal(render(ask('5.3.42.10.in-addr.arpa PTR', exampleTable(), alone)), 'NXDOMAIN');
    assert.equal(render(ask('8.8.8.8.in-addr.arpa PTR', exampleTable(), alone)), 'REFUSED');
    assert.equal(
      render(ask('outside.default.svc.cluster.local A', exampleTable(), alone)),
      'NOERROR; outside.default.svc.$ CNAME www.example.com',
    );
  });

  test('names of Pods are checked where Pods are known', () => {
    const isPod = (namespace: string, address: Uint8Array) => namespace === 'default' && address[3] === 5;
    const verified = { isPod };
    assert.match(
      render(ask('10-42-0-5.default.pod.cluster.local A', exampleTable(), verified)),
      /A 10\.42\.0\.5$/,
    );
    for (const name of ['10-42-0-6.default', '10-42-0-5.other']) {
      assert.match(render(ask(`${name}.pod.cluster.local A`, exampleTable(), verified)), /^NXDOMAIN/);
    }
    const pods = new PodTable('cluster.local');
    pods.set('default/a', {
      metadata: { namespace: 'default' },
      status: { podIPs: [{ ip: '10.42.0.5' }, { ip: 'fd00:42::5' }] },
    });
    const known = { isPod: pods.has.bind(pods) };
    const got = (name: string) => render(ask(`${name}.pod.cluster.local AAAA`, exampleTable(), known));
    assert.equal(got('fd00-42--5.default'), 'NOERROR; fd00-42--5.default.pod.$ AAAA fd00:42::5');
    assert.equal(
      got('fd00-42-0-0-0-0-0-5.default'),
      'NOERROR; fd00-42-0-0-0-0-0-5.default.pod.$ AAAA fd00:42::5',
    );
    assert.match(got('fd00-42--6.default'), /^NXDOMAIN/);
    assert.match(got('fd00-42--5.other'), /^NXDOMAIN/);
  });

  test('static hosts are answered here, both ways, and CNAMEs lead to them', () => {
    const parsed = parseSettings({ hosts: '192.0.2.8 www.example.com db.corp single' }, 'cluster.local');
    assert.ok(parsed.ok);
    const hosts = { hosts: parsed.settings.hosts };
    const got = (question: string) => render(ask(question, exampleTable(), hosts));
    assert.equal(got('db.corp A'), 'NOERROR; db.corp A 192.0.2.8');
    assert.equal(got('single A'), 'NOERROR; single A 192.0.2.8');
    assert.equal(got('db.corp AAAA'), 'NOERROR');
    assert.equal(got('x.db.corp A'), 'forward x.db.corp');
    assert.match(got('8.2.0.192.in-addr.arpa PTR'), /PTR www\.example\.com; .* PTR db\.corp/);
    assert.equal(
      got('outside.default.svc.cluster.local A'),
      'NOERROR; outside.default.svc.$ CNAME www.example.com; www.example.com A 192.0.2.8',
    );
  });

  test('equal records come in an order of chance, all of them each time', () => {
    const orders = Array.from({ length: 60 }, (_, index) => {
      const got = ask('db.default.svc.cluster.local A', exampleTable(), { order: 1 + index * 7919 });
      assert.equal(got.kind, 'local');
      assert.equal(got.answers.length, 3);
      return got.answers.map((record) => renderRecord(record).split(' ').at(-1)).join(' ');
    });
    assert.equal(new Set(orders).size, 6);
  });

  test('whoever keeps an answer leaves an endpoint within a second, a Service later', () => {
    const ttls = (question: string): readonly number[] => {
      const got = ask(question);
      assert.equal(got.kind, 'local');
      return [...got.answers, ...got.additionals].map(({ ttlSeconds }) => ttlSeconds);
    };
    for (const question of [
      'db.default.svc.cluster.local A',
      'db-0.db.default.svc.cluster.local AAAA',
      '_http._tcp.db.default.svc.cluster.local SRV',
      '5.0.42.10.in-addr.arpa PTR',
    ]) {
      assert.deepEqual([...new Set(ttls(question))], [endpointTtlSecondsMax], question);
    }
    for (const question of ['web.default.svc.cluster.local A', '80.0.43.10.in-addr.arpa PTR']) {
      assert.deepEqual(ttls(question), [5], question);
    }
  });

  test('another class is refused', () => {
    const question = { name: 'version.bind', type: rrTypes.TXT, class: 3 };
    assert.equal(render(answer(question, exampleTable(), options)), 'REFUSED');
  });
});

describe('table', () => {
  test('the serial grows only when an answer differs', () => {
    const table = exampleTable();
    const before = table.serial;
    const records = compileService(service(cluster), () => []);
    assert.equal(table.setService('default/web', records), false);
    assert.equal(table.serial, before);
    const changed = compileService(service({ ...cluster, clusterIPs: ['10.43.0.99'] }), () => []);
    assert.equal(table.setService('default/web', changed), true);
    assert.equal(table.serial, before + 1);
  });

  test('a Service that moves or goes takes its reverse names with it', () => {
    const table = exampleTable();
    const old = '80.0.43.10.in-addr.arpa PTR';
    const next = '99.0.43.10.in-addr.arpa PTR';
    table.setService(
      'default/web',
      compileService(service({ ...cluster, clusterIPs: ['10.43.0.99'] }), () => []),
    );
    assert.match(render(ask(old, table)), /forward/);
    assert.match(render(ask(next, table)), /web\.default/);
    table.setService('default/web', undefined);
    assert.match(render(ask(next, table)), /forward/);
  });

  test('one Pod of two headless Services has a name in each', () => {
    const table = exampleTable();
    const records = compileService(service(headless), () => [
      slice('IPv4', [{ addresses: ['10.42.0.5'], hostname: 'db-0' }]),
    ]);
    table.setService('other/db', records);
    const got = render(ask('5.0.42.10.in-addr.arpa PTR', table));
    assert.match(got, /db-0\.db\.default\.svc/);
    assert.match(got, /db-0\.db\.other\.svc/);
  });

  test('a chain of as many aliases as the bound is followed to its end, one more is SERVFAIL', () => {
    const table = exampleTable();
    for (let at = 0; at <= aliasesMax; at++) {
      const externalName = `${at === 0 ? 'web' : `a${at}`}.default.svc.cluster.local`;
      table.setService(
        `default/a${at + 1}`,
        compileService(service({ type: 'ExternalName', externalName }), () => []),
      );
    }
    const most = ask(`a${aliasesMax}.default.svc.cluster.local A`, table);
    assert.ok(most.kind === 'local');
    assert.deepEqual([most.rcode, most.answers.length], [rcodes.NOERROR, aliasesMax + 1]);
    const more = ask(`a${aliasesMax + 1}.default.svc.cluster.local A`, table);
    assert.ok(more.kind === 'local');
    assert.deepEqual([more.rcode, more.answers.length], [rcodes.SERVFAIL, 0]);
  });
});
