import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import {
  validateBudgetStatus,
  validateDaemonSetStatus,
  validateDeploymentStatus,
  validateJobStatus,
  validateReplicaSetStatus,
  validateStatefulSetStatus,
} from './workload-status.ts';

type Rule = (object: JsonObject, old: JsonObject) => readonly FieldError[];

const ended = (type: string): JsonObject => ({ type, status: 'True' });
const startTime = '2026-01-01T00:00:00Z';
const completionTime = '2026-01-01T00:01:00Z';

const cases: readonly {
  readonly name: string;
  readonly rule: Rule;
  readonly status: JsonObject;
  readonly old?: JsonObject;
  readonly want: readonly string[];
}[] = [
  {
    name: 'deployment: counts that can be',
    rule: validateDeploymentStatus,
    status: {
      replicas: 3,
      updatedReplicas: 2,
      readyReplicas: 2,
      availableReplicas: 1,
      unavailableReplicas: 2,
    },
    want: [],
  },
  {
    name: 'deployment: more available than ready, more updated than there are',
    rule: validateDeploymentStatus,
    status: { replicas: 2, updatedReplicas: 3, readyReplicas: 1, availableReplicas: 2 },
    want: [
      'status.updatedReplicas: Invalid value: 3: cannot be greater than status.replicas',
      'status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas',
    ],
  },
  {
    name: 'deployment: a count of collisions that goes back',
    rule: validateDeploymentStatus,
    status: { replicas: 0 },
    old: { collisionCount: 1 },
    want: ['status.collisionCount: Invalid value: 0: cannot be decremented'],
  },
  {
    name: 'replicaset: negative',
    rule: validateReplicaSetStatus,
    status: { replicas: 1, fullyLabeledReplicas: -1 },
    want: ['status.fullyLabeledReplicas: Invalid value: -1: must be greater than or equal to 0'],
  },
  {
    name: 'statefulset: more available than ready',
    rule: validateStatefulSetStatus,
    status: { replicas: 2, readyReplicas: 1, availableReplicas: 2 },
    want: ['status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas'],
  },
  {
    name: 'daemonset: negative',
    rule: validateDaemonSetStatus,
    status: { numberReady: -1 },
    want: ['status.numberReady: Invalid value: -1: must be greater than or equal to 0'],
  },
  {
    name: 'budget: negative',
    rule: validateBudgetStatus,
    status: { disruptionsAllowed: -1 },
    want: ['status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0'],
  },
  {
    name: 'job: complete',
    rule: validateJobStatus,
    status: { startTime, completionTime, succeeded: 1, conditions: [ended('Complete')] },
    want: [],
  },
  {
    name: 'job: an end without its times, and with Pods that run',
    rule: validateJobStatus,
    status: { active: 1, conditions: [ended('Complete')] },
    want: [
      'status.active: Invalid value: 1: active>0 is invalid for finished job',
      'status.startTime: Required value: startTime is required for finished job',
      'status.completionTime: Required value: completionTime is required for Complete jobs',
    ],
  },
  {
    name: 'job: failed, but completed at some time',
    rule: validateJobStatus,
    status: { startTime, completionTime, conditions: [ended('Failed')] },
    want: [
      `status.completionTime: Invalid value: "${completionTime}": cannot set completionTime when there is no Complete=True condition`,
    ],
  },
  {
    name: 'job: what has ended has ended',
    rule: validateJobStatus,
    status: { startTime, active: 1 },
    old: { startTime, conditions: [ended('Failed')] },
    want: ['status.conditions: Invalid value: null: cannot disable the terminal Failed=True condition'],
  },
];

for (const { name, rule, status, old = {}, want } of cases) {
  test(`status of a ${name}`, () => {
    const errors = rule({ status }, { status: old });
    assert.deepEqual(
      errors.map(({ field, message }) => `${field}: ${message}`),
      want,
    );
  });
}
