import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterRole, PolicyRule } from './gen/rbac-v1.ts';
import { aggregatedRules, isAggregated } from './role-aggregation.ts';

const rule = (resource: string): PolicyRule => ({ apiGroups: [''], resources: [resource], verbs: ['get'] });

function role(name: string, labels: Record<string, string>, ...resources: readonly string[]): ClusterRole {
  return { metadata: { name, labels }, rules: resources.map(rule) };
}

const aggregated: ClusterRole = {
  ...role('sum', { to: 'sum' }, 'stale'),
  aggregationRule: {
    clusterRoleSelectors: [
      { matchLabels: { to: 'sum' } },
      { matchExpressions: [{ key: 'also', operator: 'Exists' }] },
    ],
  },
};

test('role aggregation: by any selector, ordered by name, each rule once, never from itself', () => {
  const roles = [
    role('z', { also: '' }, 'pods', 'nodes'),
    aggregated,
    role('a', { to: 'sum' }, 'pods'),
    role('b', { to: 'other' }, 'secrets'),
  ];
  assert.deepEqual(aggregatedRules(aggregated, roles), [rule('pods'), rule('nodes')]);
  assert.deepEqual(aggregatedRules(aggregated, [aggregated]), []);
});

test('role aggregation: without selectors a role keeps its own rules', () => {
  assert.equal(isAggregated(aggregated), true);
  assert.equal(isAggregated({ ...aggregated, aggregationRule: { clusterRoleSelectors: [] } }), false);
  assert.equal(isAggregated(role('a', {})), false);
});
