import {
  type ExpressionScope,
  optionalRuleScope,
  ruleScope,
  celOptional,
  compileExpression,
  CelError,
  type Expression,
} from '../cel/expression.ts';
import { child, duplicate, forbidden, index, invalid, mapKey, required } from '../field-errors.ts';
import { boolAt, jsonEqual, objectAt, objectsAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { isJsonObject, type Json, type JsonObject } from '../object.ts';
import { celValue, sizeOf } from './cel-value.ts';
import { counterparts } from './validate.ts';

/** The x-kubernetes-validations of a schema. */
export type Rules = {
  /**
   * Rules about the object alone, and those to which an old value is optional. `old`: what was there before an update;
   * a value that did not change is not asked again, so that a new rule does not lock old objects.
   */
  validate(object: JsonObject, old?: JsonObject): readonly FieldError[];
  /** Rules that compare with what was there before (`oldSelf`). */
  validateTransition(object: JsonObject, old: JsonObject): readonly FieldError[];
};

/**
 * Work of one rule at most: length of the expression × size of the data to the power of its nested loops. It is an upper
 * bound taken before anything is evaluated, so no object can hold the server up.
 */
export const ruleCostMax = 10_000_000;
/** Work of all rules for one object together. */
export const objectCostMax = 100_000_000;

type Rule = {
  readonly expression: Expression;
  readonly text: string;
  readonly message: string;
  readonly messageExpression: Expression | undefined;
  readonly reason: string;
  readonly fieldPath: string;
  /** It is asked on creation too, with an empty `oldSelf`. */
  readonly optionalOldSelf: boolean;
};

/** A place of the schema that has rules, or has such places inside. */
type Node = {
  readonly schema: JsonObject;
  readonly rules: readonly Rule[];
  readonly properties: ReadonlyMap<string, Node>;
  readonly items: Node | undefined;
  readonly additional: Node | undefined;
};

export function compileRules(schema: JsonObject): Rules {
  const root = compileNode(schema);
  return {
    validate: (object, old) => runRules(root, object, old, false),
    validateTransition: (object, old) => runRules(root, object, old, true),
  };
}

function compileNode(schema: JsonObject): Node | undefined {
  const rules = objectsAt(schema, 'x-kubernetes-validations').flatMap(compileRule);
  const properties = new Map<string, Node>();
  for (const [name, property] of Object.entries(objectAt(schema, 'properties') ?? {})) {
    const node = isJsonObject(property) ? compileNode(property) : undefined;
    if (node !== undefined) properties.set(name, node);
  }
  const items = objectAt(schema, 'items');
  const additional = objectAt(schema, 'additionalProperties');
  const node: Node = {
    schema,
    rules,
    properties,
    items: items === undefined ? undefined : compileNode(items),
    additional: additional === undefined ? undefined : compileNode(additional),
  };
  const empty = rules.length + properties.size === 0 && !node.items && !node.additional;
  return empty ? undefined : node;
}

/** None for what does not compile: such a definition was refused before. */
function compileRule(rule: JsonObject): readonly Rule[] {
  const text = stringAt(rule, 'rule');
  const scope = scopeOf(rule);
  const expression = compileExpression(text, scope);
  if (typeof expression === 'string') return [];
  const said = stringAt(rule, 'messageExpression');
  const messageExpression = said === '' ? undefined : compileExpression(said, scope);
  return [
    {
      expression,
      text,
      message: stringAt(rule, 'message'),
      messageExpression: typeof messageExpression === 'string' ? undefined : messageExpression,
      reason: stringAt(rule, 'reason'),
      fieldPath: stringAt(rule, 'fieldPath'),
      optionalOldSelf: boolAt(rule, 'optionalOldSelf'),
    },
  ];
}

function scopeOf(rule: JsonObject): ExpressionScope {
  return boolAt(rule, 'optionalOldSelf') ? optionalRuleScope : ruleScope;
}

/** What is wrong with the rules of one schema, for whoever writes the definition. */
export function ruleProblems(schema: JsonObject, path: string): readonly FieldError[] {
  return objectsAt(schema, 'x-kubernetes-validations').flatMap((rule, at) => {
    const place = index(child(path, 'x-kubernetes-validations'), at);
    const errors: FieldError[] = [];
    const text = stringAt(rule, 'rule');
    if (text.trim() === '') errors.push(required(child(place, 'rule'), 'rule is not specified'));
    for (const field of ['rule', 'messageExpression']) {
      const expression = stringAt(rule, field);
      const compiled = expression.trim() === '' ? undefined : compileExpression(expression, scopeOf(rule));
      if (typeof compiled !== 'string') continue;
      errors.push(invalid(child(place, field), expression, `compilation failed: ${compiled}`));
    }
    if (rule['optionalOldSelf'] !== undefined && !/\boldSelf\b/.test(text)) {
      errors.push(
        invalid(
          child(place, 'optionalOldSelf'),
          rule['optionalOldSelf'],
          'may not be set if oldSelf is not used in rule',
        ),
      );
    }
    return errors;
  });
}

type Walk = { readonly errors: FieldError[]; readonly transitions: boolean; costLeft: number };

function runRules(
  root: Node | undefined,
  object: JsonObject,
  old: JsonObject | undefined,
  transitions: boolean,
): readonly FieldError[] {
  if (root === undefined) return [];
  const walk: Walk = { errors: [], transitions, costLeft: objectCostMax };
  visit(walk, root, object, old, { path: '', isRoot: true });
  return walk.errors;
}

type Place = { readonly path: string; readonly isRoot: boolean };

function visit(walk: Walk, node: Node, value: Json, old: Json | undefined, place: Place): void {
  const { path } = place;
  for (const rule of node.rules) runRule(walk, node, rule, value, old, place);
  if (Array.isArray(value)) {
    const { items } = node;
    if (items === undefined) return;
    const before = counterparts(node.schema, old);
    value.forEach((item, at) => {
      visit(walk, items, item, before(item), { path: index(path, at), isRoot: false });
    });
    return;
  }
  if (!isJsonObject(value)) return;
  const before = isJsonObject(old) ? old : {};
  for (const [key, item] of Object.entries(value)) {
    const property = node.properties.get(key);
    const inner = property ?? node.additional;
    if (inner === undefined) continue;
    const at = property === undefined ? mapKey(path, key) : child(path, key);
    visit(walk, inner, item, before[key], { path: at, isRoot: false });
  }
}

function runRule(walk: Walk, node: Node, rule: Rule, value: Json, old: Json | undefined, place: Place): void {
  const { expression } = rule;
  // Each rule belongs to one of the two passes, so that none is run twice.
  const needsOld = expression.usesOldSelf && !rule.optionalOldSelf;
  if (needsOld !== walk.transitions) return;
  if (needsOld && old === undefined) return;
  if (!expression.usesOldSelf && old !== undefined && jsonEqual(value, old)) return;
  const cost = expression.size * sizeOf(value) ** expression.loopDepth;
  walk.costLeft -= cost;
  if (cost > ruleCostMax || walk.costLeft < 0) {
    const detail =
      'validation failed due to running out of cost budget, no further validation rules will be run';
    walk.errors.push(invalid(place.path, shown(value), detail));
    return;
  }
  const variables = {
    self: celValue(node.schema, value, place.isRoot),
    ...(expression.usesOldSelf ? { oldSelf: oldSelfOf(node, rule, old, place) } : {}),
  };
  try {
    if (expression.evaluate(variables) === true) return;
    walk.errors.push(errorOf(rule, value, place.path, messageOf(rule, variables)));
  } catch (error) {
    if (!(error instanceof CelError)) throw error;
    const detail = `rule evaluation error: ${error.message.split('\n')[0] ?? ''}; rule: ${rule.text}`;
    walk.errors.push(invalid(place.path, shown(value), detail));
  }
}

function oldSelfOf(node: Node, rule: Rule, old: Json | undefined, { isRoot }: Place): unknown {
  const value = old === undefined ? undefined : celValue(node.schema, old, isRoot);
  return rule.optionalOldSelf ? celOptional(value) : value;
}

function messageOf(rule: Rule, variables: Readonly<Record<string, unknown>>): string {
  try {
    const said = rule.messageExpression?.evaluate(variables);
    if (typeof said === 'string' && said.trim() !== '') return said;
  } catch (error) {
    if (!(error instanceof CelError)) throw error; // without its own message the rule still has its text
  }
  return rule.message === '' ? `failed rule: ${rule.text.trim()}` : rule.message;
}

function errorOf(rule: Rule, value: Json, path: string, message: string): FieldError {
  const at =
    rule.fieldPath === ''
      ? path
      : `${path}${path === '' ? rule.fieldPath.replace(/^\./, '') : rule.fieldPath}`;
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return forbidden(at, message);
    case 'FieldValueRequired':
      return required(at, message);
    case 'FieldValueDuplicate':
      return duplicate(at, shown(value));
    default:
      return invalid(at, shown(value), message);
  }
}

/** Objects and lists are only named, as Kubernetes does. */
function shown(value: Json): Json {
  if (Array.isArray(value)) return 'array';
  return isJsonObject(value) ? 'object' : value;
}
