import type { Json, JsonObject } from '../object.ts';

/**
 * A set of paths into an object, in the form of metadata.managedFields[].fieldsV1, so that nothing is converted when
 * it is read or written (structured-merge-diff's serialisation).
 *
 * A key is one step of a path: `f:NAME` a field or key of a map, `k:{"name":"a"}` the element of a keyed list, `v:VALUE`
 * an element of a set. A path is a member when its node is empty or has the key `.`; other nodes are only on the way.
 * Functions here never change their arguments; results may share parts with them.
 */
export type FieldSet = { readonly [step: string]: FieldSet };

/** While it is made. */
export type FieldSetBuilder = { [step: string]: FieldSetBuilder };

export const emptySet: FieldSet = {};
const self = '.';

export function isEmptySet(set: FieldSet): boolean {
  for (const _step in set) return false;
  return true;
}

/** Whether the path that leads to this node belongs to the set itself. */
export function isMember(node: FieldSet): boolean {
  return node[self] !== undefined || isEmptySet(node);
}

/** A node that is a member with these below it. */
export function memberNode(children: FieldSet): FieldSet {
  return isEmptySet(children) ? emptySet : { [self]: emptySet, ...children };
}

function childrenOf(node: FieldSet): FieldSet {
  if (node[self] === undefined) return node;
  const { [self]: _self, ...children } = node;
  return children;
}

/** Undefined: neither a member nor anything below it. */
function node(member: boolean, children: FieldSet): FieldSet | undefined {
  if (member) return memberNode(children);
  return isEmptySet(children) ? undefined : children;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a)) return b;
  if (isEmptySet(b)) return a;
  const result: FieldSetBuilder = { ...(a as FieldSetBuilder) };
  for (const [step, theirs] of Object.entries(b)) {
    const ours = a[step];
    result[step] = (ours === undefined ? theirs : unionNode(ours, theirs)) as FieldSetBuilder;
  }
  return result;
}

function unionNode(a: FieldSet, b: FieldSet): FieldSet {
  return node(isMember(a) || isMember(b), union(childrenOf(a), childrenOf(b))) ?? emptySet;
}

/** Members of `a` that are not members of `b`. What is below a member of `b` stays. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a) || isEmptySet(b)) return a;
  const result: FieldSetBuilder = {};
  for (const [step, ours] of Object.entries(a)) {
    const theirs = b[step];
    const left = theirs === undefined ? ours : differenceNode(ours, theirs);
    if (left !== undefined) result[step] = left as FieldSetBuilder;
  }
  return result;
}

function differenceNode(a: FieldSet, b: FieldSet): FieldSet | undefined {
  return node(isMember(a) && !isMember(b), difference(childrenOf(a), childrenOf(b)));
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSetBuilder = {};
  for (const [step, ours] of Object.entries(a)) {
    const theirs = b[step];
    if (theirs === undefined) continue;
    const both = node(isMember(ours) && isMember(theirs), intersection(childrenOf(ours), childrenOf(theirs)));
    if (both !== undefined) result[step] = both as FieldSetBuilder;
  }
  return result;
}

/** Every member as kubectl users read paths: `.spec.containers[name="a"].image`. In canonical order. */
export function pathTexts(set: FieldSet): readonly string[] {
  const texts: string[] = [];
  collectPaths(set, '', texts);
  return texts;
}

function collectPaths(set: FieldSet, path: string, texts: string[]): void {
  for (const step of Object.keys(set).toSorted()) {
    const below = set[step];
    if (below === undefined || step === self) continue;
    const here = path + stepText(step);
    if (isMember(below)) texts.push(here);
    collectPaths(childrenOf(below), here, texts);
  }
}

function stepText(step: string): string {
  const rest = step.slice(2);
  switch (step.slice(0, 2)) {
    case 'f:':
      return `.${rest}`;
    case 'k:':
      return `[${Object.entries(JSON.parse(rest) as JsonObject)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    case 'v:':
      return `[=${rest}]`;
    default:
      return `[${rest}]`;
  }
}

/** Steps sorted, so that equal sets are equal bytes. */
export function canonicalSet(set: FieldSet): FieldSet {
  const result: FieldSetBuilder = {};
  for (const step of Object.keys(set).toSorted()) {
    const below = set[step];
    if (below !== undefined) result[step] = canonicalSet(below) as FieldSetBuilder;
  }
  return result;
}

/** Deepest set that is read; beyond it an entry counts as unreadable. Objects are not nested deeper either. */
const setDepthMax = 200;

/** Reads fieldsV1. Undefined: it is no set of fields. */
export function parseFieldSet(value: Json): FieldSet | undefined {
  return isFieldSet(value, 0) ? (value as FieldSet) : undefined;
}

function isFieldSet(value: Json | undefined, depth: number): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || depth > setDepthMax) {
    return false;
  }
  return Object.entries(value).every(
    ([step, below]) => (step === self || isStep(step)) && isFieldSet(below, depth + 1),
  );
}

function isStep(step: string): boolean {
  switch (step.slice(0, 2)) {
    case 'f:':
    case 'i:':
      return true;
    case 'k:':
    case 'v:':
      try {
        const parsed = JSON.parse(step.slice(2)) as Json;
        return !step.startsWith('k:') || (typeof parsed === 'object' && parsed !== null);
      } catch {
        return false; // from a client: not a set
      }
    default:
      return false;
  }
}
