import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import type { User } from './exchange.ts';
import { restrictNode } from './node-restriction.ts';
import { admitServiceAccount, graceOf, serviceAccountNameOf } from './pod-admission.ts';

function pod(spec: JsonObject, metadata: JsonObject = {}): JsonObject {
  return { metadata, spec: { containers: [{ name: 'a' }], ...spec } };
}

const mirror = { annotations: { 'kubernetes.io/config.mirror': 'x' } };

test('pod admission: the token is mounted once in each container that has no mount of its own there', () => {
  const own = { mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', name: 'own' };
  const object = pod({ containers: [{ name: 'a' }, { name: 'b', volumeMounts: [own] }] });
  admitServiceAccount(object, 'robot', { automount: undefined, imagePullSecrets: [] }, 'abcde');
  const spec = object['spec'] as JsonObject;
  assert.equal(spec['serviceAccountName'], 'robot');
  assert.deepEqual(spec['containers'], [
    {
      name: 'a',
      volumeMounts: [
        {
          name: 'kube-api-access-abcde',
          readOnly: true,
          mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
        },
      ],
    },
    { name: 'b', volumeMounts: [own] },
  ]);
  assert.equal((spec['volumes'] as JsonObject[]).length, 1);
});

const automounts = [
  { name: 'by default', account: undefined, own: undefined, want: true },
  { name: 'the account says no', account: false, own: undefined, want: false },
  { name: 'the Pod overrides its account', account: false, own: true, want: true },
  { name: 'the Pod says no', account: true, own: false, want: false },
] as const;

for (const { name, account, own, want } of automounts) {
  test(`pod admission: token, ${name}`, () => {
    const object = pod(own === undefined ? {} : { automountServiceAccountToken: own });
    admitServiceAccount(object, 'default', { automount: account, imagePullSecrets: [] }, 'abcde');
    assert.equal((object['spec'] as JsonObject)['volumes'] !== undefined, want);
  });
}

test('pod admission: mirror Pods have no account', () => {
  assert.equal(serviceAccountNameOf(pod({}, mirror)), '');
  assert.equal(serviceAccountNameOf(pod({})), 'default');
});

const graces = [
  { name: 'no node: at once', spec: {}, status: {}, asked: undefined, want: 0 },
  {
    name: 'its own',
    spec: { nodeName: 'n', terminationGracePeriodSeconds: 7 },
    status: {},
    asked: undefined,
    want: 7,
  },
  {
    name: 'asked for',
    spec: { nodeName: 'n', terminationGracePeriodSeconds: 7 },
    status: {},
    asked: 3,
    want: 3,
  },
  { name: 'forced', spec: { nodeName: 'n' }, status: {}, asked: 0, want: 0 },
  { name: 'finished: at once', spec: { nodeName: 'n' }, status: { phase: 'Succeeded' }, asked: 9, want: 0 },
] as const;

for (const { name, spec, status, asked, want } of graces) {
  test(`pod grace: ${name}`, () => {
    assert.equal(
      graceOf({ ...pod({ ...spec }), status: Object.fromEntries(Object.entries(status)) }, asked),
      want,
    );
  });
}

const node: User = { name: 'system:node:n1', uid: '', groups: ['system:nodes'], extra: {} };
const admin: User = { name: 'admin', uid: '', groups: [], extra: {} };

const restrictions = [
  {
    name: 'its own Node',
    user: node,
    plural: 'nodes',
    object: 'n1',
    verb: 'update',
    sub: 'status',
    allowed: true,
  },
  {
    name: 'another Node',
    user: node,
    plural: 'nodes',
    object: 'n2',
    verb: 'update',
    sub: 'status',
    allowed: false,
  },
  {
    name: 'status of its Pod',
    user: node,
    plural: 'pods',
    object: 'n1',
    verb: 'update',
    sub: 'status',
    allowed: true,
  },
  {
    name: 'a Pod elsewhere',
    user: node,
    plural: 'pods',
    object: 'n2',
    verb: 'update',
    sub: 'status',
    allowed: false,
  },
  {
    name: 'spec of its Pod',
    user: node,
    plural: 'pods',
    object: 'n1',
    verb: 'update',
    sub: '',
    allowed: false,
  },
  {
    name: 'deleting its Pod',
    user: node,
    plural: 'pods',
    object: 'n1',
    verb: 'delete',
    sub: '',
    allowed: true,
  },
  {
    name: 'a Pod that is no mirror',
    user: node,
    plural: 'pods',
    object: 'n1',
    verb: 'create',
    sub: '',
    allowed: false,
  },
  {
    name: 'anybody else',
    user: admin,
    plural: 'nodes',
    object: 'n2',
    verb: 'delete',
    sub: '',
    allowed: true,
  },
] as const;

for (const { name, user, plural, object, verb, sub, allowed } of restrictions) {
  test(`node restriction: ${name}`, () => {
    const reason = restrictNode(user, {
      verb,
      group: '',
      plural,
      subresource: sub,
      name: object,
      object: pod({ nodeName: object }),
    });
    assert.equal(reason === undefined, allowed, reason ?? 'allowed');
  });
}
