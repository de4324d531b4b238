import type { LabelSelector } from './gen/meta-v1.ts';
import { badRequest } from './status.ts';
import { labelKeyProblems, labelValueProblems } from './names.ts';

/** One condition of a label selector. `exists` and `notExists` have no values. */
export type Requirement = {
  readonly key: string;
  readonly operator: 'in' | 'notIn' | 'exists' | 'notExists' | 'greaterThan' | 'lessThan';
  readonly values: readonly string[];
};

/** All must hold. Empty: everything matches. */
export type Selector = readonly Requirement[];

export const everything: Selector = [];

type Labels = Readonly<Record<string, string>> | undefined;

/** Longest selector text, bytes; longer ones are refused. URLs end near there anyway. */
export const selectorLengthMax = 65_536;

export function matchesLabels(selector: Selector, labels: Labels): boolean {
  for (const requirement of selector) if (!holds(requirement, labels)) return false;
  return true;
}

function holds(requirement: Requirement, labels: Labels): boolean {
  const has = labels !== undefined && Object.hasOwn(labels, requirement.key);
  const value = has ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'exists':
      return has;
    case 'notExists':
      return !has;
    case 'in':
      return value !== undefined && requirement.values.includes(value);
    case 'notIn':
      return value === undefined || !requirement.values.includes(value);
    case 'greaterThan':
      return isInteger(value) && BigInt(value) > BigInt(requirement.values[0] ?? '0');
    case 'lessThan':
      return isInteger(value) && BigInt(value) < BigInt(requirement.values[0] ?? '0');
  }
}

function isInteger(text: string | undefined): text is string {
  return text !== undefined && /^[+-]?\d+$/.test(text);
}

/** A `spec.selector` map or a LabelSelector object, as a selector. An absent one matches nothing: undefined. */
export function selectorOf(selector: LabelSelector | undefined): Selector | undefined {
  if (selector === undefined) return undefined;
  const equalities = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => equality(key, value));
  const expressions = (selector.matchExpressions ?? []).map(
    (expression): Requirement => ({
      key: expression.key,
      operator: operatorNames[expression.operator] ?? 'in',
      values: expression.values ?? [],
    }),
  );
  return [...equalities, ...expressions];
}

/** A plain map such as Service.spec.selector: every pair must be there. */
export function selectorOfMap(labels: Readonly<Record<string, string>>): Selector {
  return Object.entries(labels).map(([key, value]) => equality(key, value));
}

function equality(key: string, value: string): Requirement {
  return { key, operator: 'in', values: [value] };
}

const operatorNames: Readonly<Record<string, Requirement['operator']>> = {
  In: 'in',
  NotIn: 'notIn',
  Exists: 'exists',
  DoesNotExist: 'notExists',
};

/**
 * Parses a selector string: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`.
 * Throws StatusError 400 in Kubernetes' words.
 */
export function parseLabelSelector(text: string): Selector {
  if (text.length > selectorLengthMax) {
    throw badRequest(`unable to parse requirement: longer than ${selectorLengthMax} characters`);
  }
  const tokens = tokenize(text);
  const requirements: Requirement[] = [];
  let at = 0;
  while (at < tokens.length) {
    const [requirement, next] = parseRequirement(tokens, at);
    requirements.push(checked(requirement));
    at = next;
    if (at >= tokens.length) break;
    if (tokens[at] !== ',') throw unexpected(tokens[at], "',' or 'end of string'");
    at++;
    if (at >= tokens.length) throw unexpected('', 'identifier after ","');
  }
  return requirements;
}

/** Words and the signs `( ) , ! = == != > <`. */
function tokenize(text: string): readonly string[] {
  return text.match(/==|!=|[=!(),<>]|[^\s=!(),<>]+/g) ?? [];
}

const signs: ReadonlySet<string> = new Set(['==', '!=', '=', '!', '(', ')', ',', '<', '>']);

function parseRequirement(tokens: readonly string[], start: number): [Requirement, number] {
  const first = tokens[start] ?? '';
  if (first === '!') {
    return [{ key: word(tokens, start + 1), operator: 'notExists', values: [] }, start + 2];
  }
  const key = word(tokens, start);
  const operator = tokens[start + 1];
  switch (operator) {
    case undefined:
    case ',':
      return [{ key, operator: 'exists', values: [] }, start + 1];
    case 'in':
    case 'notin': {
      const [values, next] = parseValues(tokens, start + 2);
      return [{ key, operator: operator === 'in' ? 'in' : 'notIn', values }, next];
    }
    case '=':
    case '==':
    case '!=':
    case '<':
    case '>': {
      const value = tokens[start + 2];
      const isWord = value !== undefined && !signs.has(value);
      return [
        { key, operator: comparison[operator], values: [isWord ? value : ''] },
        start + (isWord ? 3 : 2),
      ];
    }
    default:
      throw unexpected(operator, "'in', 'notin', '=', '==', '!=', '>' or '<'");
  }
}

const comparison = {
  '=': 'in',
  '==': 'in',
  '!=': 'notIn',
  '<': 'lessThan',
  '>': 'greaterThan',
} as const;

function parseValues(tokens: readonly string[], start: number): [string[], number] {
  if (tokens[start] !== '(') throw unexpected(tokens[start], "'('");
  const values: string[] = [];
  let wantsValue = true;
  for (let at = start + 1; at < tokens.length; at++) {
    const token = tokens[at] ?? '';
    if (token === ')') {
      if (wantsValue) values.push('');
      return [[...new Set(values)].toSorted(), at + 1];
    }
    if (token === ',') {
      if (wantsValue) values.push('');
      wantsValue = true;
    } else if (wantsValue && !signs.has(token)) {
      values.push(token);
      wantsValue = false;
    } else {
      throw unexpected(token, "',' or ')'");
    }
  }
  throw unexpected('', "',' or ')'");
}

function word(tokens: readonly string[], at: number): string {
  const token = tokens[at] ?? '';
  if (token === '' || signs.has(token)) throw unexpected(token, 'identifier');
  return token;
}

function checked(requirement: Requirement): Requirement {
  const keyProblem = labelKeyProblems(requirement.key)[0];
  if (keyProblem !== undefined) {
    throw badRequest(
      `unable to parse requirement: <nil>: Invalid value: ${JSON.stringify(requirement.key)}: ${keyProblem}`,
    );
  }
  for (const value of requirement.values) {
    const problem =
      requirement.operator === 'greaterThan' || requirement.operator === 'lessThan'
        ? isInteger(value)
          ? undefined
          : "for 'Gt', 'Lt' operators, the value must be an integer"
        : labelValueProblems(value)[0];
    if (problem !== undefined) {
      throw badRequest(
        `unable to parse requirement: values[0][${requirement.key}]: Invalid value: ${JSON.stringify(value)}: ${problem}`,
      );
    }
  }
  return requirement;
}

function unexpected(found: string | undefined, expected: string): Error {
  return badRequest(`unable to parse requirement: found '${found ?? ''}', expected: ${expected}`);
}

/** The canonical text of a selector: what Scale.status.selector carries. */
export function formatSelector(selector: Selector): string {
  return selector.map(formatRequirement).join(',');
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'exists':
      return key;
    case 'notExists':
      return `!${key}`;
    case 'in':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.toSorted().join(',')})`;
    case 'notIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.toSorted().join(',')})`;
    case 'greaterThan':
      return `${key}>${values[0]}`;
    case 'lessThan':
      return `${key}<${values[0]}`;
  }
}
