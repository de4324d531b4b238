import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { findKind } from '../registry.ts';
import { jobKind } from './job.ts';

const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'x' }] } };
const indexed = { completionMode: 'Indexed', completions: 3 };

function rules(...list: readonly object[]): JsonObject {
  return { podFailurePolicy: { rules: list as JsonObject[] } };
}

function exits(values: readonly number[], more: object = {}): object {
  return { action: 'FailJob', onExitCodes: { operator: 'In', values, ...more } };
}

const cases: readonly {
  readonly name: string;
  readonly spec: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'a policy for failures', spec: rules(exits([1, 3], { containerName: 'a' })), want: [] },
  {
    name: 'rules of no use',
    spec: rules(
      { action: '' },
      { action: 'Retry', onExitCodes: exits([1]), onPodConditions: [{ type: 'a b' }] },
    ),
    want: [
      'spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]',
      'spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required',
      'spec.podFailurePolicy.rules[1].action: Unsupported value: "Retry": supported values: "Count", "FailIndex", "FailJob", "Ignore"',
      'spec.podFailurePolicy.rules[1].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]',
      'spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: null: at least one value is required',
      "spec.podFailurePolicy.rules[1].onPodConditions[0].type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      'spec.podFailurePolicy.rules[1]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported',
    ],
  },
  {
    name: 'exit codes',
    spec: rules(exits([3, 0, 3], { containerName: 'b' }), { ...exits([1]), action: 'FailIndex' }),
    want: [
      'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "b": must be one of the container or initContainer names in the pod template',
      'spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator',
      'spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3',
      'spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered',
      'spec.podFailurePolicy.rules[1].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
    ],
  },
  {
    name: 'a policy for failures needs Pods that end',
    spec: {
      ...rules(exits([1])),
      podReplacementPolicy: 'TerminatingOrFailed',
      template: { spec: { ...template.spec, restartPolicy: 'OnFailure' } },
    },
    want: [
      'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"',
      'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified',
    ],
  },
  {
    name: 'Pods that never end',
    spec: { template: { spec: { containers: template.spec.containers } } },
    want: ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
  },
  {
    name: 'limits of indexes without indexes',
    spec: { maxFailedIndexes: 1 },
    want: [
      'spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified',
      'spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode',
    ],
  },
  {
    name: 'limits of indexes',
    spec: { ...indexed, backoffLimitPerIndex: -1, maxFailedIndexes: 4, parallelism: 100_001 },
    want: [
      'spec.backoffLimitPerIndex: Invalid value: -1: must be greater than or equal to 0',
      'spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed',
      'spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions',
    ],
  },
  {
    name: 'very many indexes',
    spec: { ...indexed, completions: 100_001, backoffLimitPerIndex: 1, parallelism: 10_001 },
    want: [
      'spec.maxFailedIndexes: Required value: must be specified when completions is above 100000',
      'spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index',
    ],
  },
  {
    name: 'a policy for success',
    spec: {
      ...indexed,
      successPolicy: {
        rules: [
          {},
          { succeededIndexes: '0-1,1' },
          { succeededIndexes: '3' },
          { succeededIndexes: 'x' },
          { succeededIndexes: '0-1-2' },
          { succeededIndexes: '0,2', succeededCount: 3 },
          { succeededCount: 4 },
          { succeededIndexes: '0-2', succeededCount: 3 },
        ],
      },
    },
    want: [
      'spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified',
      'spec.successPolicy.rules[1].succeededIndexes: Invalid value: "0-1,1": error parsing succeededIndexes: non-increasing order, previous: 1, current: 1',
      'spec.successPolicy.rules[2].succeededIndexes: Invalid value: "3": error parsing succeededIndexes: too large index: "3"',
      'spec.successPolicy.rules[3].succeededIndexes: Invalid value: "x": error parsing succeededIndexes: cannot convert string to integer for index: "x"',
      'spec.successPolicy.rules[4].succeededIndexes: Invalid value: "0-1-2": error parsing succeededIndexes: the fragment "0-1-2" violates the requirement that an index interval can have at most two parts separated by \'-\'',
      'spec.successPolicy.rules[5].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)',
      'spec.successPolicy.rules[6].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)',
    ],
  },
  {
    name: 'a policy for success without indexes',
    spec: { successPolicy: { rules: [] } },
    want: ['spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode'],
  },
  { name: 'a manager', spec: { managedBy: 'example.com/queue' }, want: [] },
  {
    name: 'a manager of no domain',
    spec: { managedBy: 'queue' },
    want: ['spec.managedBy: Invalid value: "queue": must be a domain-prefixed path (such as "acme.io/foo")'],
  },
];

