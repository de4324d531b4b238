import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { SliceWrite } from './fill.ts';
import { planSlices as planAll } from './plan.ts';

const context = { zoneOf: (node: string) => (node === 'n1' ? 'zone-a' : undefined) };

const planSlices = (...args: Parameters<typeof planAll>): readonly SliceWrite[] => planAll(...args).writes;

function service(spec: Service['spec'] = {}): Service {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'svc', labels: { team: 'a' } },
    spec: { clusterIP: '10.43.0.5', ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...spec },
  };
}

function pod(
  name: string,
  address: string,
  over: { readonly spec?: object; readonly status?: object; readonly metadata?: object } = {},
): Pod {
  return {
    metadata: { name, namespace: 'default', uid: `uid-${name}`, ...over.metadata },
    spec: { containers: [{ name: 'c' }], nodeName: 'n1', ...over.spec },
    status: {
      phase: 'Running',
      podIP: address,
      conditions: [{ type: 'Ready', status: 'True' }],
      ...over.status,
    },
  };
}

/** The slices after the writes, as the server would keep them. */
function applied(writes: readonly SliceWrite[], existing: readonly EndpointSlice[] = []): EndpointSlice[] {
  const slices = new Map(existing.map((slice) => [slice.metadata?.name ?? '', slice]));
  let made = existing.length;
  for (const { kind, slice } of writes) {
    if (kind === 'delete') slices.delete(slice.metadata?.name ?? '');
    else {
      const name = slice.metadata?.name ?? `web-${made++}`;
      slices.set(name, { ...slice, metadata: { ...slice.metadata, name } });
    }
  }
  return [...slices.values()];
}

const notReady = { conditions: [{ type: 'Ready', status: 'False' }] };
const terminating = { deletionTimestamp: '2026-01-31T12:00:00Z' };

const conditionCases = [
  { name: 'a ready Pod', pod: pod('a', '10.42.0.1'), spec: {}, want: [true, true, false] },
  {
    name: 'a Pod that is not ready',
    pod: pod('a', '10.42.0.1', { status: notReady }),
    spec: {},
    want: [false, false, false],
  },
  {
    name: 'a deleted Pod still serves',
    pod: pod('a', '10.42.0.1', { metadata: terminating }),
    spec: {},
    want: [false, true, true],
  },
  {
    name: 'publishNotReadyAddresses makes all ready',
    pod: pod('a', '10.42.0.1', { status: notReady }),
    spec: { publishNotReadyAddresses: true },
    want: [true, false, false],
  },
  {
    name: 'a finished Pod leaves',
    pod: pod('a', '10.42.0.1', { status: { phase: 'Failed' } }),
    spec: {},
    want: undefined,
  },
  { name: 'a Pod without address is not there', pod: pod('a', ''), spec: {}, want: undefined },
] as const;

for (const { name, pod: only, spec, want } of conditionCases) {
  test(`endpointslice: ${name}`, () => {
    const [slice] = applied(planSlices(service(spec), [only], [], context));
    const conditions = slice?.endpoints?.[0]?.conditions;
    const got =
      conditions === undefined ? undefined : [conditions.ready, conditions.serving, conditions.terminating];
    assert.deepEqual(got, want);
  });
}

test('endpointslice: a Service without endpoints keeps one empty slice', () => {
  const slices = applied(planSlices(service(), [], [], context));
  assert.equal(slices.length, 1);
  assert.deepEqual(slices[0]?.endpoints, []);
  assert.deepEqual(planSlices(service(), [], slices, context), []);
});

test('endpointslice: nothing to write when nothing changed', () => {
  const pods = [pod('a', '10.42.0.1'), pod('b', '10.42.0.2')];
  const slices = applied(planSlices(service(), pods, [], context));
  assert.deepEqual(planSlices(service(), pods.toReversed(), slices, context), []);
});

test('endpointslice: the endpoint tells Pod, node, zone and labels are those of Kubernetes', () => {
  const [slice] = applied(planSlices(service(), [pod('a', '10.42.0.1')], [], context));
  assert.deepEqual(slice?.metadata?.labels, {
    team: 'a',
    'kubernetes.io/service-name': 'web',
    'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
  });
  assert.deepEqual(slice?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
  const [endpoint] = slice?.endpoints ?? [];
  assert.equal(endpoint?.nodeName, 'n1');
  assert.equal(endpoint?.zone, 'zone-a');
  assert.deepEqual(endpoint?.targetRef, { kind: 'Pod', namespace: 'default', name: 'a', uid: 'uid-a' });
});

test('endpointslice: no slice has more than a hundred endpoints and a new Pod changes one slice', () => {
  const pods = Array.from({ length: 250 }, (_, at) => pod(`p${1000 + at}`, `10.42.${at >> 7}.${at & 127}`));
  const slices = applied(planSlices(service(), pods, [], context));
  assert.deepEqual(
    slices.map(({ endpoints }) => endpoints?.length),
    [100, 100, 50],
  );
  const writes = planSlices(service(), [...pods, pod('q', '10.42.9.9')], slices, context);
  assert.deepEqual(
    writes.map(({ kind }) => kind),
    ['replace'],
  );
  assert.equal(writes[0]?.slice.endpoints?.length, 51);
});

test('endpointslice: a named target port may be another number in every Pod', () => {
  const named = service({ ports: [{ port: 80, targetPort: 'http' }] });
  const withPort = (name: string, address: string, containerPort: number) =>
    pod(name, address, { spec: { containers: [{ name: 'c', ports: [{ name: 'http', containerPort }] }] } });
  const pods = [withPort('a', '10.42.0.1', 8080), withPort('b', '10.42.0.2', 9090), pod('c', '10.42.0.3')];
  const slices = applied(planSlices(named, pods, [], context));
  assert.deepEqual(
    slices.map(({ ports, endpoints }) => [ports?.[0]?.port, endpoints?.[0]?.addresses[0]]),
    [
      [8080, '10.42.0.1'],
      [9090, '10.42.0.2'],
      [undefined, '10.42.0.3'],
    ],
  );
});

test('endpointslice: two families make two slices, each with its own addresses', () => {
  const dual = service({ ipFamilies: ['IPv4', 'IPv6'] });
  const both = pod('a', '10.42.0.1', { status: { podIPs: [{ ip: '10.42.0.1' }, { ip: 'fd00::1' }] } });
  const slices = applied(planSlices(dual, [both], [], context));
  assert.deepEqual(
    slices.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses]),
    [
      ['IPv4', ['10.42.0.1']],
      ['IPv6', ['fd00::1']],
    ],
  );
});

