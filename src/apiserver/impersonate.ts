import { forbidden } from '../api/status.ts';
import type { Authorizer } from './authorizer.ts';
import type { ApiRequest, User } from './exchange.ts';
import { type Attributes, refusalText } from './rbac.ts';

/** Impersonated groups of one request; beyond it 403, since nobody needs them. */
export const groupsMax = 64;

/** `kubectl --as`: the user to act as, if the real one may. Throws StatusError 403. */
export function impersonate(authorizer: Authorizer, request: ApiRequest): User {
  const { headers, user } = request;
  const name = headers['impersonate-user'];
  if (typeof name !== 'string' || name === '') return user;
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const [, namespace = '', accountName = ''] = account ?? [];
  const asked: ResourceAttributes[] = [
    account === null ? attributes('users', '', name) : attributes('serviceaccounts', namespace, accountName),
  ];
  const groups = groupsIn(headers['impersonate-group']);
  if (groups.length > groupsMax) {
    throw forbidden({ group: '', plural: 'groups' }, '', `at most ${groupsMax} groups can be impersonated`);
  }
  for (const group of groups) asked.push(attributes('groups', '', group));
  const refused = asked.find((attribute) => !authorizer.allows(user, attribute));
  if (refused !== undefined) throw forbidden(refused, refused.name, refusalText(user, refused));
  const derived = account === null ? [] : ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
  const state = name === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated';
  return { name, uid: '', groups: [...new Set([...groups, ...derived, state])], extra: {} };
}

type ResourceAttributes = Extract<Attributes, { kind: 'resource' }>;

/** Node joins repeated headers that it does not know with commas; group names have none. */
function groupsIn(header: string | readonly string[] | undefined): readonly string[] {
  const texts = header === undefined ? [] : typeof header === 'string' ? header.split(',') : header;
  return texts.map((text) => text.trim()).filter((text) => text !== '');
}

function attributes(plural: string, namespace: string, name: string): ResourceAttributes {
  return { kind: 'resource', verb: 'impersonate', group: '', plural, subresource: '', namespace, name };
}
