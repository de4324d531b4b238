import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyRule } from '../api/gen/rbac-v1.ts';
import type { User } from './exchange.ts';
import { type Attributes, allows, type Binding, refusalText } from './rbac.ts';

const joe: User = { name: 'joe', uid: '', groups: ['devs', 'system:authenticated'], extra: {} };
const robot: User = { name: 'system:serviceaccount:ci:robot', uid: '', groups: [], extra: {} };
const root: User = { name: 'root', uid: '', groups: ['system:masters'], extra: {} };

const roles: Readonly<Record<string, readonly PolicyRule[]>> = {
  reader: [{ verbs: ['get', 'list'], apiGroups: [''], resources: ['pods', 'pods/log'] }],
  scaler: [{ verbs: ['update'], apiGroups: ['apps'], resources: ['*/scale'] }],
  one: [{ verbs: ['get'], apiGroups: [''], resources: ['secrets'], resourceNames: ['own'] }],
  all: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
  paths: [{ verbs: ['get'], nonResourceURLs: ['/metrics', '/debug/*'] }],
};

function bind(role: string, subject: Binding['subjects'][number], namespace = ''): Binding {
  return { namespace, roleRef: { kind: 'ClusterRole', name: role }, subjects: [subject] };
}

const user = { kind: 'User', name: 'joe' };
const group = { kind: 'Group', name: 'devs' };
const account = { kind: 'ServiceAccount', name: 'robot', namespace: 'ci' };

/** `verb group/plural/subresource namespace name`, or `verb PATH`. */
function ask(text: string): Attributes {
  const [verb = '', what = '', namespace = '', name = ''] = text.split(' ');
  if (what.startsWith('/')) return { kind: 'path', verb, path: what };
  const [group = '', plural = '', subresource = ''] = what.split(':');
  return { kind: 'resource', verb, group, plural, subresource, namespace, name };
}

const cases: readonly (readonly [string, User, Binding, string, boolean])[] = [
  ['a cluster binding counts in every namespace', joe, bind('reader', user), 'get :pods a x', true],
  ['a verb that is not given', joe, bind('reader', user), 'delete :pods a x', false],
  ['a namespaced binding counts there', joe, bind('reader', user, 'a'), 'list :pods a', true],
  ['a namespaced binding counts nowhere else', joe, bind('reader', user, 'a'), 'list :pods b', false],
  ['a namespaced binding gives nothing at cluster scope', joe, bind('all', user, 'a'), 'list :nodes', false],
  ['a group', joe, bind('reader', group), 'get :pods a x', true],
  ['a subresource is named by itself', joe, bind('reader', user), 'get :pods:log a x', true],
  ['a resource does not give its subresources', joe, bind('reader', user), 'get :pods:exec a x', false],
  ['a subresource of any resource', joe, bind('scaler', user), 'update apps:deployments:scale a x', true],
  ['another API group', joe, bind('reader', user), 'get apps:pods a x', false],
  ['the one named object', joe, bind('one', user), 'get :secrets a own', true],
  ['another object than the named one', joe, bind('one', user), 'get :secrets a other', false],
  ['a list is no named object', joe, bind('one', user), 'get :secrets a', false],
  ['a service account', robot, bind('reader', account), 'get :pods a x', true],
  [
    'a service account of the same name elsewhere',
    robot,
    bind('reader', { ...account, namespace: 'x' }),
    'get :pods a x',
    false,
  ],
  ['stars', joe, bind('all', user), 'patch batch:jobs:status a x', true],
  ['a path', joe, bind('paths', user), 'get /metrics', true],
  ['a path by its beginning', joe, bind('paths', user), 'get /debug/table', true],
  ['another path', joe, bind('paths', user), 'get /logs', false],
  ['a namespaced binding never gives paths', joe, bind('paths', user, 'a'), 'get /metrics', false],
  ['resources do not give paths', joe, bind('all', user), 'get /metrics', false],
  ['masters need no binding', root, bind('reader', user), 'delete :nodes', true],
];

for (const [name, who, binding, asked, want] of cases) {
  test(`rbac: ${name}`, () => {
    assert.equal(
      allows(who, ask(asked), [binding], ({ name: role }) => roles[role] ?? []),
      want,
    );
  });
}

test('rbac: refusals in the words of Kubernetes', () => {
  assert.equal(
    refusalText(joe, ask('list :pods default')),
    'User "joe" cannot list resource "pods" in API group "" in the namespace "default"',
  );
  assert.equal(
    refusalText(joe, ask('get apps:deployments:scale')),
    'User "joe" cannot get resource "deployments/scale" in API group "apps" at the cluster scope',
  );
  assert.equal(refusalText(joe, ask('get /metrics')), 'User "joe" cannot get path "/metrics"');
});
