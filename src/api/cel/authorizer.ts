import type { LibraryFunction } from './library.ts';

/** The variable `authorizer` of admission's expressions: questions about what a user may do. */

/** What is asked, in the words of SubjectAccessReview. */
export type AccessQuestion =
  | {
      readonly kind: 'resource';
      readonly verb: string;
      readonly group: string;
      readonly plural: string;
      readonly subresource: string;
      readonly namespace: string;
      readonly name: string;
    }
  | { readonly kind: 'path'; readonly verb: string; readonly path: string };

/** Answers for one user; another one for a service account. */
export type AccessCheck = {
  allows(question: AccessQuestion): boolean;
  ofServiceAccount(namespace: string, name: string): AccessCheck;
};

export class CelAuthorizer {
  readonly access: AccessCheck;
  /** The request's own resource, for `authorizer.requestResource`. */
  readonly requestResource: CelResourceCheck;
  constructor(access: AccessCheck, own: ResourceQuestion) {
    this.access = access;
    this.requestResource = new CelResourceCheck(access, own);
  }
}

export class CelPathCheck {
  readonly access: AccessCheck;
  readonly path: string;
  constructor(access: AccessCheck, path: string) {
    this.access = access;
    this.path = path;
  }
}

export class CelGroupCheck {
  readonly access: AccessCheck;
  readonly group: string;
  constructor(access: AccessCheck, group: string) {
    this.access = access;
    this.group = group;
  }
}

export type ResourceQuestion = Omit<AccessQuestion & { kind: 'resource' }, 'kind' | 'verb'>;

export class CelResourceCheck {
  readonly access: AccessCheck;
  readonly question: ResourceQuestion;
  constructor(access: AccessCheck, question: ResourceQuestion) {
    this.access = access;
    this.question = question;
  }
}

export class CelDecision {
  readonly allowed: boolean;
  constructor(allowed: boolean) {
    this.allowed = allowed;
  }
}

const authz = 'kubernetes.authorization';

export const authorizerTypes = {
  [`${authz}.PathCheck`]: CelPathCheck,
  [`${authz}.GroupCheck`]: CelGroupCheck,
  [`${authz}.ResourceCheck`]: CelResourceCheck,
  [`${authz}.Decision`]: CelDecision,
} as const;

export const authorizerType = `${authz}.Authorizer`;
export const resourceCheckType = `${authz}.ResourceCheck`;

function narrowed(check: CelResourceCheck, part: Partial<ResourceQuestion>): CelResourceCheck {
  return new CelResourceCheck(check.access, { ...check.question, ...part });
}

export const authorizerFunctions: readonly LibraryFunction[] = [
  [
    `${authz}.Authorizer.path(string): ${authz}.PathCheck`,
    ({ access }: CelAuthorizer, path: string) => new CelPathCheck(access, path),
  ],
  [
    `${authz}.Authorizer.group(string): ${authz}.GroupCheck`,
    ({ access }: CelAuthorizer, group: string) => new CelGroupCheck(access, group),
  ],
  [
    `${authz}.Authorizer.serviceAccount(string, string): ${authz}.Authorizer`,
    ({ access, requestResource }: CelAuthorizer, namespace: string, name: string) =>
      new CelAuthorizer(access.ofServiceAccount(namespace, name), requestResource.question),
  ],
  [
    `${authz}.PathCheck.check(string): ${authz}.Decision`,
    ({ access, path }: CelPathCheck, verb: string) =>
      new CelDecision(access.allows({ kind: 'path', verb, path })),
  ],
  [
    `${authz}.GroupCheck.resource(string): ${authz}.ResourceCheck`,
    ({ access, group }: CelGroupCheck, plural: string) =>
      new CelResourceCheck(access, { group, plural, subresource: '', namespace: '', name: '' }),
  ],
  [
    `${authz}.ResourceCheck.subresource(string): ${authz}.ResourceCheck`,
    (check: CelResourceCheck, subresource: string) => narrowed(check, { subresource }),
  ],
  [
    `${authz}.ResourceCheck.namespace(string): ${authz}.ResourceCheck`,
    (check: CelResourceCheck, namespace: string) => narrowed(check, { namespace }),
  ],
  [
    `${authz}.ResourceCheck.name(string): ${authz}.ResourceCheck`,
    (check: CelResourceCheck, name: string) => narrowed(check, { name }),
  ],
  [
    `${authz}.ResourceCheck.check(string): ${authz}.Decision`,
    ({ access, question }: CelResourceCheck, verb: string) =>
      new CelDecision(access.allows({ kind: 'resource', verb, ...question })),
  ],
  [`${authz}.Decision.allowed(): bool`, ({ allowed }: CelDecision) => allowed],
  [`${authz}.Decision.reason(): string`, () => ''],
  [`${authz}.Decision.errored(): bool`, () => false],
  [`${authz}.Decision.error(): string`, () => ''],
];
