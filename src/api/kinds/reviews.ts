import type { Kind } from '../kind.ts';
import { defineKind } from './define.ts';

/** Questions that are answered and never stored: create is their only verb. */
const authentication = {
  group: 'authentication.k8s.io',
  version: 'v1',
  ephemeral: true,
  namespaced: false,
} as const;
const authorization = { group: 'authorization.k8s.io', version: 'v1', ephemeral: true } as const;

export const reviewKinds: readonly Kind[] = [
  defineKind({
    ...authentication,
    kind: 'SelfSubjectReview',
    plural: 'selfsubjectreviews',
    schema: 'authentication/v1.SelfSubjectReview',
  }),
  defineKind({
    ...authentication,
    kind: 'TokenReview',
    plural: 'tokenreviews',
    schema: 'authentication/v1.TokenReview',
  }),
  defineKind({
    ...authorization,
    kind: 'LocalSubjectAccessReview',
    plural: 'localsubjectaccessreviews',
    namespaced: true,
    schema: 'authorization/v1.LocalSubjectAccessReview',
  }),
  defineKind({
    ...authorization,
    kind: 'SelfSubjectAccessReview',
    plural: 'selfsubjectaccessreviews',
    namespaced: false,
    schema: 'authorization/v1.SelfSubjectAccessReview',
  }),
  defineKind({
    ...authorization,
    kind: 'SelfSubjectRulesReview',
    plural: 'selfsubjectrulesreviews',
    namespaced: false,
    schema: 'authorization/v1.SelfSubjectRulesReview',
  }),
  defineKind({
    ...authorization,
    kind: 'SubjectAccessReview',
    plural: 'subjectaccessreviews',
    namespaced: false,
    schema: 'authorization/v1.SubjectAccessReview',
  }),
];
