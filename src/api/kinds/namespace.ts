import { ensureObject, setDefault, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** Set by the server on every Namespace, so that "by name" is a label selector too. */
const nameLabel = 'kubernetes.io/metadata.name';

export const namespaceKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
  schema: 'core/v1.Namespace',
  shortNames: ['ns'],
  subresources: ['status', 'finalize'],
  nameRule: 'label',
  columns: [
    nameColumn,
    column('Status', 'Active, or Terminating while its objects are removed.', (object) =>
      stringAt(object, 'status', 'phase'),
    ),
    ageColumn,
  ],
  setDefaults(namespace: JsonObject): void {
    const meta = ensureObject(namespace, 'metadata');
    const name = stringAt(meta, 'name');
    if (name !== '') ensureObject(meta, 'labels')[nameLabel] = name;
  },
  prepareForCreate(namespace: JsonObject): void {
    // The namespace controller takes this finalizer away when nothing is left inside.
    const spec = ensureObject(namespace, 'spec');
    setDefault(spec, 'finalizers', ['kubernetes']);
    namespace['status'] = { phase: 'Active' };
  },
  prepareForUpdate(namespace: JsonObject, old: JsonObject): void {
    // Finalizers of the spec change by the `finalize` subresource only.
    if (old['spec'] !== undefined) namespace['spec'] = old['spec'];
  },
  selectableFields: (namespace) => ({ 'status.phase': stringAt(namespace, 'status', 'phase') }),
});
