import type { Json } from './object.ts';

/**
 * Fields that a body gives twice. Decoders keep the last one and say nothing, so a second look at the text is needed: for
 * JSON a count of its keys against those of the decoded value, and paths only where the two differ.
 */
export type DuplicateFields = {
  /** One text a field, for Warning headers. */
  readonly warnings: readonly string[];
  /** The same as parts of a strict decoding error, in Kubernetes' words. */
  readonly strict: readonly string[];
  /** The JSON text that they were found in. */
  readonly json?: string;
};

export const noDuplicates: DuplicateFields = { warnings: [], strict: [] };

/** More duplicates than these are not told; one already refuses a strict body. */
const duplicatesMax = 64;

/** `text`: what JSON.parse made `value` of. */
export function duplicateJsonFields(text: string, value: Json): DuplicateFields {
  if (countKeysInText(text) === countKeys(value)) return noDuplicates;
  const found = new Set<string>();
  visitKeys(text, (path, isSecond) => {
    if (isSecond) found.add(duplicateField(path));
    return found.size < duplicatesMax;
  });
  return { warnings: [...found], strict: [...found], json: text };
}

function duplicateField(path: string): string {
  return `duplicate field ${JSON.stringify(path)}`;
}

function unknownField(path: string): string {
  return `unknown field ${JSON.stringify(path)}`;
}

/**
 * What a typed object's body has twice and what its schema does not know, as `duplicates` has it for `use`, in the order in which
 * a decoder meets them: it does not look into what it does not know. Of a text that is not JSON what stands twice comes first.
 */
export function strictErrors(
  duplicates: DuplicateFields,
  unknown: readonly string[],
  use: 'warnings' | 'strict',
): readonly string[] {
  const { json } = duplicates;
  if (json === undefined || unknown.length === 0) return [...duplicates[use], ...unknown.map(unknownField)];
  const left = new Set(unknown);
  const isUnknown = (path: string): boolean =>
    unknown.some((known) => path === known || path.startsWith(`${known}.`) || path.startsWith(`${known}[`));
  const found = new Set<string>();
  visitKeys(json, (path, isSecond) => {
    if (left.delete(path)) found.add(unknownField(path));
    else if (isSecond && !isUnknown(path)) found.add(duplicateField(path));
    return found.size < duplicatesMax;
  });
  return [...found];
}

/** A string of JSON, and the colon behind it that makes it a key. */
const jsonString = /"(?:[^"\\]|\\.)*"(\s*:)?/gs;

function countKeysInText(text: string): number {
  let count = 0;
  jsonString.lastIndex = 0;
  for (let found = jsonString.exec(text); found !== null; found = jsonString.exec(text)) {
    if (found[1] !== undefined) count++;
  }
  return count;
}

function countKeys(value: Json): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) {
    for (const item of value) count += countKeys(item);
    return count;
  }
  for (const item of Object.values(value)) count += 1 + countKeys(item);
  return count;
}

type Level =
  | { readonly kind: 'object'; readonly path: string; readonly keys: Set<string>; key: string }
  | { readonly kind: 'array'; readonly path: string; index: number };

const jsonToken = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;

/** Shows every key's path in the order of the text, and whether its object has it already, until `visit` says false. */
function visitKeys(text: string, visit: (path: string, isSecond: boolean) => boolean): void {
  const levels: Level[] = [];
  let isKey = false;
  for (const [token] of text.matchAll(jsonToken)) {
    const level = levels.at(-1);
    if (token === '{' || token === '[') {
      const path = level === undefined ? '' : placeIn(level);
      levels.push(
        token === '{'
          ? { kind: 'object', path, keys: new Set(), key: '' }
          : { kind: 'array', path, index: 0 },
      );
      isKey = token === '{';
    } else if (token === '}' || token === ']') {
      levels.pop();
      isKey = false;
    } else if (token === ',') {
      if (level?.kind === 'array') level.index++;
      isKey = level?.kind === 'object';
    } else if (isKey && level?.kind === 'object' && token !== ':') {
      level.key = JSON.parse(token) as string;
      if (!visit(placeIn(level), level.keys.has(level.key))) return;
      level.keys.add(level.key);
      isKey = false;
    }
  }
}

function placeIn(level: Level): string {
  if (level.kind === 'array') return `${level.path}[${level.index}]`;
  return level.path === '' ? level.key : `${level.path}.${level.key}`;
}

/** Keys of a YAML text, as the parser's errors tell them: the line (from 1) and the text where the second one stands. */
export function duplicateYamlKeys(
  text: string,
  places: readonly { readonly line: number; readonly offset: number }[],
): DuplicateFields {
  if (places.length === 0) return noDuplicates;
  const warnings = places
    .slice(0, duplicatesMax)
    .map(({ line, offset }) => `line ${line}: key ${JSON.stringify(keyAt(text, offset))} already set in map`);
  return { warnings, strict: [`yaml: unmarshal errors:\n${warnings.map((w) => `  ${w}`).join('\n')}`] };
}

function keyAt(text: string, offset: number): string {
  const [, double, single, plain = ''] =
    /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^:\n]*))/.exec(text.slice(offset, offset + 256)) ?? [];
  return double ?? single ?? plain.trim();
}
