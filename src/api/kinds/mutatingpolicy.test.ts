import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { mutatingPolicyKinds } from './mutatingpolicy.ts';

const [kind] = mutatingPolicyKinds;

function problemsOf(mutation: JsonObject): readonly string[] {
  const policy: JsonObject = {
    kind: 'MutatingAdmissionPolicy',
    metadata: { name: 'p' },
    spec: {
      matchConstraints: {
        resourceRules: [
          { apiGroups: ['apps'], apiVersions: ['v1'], resources: ['deployments'], operations: ['CREATE'] },
        ],
      },
      mutations: [mutation],
      reinvocationPolicy: 'Never',
    },
  };
  kind?.setDefaults?.(policy);
  return (kind?.validate?.(policy) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

const configurations = [
  { expression: 'Object{spec: Object.spec{replicas: 3}}', want: undefined },
  { expression: 'object.spec.replicas > 1 ? Object{} : Object{spec: Object.spec{}}', want: undefined },
  { expression: 'variables.change', want: undefined },
  { expression: "'Object{}'", want: /must evaluate to Object$/ },
  { expression: '[JSONPatch{op: "add"}]', want: /must evaluate to Object$/ },
  {
    expression: 'Object{spec: Object.metadata{replicas: 3}}',
    want: /compilation failed: unexpected type name "Object.metadata", expected "Object.spec"/,
  },
];

for (const { expression, want } of configurations) {
  test(`mutating policy, apply configuration ${expression}`, () => {
    const problems = problemsOf({ patchType: 'ApplyConfiguration', applyConfiguration: { expression } });
    if (want === undefined) assert.deepEqual(problems, []);
    else assert.match(problems.join(), want);
  });
}

const patches = [
  { expression: '[JSONPatch{op: "add", path: "/a", value: Object.spec{a: 1}}]', want: undefined },
  { expression: 'true ? [] : [JSONPatch{op: "remove", path: "/a"}]', want: undefined },
  { expression: 'JSONPatch{op: "remove", path: "/a"}', want: /must evaluate to list\(JSONPatch\)$/ },
  { expression: '[JSONPatch{op: "remove", pfad: "/a"}]', want: /compilation failed: undefined field 'pfad'/ },
];

for (const { expression, want } of patches) {
  test(`mutating policy, JSON patch ${expression}`, () => {
    const problems = problemsOf({ patchType: 'JSONPatch', jsonPatch: { expression } });
    if (want === undefined) assert.deepEqual(problems, []);
    else assert.match(problems.join(), want);
  });
}
