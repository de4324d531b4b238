import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind } from './kind.ts';
import type { JsonObject } from './object.ts';
import { findKind, groupVersions, kindNamed, kinds } from './registry.ts';
import { typeNode } from './schema.ts';

function kind(group: string, name: string): Kind {
  return kindNamed(group, 'v1', name) ?? assert.fail(`${name} is not served`);
}

test('registry: every kind has its type, distinct names, and columns that begin as they should', () => {
  const names = new Set<string>();
  for (const entry of kinds) {
    assert.notEqual(typeNode(entry.schema), undefined, entry.kind);
    for (const name of [entry.plural, ...entry.shortNames]) {
      const key = `${entry.group}/${entry.version}/${name}`;
      assert.ok(!names.has(key), `${key} twice`);
      names.add(key);
    }
    assert.equal(entry.columns.filter((column) => column.name === 'Name').length, 1);
  }
});

test('registry: hooks of every kind survive an empty object, and defaults are idempotent', () => {
  for (const entry of kinds) {
    const object: JsonObject = { metadata: { name: 'a', ...(entry.namespaced ? { namespace: 'b' } : {}) } };
    entry.setDefaults?.(object);
    const once = structuredClone(object);
    entry.setDefaults?.(object);
    assert.deepEqual(object, once, entry.kind);
    entry.prepareForCreate?.(object);
    entry.validate?.(object);
    entry.prepareForUpdate?.(object, structuredClone(object));
    assert.deepEqual(entry.validateUpdate?.(object, structuredClone(object)), [], entry.kind);
    entry.selectableFields?.({});
    for (const column of entry.columns) column.cell({}, 0);
  }
});

test('registry: kinds are found by plural and by name; what nothing acts on is not served', () => {
  assert.equal(findKind('', 'v1', 'pods')?.kind, 'Pod');
  assert.equal(findKind('apps', 'v1', 'deployments')?.shortNames[0], 'deploy');
  assert.equal(findKind('resource.k8s.io', 'v1', 'resourceclaims'), undefined);
  assert.deepEqual(
    [...new Set(groupVersions().map(({ group }) => group))],
    [
      '',
      'apps',
      'authentication.k8s.io',
      'authorization.k8s.io',
      'apiextensions.k8s.io',
      'apiregistration.k8s.io',
      'admissionregistration.k8s.io',
      'autoscaling',
      'batch',
      'certificates.k8s.io',
      'coordination.k8s.io',
      'discovery.k8s.io',
      'events.k8s.io',
      'flowcontrol.apiserver.k8s.io',
      'networking.k8s.io',
      'node.k8s.io',
      'policy',
      'rbac.authorization.k8s.io',
      'scheduling.k8s.io',
      'storage.k8s.io',
    ],
  );
});

const nowMs = Date.parse('2026-01-01T01:00:00Z');

const columns: readonly {
  readonly name: string;
  readonly of: Kind;
  readonly object: JsonObject;
  readonly want: readonly unknown[];
}[] = [
  {
    name: 'node',
    of: kind('', 'Node'),
    object: {
      metadata: { name: 'server-0', labels: { 'node-role.kubernetes.io/control-plane': '' } },
      spec: { unschedulable: true },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        addresses: [{ type: 'InternalIP', address: '10.41.0.2' }],
        nodeInfo: {
          kubeletVersion: 'v1.36.0',
          osImage: 'Debian 12',
          kernelVersion: '6.1',
          containerRuntimeVersion: 'containerd://1.6',
        },
      },
    },
    want: [
      'server-0',
      'Ready,SchedulingDisabled',
      'control-plane',
      '<unknown>',
      'v1.36.0',
      '10.41.0.2',
      '<none>',
      'Debian 12',
      '6.1',
      'containerd://1.6',
    ],
  },
  {
    name: 'endpoints',
    of: kind('', 'Endpoints'),
    object: {
      metadata: { name: 'web' },
      subsets: [{ addresses: [{ ip: '1.1.1.1' }, { ip: '1.1.1.2' }], ports: [{ port: 80 }, { port: 81 }] }],
    },
    want: ['web', '1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more...', '<unknown>'],
  },
  {
    name: 'endpoint slice',
    of: kind('discovery.k8s.io', 'EndpointSlice'),
    object: {
      metadata: { name: 'web-x' },
      addressType: 'IPv4',
      ports: [{ port: 80 }],
      endpoints: [{ addresses: ['1.1.1.1'] }, { addresses: ['1.1.1.2'] }],
    },
    want: ['web-x', 'IPv4', '80', '1.1.1.1,1.1.1.2', '<unknown>'],
  },
  {
    name: 'empty endpoint slice',
    of: kind('discovery.k8s.io', 'EndpointSlice'),
    object: { addressType: 'IPv4' },
    want: ['', 'IPv4', '<unset>', '<unset>', '<unknown>'],
  },
  {
    name: 'secret',
    of: kind('', 'Secret'),
    object: { metadata: { name: 's' }, type: 'Opaque', data: { a: '', b: '' } },
    want: ['s', 'Opaque', 2, '<unknown>'],
  },
  {
    name: 'config map',
    of: kind('', 'ConfigMap'),
    object: { data: { a: '' }, binaryData: { b: '' } },
    want: ['', 2, '<unknown>'],
  },
  {
    name: 'event',
    of: kind('', 'Event'),
    object: {
      metadata: { name: 'e' },
      type: 'Normal',
      reason: 'Started',
      involvedObject: { kind: 'Pod', name: 'web', fieldPath: 'spec.containers{a}' },
      source: { component: 'kubelet', host: 'server-0' },
      message: 'Started container a\n',
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:59:00Z',
      count: 4,
    },
    want: [
      '60s',
      'Normal',
      'Started',
      'pod/web',
      'spec.containers{a}',
      'kubelet, server-0',
      'Started container a',
      '60m',
      4,
      'e',
    ],
  },
  {
    name: 'lease',
    of: kind('coordination.k8s.io', 'Lease'),
    object: { metadata: { name: 'l' }, spec: { holderIdentity: 'me' } },
    want: ['l', 'me', '<unknown>'],
  },
  {
    name: 'role binding',
    of: kind('rbac.authorization.k8s.io', 'RoleBinding'),
    object: {
      metadata: { name: 'b' },
      roleRef: { kind: 'Role', name: 'r' },
      subjects: [
        { kind: 'User', name: 'u' },
        { kind: 'Group', name: 'g' },
        { kind: 'ServiceAccount', namespace: 'n', name: 's' },
      ],
    },
    want: ['b', 'Role/r', '<unknown>', 'u', 'g', 'n/s'],
  },
  {
    name: 'cluster role',
    of: kind('rbac.authorization.k8s.io', 'ClusterRole'),
    object: { metadata: { name: 'r', creationTimestamp: '2026-01-01T00:00:00Z' } },
    want: ['r', '2026-01-01T00:00:00Z'],
  },
];

