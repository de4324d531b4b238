import { isJsonObject, type Json, type JsonObject } from '../../src/api/object.ts';
import type { ListOptions } from '../../src/client/client.ts';

/** True if the object is in the scope of a list or watch: equality and existence terms of both selectors. */
export function selected(object: unknown, options: ListOptions): boolean {
  const json = object as JsonObject;
  const { namespace, labels } = (json['metadata'] ?? {}) as {
    namespace?: string;
    labels?: Record<string, string>;
  };
  if (options.namespace !== undefined && namespace !== options.namespace) return false;
  for (const term of termsOf(options.labelSelector)) {
    if (!termHolds(term, labels?.[term.field])) return false;
  }
  for (const term of termsOf(options.fieldSelector)) {
    let value: Json | undefined = json;
    for (const part of term.field.split('.')) value = isJsonObject(value) ? value[part] : undefined;
    if (!termHolds(term, typeof value === 'string' ? value : '')) return false;
  }
  return true;
}

type Term = { readonly field: string; readonly equal: boolean; readonly value: string | undefined };

function termsOf(selector: string | undefined): Term[] {
  if (selector === undefined || selector === '') return [];
  return selector.split(',').map((text) => {
    const match = /^(!?)([^!=]+)(?:(!?=)=?(.*))?$/.exec(text.trim());
    const [, not = '', field = '', operator, value] = match ?? [];
    return {
      field,
      equal: not === '' && operator !== '!=',
      value: operator === undefined ? undefined : value,
    };
  });
}

function termHolds(term: Term, value: string | undefined): boolean {
  const equal = term.value === undefined ? value !== undefined : value === term.value;
  return equal === term.equal;
}
