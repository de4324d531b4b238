import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { kindNamed } from '../api/registry.ts';
import { assert as certain } from '../base/assert.ts';
import { parseCidr } from '../base/ip.ts';
import { openMemoryStore } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { keyOfObject, templateOf } from './objects.ts';
import { createServiceAllocator, type ServiceAllocator } from './service-allocator.ts';

const kind = kindNamed('', 'v1', 'Service');
certain(kind !== undefined, 'Service is served');

function setup(cidrs = ['10.43.0.0/24'], range = { first: 30_000, last: 30_003 }) {
  const store = openMemoryStore();
  const serviceCidrs = cidrs.flatMap((cidr) => parseCidr(cidr) ?? []);
  const allocator = createServiceAllocator(store, { serviceCidrs, nodePortRange: range, random: () => 0 });
  return { store, allocator };
}

function service(spec: JsonObject): JsonObject {
  const made = { metadata: { name: 'web' }, spec };
  kind?.prepareForCreate?.(made);
  return made;
}

async function keep(store: Store, name: string, object: JsonObject): Promise<void> {
  certain(kind !== undefined, 'Service is served');
  const key = keyOfObject(kind, 'default', name);
  await store.put(key, templateOf(kind, object), store.get(key)?.revision ?? 0);
}

function texts(allocator: ServiceAllocator, spec: JsonObject, old?: JsonObject): readonly string[] {
  const reservation = allocator.reserve(service(spec), old);
  reservation.release();
  return reservation.errors.map(({ field, message }) => `${field}: ${message}`);
}

test('allocator: an address above the static band, its families, and nothing for headless and ExternalName', () => {
  const { allocator } = setup();
  const web = service({ ports: [{ port: 80 }] });
  assert.deepEqual(allocator.reserve(web, undefined).errors, []);
  assert.deepEqual(web['spec'], {
    ports: [{ port: 80 }],
    clusterIP: '10.43.0.16',
    clusterIPs: ['10.43.0.16'],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
  });
  const headless = service({ clusterIP: 'None' });
  allocator.reserve(headless, undefined);
  assert.deepEqual((headless['spec'] as JsonObject)['clusterIPs'], ['None']);
  const external = service({ type: 'ExternalName', externalName: 'example.com' });
  allocator.reserve(external, undefined);
  assert.deepEqual(external['spec'], { type: 'ExternalName', externalName: 'example.com' });
});

test('allocator: what is stored or reserved is taken, what is released is free', async () => {
  const { store, allocator } = setup();
  const first = allocator.reserve(service({ clusterIP: '10.43.0.9' }), undefined);
  const clash = 'failed to allocate IP 10.43.0.9: provided IP is already allocated';
  const expected = `spec.clusterIPs: Invalid value: ["10.43.0.9"]: ${clash}`;
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), [expected]);
  first.release();
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), []);
  await keep(store, 'web', service({ clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9'] }));
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), [expected]);
  const entry = store.get('/services/default/web');
  await store.delete('/services/default/web', { before: '', after: '' }, entry?.revision ?? 0);
  assert.deepEqual(texts(allocator, { clusterIP: '10.43.0.9' }), []);
});

test('allocator: an address outside the range is refused in the words of Kubernetes', () => {
  const { allocator } = setup();
  assert.deepEqual(texts(allocator, { clusterIP: '10.0.0.1' }), [
    'spec.clusterIPs: Invalid value: ["10.0.0.1"]: failed to allocate IP 10.0.0.1: the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 10.43.0.0/24',
  ]);
});

test('allocator: node ports per protocol, clashes and a full range', async () => {
  const { store, allocator } = setup();
  const both = service({
    type: 'NodePort',
    ports: [
      { port: 53, protocol: 'UDP' },
      { port: 53, protocol: 'TCP' },
    ],
  });
  allocator.reserve(both, undefined);
  assert.deepEqual(
    ((both['spec'] as JsonObject)['ports'] as JsonObject[]).map((port) => port['nodePort']),
    [30_000, 30_000],
  );
  await keep(store, 'dns', both);
  assert.deepEqual(texts(allocator, { type: 'NodePort', ports: [{ port: 80, nodePort: 30_000 }] }), [
    'spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated',
  ]);
  assert.deepEqual(texts(allocator, { type: 'NodePort', ports: [{ port: 80, nodePort: 99 }] }), [
    'spec.ports[0].nodePort: Invalid value: 99: provided port is not in the valid range. The range of valid ports is 30000-30003',
  ]);
  const many = [1, 2, 3, 4, 5].map((port) => ({ port }));
  assert.match(texts(allocator, { type: 'NodePort', ports: many }).join(), /range is full/);
});

