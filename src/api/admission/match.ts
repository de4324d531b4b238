import { objectAt, objectsAt, stringAt, stringMapAt, stringsAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import { everything, matchesLabels, type Selector, selectorOf } from '../labels.ts';
import type { JsonObject } from '../object.ts';
import type { AdmissionAttributes } from './attributes.ts';

/** Which requests a webhook or a policy is about: rules, selectors, and other forms of the same resource. */

export type GroupVersionKind = { readonly group: string; readonly version: string; readonly kind: string };
export type GroupVersionResource = {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
};

export type Rule = {
  readonly operations: readonly string[];
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly resources: readonly string[];
  readonly scope: string;
  /** Of policies only; empty: any. */
  readonly resourceNames: readonly string[];
};

export type Matching = {
  readonly rules: readonly Rule[];
  /** What matches one of these is left alone. */
  readonly excluded: readonly Rule[];
  readonly namespaceSelector: Selector;
  readonly objectSelector: Selector;
  /** Exact: only requests for the very group and version that a rule names. */
  readonly exact: boolean;
};

/** The same objects under another group or version. */
export type Form = { readonly kind: GroupVersionKind; readonly resource: GroupVersionResource };

export function parseRules(holder: JsonObject, field: string): readonly Rule[] {
  return objectsAt(holder, field).map((rule) => ({
    operations: stringsAt(rule, 'operations'),
    apiGroups: stringsAt(rule, 'apiGroups'),
    apiVersions: stringsAt(rule, 'apiVersions'),
    resources: stringsAt(rule, 'resources'),
    scope: stringAt(rule, 'scope') || '*',
    resourceNames: stringsAt(rule, 'resourceNames'),
  }));
}

/** Of a webhook (`rules`) or of MatchResources (`resourceRules`). */
export function parseMatching(holder: JsonObject, rulesField: 'rules' | 'resourceRules'): Matching {
  return {
    rules: parseRules(holder, rulesField),
    excluded: parseRules(holder, 'excludeResourceRules'),
    namespaceSelector: parseSelector(holder, 'namespaceSelector'),
    objectSelector: parseSelector(holder, 'objectSelector'),
    exact: stringAt(holder, 'matchPolicy') === 'Exact',
  };
}

export function parseSelector(holder: JsonObject, field: string): Selector {
  const selector = objectAt(holder, field);
  // What is stored was validated as a LabelSelector.
  return selectorOf(selector as LabelSelector | undefined) ?? everything;
}

/**
 * The form in which the request is to be shown; undefined: it is none of our business. `others` are the resource's
 * other forms, asked only where the policy is Equivalent. `namespaceLabels` is asked only where a selector needs it.
 */
export function matchedForm(
  matching: Matching,
  attributes: AdmissionAttributes,
  others: () => readonly Form[],
  namespaceLabels: () => Readonly<Record<string, string>>,
): Form | undefined {
  const own: Form = { kind: attributes.kind, resource: attributes.resource };
  const forms = (): readonly Form[] => (matching.exact ? [own] : [own, ...others()]);
  if (matching.excluded.length > 0 && firstForm(matching.excluded, attributes, own, forms) !== undefined) {
    return undefined;
  }
  const form = firstForm(matching.rules, attributes, own, forms);
  if (form === undefined) return undefined;
  if (!matchesNamespace(matching.namespaceSelector, attributes, namespaceLabels)) return undefined;
  return matchesObject(matching.objectSelector, attributes) ? form : undefined;
}

function firstForm(
  rules: readonly Rule[],
  attributes: AdmissionAttributes,
  own: Form,
  forms: () => readonly Form[],
): Form | undefined {
  const matches = (form: Form): boolean => rules.some((rule) => ruleMatches(rule, attributes, form.resource));
  return matches(own) ? own : forms().find(matches);
}

export function ruleMatches(
  rule: Rule,
  attributes: AdmissionAttributes,
  resource: GroupVersionResource,
): boolean {
  return (
    has(rule.operations, attributes.operation) &&
    has(rule.apiGroups, resource.group) &&
    has(rule.apiVersions, resource.version) &&
    (rule.resourceNames.length === 0 || rule.resourceNames.includes(attributes.name)) &&
    scopeMatches(rule.scope, attributes) &&
    rule.resources.some((pattern) => resourceMatches(pattern, resource.plural, attributes.subresource))
  );
}

function has(values: readonly string[], value: string): boolean {
  return values.includes('*') || values.includes(value);
}

/** A Namespace is cluster-scoped, although its requests carry a namespace. */
function scopeMatches(scope: string, { resource, namespace }: AdmissionAttributes): boolean {
  const namespaced = namespace !== '' && !isNamespace(resource);
  switch (scope) {
    case 'Namespaced':
      return namespaced;
    case 'Cluster':
      return !namespaced;
    default:
      return true;
  }
}

function isNamespace({ group, plural }: GroupVersionResource): boolean {
  return group === '' && plural === 'namespaces';
}

function resourceMatches(pattern: string, plural: string, subresource: string): boolean {
  const slash = pattern.indexOf('/');
  const resource = slash === -1 ? pattern : pattern.slice(0, slash);
  const sub = slash === -1 ? '' : pattern.slice(slash + 1);
  return (resource === '*' || resource === plural) && (sub === '*' || sub === subresource);
}

/** Cluster-scoped objects have no namespace that could exempt them. A new or changed Namespace answers for itself. */
function matchesNamespace(
  selector: Selector,
  attributes: AdmissionAttributes,
  namespaceLabels: () => Readonly<Record<string, string>>,
): boolean {
  if (selector.length === 0) return true;
  if (isNamespace(attributes.resource)) {
    const own = attributes.object ?? attributes.oldObject;
    return matchesLabels(selector, stringMapAt(own, 'metadata', 'labels'));
  }
  return attributes.namespace === '' || matchesLabels(selector, namespaceLabels());
}

/** Either state of the object may match. */
function matchesObject(selector: Selector, { object, oldObject }: AdmissionAttributes): boolean {
  if (selector.length === 0) return true;
  return [object, oldObject].some(
    (state) => state !== undefined && matchesLabels(selector, stringMapAt(state, 'metadata', 'labels')),
  );
}

const ownGroup = 'admissionregistration.k8s.io';

/** Nothing that governs admission is governed by it: a wrong configuration could not be taken back. */
export function isExempt({ resource }: AdmissionAttributes): boolean {
  return resource.group === ownGroup;
}
