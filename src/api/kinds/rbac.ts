import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', nameRule: 'pathSegment' } as const;

export const rbacKinds: readonly Kind[] = [
  defineKind({ ...rbac, kind: 'Role', plural: 'roles', namespaced: true, schema: 'rbac/v1.Role' }),
  defineKind({
    ...rbac,
    kind: 'RoleBinding',
    plural: 'rolebindings',
    namespaced: true,
    schema: 'rbac/v1.RoleBinding',
  }),
  defineKind({
    ...rbac,
    kind: 'ClusterRole',
    plural: 'clusterroles',
    namespaced: false,
    schema: 'rbac/v1.ClusterRole',
  }),
  defineKind({
    ...rbac,
    kind: 'ClusterRoleBinding',
    plural: 'clusterrolebindings',
    namespaced: false,
    schema: 'rbac/v1.ClusterRoleBinding',
  }),
];