test('allocator: an update keeps what it has, and drops what its new type does not use', () => {
  const { allocator } = setup();
  const old = service({
    type: 'NodePort',
    clusterIP: '10.43.0.20',
    clusterIPs: ['10.43.0.20'],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    ports: [{ port: 80, nodePort: 30_001 }],
  });
  const same = service({ type: 'NodePort', ports: [{ port: 80 }] });
  kind?.prepareForUpdate?.(same, old);
  allocator.reserve(same, old);
  const spec = same['spec'] as JsonObject;
  assert.equal(spec['clusterIP'], '10.43.0.20');
  assert.deepEqual(spec['ports'], [{ port: 80, nodePort: 30_001 }]);

  const narrowed = service({
    type: 'ClusterIP',
    clusterIP: '10.43.0.20',
    ports: [{ port: 80, nodePort: 30_001 }],
  });
  allocator.reserve(narrowed, old);
  assert.deepEqual((narrowed['spec'] as JsonObject)['ports'], [{ port: 80 }]);

  const external = service({ type: 'ExternalName', externalName: 'a.b', clusterIP: '10.43.0.20' });
  kind?.prepareForUpdate?.(external, old);
  allocator.reserve(external, old);
  assert.deepEqual(external['spec'], { type: 'ExternalName', externalName: 'a.b' });
});

test('allocator: a node port that is given to another port of the Service is not kept', () => {
  const { allocator } = setup();
  const old = service({ type: 'NodePort', ports: [{ name: 'a', port: 80, nodePort: 30_001 }] });
  for (const name of ['a', 'renamed']) {
    const now = service({
      type: 'NodePort',
      ports: [
        { name: 'b', port: 81, nodePort: 30_001 },
        { name, port: 80 },
      ],
    });
    kind?.prepareForUpdate?.(now, old);
    assert.deepEqual(allocator.reserve(now, old).errors, []);
    const ports = (now['spec'] as JsonObject)['ports'] as JsonObject[];
    assert.equal(ports[0]?.['nodePort'], 30_001);
    assert.notEqual(ports[1]?.['nodePort'], 30_001);
    assert.ok(Number(ports[1]?.['nodePort']) >= 30_000);
  }
});

test('allocator: a Local load balancer gets a health check port', () => {
  const { allocator } = setup();
  const local = service({ type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: [{ port: 80 }] });
  assert.deepEqual(allocator.reserve(local, undefined).errors, []);
  assert.equal((local['spec'] as JsonObject)['healthCheckNodePort'], 30_001);
});

