import { required } from '../field-errors.ts';
import { stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

/** Posted to a namespace it gives the Pod of its name a node, as pods/NAME/binding does. Never stored. */
export const bindingKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Binding',
  plural: 'bindings',
  namespaced: true,
  ephemeral: true,
  schema: 'core/v1.Binding',
  validate: (binding) =>
    stringAt(binding, 'metadata', 'name') === ''
      ? [required('metadata.name', 'name or generateName is required')]
      : [],
});
