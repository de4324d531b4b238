import { invalid, required } from '../field-errors.ts';
import { stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsLabelProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

export const runtimeClassKind: Kind = defineKind({
  group: 'node.k8s.io',
  version: 'v1',
  kind: 'RuntimeClass',
  plural: 'runtimeclasses',
  namespaced: false,
  schema: 'node/v1.RuntimeClass',
  columns: [
    nameColumn,
    column('Handler', "The container runtime's name for it.", (object) => stringAt(object, 'handler')),
    ageColumn,
  ],
  validate(object: JsonObject): readonly FieldError[] {
    const handler = stringAt(object, 'handler');
    if (handler === '') return [required('handler')];
    return dnsLabelProblems(handler).map((problem) => invalid('handler', handler, problem));
  },
  validateUpdate(object: JsonObject, old: JsonObject): readonly FieldError[] {
    if (object['handler'] === old['handler']) return [];
    return [invalid('handler', object['handler'], 'field is immutable')];
  },
});