const dual = ['10.43.0.0/24', 'fd43::/120'];
const both = { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' };
const bothKept = { ...both, clusterIP: '10.43.0.20', clusterIPs: ['10.43.0.20', 'fd43::20'] };
const oneKept = {
  ...{ clusterIP: '10.43.0.20', clusterIPs: ['10.43.0.20'] },
  ...{ ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' },
};

/** What a client sends, over what is stored; `want`: addresses, families and policy, or what it is told. */
const dualCases: readonly {
  readonly name: string;
  readonly cidrs?: string[];
  readonly old?: JsonObject;
  readonly spec: JsonObject;
  readonly want: readonly [readonly string[], readonly string[], string] | string;
}[] = [
  { name: 'nothing said', spec: {}, want: [['10.43.0.16'], ['IPv4'], 'SingleStack'] },
  {
    name: 'nothing said where IPv6 is first',
    cidrs: dual.toReversed(),
    spec: {},
    want: [['fd43::10'], ['IPv6'], 'SingleStack'],
  },
  {
    name: 'the second family alone',
    spec: { ipFamilies: ['IPv6'] },
    want: [['fd43::10'], ['IPv6'], 'SingleStack'],
  },
  {
    name: 'both',
    spec: { ipFamilyPolicy: 'PreferDualStack' },
    want: [['10.43.0.16', 'fd43::10'], ['IPv4', 'IPv6'], 'PreferDualStack'],
  },
  {
    name: 'both in the other order',
    spec: { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'] },
    want: [['fd43::10', '10.43.0.16'], ['IPv6', 'IPv4'], 'RequireDualStack'],
  },
  {
    name: 'an address says of which family it is',
    spec: { clusterIP: 'fd43::99', clusterIPs: ['fd43::99'], ipFamilyPolicy: 'PreferDualStack' },
    want: [['fd43::99', '10.43.0.16'], ['IPv6', 'IPv4'], 'PreferDualStack'],
  },
  {
    name: 'both addresses named',
    spec: {
      clusterIP: 'fd43::99',
      clusterIPs: ['fd43::99', '10.43.0.9'],
      ipFamilyPolicy: 'RequireDualStack',
    },
    want: [['fd43::99', '10.43.0.9'], ['IPv6', 'IPv4'], 'RequireDualStack'],
  },
  {
    name: 'a second address outside its range',
    spec: {
      clusterIP: '10.43.0.9',
      clusterIPs: ['10.43.0.9', 'fd44::1'],
      ipFamilyPolicy: 'RequireDualStack',
    },
    want: 'spec.clusterIPs: Invalid value: ["10.43.0.9","fd44::1"]: failed to allocate IP fd44::1: the provided IP (fd44::1) is not in the valid range. The range of valid IPs is fd43::/120',
  },
  {
    name: 'one preferred to two where there is one',
    cidrs: ['10.43.0.0/24'],
    spec: { ipFamilyPolicy: 'PreferDualStack' },
    want: [['10.43.0.16'], ['IPv4'], 'PreferDualStack'],
  },
  {
    name: 'a family without a range, by its address',
    cidrs: ['10.43.0.0/24'],
    spec: { clusterIP: 'fd43::1' },
    want: 'spec.clusterIPs[0]: Invalid value: ["fd43::1"]: IPv6 is not configured on this cluster',
  },
  {
    name: 'headless, by its selector',
    spec: { clusterIP: 'None', selector: { a: 'b' }, ipFamilyPolicy: 'PreferDualStack' },
    want: [['None'], ['IPv4', 'IPv6'], 'PreferDualStack'],
  },
  {
    name: 'headless with a selector',
    spec: { clusterIP: 'None', selector: { a: 'b' } },
    want: [['None'], ['IPv4'], 'SingleStack'],
  },
  {
    name: 'headless without a selector, whatever the cluster has',
    cidrs: ['10.43.0.0/24'],
    spec: { clusterIP: 'None' },
    want: [['None'], ['IPv4', 'IPv6'], 'RequireDualStack'],
  },
  {
    name: 'an upgrade by its policy',
    old: oneKept,
    spec: { ...oneKept, ipFamilyPolicy: 'RequireDualStack' },
    want: [['10.43.0.20', 'fd43::10'], ['IPv4', 'IPv6'], 'RequireDualStack'],
  },
  {
    name: 'an upgrade to a named address',
    old: oneKept,
    spec: {
      clusterIP: '10.43.0.20',
      clusterIPs: ['10.43.0.20', 'fd43::7'],
      ipFamilyPolicy: 'PreferDualStack',
    },
    want: [['10.43.0.20', 'fd43::7'], ['IPv4', 'IPv6'], 'PreferDualStack'],
  },
  {
    name: 'a second address without a policy',
    old: oneKept,
    spec: { clusterIP: '10.43.0.20', clusterIPs: ['10.43.0.20', 'fd43::7'] },
    want: "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
  },
  {
    name: 'a downgrade by its policy',
    old: bothKept,
    spec: { ...bothKept, ipFamilyPolicy: 'SingleStack' },
    want: [['10.43.0.20'], ['IPv4'], 'SingleStack'],
  },
  {
    name: 'a shorter list without a policy',
    old: bothKept,
    spec: { clusterIP: '10.43.0.20', clusterIPs: ['10.43.0.20'], ipFamilies: ['IPv4'] },
    want: [
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be \'SingleStack\' to release the secondary cluster IP',
      'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": must be \'SingleStack\' to release the secondary IP family',
    ].join('; '),
  },
  {
    name: 'a bare manifest keeps both',
    old: bothKept,
    spec: {},
    want: [['10.43.0.20', 'fd43::20'], ['IPv4', 'IPv6'], 'RequireDualStack'],
  },
  {
    name: 'a client that knows clusterIP alone keeps both',
    old: bothKept,
    spec: { clusterIP: '10.43.0.20' },
    want: [['10.43.0.20', 'fd43::20'], ['IPv4', 'IPv6'], 'RequireDualStack'],
  },
  {
    name: 'one that preferred two stays as it is when the cluster gets a second range',
    old: { ...oneKept, ipFamilyPolicy: 'PreferDualStack' },
    spec: {},
    want: [['10.43.0.20'], ['IPv4'], 'PreferDualStack'],
  },
  {
    name: 'from ExternalName, all are new',
    old: { type: 'ExternalName', externalName: 'a.b' },
    spec: { type: 'ClusterIP', ipFamilyPolicy: 'PreferDualStack' },
    want: [['10.43.0.16', 'fd43::10'], ['IPv4', 'IPv6'], 'PreferDualStack'],
  },
];

for (const { name, cidrs = dual, old, spec, want } of dualCases) {
  test(`allocator, dual stack: ${name}`, () => {
    const { allocator } = setup(cidrs);
    const made = { metadata: { name: 'web' }, spec: structuredClone(spec) };
    const before = old === undefined ? undefined : { metadata: { name: 'web' }, spec: old };
    if (before === undefined) kind.prepareForCreate?.(made);
    else kind.prepareForUpdate?.(made, before);
    const { errors } = allocator.reserve(made, before);
    if (typeof want === 'string') {
      assert.equal(errors.map(({ field, message }) => `${field}: ${message}`).join('; '), want);
      return;
    }
    assert.deepEqual(errors, []);
    const { clusterIPs, ipFamilies, ipFamilyPolicy, clusterIP } = made.spec;
    assert.deepEqual([clusterIPs, ipFamilies, ipFamilyPolicy], want);
    assert.equal(clusterIP, want[0][0]);
  });
}

test('allocator, dual stack: a released address is free again, however it is written', async () => {
  const { store, allocator } = setup(dual);
  await keep(store, 'web', service({ ...bothKept }));
  const asked = { clusterIP: 'fd43:0::20', clusterIPs: ['fd43:0::20'] };
  assert.match(texts(allocator, { ...asked }).join(), /fd43:0::20: provided IP is already allocated$/);
  await keep(store, 'web', service({ ...oneKept }));
  assert.deepEqual(texts(allocator, { ...asked }), []);
});
