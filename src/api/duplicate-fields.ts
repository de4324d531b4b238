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
};

export const noDuplicates: DuplicateFields = { warnings: [], strict: [] };

/** More duplicates than these are not told; one already refuses a strict body. */
const duplicatesMax = 64;

/** `text`: what JSON.parse made `value` of. */
export function duplicateJsonFields(text: string, value: Json): DuplicateFields {
  if (countKeysInText(text) === countKeys(value)) return noDuplicates;
  const texts = duplicatePaths(text).map((path) => `duplicate field ${JSON.stringify(path)}`);
  return { warnings: texts, strict: texts };
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

/** Each path once, in the order in which the second one of a name is met. */
function duplicatePaths(text: string): readonly string[] {
  const found = new Set<string>();
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
      if (level.keys.has(level.key)) found.add(placeIn(level));
      level.keys.add(level.key);
      isKey = false;
      if (found.size === duplicatesMax) break;
    }
  }
  return [...found];
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
