import { child, duplicate, forbidden, index, invalid, notSupported, required } from '../field-errors.ts';
import {
  boolAt,
  ensureObject,
  jsonEqual,
  numberAt,
  objectAt,
  objectsAt,
  stringAt,
  stringsAt,
} from '../fields.ts';
import type { FieldError, Kind } from '../kind.ts';
import { dnsLabelProblems, dnsSubdomainProblems } from '../names.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, noneText, orNone } from './columns.ts';
import { defineKind } from './define.ts';
import { inRange, problemsAt } from './field-rules.ts';
import {
  type FlowControlObject,
  mandatoryFlowSchemas,
  mandatoryPriorityLevels,
} from './flowcontrol-objects.ts';

/** Priority and fairness: stored and checked; this server has no queues that would heed them. */

const group = 'flowcontrol.apiserver.k8s.io';
const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'proxy', 'update', 'watch'];
const precedenceMax = 10_000;
const queuesMax = 10_000_000;
/** Bits of the hash that deals the queues of a flow. */
const hashBitsMax = 60;

/** Go's zero counts as left out. */
function fill(object: JsonObject, field: string, value: number): void {
  if ((numberAt(object, field) ?? 0) === 0) object[field] = value;
}

function setIfAbsent(object: JsonObject, fields: Readonly<Record<string, number>>): void {
  for (const [field, value] of Object.entries(fields)) object[field] ??= value;
}

function unheeded(object: JsonObject): readonly string[] {
  const kind = stringAt(object, 'kind');
  return [
    `${kind} ${stringAt(object, 'metadata', 'name')} is stored but NOT acted on: this server treats all requests alike`,
  ];
}

function fixedValue(object: JsonObject, mandatory: readonly FlowControlObject[]): readonly FieldError[] {
  const name = stringAt(object, 'metadata', 'name');
  const fixed = mandatory.find((one) => one.name === name);
  const spec = objectAt(object, 'spec') ?? {};
  if (fixed === undefined) return [];
  // Of the exempt level the shares may be chosen.
  const { exempt } = spec;
  const wanted =
    fixed.spec['type'] === 'Exempt'
      ? { ...fixed.spec, ...(exempt === undefined ? {} : { exempt }) }
      : fixed.spec;
  if (jsonEqual(spec, wanted)) return [];
  const except = fixed.spec['type'] === 'Exempt' ? " except the 'spec.exempt' field" : '';
  return [invalid('spec', spec, `spec of '${name}'${except} must equal the fixed value`)];
}

function validateConditions(object: JsonObject): readonly FieldError[] {
  const seen = new Set<string>();
  return objectsAt(object, 'status', 'conditions').flatMap((condition, at) => {
    const path = child(index('status.conditions', at), 'type');
    const type = stringAt(condition, 'type');
    const isSecond = seen.has(type);
    seen.add(type);
    return [...(isSecond ? [duplicate(path, type)] : []), ...(type === '' ? [required(path)] : [])];
  });
}

/** A list that must have something in it, and only `*` where it has `*`. */
function wildcardList(
  rule: JsonObject,
  path: string,
  field: string,
  what: string,
  none: string,
): readonly FieldError[] {
  const list = stringsAt(rule, field);
  const at = child(path, field);
  if (list.length === 0) return [required(at, none)];
  if (list.length === 1 || !list.includes('*')) return [];
  return [invalid(at, list, `if '*' is present, must not specify other ${what}`)];
}

function validateVerbs(rule: JsonObject, path: string): readonly FieldError[] {
  const errors = wildcardList(rule, path, 'verbs', 'verbs', 'verbs must contain at least one value');
  const list = stringsAt(rule, 'verbs');
  if (errors.length > 0 || list.includes('*') || list.every((verb) => verbs.includes(verb))) return errors;
  return [notSupported(child(path, 'verbs'), list, verbs)];
}

function validateUrl(url: string, path: string): readonly FieldError[] {
  const problem =
    url === ''
      ? 'must not be empty'
      : !url.startsWith('/')
        ? 'must start with slash'
        : url.includes(' ')
          ? 'must not contain white-space'
          : url.includes('//')
            ? 'must not contain double slash'
            : url.slice(0, -1).includes('*') || (url.endsWith('*') && !url.endsWith('/*'))
              ? 'wildcard can only do suffix matching'
              : undefined;
  return problem === undefined ? [] : [invalid(path, url, problem)];
}