function job(spec: JsonObject): JsonObject {
  const made: JsonObject = {
    metadata: { name: 'j', namespace: 'default', uid: 'u' },
    spec: { template: structuredClone(template), ...structuredClone(spec) },
  };
  jobKind.setDefaults?.(made);
  jobKind.prepareForCreate?.(made);
  return made;
}

for (const { name, spec, want } of cases) {
  test(`job: ${name}`, () => {
    const errors = jobKind.validate?.(job(spec)) ?? [];
    assert.deepEqual(
      errors.map(({ field, message }) => `${field}: ${message}`),
      want,
    );
  });
}

test('job: a policy’s conditions hold by default, and its Pods are replaced when they are over', () => {
  const made = job(rules({ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] }));
  assert.partialDeepStrictEqual(made['spec'], {
    podReplacementPolicy: 'Failed',
    podFailurePolicy: { rules: [{ onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }] },
  });
});

test('job: the host names of its indexes are labels', () => {
  const long = { ...job(indexed), metadata: { name: 'j'.repeat(62), namespace: 'default' } };
  const [error] = jobKind.validate?.(long) ?? [];
  assert.equal(error?.field, 'metadata.name');
});

const labelled = { ...template, metadata: { labels: { queue: 'a' } } };
const updates: readonly {
  readonly name: string;
  readonly before: JsonObject;
  readonly after: JsonObject;
  readonly started?: true;
  readonly want: readonly string[];
}[] = [
  {
    name: 'a held Job is placed',
    before: { suspend: true },
    after: { suspend: true, template: labelled },
    want: [],
  },
  {
    name: 'a Job that has begun is not',
    before: { suspend: true },
    after: { suspend: true, template: labelled },
    started: true,
    want: ['spec.template'],
  },
  {
    name: 'a held Job keeps its image',
    before: { suspend: true },
    after: {
      suspend: true,
      template: { spec: { ...template.spec, containers: [{ name: 'a', image: 'y' }] } },
    },
    want: ['spec.template'],
  },
  {
    name: 'indexes grow with parallelism',
    before: { ...indexed, parallelism: 3 },
    after: { ...indexed, completions: 5, parallelism: 5 },
    want: [],
  },
  {
    name: 'indexes do not grow alone',
    before: { ...indexed, parallelism: 3 },
    after: { ...indexed, completions: 5, parallelism: 3 },
    want: ['spec.completions'],
  },
  {
    name: 'policies are fixed',
    before: { ...indexed, ...rules(exits([1])), backoffLimitPerIndex: 1 },
    after: { ...indexed, ...rules(exits([2])), backoffLimitPerIndex: 2, managedBy: 'example.com/q' },
    want: ['spec.podFailurePolicy', 'spec.backoffLimitPerIndex', 'spec.managedBy'],
  },
];

for (const { name, before, after, started, want } of updates) {
  test(`job, updates: ${name}`, () => {
    const old = job(before);
    if (started === true) old['status'] = { startTime: '2026-01-01T00:00:00Z' };
    const errors = jobKind.validateUpdate?.({ ...job(after), status: old['status'] ?? {} }, old) ?? [];
    assert.deepEqual(
      errors.map(({ field }) => field),
      want,
    );
  });
}

test('cron job: its Jobs choose their selectors themselves, and its name leaves them room', () => {
  const kind = findKind('batch', 'v1', 'cronjobs');
  const jobTemplate = { spec: { template, selector: { matchLabels: { a: 'b' } }, manualSelector: true } };
  const made: JsonObject = {
    metadata: { name: 'c'.repeat(53), namespace: 'default' },
    spec: { schedule: 'TZ=UTC * * * * *', jobTemplate: structuredClone(jobTemplate) },
  };
  kind?.setDefaults?.(made);
  const fields = (kind?.validate?.(made) ?? []).map(({ field }) => field);
  assert.deepEqual(fields, [
    'metadata.name',
    'spec.schedule',
    'spec.jobTemplate.spec.selector',
    'spec.jobTemplate.spec.manualSelector',
  ]);
});
