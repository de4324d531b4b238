import { objectsAt, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

function healthOf(status: JsonObject): JsonObject | undefined {
  return objectsAt(status, 'conditions').find((condition) => condition['type'] === 'Healthy');
}

/** What the parts of the control plane say of themselves at the moment of the question: never stored, never written. */
export const componentStatusKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ComponentStatus',
  plural: 'componentstatuses',
  namespaced: false,
  schema: 'core/v1.ComponentStatus',
  deprecated: 'v1 ComponentStatus is deprecated in v1.19+',
  shortNames: ['cs'],
  readOnly: true,
  columns: [
    nameColumn,
    column('Status', 'Healthy, Unhealthy or Unknown.', (object) => {
      const health = healthOf(object);
      if (stringAt(health, 'status') === 'True') return 'Healthy';
      return stringAt(health, 'status') === 'False' ? 'Unhealthy' : 'Unknown';
    }),
    column('Message', 'What the component says.', (object) => stringAt(healthOf(object), 'message')),
    column('Error', 'Why it cannot be asked.', (object) => stringAt(healthOf(object), 'error')),
    { ...ageColumn, priority: 1 },
  ],
});
