import { child, invalid, required } from '../field-errors.ts';
import { numberAt, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { notNegative } from './field-rules.ts';

/** Rules of the statuses that the controllers of workloads write, in Kubernetes' words. */

type CountRules = {
  /** None may be negative. */
  readonly counts: readonly string[];
  /** The first may not be more than the second, which the message names as the third says. */
  readonly atMost: readonly (readonly [string, string, string])[];
};

const ofReplicas = (...fields: readonly string[]): CountRules['atMost'] =>
  fields.map((field) => [field, 'replicas', 'status.replicas']);

const deploymentCounts: CountRules = {
  counts: [
    'observedGeneration',
    'replicas',
    'updatedReplicas',
    'readyReplicas',
    'availableReplicas',
    'unavailableReplicas',
    'terminatingReplicas',
    'collisionCount',
  ],
  atMost: [
    ...ofReplicas('updatedReplicas', 'readyReplicas', 'availableReplicas'),
    ['availableReplicas', 'readyReplicas', 'readyReplicas'],
  ],
};

const replicaSetCounts: CountRules = {
  counts: [
    'replicas',
    'fullyLabeledReplicas',
    'readyReplicas',
    'availableReplicas',
    'terminatingReplicas',
    'observedGeneration',
  ],
  atMost: [
    ...ofReplicas('fullyLabeledReplicas', 'readyReplicas', 'availableReplicas'),
    ['availableReplicas', 'readyReplicas', 'readyReplicas'],
  ],
};

const statefulSetCounts: CountRules = {
  counts: [
    'replicas',
    'readyReplicas',
    'currentReplicas',
    'updatedReplicas',
    'availableReplicas',
    'observedGeneration',
    'collisionCount',
  ],
  atMost: [
    ...ofReplicas('readyReplicas', 'currentReplicas', 'updatedReplicas', 'availableReplicas'),
    ['availableReplicas', 'readyReplicas', 'status.readyReplicas'],
  ],
};

const daemonSetCounts: CountRules = {
  counts: [
    'currentNumberScheduled',
    'numberMisscheduled',
    'desiredNumberScheduled',
    'numberReady',
    'observedGeneration',
    'updatedNumberScheduled',
    'numberAvailable',
    'numberUnavailable',
    'collisionCount',
  ],
  atMost: [],
};

const budgetCounts: CountRules = {
  counts: ['disruptionsAllowed', 'currentHealthy', 'desiredHealthy', 'expectedPods'],
  atMost: [],
};

type StatusRule = (object: JsonObject, old: JsonObject) => readonly FieldError[];

export const validateDeploymentStatus: StatusRule = byCounts(deploymentCounts);
export const validateReplicaSetStatus: StatusRule = byCounts(replicaSetCounts);
export const validateStatefulSetStatus: StatusRule = byCounts(statefulSetCounts);
export const validateDaemonSetStatus: StatusRule = byCounts(daemonSetCounts);
export const validateBudgetStatus: StatusRule = byCounts(budgetCounts);

function byCounts(rules: CountRules): StatusRule {
  return (object, old) => {
    const status = objectAt(object, 'status') ?? {};
    const count = (field: string): number => numberAt(status, field) ?? 0;
    const errors = rules.counts.flatMap((field) => notNegative(status, 'status', field));
    for (const [field, bound, name] of rules.atMost) {
      if (count(field) <= count(bound)) continue;
      errors.push(invalid(child('status', field), count(field), `cannot be greater than ${name}`));
    }
    // It makes names that were never used before.
    const collisions = numberAt(old, 'status', 'collisionCount') ?? 0;
    if (rules.counts.includes('collisionCount') && count('collisionCount') < collisions) {
      errors.push(invalid('status.collisionCount', count('collisionCount'), 'cannot be decremented'));
    }
    return errors;
  };
}

const terminalConditions = ['Complete', 'Failed'] as const;

/** How a Job ended is said once; the rules of the end are for the write that says it. */
export function validateJobStatus(job: JsonObject, old: JsonObject): readonly FieldError[] {
  const status = objectAt(job, 'status') ?? {};
  const path = 'status.conditions';
  const errors: FieldError[] = ['active', 'succeeded', 'failed', 'ready', 'terminating'].flatMap((field) => [
    ...notNegative(status, 'status', field),
  ]);
  const [now, before] = [endsOf(job), endsOf(old)];
  for (const type of before) {
    if (now.includes(type)) continue;
    errors.push(invalid(path, null, `cannot disable the terminal ${type}=True condition`));
  }
  if (now.length === 0 || before.length > 0) return errors;
  if (now.length > 1) errors.push(invalid(path, null, 'cannot set Complete=True and Failed=true conditions'));
  const active = numberAt(status, 'active') ?? 0;
  if (active > 0) errors.push(invalid('status.active', active, 'active>0 is invalid for finished job'));
  if (status['startTime'] === undefined)
    errors.push(required('status.startTime', 'startTime is required for finished job'));
  const isComplete = now.includes('Complete');
  if (isComplete && status['completionTime'] === undefined)
    errors.push(required('status.completionTime', 'completionTime is required for Complete jobs'));
  if (!isComplete && status['completionTime'] !== undefined) {
    const detail = 'cannot set completionTime when there is no Complete=True condition';
    errors.push(invalid('status.completionTime', stringAt(status, 'completionTime'), detail));
  }
  return errors;
}

function endsOf(job: JsonObject): readonly string[] {
  return terminalConditions.filter((type) =>
    objectsAt(job, 'status', 'conditions').some(
      (condition) => condition['type'] === type && condition['status'] === 'True',
    ),
  );
}
