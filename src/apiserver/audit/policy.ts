import { child, forbidden, index, invalid, notSupported, required } from '../../api/field-errors.ts';
import { boolAt, objectsAt, stringAt, stringsAt } from '../../api/fields.ts';
import type { FieldError } from '../../api/kind.ts';
import { isJsonObject, type Json, type JsonObject } from '../../api/object.ts';
import type { User } from '../exchange.ts';
import type { RequestInfo } from '../request-info.ts';

/** Which requests are written down and how much of them: a Policy of audit.k8s.io/v1. Pure. */

const levels = ['None', 'Metadata', 'Request', 'RequestResponse'] as const;
export type AuditLevel = (typeof levels)[number];

const stages = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'] as const;
export type AuditStage = (typeof stages)[number];

type Resources = {
  readonly group: string;
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
};

type AuditRule = {
  readonly level: AuditLevel;
  readonly users: readonly string[];
  readonly userGroups: readonly string[];
  readonly verbs: readonly string[];
  readonly resources: readonly Resources[];
  readonly namespaces: readonly string[];
  readonly nonResourceUrls: readonly string[];
  readonly omitStages: readonly AuditStage[];
  readonly omitManagedFields: boolean;
};

export type AuditPolicy = { readonly rules: readonly AuditRule[] };

/** What is to be written of one request. */
export type AuditDecision = {
  readonly level: AuditLevel;
  readonly omitStages: readonly AuditStage[];
  readonly omitManagedFields: boolean;
};

const nothing: AuditDecision = { level: 'None', omitStages: [], omitManagedFields: false };

/** The first rule that fits decides; where none does, nothing is written. */
export function decide(policy: AuditPolicy, user: User, info: RequestInfo): AuditDecision {
  return policy.rules.find((rule) => fits(rule, user, info)) ?? nothing;
}

function fits(rule: AuditRule, user: User, info: RequestInfo): boolean {
  if (rule.users.length > 0 && !rule.users.includes(user.name)) return false;
  if (rule.userGroups.length > 0 && !rule.userGroups.some((group) => user.groups.includes(group)))
    return false;
  if (rule.verbs.length > 0 && !rule.verbs.includes(info.verb)) return false;
  if (rule.namespaces.length > 0 || rule.resources.length > 0) {
    return info.kind === 'resource' && fitsResource(rule, info);
  }
  if (rule.nonResourceUrls.length === 0) return true;
  return info.kind === 'path' && rule.nonResourceUrls.some((pattern) => fitsPath(pattern, info.path));
}

function fitsResource(
  { namespaces, resources }: AuditRule,
  info: RequestInfo & { kind: 'resource' },
): boolean {
  if (namespaces.length > 0 && !namespaces.includes(info.namespace)) return false;
  if (resources.length === 0) return true;
  return resources.some(
    ({ group, resources: names, resourceNames }) =>
      group === info.group &&
      (names.length === 0 || names.some((name) => fitsName(name, info))) &&
      (resourceNames.length === 0 || resourceNames.includes(info.name)),
  );
}

// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`: without a slash the resource alone, `*` everything.
function fitsName(pattern: string, { plural, subresource }: RequestInfo & { kind: 'resource' }): boolean {
  if (pattern === '*') return true;
  const [wanted = '', part] = pattern.split('/', 2);
  if (part === undefined) return wanted === plural && subresource === '';
  if (subresource === '') return false;
  return (wanted === '*' || wanted === plural) && (part === '*' || part === subresource);
}

function fitsPath(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1).replace(/\/$/, ''));
}

/** Field errors say what is wrong with the document. */
export function parseAuditPolicy(document: Json): AuditPolicy | readonly FieldError[] {
  if (!isJsonObject(document)) return [invalid('', document, 'must be an object')];
  const errors: FieldError[] = [];
  for (const [field, value] of [
    ['apiVersion', 'audit.k8s.io/v1'],
    ['kind', 'Policy'],
  ] as const) {
    if (document[field] !== value) errors.push(notSupported(field, document[field] ?? '', [value]));
  }
  const rules = objectsAt(document, 'rules');
  if (rules.length === 0) errors.push(required('rules', 'a policy without rules writes nothing'));
  errors.push(...stageErrors(document, 'omitStages'));
  rules.forEach((rule, at) => errors.push(...ruleErrors(rule, index('rules', at))));
  if (errors.length > 0) return errors;
  const everywhere = stringsAt(document, 'omitStages') as readonly AuditStage[];
  const omitManagedFields = boolAt(document, 'omitManagedFields');
  return {
    rules: rules.map((rule) => ({
      level: stringAt(rule, 'level') as AuditLevel,
      users: stringsAt(rule, 'users'),
      userGroups: stringsAt(rule, 'userGroups'),
      verbs: stringsAt(rule, 'verbs'),
      resources: objectsAt(rule, 'resources').map((entry) => ({
        group: stringAt(entry, 'group'),
        resources: stringsAt(entry, 'resources'),
        resourceNames: stringsAt(entry, 'resourceNames'),
      })),
      namespaces: stringsAt(rule, 'namespaces'),
      nonResourceUrls: stringsAt(rule, 'nonResourceURLs'),
      omitStages: [...everywhere, ...(stringsAt(rule, 'omitStages') as readonly AuditStage[])],
      omitManagedFields:
        rule['omitManagedFields'] === undefined ? omitManagedFields : boolAt(rule, 'omitManagedFields'),
    })),
  };
}

function stageErrors(holder: JsonObject, path: string): readonly FieldError[] {
  return stringsAt(holder, 'omitStages').flatMap((stage, at) =>
    (stages as readonly string[]).includes(stage) ? [] : [notSupported(index(path, at), stage, stages)],
  );
}

function ruleErrors(rule: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [...stageErrors(rule, child(path, 'omitStages'))];
  const level = stringAt(rule, 'level');
  if (level === '') errors.push(required(child(path, 'level')));
  else if (!(levels as readonly string[]).includes(level)) {
    errors.push(notSupported(child(path, 'level'), level, levels));
  }
  const urls = stringsAt(rule, 'nonResourceURLs');
  const isOfResources = objectsAt(rule, 'resources').length > 0 || stringsAt(rule, 'namespaces').length > 0;
  if (urls.length > 0 && isOfResources) {
    const detail = 'rules cannot apply to both regular resources and non-resource URLs';
    errors.push(forbidden(child(path, 'nonResourceURLs'), detail));
  }
  urls.forEach((url, at) => {
    const place = index(child(path, 'nonResourceURLs'), at);
    if (url === '*') return;
    if (!url.startsWith('/')) errors.push(invalid(place, url, 'must start with "/" or be "*"'));
    if (url.slice(0, -1).includes('*'))
      errors.push(invalid(place, url, '"*" may only be its last character'));
  });
  objectsAt(rule, 'resources').forEach((entry, at) => {
    if (stringsAt(entry, 'resourceNames').length === 0 || stringsAt(entry, 'resources').length > 0) return;
    const place = child(index(child(path, 'resources'), at), 'resourceNames');
    errors.push(forbidden(place, 'using resourceNames requires at least one resource'));
  });
  return errors;
}