function validateResourceRule(rule: JsonObject, path: string): readonly FieldError[] {
  const namespaces = stringsAt(rule, 'namespaces');
  const at = child(path, 'namespaces');
  return [
    ...validateVerbs(rule, path),
    ...wildcardList(
      rule,
      path,
      'apiGroups',
      'api groups',
      'resource rules must supply at least one api group',
    ),
    ...wildcardList(rule, path, 'resources', 'resources', 'resource rules must supply at least one resource'),
    ...(namespaces.length === 0 && boolAt(rule, 'clusterScope')
      ? []
      : wildcardList(
          rule,
          path,
          'namespaces',
          'namespaces',
          'resource rules that are not cluster scoped must supply at least one namespace',
        )),
    ...(namespaces.includes('*')
      ? []
      : namespaces.flatMap((name, position) => problemsAt(index(at, position), name, dnsLabelProblems))),
  ];
}

function validateUrlRule(rule: JsonObject, path: string): readonly FieldError[] {
  const urls = stringsAt(rule, 'nonResourceURLs');
  const at = child(path, 'nonResourceURLs');
  return [
    ...validateVerbs(rule, path),
    ...wildcardList(
      rule,
      path,
      'nonResourceURLs',
      'non-resource URLs',
      'nonResourceURLs must contain at least one value',
    ),
    ...(urls.includes('*') ? [] : urls.flatMap((url, position) => validateUrl(url, index(at, position)))),
  ];
}

const subjectFields: Readonly<Record<string, string>> = {
  Group: 'group',
  ServiceAccount: 'serviceAccount',
  User: 'user',
};

function validateSubject(subject: JsonObject, path: string): readonly FieldError[] {
  const kind = stringAt(subject, 'kind');
  const own = subjectFields[kind];
  if (own === undefined) return [notSupported(child(path, 'kind'), kind, Object.keys(subjectFields))];
  const errors: FieldError[] = [];
  const at = child(path, own);
  const named = objectAt(subject, own);
  const name = stringAt(named, 'name');
  if (named === undefined) errors.push(required(at, `${own} is required when subject kind is '${kind}'`));
  else if (name === '') errors.push(required(child(at, 'name')));
  else if (own === 'serviceAccount' && name !== '*') {
    errors.push(...problemsAt(child(at, 'name'), name, dnsSubdomainProblems));
  }
  if (named !== undefined && own === 'serviceAccount') {
    const namespace = stringAt(named, 'namespace');
    if (namespace === '')
      errors.push(required(child(at, 'namespace'), 'must specify namespace for service account'));
    else errors.push(...problemsAt(child(at, 'namespace'), namespace, dnsLabelProblems));
  }
  for (const [other, field] of Object.entries(subjectFields)) {
    if (field === own || subject[field] === undefined) continue;
    errors.push(forbidden(child(path, field), `${field} is forbidden when subject kind is not '${other}'`));
  }
  return errors;
}

