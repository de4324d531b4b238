import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind } from '../kind.ts';
import { kinds } from '../registry.ts';
import { policyWarnings } from './policy-types.ts';

const deployments = { apiGroups: ['apps'], apiVersions: ['v1'], resources: ['deployments'] };
const services = { apiGroups: [''], apiVersions: ['v1'], resources: ['services'] };

function policy(expression: string, spec: object = {}) {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: 'p' },
    spec: { matchConstraints: { resourceRules: [deployments] }, validations: [{ expression }], ...spec },
  };
}

const fine = [
  'object.spec.replicas <= 5',
  'object == null || oldObject != null',
  "object.spec.template.spec.containers.all(c, c.image.startsWith('registry/'))",
  "object.metadata.namespace == 'a' && object.metadata.__namespace__ == 'a'",
  "has(object.metadata.labels) && 'app' in object.metadata.labels && object.metadata.labels.app == 'x'",
  "quantity(object.spec.template.spec.containers[0].resources.limits['cpu']).isGreaterThan(quantity('1'))",
  "object.spec.strategy.rollingUpdate.maxSurge == '25%' || object.spec.strategy.rollingUpdate.maxSurge == 1",
  "request.userInfo.username != 'eve' && namespaceObject.metadata.labels.env == 'test'",
  "authorizer.group('apps').resource('deployments').check('get').allowed()",
];

for (const expression of fine) {
  test(`no warning: ${expression}`, () => {
    assert.deepEqual(policyWarnings(policy(expression), kinds), []);
  });
}

test('a field that the kind does not have is told with its place', () => {
  assert.deepEqual(policyWarnings(policy('object.spec.replica <= 5'), kinds), [
    {
      fieldRef: 'spec.validations[0].expression',
      warning: [
        "apps/v1, Kind=Deployment: ERROR: <input>:1:13: undefined field 'replica'",
        ' | object.spec.replica <= 5',
        ' | ............^',
      ].join('\n'),
    },
  ]);
});

const wrong: readonly (readonly [expression: string, told: RegExp])[] = [
  ["object.spec.replicas == '5'", /no such overload: int == string/],
  ["object.spec.template.spec.containers.all(c, c.imag == 'x')", /undefined field 'imag'/],
  ['oldObject.spec.foo == 1', /undefined field 'foo'/],
  ['namespaceObject.metadata.nope == 1', /undefined field 'nope'/],
  ['true &&\nobject.nope == 1', /<input>:2:8: undefined field 'nope'\n \| object.nope == 1\n \| \.{7}\^/],
];

for (const [expression, told] of wrong) {
  test(`a warning: ${expression}`, () => {
    const [warning] = policyWarnings(policy(expression), kinds);
    assert.match(warning?.warning ?? '', told);
  });
}

test('each kind is told for itself, and one that a rule leaves open is not looked at', () => {
  const both = { matchConstraints: { resourceRules: [deployments, services] } };
  const [warning] = policyWarnings(policy('object.spec.replicas > 1', both), kinds);
  assert.match(warning?.warning ?? '', /^v1, Kind=Service: ERROR: [^]*undefined field 'replicas'/);
  const any = { matchConstraints: { resourceRules: [{ ...deployments, resources: ['*'] }] } };
  assert.deepEqual(policyWarnings(policy('object.spec.nope > 1', any), kinds), []);
});

test('variables have the type of what they stand for, parameters that of their kind', () => {
  const spec = {
    paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
    variables: [
      { name: 'spec', expression: 'object.spec' },
      { name: 'first', expression: 'variables.spec.template.spec.containers[0]' },
    ],
    validations: [
      { expression: 'variables.spec.replicas < 5', messageExpression: "'at most ' + params.dat.max" },
      { expression: 'variables.spec.nope < 5' },
    ],
  };
  const told = policyWarnings(policy('true', spec), kinds);
  assert.deepEqual(
    told.map(({ fieldRef }) => fieldRef),
    ['spec.validations[1].expression', 'spec.validations[0].messageExpression'],
  );
});

test('custom resources are known by their schema', () => {
  const schema = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: {
          size: { type: 'integer' },
          parts: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
          tags: { type: 'object', additionalProperties: { type: 'string' } },
          free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    },
  };
  const gear = { group: 'example.org', version: 'v1', kind: 'Gear', plural: 'gears', openApiSchema: schema };
  const all = [gear as unknown as Kind];
  const rule = { apiGroups: ['example.org'], apiVersions: ['v1'], resources: ['gears'] };
  const spec = { matchConstraints: { resourceRules: [rule] } };
  const told = (expression: string): string =>
    policyWarnings(policy(expression, spec), all)[0]?.warning ?? '';
  assert.equal(
    told(
      "object.metadata.name == 'a' && object.spec.parts.all(p, p.name != '') && object.spec.tags.x == 'y' && object.spec.free.any.thing == 1",
    ),
    '',
  );
  assert.match(told('object.spec.sizes > 1'), /undefined field 'sizes'/);
  assert.match(told("object.spec.parts.exists(p, p.nam == '')"), /undefined field 'nam'/);
});
