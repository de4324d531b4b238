import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { serviceKind } from './service.ts';

function service(spec: JsonObject): JsonObject {
  const made: JsonObject = { metadata: { name: 'web', namespace: 'default' }, spec };
  serviceKind.setDefaults?.(made);
  return made;
}

/** As the server has it before it validates. */
function created(spec: JsonObject): JsonObject {
  const made = service(spec);
  serviceKind.prepareForCreate?.(made);
  return made;
}

function texts(errors: readonly FieldError[] | undefined): readonly string[] {
  return (errors ?? []).map((error) => `${error.field}: ${error.message}`);
}

const defaults: readonly { readonly name: string; readonly spec: JsonObject; readonly want: JsonObject }[] = [
  {
    name: 'ClusterIP',
    spec: { ports: [{ port: 80 }] },
    want: {
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
    },
  },
  {
    name: 'LoadBalancer with affinity',
    spec: { type: 'LoadBalancer', sessionAffinity: 'ClientIP', ports: [{ port: 80, targetPort: 'http' }] },
    want: {
      ports: [{ port: 80, protocol: 'TCP', targetPort: 'http' }],
      type: 'LoadBalancer',
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
      externalTrafficPolicy: 'Cluster',
      internalTrafficPolicy: 'Cluster',
      allocateLoadBalancerNodePorts: true,
    },
  },
  {
    name: 'headless',
    spec: { clusterIP: 'None', ports: [{ port: 80 }] },
    want: {
      clusterIP: 'None',
      clusterIPs: ['None'],
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
    },
  },
  {
    name: 'ExternalName',
    spec: { type: 'ExternalName', externalName: 'a.b' },
    want: { type: 'ExternalName', externalName: 'a.b', sessionAffinity: 'None' },
  },
];

for (const { name, spec, want } of defaults) {
  test(`service: defaults of ${name}`, () => {
    const made = created(spec);
    assert.deepEqual(made['spec'], want);
    assert.deepEqual(serviceKind.validate?.(made), []);
  });
}

const invalid: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'no ports', spec: {}, want: ['spec.ports: Required value'] },
  {
    name: 'a port out of range',
    spec: { ports: [{ port: 70_000, targetPort: 80 }] },
    want: ['spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive'],
  },
  {
    name: 'two ports without names',
    spec: { ports: [{ port: 80 }, { port: 81, name: 'b' }] },
    want: ['spec.ports[0].name: Required value'],
  },
  {
    name: 'one port twice',
    spec: {
      ports: [
        { name: 'a', port: 80 },
        { name: 'b', port: 80 },
      ],
    },
    want: ['spec.ports[1]: Duplicate value: {"name":"b","protocol":"TCP","port":80}'],
  },
  {
    name: 'an unknown type',
    spec: { type: 'Magic', ports: [{ port: 80 }] },
    want: [
      'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ],
  },
  {
    name: 'a node port on a ClusterIP',
    spec: { ports: [{ port: 80, nodePort: 30_080 }] },
    want: ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
  },
  {
    name: 'a headless load balancer',
    spec: { type: 'LoadBalancer', clusterIP: 'None', ports: [{ port: 80 }] },
    want: ['spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for LoadBalancer services'],
  },
  {
    name: 'affinity for too long',
    spec: {
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 90_000 } },
      ports: [{ port: 80 }],
    },
    want: [
      'spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than or equal to 86400',
    ],
  },
  { name: 'no external name', spec: { type: 'ExternalName' }, want: ['spec.externalName: Required value'] },
  {
    name: 'an external policy where nothing is external',
    spec: { externalTrafficPolicy: 'Local', ports: [{ port: 80 }] },
    want: [
      'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    ],
  },
];

for (const { name, spec, want } of invalid) {
  test(`service: invalid ${name}`, () =>
    assert.deepEqual(texts(serviceKind.validate?.(created(spec))), want));
}

test('service: names are DNS-1035 labels', () => {
  const made = service({ ports: [{ port: 80 }] });
  (made['metadata'] as JsonObject)['name'] = '1web';
  assert.match(
    texts(serviceKind.validate?.(made))[0] ?? '',
    /^metadata.name: Invalid value: "1web": a DNS-1035 label must/,
  );
});

/** A Service as it stands after addresses were given. */
function stored(spec: JsonObject): JsonObject {
  const made = service({
    clusterIP: '10.43.0.7',
    clusterIPs: ['10.43.0.7'],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    ...spec,
  });
  made['status'] = { loadBalancer: { ingress: [{ ip: '10.41.0.2' }] } };
  return made;
}

