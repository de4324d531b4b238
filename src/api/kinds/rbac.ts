import { child, index, invalid, notSupported, required } from '../field-errors.ts';
import { jsonEqual, listAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';

const group = 'rbac.authorization.k8s.io';

function validateRules(role: JsonObject): readonly FieldError[] {
  const namespaced = stringAt(role, 'kind') === 'Role';
  return objectsAt(role, 'rules').flatMap((rule, position) => {
    const at = index('rules', position);
    const errors: FieldError[] = [];
    if (listAt(rule, 'verbs').length === 0) {
      errors.push(required(child(at, 'verbs'), 'verbs must contain at least one value'));
    }
    const urls = listAt(rule, 'nonResourceURLs');
    if (urls.length > 0) {
      if (namespaced) {
        errors.push(
          invalid(
            child(at, 'nonResourceURLs'),
            [...urls],
            'namespaced rules cannot apply to non-resource URLs',
          ),
        );
      }
      if (
        listAt(rule, 'apiGroups').length +
          listAt(rule, 'resources').length +
          listAt(rule, 'resourceNames').length >
        0
      ) {
        errors.push(
          invalid(
            child(at, 'nonResourceURLs'),
            [...urls],
            'rules cannot apply to both regular resources and non-resource URLs',
          ),
        );
      }
      return errors;
    }
    if (listAt(rule, 'apiGroups').length === 0) {
      errors.push(required(child(at, 'apiGroups'), 'resource rules must supply at least one api group'));
    }
    if (listAt(rule, 'resources').length === 0) {
      errors.push(required(child(at, 'resources'), 'resource rules must supply at least one resource'));
    }
    return errors;
  });
}

function validateBinding(binding: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const isCluster = stringAt(binding, 'kind') === 'ClusterRoleBinding';
  const roleRef = objectAt(binding, 'roleRef') ?? {};
  if (stringAt(roleRef, 'apiGroup') !== group) {
    errors.push(notSupported('roleRef.apiGroup', stringAt(roleRef, 'apiGroup'), [group]));
  }
  const supported = isCluster ? ['ClusterRole'] : ['ClusterRole', 'Role'];
  if (!supported.includes(stringAt(roleRef, 'kind'))) {
    errors.push(notSupported('roleRef.kind', stringAt(roleRef, 'kind'), supported));
  }
  if (stringAt(roleRef, 'name') === '') errors.push(required('roleRef.name'));
  objectsAt(binding, 'subjects').forEach((subject, position) => {
    const at = index('subjects', position);
    const kind = stringAt(subject, 'kind');
    if (stringAt(subject, 'name') === '') errors.push(required(child(at, 'name')));
    if (!['User', 'Group', 'ServiceAccount'].includes(kind)) {
      errors.push(notSupported(child(at, 'kind'), kind, ['Group', 'ServiceAccount', 'User']));
    } else if (kind === 'ServiceAccount') {
      if (isCluster && stringAt(subject, 'namespace') === '') errors.push(required(child(at, 'namespace')));
    } else if (stringAt(subject, 'apiGroup') !== group) {
      errors.push(notSupported(child(at, 'apiGroup'), stringAt(subject, 'apiGroup'), [group]));
    }
  });
  return errors;
}

function defaultBinding(binding: JsonObject): void {
  const roleRef = objectAt(binding, 'roleRef');
  if (roleRef !== undefined && stringAt(roleRef, 'apiGroup') === '') roleRef['apiGroup'] = group;
  for (const subject of objectsAt(binding, 'subjects')) {
    const kind = stringAt(subject, 'kind');
    if (kind === 'User' || kind === 'Group') setDefault(subject, 'apiGroup', group);
    else if (kind === 'ServiceAccount' && stringAt(binding, 'kind') === 'RoleBinding') {
      setDefault(subject, 'namespace', stringAt(binding, 'metadata', 'namespace'));
    }
  }
}

/** What a binding grants is fixed; who it is granted to may change. */
function validateBindingUpdate(binding: JsonObject, old: JsonObject): readonly FieldError[] {
  if (jsonEqual(binding['roleRef'], old['roleRef'])) return [];
  return [invalid('roleRef', binding['roleRef'], 'cannot change roleRef')];
}

const createdColumn = column(
  'Created At',
  'When it was created.',
  (object) => stringAt(object, 'metadata', 'creationTimestamp'),
  'date',
);

function subjectsOf(object: JsonObject, kind: string): string {
  return objectsAt(object, 'subjects')
    .filter((subject) => stringAt(subject, 'kind') === kind)
    .map((subject) =>
      kind === 'ServiceAccount'
        ? `${stringAt(subject, 'namespace')}/${stringAt(subject, 'name')}`
        : stringAt(subject, 'name'),
    )
    .join(', ');
}

const bindingColumns = [
  nameColumn,
  column(
    'Role',
    'What it grants.',
    (object) => `${stringAt(object, 'roleRef', 'kind')}/${stringAt(object, 'roleRef', 'name')}`,
  ),
  ageColumn,
  wideColumn('Users', 'Users that it is granted to.', (object) => subjectsOf(object, 'User')),
  wideColumn('Groups', 'Groups that it is granted to.', (object) => subjectsOf(object, 'Group')),
  wideColumn('ServiceAccounts', 'Service accounts that it is granted to.', (object) =>
    subjectsOf(object, 'ServiceAccount'),
  ),
];

const shared = { group, version: 'v1', nameRule: 'pathSegment' } as const;
const role = { ...shared, columns: [nameColumn, createdColumn], validate: validateRules } as const;
const binding = {
  ...shared,
  columns: bindingColumns,
  setDefaults: defaultBinding,
  validate: validateBinding,
  validateUpdate: validateBindingUpdate,
} as const;

export const rbacKinds: readonly Kind[] = [
  defineKind({
    ...binding,
    kind: 'ClusterRoleBinding',
    plural: 'clusterrolebindings',
    namespaced: false,
    schema: 'rbac/v1.ClusterRoleBinding',
  }),
  defineKind({
    ...role,
    kind: 'ClusterRole',
    plural: 'clusterroles',
    namespaced: false,
    schema: 'rbac/v1.ClusterRole',
  }),
  defineKind({
    ...binding,
    kind: 'RoleBinding',
    plural: 'rolebindings',
    namespaced: true,
    schema: 'rbac/v1.RoleBinding',
  }),
  defineKind({ ...role, kind: 'Role', plural: 'roles', namespaced: true, schema: 'rbac/v1.Role' }),
];
