import { badRequest } from './status.ts';

/** `key=value` or `key!=value`; all terms must hold. */
export type FieldTerm = { readonly field: string; readonly value: string; readonly equal: boolean };
export type FieldSelector = readonly FieldTerm[];

/** Most terms of one selector; Kubernetes' clients send at most three. */
export const fieldTermsMax = 64;

/** Parses `a=b,c!=d`; `\`, `,` and `=` in values are escaped by a backslash. Throws StatusError 400. */
export function parseFieldSelector(text: string): FieldSelector {
  const terms = splitTerms(text).filter((term) => term !== '');
  if (terms.length > fieldTermsMax)
    throw badRequest(`a field selector may have at most ${fieldTermsMax} terms`);
  return terms.map((term) => {
    const found = /^([^=!]+)(==|!=|=)(.*)$/s.exec(term);
    const [, field, sign, value] = found ?? [];
    if (field === undefined || value === undefined) {
      throw badRequest(
        `Unable to find "" that match label selector "", field selector ${JSON.stringify(text)}: invalid selector: '${term}'; can't understand '${term}'`,
      );
    }
    return { field: field.trim(), value: unescape(value, text), equal: sign !== '!=' };
  });
}

function splitTerms(text: string): readonly string[] {
  const terms: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === ',') {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function unescape(value: string, whole: string): string {
  return value.replaceAll(/\\(.?)/gs, (_match, character: string) => {
    if (character === '\\' || character === ',' || character === '=') return character;
    throw badRequest(`invalid field selector: invalid escape sequence in ${JSON.stringify(whole)}`);
  });
}

/** Refuses fields that the kind cannot be selected by. `known` are the names beside metadata.name and .namespace. */
export function checkFieldSelector(selector: FieldSelector, known: readonly string[]): void {
  for (const { field } of selector) {
    if (field === 'metadata.name' || field === 'metadata.namespace' || known.includes(field)) continue;
    throw badRequest(`field label not supported: ${field}`);
  }
}

/** `fields` holds every selectable field of one object; an absent one counts as ''. */
export function matchesFields(selector: FieldSelector, fields: Readonly<Record<string, string>>): boolean {
  for (const { field, value, equal } of selector) {
    if (((fields[field] ?? '') === value) !== equal) return false;
  }
  return true;
}