test('endpointslice: a changed target port creates before it deletes', () => {
  const pods = [pod('a', '10.42.0.1')];
  const slices = applied(planSlices(service(), pods, [], context));
  const moved = service({ ports: [{ name: 'http', port: 80, targetPort: 9090 }] });
  assert.deepEqual(
    planSlices(moved, pods, slices, context).map(({ kind }) => kind),
    ['create', 'delete'],
  );
});

test('endpointslice: a headless Service is labelled and hostnames are kept for its subdomain only', () => {
  const headless = service({ clusterIP: 'None' });
  const pods = [
    pod('a', '10.42.0.1', { spec: { hostname: 'db-0', subdomain: 'web' } }),
    pod('b', '10.42.0.2', { spec: { hostname: 'db-1', subdomain: 'other' } }),
  ];
  const [slice] = applied(planSlices(headless, pods, [], context));
  assert.equal(slice?.metadata?.labels?.['service.kubernetes.io/headless'], '');
  assert.deepEqual(
    slice?.endpoints?.map(({ hostname }) => hostname),
    ['db-0', undefined],
  );
});

test('endpointslice: topology mode Auto goes before trafficDistribution and gives nothing where it cannot', () => {
  const auto = service({ trafficDistribution: 'PreferClose' });
  const annotated = (annotations: Readonly<Record<string, string>>) => ({
    ...auto,
    metadata: { ...auto.metadata, annotations },
  });
  const newer = { 'service.kubernetes.io/topology-mode': 'Auto' };
  const pods = [
    pod('a', '10.42.0.1'),
    pod('b', '10.42.0.2'),
    pod('c', '10.42.1.1', { spec: { nodeName: 'n2' } }),
    pod('d', '10.42.1.2', { spec: { nodeName: 'n2' } }),
  ];
  const zones = { n1: 'zone-a', n2: 'zone-b' } as const;
  const zoneOf = (node: string): string | undefined => zones[node as keyof typeof zones];
  const hintsWith = (
    cores: ReadonlyMap<string, number> | undefined,
    annotations: Readonly<Record<string, string>> = newer,
  ): readonly unknown[] => {
    const wanted = annotated(annotations);
    const [slice] = applied(planSlices(wanted, pods, [], { zoneOf, coresByZone: () => cores }));
    return slice?.endpoints?.map(({ hints }) => hints?.forZones?.[0]?.name) ?? [];
  };
  const equal = new Map([
    ['zone-a', 4],
    ['zone-b', 4],
  ]);
  assert.deepEqual(hintsWith(equal), ['zone-a', 'zone-a', 'zone-b', 'zone-b']);
  const none = [undefined, undefined, undefined, undefined];
  assert.deepEqual(hintsWith(undefined), none);
  // The older annotation counts as well, and goes before the newer one; then nothing is left but trafficDistribution.
  const older = 'service.kubernetes.io/topology-aware-hints';
  const bigger = new Map([...equal, ['zone-b', 12]] as const);
  assert.deepEqual(hintsWith(bigger, { [older]: 'auto' }), hintsWith(bigger));
  assert.notDeepEqual(hintsWith(bigger), hintsWith(equal));
  assert.deepEqual(hintsWith(bigger, { [older]: 'Disabled', ...newer }), hintsWith(equal));
});

for (const { distribution, want } of [
  { distribution: 'PreferClose', want: { forZones: [{ name: 'zone-a' }] } },
  { distribution: 'PreferSameZone', want: { forZones: [{ name: 'zone-a' }] } },
  {
    distribution: 'PreferSameNode',
    want: { forZones: [{ name: 'zone-a' }], forNodes: [{ name: 'n1' }] },
  },
  { distribution: undefined, want: undefined },
]) {
  test(`endpointslice: hints of trafficDistribution ${distribution}`, () => {
    const spec = distribution === undefined ? {} : { trafficDistribution: distribution };
    const [slice] = applied(planSlices(service(spec), [pod('a', '10.42.0.1')], [], context));
    assert.deepEqual(slice?.endpoints?.[0]?.hints, want);
  });
}

test('endpointslice: a write tells when its cause happened, and does not keep an older cause', () => {
  const annotation = 'endpoints.kubernetes.io/last-change-trigger-time';
  const at = { ...context, triggeredAt: '2026-01-31T12:00:00.123Z' };
  const [slice] = applied(planSlices(service(), [pod('a', '10.42.0.1')], [], at));
  assert.equal(slice?.metadata?.annotations?.[annotation], '2026-01-31T12:00:00.123Z');
  const existing = slice === undefined ? [] : [slice];
  assert.deepEqual(planSlices(service(), [pod('a', '10.42.0.1')], existing, context), []);
  const [changed] = planSlices(service(), [pod('b', '10.42.0.2')], existing, context);
  assert.equal(changed?.slice.metadata?.annotations?.[annotation], undefined);
});
