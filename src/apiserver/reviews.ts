import { invalid as invalidField } from '../api/field-errors.ts';
import { objectAt, stringAt, stringsAt } from '../api/fields.ts';
import type { Json, JsonObject } from '../api/object.ts';
import { badRequest, invalid, pathNotFound } from '../api/status.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ApiContext, Target } from './context.ts';
import { admitBody } from './dynamic-admission.ts';
import type { Reply, User } from './exchange.ts';
import { formOf, renderUnstored } from './forms.ts';
import type { Attributes } from './rbac.ts';
import { decodeRequest } from './write.ts';

/** Questions about tokens and permissions: answered from what is known, never stored. */
export async function answerReview(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const decoded = await decodeRequest(target);
  const object = await admitBody(context, target, 'CREATE', target.kind, decoded.object);
  const status = await statusOf(context, target, object);
  const metadata = { creationTimestamp: rfc3339(context.clock.nowMs()) };
  const answer = { ...object, metadata: { ...metadata, ...objectAt(object, 'metadata') }, status };
  return renderUnstored(context, target, form, answer, 201, decoded.warnings);
}

async function statusOf(context: ApiContext, target: Target, object: JsonObject): Promise<JsonObject> {
  const { user } = target.request;
  switch (target.kind.plural) {
    case 'selfsubjectreviews':
      return { userInfo: userInfo(user) };
    case 'tokenreviews':
      return reviewToken(context, object);
    case 'selfsubjectaccessreviews':
      return reviewAccess(context, user, object);
    case 'subjectaccessreviews':
      return reviewAccess(context, namedUser(target, object), object);
    case 'localsubjectaccessreviews':
      if (stringAt(object, 'spec', 'resourceAttributes', 'namespace') !== target.namespace) {
        throw badRequest(
          `spec.resourceAttributes.namespace: Invalid value: must match metadata.namespace ${JSON.stringify(target.namespace)}`,
        );
      }
      return reviewAccess(context, namedUser(target, object), object);
    case 'selfsubjectrulesreviews':
      return reviewRules(context, user, stringAt(object, 'spec', 'namespace'));
    default:
      throw pathNotFound();
  }
}

function userInfo(user: User): JsonObject {
  return {
    username: user.name,
    ...(user.uid === '' ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(Object.keys(user.extra).length === 0 ? {} : { extra: user.extra as unknown as JsonObject }),
  };
}

async function reviewToken(context: ApiContext, object: JsonObject): Promise<JsonObject> {
  const audiences = stringsAt(object, 'spec', 'audiences');
  const verified = await context.tokens.verify(
    stringAt(object, 'spec', 'token'),
    audiences.length === 0 ? undefined : audiences,
  );
  if (verified === undefined) {
    return { authenticated: false, user: {}, error: 'the token is not valid for this server' };
  }
  return {
    authenticated: true,
    user: userInfo(verified.user),
    audiences: [...verified.audiences],
  };
}

/** Whom a review is about. Throws StatusError 422. */
function namedUser({ kind }: Target, object: JsonObject): User {
  const name = stringAt(object, 'spec', 'user');
  const groups = stringsAt(object, 'spec', 'groups');
  if (name === '' && groups.length === 0) {
    throw invalid(kind, '', [
      invalidField('spec.user', '', 'at least one of user or group must be specified'),
    ]);
  }
  return { name, uid: stringAt(object, 'spec', 'uid'), groups, extra: {} };
}

function reviewAccess(context: ApiContext, user: User, object: JsonObject): JsonObject {
  const allowed = context.authorizer.allows(user, askedIn(object));
  return { allowed };
}

function askedIn(object: JsonObject): Attributes {
  const resource = objectAt(object, 'spec', 'resourceAttributes');
  if (resource !== undefined) {
    return {
      kind: 'resource',
      verb: stringAt(resource, 'verb'),
      group: stringAt(resource, 'group'),
      plural: stringAt(resource, 'resource'),
      subresource: stringAt(resource, 'subresource'),
      namespace: stringAt(resource, 'namespace'),
      name: stringAt(resource, 'name'),
    };
  }
  const path = objectAt(object, 'spec', 'nonResourceAttributes');
  if (path === undefined) {
    throw badRequest(
      'spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified',
    );
  }
  return { kind: 'path', verb: stringAt(path, 'verb'), path: stringAt(path, 'path') };
}

function reviewRules(context: ApiContext, user: User, namespace: string): JsonObject {
  const rules = user.groups.includes('system:masters')
    ? [
        { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
        { verbs: ['*'], nonResourceURLs: ['*'] },
      ]
    : [...context.authorizer.rulesFor(user, namespace)];
  const resourceRules: Json[] = [];
  const nonResourceRules: Json[] = [];
  for (const rule of rules) {
    const { nonResourceURLs, verbs } = rule;
    if ((nonResourceURLs?.length ?? 0) > 0) {
      nonResourceRules.push({ verbs: [...verbs], nonResourceURLs: [...(nonResourceURLs ?? [])] });
    } else {
      resourceRules.push(structuredClone(rule) as unknown as Json);
    }
  }
  return { resourceRules, nonResourceRules, incomplete: false };
}
