import { invalid, required } from '../field-errors.ts';
import { jsonEqual, numberAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, orNone } from './columns.ts';
import { defineKind } from './define.ts';

/** A past template of a StatefulSet or DaemonSet. Its data never changes. */
export const controllerRevisionKind: Kind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
  namespaced: true,
  schema: 'apps/v1.ControllerRevision',
  columns: [
    nameColumn,
    column('Controller', 'What it is a revision of.', (object) => {
      const owner = objectsAt(object, 'metadata', 'ownerReferences').find(
        (reference) => reference['controller'] === true,
      );
      if (owner === undefined) return orNone('');
      const [group = ''] = stringAt(owner, 'apiVersion').split('/');
      const kind = stringAt(owner, 'kind').toLowerCase();
      return `${group === 'v1' ? kind : `${kind}.${group}`}/${stringAt(owner, 'name')}`;
    }),
    column('Revision', 'Its place in the history.', (object) => numberAt(object, 'revision') ?? 0, 'integer'),
    ageColumn,
  ],
  validate(object: JsonObject): readonly FieldError[] {
    const errors: FieldError[] = [];
    if (object['data'] === undefined) errors.push(required('data', 'data is mandatory'));
    const revision = numberAt(object, 'revision') ?? 0;
    if (revision < 0) errors.push(invalid('revision', revision, 'must be greater than or equal to 0'));
    return errors;
  },
  validateUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
    if (jsonEqual(object['data'], old['data'])) return [];
    return [invalid('data', object['data'], 'field is immutable')];
  },
});
