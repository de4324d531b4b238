import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import type { AdmissionAttributes } from './attributes.ts';
import { type Form, matchedForm, parseMatching } from './match.ts';

function asked(change: Partial<AdmissionAttributes> = {}): AdmissionAttributes {
  return {
    operation: 'CREATE',
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', plural: 'pods' },
    subresource: '',
    namespace: 'shop',
    name: 'web',
    user: { name: 'ann', uid: '', groups: [], extra: {} },
    object: { metadata: { labels: { app: 'web' } } },
    oldObject: undefined,
    options: undefined,
    dryRun: false,
    ...change,
  };
}

const rule = { operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] };
const namespaceObject: Partial<AdmissionAttributes> = {
  kind: { group: '', version: 'v1', kind: 'Namespace' },
  resource: { group: '', version: 'v1', plural: 'namespaces' },
  object: { metadata: { labels: { env: 'prod' } } },
};
const star = { operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*'] };

const cases: readonly {
  readonly name: string;
  readonly webhook: JsonObject;
  readonly attributes?: Partial<AdmissionAttributes>;
  readonly want: boolean;
}[] = [
  { name: 'its rule', webhook: { rules: [rule] }, want: true },
  { name: 'no rules', webhook: {}, want: false },
  { name: 'another operation', webhook: { rules: [rule] }, attributes: { operation: 'DELETE' }, want: false },
  { name: 'a subresource', webhook: { rules: [rule] }, attributes: { subresource: 'status' }, want: false },
  {
    name: 'one star and a subresource',
    webhook: { rules: [star] },
    attributes: { subresource: 'status' },
    want: false,
  },
  {
    name: 'every subresource',
    webhook: { rules: [{ ...rule, resources: ['pods/*'] }] },
    attributes: { subresource: 'status' },
    want: true,
  },
  {
    name: 'a subresource of all',
    webhook: { rules: [{ ...rule, resources: ['*/status'] }] },
    attributes: { subresource: 'status' },
    want: true,
  },
  { name: 'cluster scope', webhook: { rules: [{ ...star, scope: 'Cluster' }] }, want: false },
  {
    name: 'a Namespace is cluster-scoped',
    webhook: { rules: [{ ...star, scope: 'Cluster' }] },
    attributes: namespaceObject,
    want: true,
  },
  {
    name: 'labels of the namespace',
    webhook: { rules: [rule], namespaceSelector: { matchLabels: { env: 'prod' } } },
    want: true,
  },
  {
    name: 'other labels of the namespace',
    webhook: { rules: [rule], namespaceSelector: { matchLabels: { env: 'test' } } },
    want: false,
  },
  {
    name: 'a Namespace answers for itself',
    webhook: { rules: [star], namespaceSelector: { matchLabels: { env: 'prod' } } },
    attributes: namespaceObject,
    want: true,
  },
  {
    name: 'cluster-scoped objects are not exempted by namespace labels',
    webhook: { rules: [star], namespaceSelector: { matchLabels: { env: 'none' } } },
    attributes: { namespace: '', resource: { group: '', version: 'v1', plural: 'nodes' } },
    want: true,
  },
  {
    name: 'the old object',
    webhook: { rules: [rule], objectSelector: { matchLabels: { app: 'old' } } },
    attributes: { oldObject: { metadata: { labels: { app: 'old' } } } },
    want: true,
  },
  {
    name: 'excluded',
    webhook: { rules: [rule], excludeResourceRules: [{ ...rule, resourceNames: ['web'] }] },
    want: false,
  },
];

for (const { name, webhook, attributes, want } of cases) {
  test(`admission matching: ${name}`, () => {
    const form = matchedForm(
      parseMatching(webhook, 'rules'),
      asked(attributes),
      () => [],
      () => ({ env: 'prod' }),
    );
    assert.equal(form !== undefined, want);
  });
}

test('admission matching: another form of the same resource, unless the policy is Exact', () => {
  const events = { ...star, apiGroups: ['events.k8s.io'], resources: ['events'] };
  const other: Form = {
    kind: { group: 'events.k8s.io', version: 'v1', kind: 'Event' },
    resource: { group: 'events.k8s.io', version: 'v1', plural: 'events' },
  };
  const attributes = asked({ resource: { group: '', version: 'v1', plural: 'events' } });
  const find = (webhook: JsonObject): Form | undefined =>
    matchedForm(
      parseMatching(webhook, 'rules'),
      attributes,
      () => [other],
      () => ({}),
    );
  assert.equal(find({ rules: [events] }), other);
  assert.equal(find({ rules: [events], matchPolicy: 'Exact' }), undefined);
});