for (const { name, of, object, want } of columns) {
  test(`columns: ${name}`, () =>
    assert.deepEqual(
      of.columns.map((column) => column.cell(object, nowMs)),
      want,
    ));
}

test('secret: stringData becomes data; keys of a type are needed; an immutable one stays', () => {
  const secretKind = kind('', 'Secret');
  const secret: JsonObject = {
    metadata: { name: 's', namespace: 'n' },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': 'x' },
  };
  secretKind.setDefaults?.(secret);
  assert.deepEqual(secret['data'], { 'tls.crt': 'eA==' });
  assert.equal(secret['stringData'], undefined);
  assert.deepEqual(
    secretKind.validate?.(secret).map((error) => error.field),
    ['data[tls.key]'],
  );
  const fixed: JsonObject = { ...secret, immutable: true };
  assert.deepEqual(
    secretKind
      .validateUpdate?.({ ...fixed, data: {} }, fixed)
      .map((error) => `${error.field}: ${error.message}`),
    ['data: Forbidden: field is immutable when `immutable` is set'],
  );
});

test('namespace: the name label, the finalizer and the phase are the server’s', () => {
  const namespaceKind = kind('', 'Namespace');
  const namespace: JsonObject = { metadata: { name: 'web' }, status: { phase: 'Terminating' } };
  namespaceKind.setDefaults?.(namespace);
  namespaceKind.prepareForCreate?.(namespace);
  assert.deepEqual(namespace, {
    metadata: { name: 'web', labels: { 'kubernetes.io/metadata.name': 'web' } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  });
});

test('metadata: names, labels, owners, finalizers and what never changes', () => {
  const configMapKind = kind('', 'ConfigMap');
  const validate = (metadata: JsonObject): readonly string[] =>
    (configMapKind.validate?.({ metadata: { namespace: 'n', ...metadata } }) ?? []).map(
      (error) => error.field,
    );
  assert.deepEqual(validate({ name: 'a' }), []);
  assert.deepEqual(validate({}), ['metadata.name']);
  assert.deepEqual(validate({ name: 'a', labels: { '-x': '-y' } }), ['metadata.labels', 'metadata.labels']);
  assert.deepEqual(validate({ name: 'a', finalizers: ['x'] }), ['metadata.finalizers[0]']);
  assert.deepEqual(validate({ name: 'a', ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'p' }] }), [
    'metadata.ownerReferences[0].uid',
  ]);
  const old: JsonObject = { metadata: { name: 'a', namespace: 'n', uid: '1' } };
  assert.deepEqual(
    configMapKind
      .validateUpdate?.({ metadata: { name: 'a', namespace: 'n', uid: '2' } }, old)
      .map((error) => error.field),
    ['metadata.uid'],
  );
});

test('rbac: rules and bindings', () => {
  const errors = (name: string, object: JsonObject): readonly string[] =>
    (
      kind('rbac.authorization.k8s.io', name).validate?.({
        kind: name,
        metadata: { name: 'a:b', ...(name.startsWith('Cluster') ? {} : { namespace: 'n' }) },
        ...object,
      }) ?? []
    ).map((error) => error.field);
  assert.deepEqual(errors('Role', { rules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }] }), []);
  assert.deepEqual(errors('Role', { rules: [{ apiGroups: [''], resources: ['pods'] }] }), ['rules[0].verbs']);
  assert.deepEqual(errors('Role', { rules: [{ verbs: ['get'], nonResourceURLs: ['/x'] }] }), [
    'rules[0].nonResourceURLs',
  ]);
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'r' };
  assert.deepEqual(
    errors('ClusterRoleBinding', { roleRef, subjects: [{ kind: 'ServiceAccount', name: 's' }] }),
    ['subjects[0].namespace'],
  );
  assert.deepEqual(errors('ClusterRoleBinding', { roleRef: { ...roleRef, kind: 'Role' } }), ['roleRef.kind']);
});