test('service: a bare manifest replaced over a stored one keeps what the server gave', () => {
  const old = stored({ type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] });
  const update = service({ type: 'NodePort', ports: [{ port: 80, targetPort: 8080 }] });
  serviceKind.prepareForUpdate?.(update, old);
  const spec = update['spec'] as JsonObject;
  assert.equal(spec['clusterIP'], '10.43.0.7');
  assert.deepEqual(spec['ports'], [{ port: 80, targetPort: 8080, protocol: 'TCP', nodePort: 30_080 }]);
  assert.deepEqual(serviceKind.validateUpdate?.(update, old), []);
});

test('service: back to ClusterIP drops node ports and policies of the old type', () => {
  const old = stored({ type: 'LoadBalancer', ports: [{ port: 80, nodePort: 30_080 }] });
  const update = structuredClone(old);
  (update['spec'] as JsonObject)['type'] = 'ClusterIP';
  serviceKind.setDefaults?.(update);
  serviceKind.prepareForUpdate?.(update, old);
  const spec = update['spec'] as JsonObject;
  assert.deepEqual(spec['ports'], [{ port: 80, targetPort: 80, protocol: 'TCP' }]);
  assert.equal(spec['externalTrafficPolicy'], undefined);
  assert.equal(spec['allocateLoadBalancerNodePorts'], undefined);
  assert.deepEqual(update['status'], { loadBalancer: {} });
  assert.deepEqual(texts(serviceKind.validate?.(update)), []);
});

test('service: the cluster address is immutable, but for ExternalName', () => {
  const old = stored({ ports: [{ port: 80 }] });
  const moved = stored({ clusterIP: '10.43.0.8', clusterIPs: ['10.43.0.8'], ports: [{ port: 80 }] });
  assert.deepEqual(texts(serviceKind.validateUpdate?.(moved, old)), [
    'spec.clusterIPs[0]: Invalid value: ["10.43.0.8"]: may not change once set',
  ]);
  const named = structuredClone(old);
  Object.assign(named['spec'] as JsonObject, { type: 'ExternalName', externalName: 'a.b' });
  serviceKind.prepareForUpdate?.(named, old);
  assert.equal((named['spec'] as JsonObject)['clusterIP'], undefined);
  assert.deepEqual(serviceKind.validateUpdate?.(named, old), []);
});

const columns: readonly {
  readonly name: string;
  readonly object: JsonObject;
  readonly want: readonly string[];
}[] = [
  {
    name: 'ClusterIP',
    object: {
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.43.0.7',
        ports: [{ port: 80, protocol: 'TCP' }],
        selector: { b: '2', a: '1' },
      },
    },
    want: ['ClusterIP', '10.43.0.7', '<none>', '80/TCP', 'a=1,b=2'],
  },
  {
    name: 'LoadBalancer with its addresses',
    object: {
      spec: {
        type: 'LoadBalancer',
        clusterIPs: ['10.43.0.7'],
        ports: [
          { port: 8080, nodePort: 31_000, protocol: 'TCP' },
          { port: 53, protocol: 'UDP' },
        ],
      },
      status: { loadBalancer: { ingress: [{ ip: '10.41.0.3' }, { ip: '10.41.0.2' }] } },
    },
    want: ['LoadBalancer', '10.43.0.7', '10.41.0.2,10.41.0.3', '8080:31000/TCP,53/UDP', '<none>'],
  },
  {
    name: 'LoadBalancer without',
    object: { spec: { type: 'LoadBalancer', clusterIP: '10.43.0.7' } },
    want: ['LoadBalancer', '10.43.0.7', '<pending>', '<none>', '<none>'],
  },
  {
    name: 'ExternalName',
    object: { spec: { type: 'ExternalName', externalName: 'a.b' } },
    want: ['ExternalName', '<none>', 'a.b', '<none>', '<none>'],
  },
  {
    name: 'external addresses',
    object: { spec: { type: 'ClusterIP', clusterIP: 'None', externalIPs: ['1.2.3.4'] } },
    want: ['ClusterIP', 'None', '1.2.3.4', '<none>', '<none>'],
  },
];

for (const { name, object, want } of columns) {
  test(`service columns: ${name}`, () => {
    const cells = serviceKind.columns.map((column) => column.cell(object, 0));
    assert.deepEqual([...cells.slice(1, 5), cells[6]], want);
  });
}