function validateRule(rule: JsonObject, path: string): readonly FieldError[] {
  const at = (field: string, position: number): string => index(child(path, field), position);
  const [subjects, resources, urls] = ['subjects', 'resourceRules', 'nonResourceRules'].map((f) =>
    objectsAt(rule, f),
  );
  return [
    ...(subjects?.length === 0
      ? [required(child(path, 'subjects'), 'subjects must contain at least one value')]
      : []),
    ...(subjects ?? []).flatMap((subject, position) => validateSubject(subject, at('subjects', position))),
    ...(resources?.length === 0 && urls?.length === 0
      ? [required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty')]
      : []),
    ...(resources ?? []).flatMap((one, position) => validateResourceRule(one, at('resourceRules', position))),
    ...(urls ?? []).flatMap((one, position) => validateUrlRule(one, at('nonResourceRules', position))),
  ];
}

function validateFlowSchema(object: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const precedence = numberAt(object, 'spec', 'matchingPrecedence') ?? 0;
  const bad = (detail: string): void =>
    void errors.push(invalid('spec.matchingPrecedence', precedence, detail));
  if (precedence <= 0) bad('must be a positive value');
  if (precedence > precedenceMax) bad(`must not be greater than ${precedenceMax}`);
  if (precedence === 1 && stringAt(object, 'metadata', 'name') !== 'exempt') {
    bad("only the schema named 'exempt' may have matchingPrecedence 1");
  }
  const method = objectAt(object, 'spec', 'distinguisherMethod');
  const methods = ['ByNamespace', 'ByUser'];
  if (method !== undefined && !methods.includes(stringAt(method, 'type'))) {
    errors.push(notSupported('spec.distinguisherMethod.type', stringAt(method, 'type'), methods));
  }
  const level = stringAt(object, 'spec', 'priorityLevelConfiguration', 'name');
  const at = 'spec.priorityLevelConfiguration.name';
  if (level === '') errors.push(required(at, 'must reference a priority level'));
  else errors.push(...problemsAt(at, level, dnsSubdomainProblems));
  objectsAt(object, 'spec', 'rules').forEach((rule, position) =>
    errors.push(...validateRule(rule, index('spec.rules', position))),
  );
  return [...errors, ...fixedValue(object, mandatoryFlowSchemas), ...validateConditions(object)];
}

function validateQueuing(queuing: JsonObject, path: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const [length = 0, queues = 0, hand = 0] = ['queueLengthLimit', 'queues', 'handSize'].map((f) =>
    numberAt(queuing, f),
  );
  const bad = (field: string, value: number, detail: string): void =>
    void errors.push(invalid(child(path, field), value, detail));
  if (length <= 0) bad('queueLengthLimit', length, 'must be positive');
  if (queues <= 0) bad('queues', queues, 'must be positive');
  else if (queues > queuesMax) bad('queues', queues, `must not be greater than ${queuesMax}`);
  if (hand <= 0) bad('handSize', hand, 'must be positive');
  else if (hand > queues) bad('handSize', hand, `should not be greater than queues (${queues})`);
  else if (Math.ceil(Math.log2(queues) * hand) > hashBitsMax) {
    bad(
      'handSize',
      hand,
      `required entropy bits of deckSize ${queues} and handSize ${hand} should not be greater than ${hashBitsMax}`,
    );
  }
  return errors;
}

function validateShares(shares: JsonObject, path: string): readonly FieldError[] {
  const number = numberAt(shares, 'nominalConcurrencyShares') ?? 0;
  return [
    ...(number < 0
      ? [invalid(child(path, 'nominalConcurrencyShares'), number, 'must be a non-negative integer')]
      : []),
    ...inRange(shares, path, 'lendablePercent', { least: 0, most: 100 }),
  ];
}

function validateLimited(limited: JsonObject): readonly FieldError[] {
  const path = 'spec.limited';
  const errors = [...validateShares(limited, path)];
  const borrowed = numberAt(limited, 'borrowingLimitPercent') ?? 0;
  if (borrowed < 0) {
    errors.push(
      invalid(child(path, 'borrowingLimitPercent'), borrowed, 'if specified, must be a non-negative integer'),
    );
  }
  const type = stringAt(limited, 'limitResponse', 'type');
  const queuing = objectAt(limited, 'limitResponse', 'queuing');
  const at = 'spec.limited.limitResponse.queuing';
  if (type === 'Queue') {
    if (queuing === undefined)
      errors.push(required(at, 'must not be empty if limited.limitResponse.type is Limited'));
    else errors.push(...validateQueuing(queuing, at));
  } else if (type !== 'Reject') {
    errors.push(notSupported('spec.limited.limitResponse.type', type, ['Queue', 'Reject']));
  } else if (queuing !== undefined) {
    errors.push(forbidden(at, 'must be nil if limited.limitResponse.type is not Limited'));
  }
  return errors;
}

function validatePriorityLevel(object: JsonObject): readonly FieldError[] {
  const errors: FieldError[] = [];
  const type = stringAt(object, 'spec', 'type');
  const limited = objectAt(object, 'spec', 'limited');
  const exempt = objectAt(object, 'spec', 'exempt');
  if ((stringAt(object, 'metadata', 'name') === 'exempt') !== (type === 'Exempt')) {
    errors.push(invalid('spec.type', type, "must be 'Exempt' if and only if `name` is 'exempt'"));
  }
  if (type === 'Exempt') {
    if (limited !== undefined)
      errors.push(forbidden('spec.limited', 'must be nil if the type is not Limited'));
    if (exempt !== undefined) errors.push(...validateShares(exempt, 'spec.exempt'));
  } else if (type === 'Limited') {
    if (exempt !== undefined) errors.push(forbidden('spec.exempt', 'must be nil if the type is Limited'));
    if (limited === undefined)
      errors.push(required('spec.limited', 'must not be empty when type is Limited'));
    else errors.push(...validateLimited(limited));
  } else errors.push(notSupported('spec.type', type, ['Exempt', 'Limited']));
  return [...errors, ...fixedValue(object, mandatoryPriorityLevels), ...validateConditions(object)];
}

function textAt(object: JsonObject, ...path: readonly string[]): string {
  const value = numberAt(object, ...path);
  return value === undefined ? noneText : String(value);
}

const queuingPath = ['spec', 'limited', 'limitResponse', 'queuing'] as const;

export const flowControlKinds: readonly Kind[] = [
  defineKind({
    group,
    version: 'v1',
    kind: 'FlowSchema',
    plural: 'flowschemas',
    namespaced: false,
    schema: 'flowcontrol/v1.FlowSchema',
    subresources: ['status'],
    countsGenerations: true,
    columns: [
      nameColumn,
      column('PriorityLevel', 'The level of its requests.', (object) =>
        stringAt(object, 'spec', 'priorityLevelConfiguration', 'name'),
      ),
      column('MatchingPrecedence', 'The lowest one that matches counts.', (object) =>
        textAt(object, 'spec', 'matchingPrecedence'),
      ),
      column('DistinguisherMethod', 'What makes flows of its requests.', (object) =>
        orNone(stringAt(object, 'spec', 'distinguisherMethod', 'type')),
      ),
      ageColumn,
      column('MissingPL', 'Whether its priority level is not there.', (object) => {
        const conditions = objectsAt(object, 'status', 'conditions');
        const dangling = conditions.find(({ type }) => type === 'Dangling');
        return dangling === undefined ? '?' : stringAt(dangling, 'status');
      }),
    ],
    setDefaults: (object) => fill(ensureObject(object, 'spec'), 'matchingPrecedence', 1000),
    validate: validateFlowSchema,
    validateStatus: validateConditions,
    warnings: unheeded,
  }),
  defineKind({
    group,
    version: 'v1',
    kind: 'PriorityLevelConfiguration',
    plural: 'prioritylevelconfigurations',
    namespaced: false,
    schema: 'flowcontrol/v1.PriorityLevelConfiguration',
    subresources: ['status'],
    countsGenerations: true,
    columns: [
      nameColumn,
      column('Type', 'Exempt or Limited.', (object) => stringAt(object, 'spec', 'type')),
      column('NominalConcurrencyShares', 'Its part of what the server does at a time.', (object) =>
        textAt(object, 'spec', 'limited', 'nominalConcurrencyShares'),
      ),
      column('Queues', 'How many queues it has.', (object) => textAt(object, ...queuingPath, 'queues')),
      column('HandSize', 'How many of them a flow may use.', (object) =>
        textAt(object, ...queuingPath, 'handSize'),
      ),
      column('QueueLengthLimit', 'How many requests wait in one.', (object) =>
        textAt(object, ...queuingPath, 'queueLengthLimit'),
      ),
      ageColumn,
    ],
    setDefaults(object) {
      const limited = objectAt(object, 'spec', 'limited');
      const exempt = objectAt(object, 'spec', 'exempt');
      if (limited !== undefined) setIfAbsent(limited, { nominalConcurrencyShares: 30, lendablePercent: 0 });
      if (exempt !== undefined) setIfAbsent(exempt, { nominalConcurrencyShares: 0, lendablePercent: 0 });
      const queuing = objectAt(object, ...queuingPath);
      if (queuing === undefined) return;
      fill(queuing, 'handSize', 8);
      fill(queuing, 'queues', 64);
      fill(queuing, 'queueLengthLimit', 50);
    },
    validate: validatePriorityLevel,
    validateStatus: validateConditions,
    warnings: unheeded,
  }),
];
