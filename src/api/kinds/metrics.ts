import { listAt, objectsAt, stringAt } from '../fields.ts';
import type { Column, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { addQuantities, formatQuantity, parseQuantity, type Quantity } from '../quantity.ts';
import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/**
 * What Nodes and Pods use at the moment of the question: never stored, never written. They are not among the built-in
 * kinds, because a metrics-server may serve them instead.
 */
export const metricsGroup = 'metrics.k8s.io';

const usageSchema: JsonObject = {
  type: 'object',
  properties: { cpu: { type: 'string' }, memory: { type: 'string' } },
};
const measured: JsonObject = {
  timestamp: { type: 'string', format: 'date-time' },
  window: { type: 'string' },
};

/** Of a Pod: of all its containers together. */
function used(object: JsonObject, resource: 'cpu' | 'memory'): string {
  const parts = listAt(object, 'containers').length === 0 ? [object] : objectsAt(object, 'containers');
  const total = parts.reduce<Quantity | undefined>((sum, part) => {
    const quantity = parseQuantity(stringAt(part, 'usage', resource));
    if (quantity === undefined) return sum;
    return sum === undefined ? quantity : addQuantities(sum, quantity);
  }, undefined);
  return total === undefined ? '' : formatQuantity(total);
}

const columns: readonly Column[] = [
  nameColumn,
  column('cpu', 'Cores in use, on average over the window.', (object) => used(object, 'cpu')),
  column('memory', 'Memory in use that cannot be reclaimed at once.', (object) => used(object, 'memory')),
  column('Window', 'The time that was measured.', (object) => stringAt(object, 'window')),
];

const nodeMetrics = defineKind({
  group: metricsGroup,
  version: 'v1beta1',
  kind: 'NodeMetrics',
  plural: 'nodes',
  namespaced: false,
  schema: `custom/${metricsGroup}/v1beta1.NodeMetrics`,
  readOnly: true,
  columns,
});

const podMetrics = defineKind({
  group: metricsGroup,
  version: 'v1beta1',
  kind: 'PodMetrics',
  plural: 'pods',
  namespaced: true,
  schema: `custom/${metricsGroup}/v1beta1.PodMetrics`,
  readOnly: true,
  columns,
});

const container: JsonObject = {
  type: 'object',
  properties: { name: { type: 'string' }, usage: usageSchema },
};

export const nodeMetricsKind: Kind = {
  ...nodeMetrics,
  singular: '',
  custom: true,
  openApiSchema: { type: 'object', properties: { ...measured, usage: usageSchema } },
};
export const podMetricsKind: Kind = {
  ...podMetrics,
  singular: '',
  custom: true,
  openApiSchema: {
    type: 'object',
    properties: { ...measured, containers: { type: 'array', items: container } },
  },
};

export const metricsKinds: readonly Kind[] = [nodeMetricsKind, podMetricsKind];
