import { isJsonObject, type Json } from './object.ts';

/**
 * The JSONPath that printer columns and selectable fields use: `.spec.size`, `.a['b.c']`, `[0]`, `[*]` and the filter
 * `[?(@.type=="Ready")]`. A leading `$` and surrounding braces are allowed.
 */
export type JsonPath = readonly Step[];

type Step =
  | { readonly kind: 'key'; readonly name: string }
  | { readonly kind: 'index'; readonly at: number }
  | { readonly kind: 'each' }
  | { readonly kind: 'where'; readonly keys: readonly string[]; readonly equals: string };

const stepForms: readonly { readonly form: RegExp; readonly read: (found: RegExpExecArray) => Step }[] = [
  { form: /^\.((?:[^.[\]\\'"]|\\.)+)/, read: ([, name = '']) => key(name.replaceAll(/\\(.)/g, '$1')) },
  { form: /^\[['"]([^'"]+)['"]\]/, read: ([, name = '']) => key(name) },
  { form: /^\[(-?\d+)\]/, read: ([, at = '0']) => ({ kind: 'index', at: Number(at) }) },
  { form: /^\[\*\]|^\.\*/, read: () => ({ kind: 'each' }) },
  {
    form: /^\[\?\(\s*@\.([\w.-]+)\s*==\s*(?:"([^"]*)"|'([^']*)'|(\w+))\s*\)\]/,
    read: ([, path = '', a, b, c]) => ({ kind: 'where', keys: path.split('.'), equals: a ?? b ?? c ?? '' }),
  },
];

function key(name: string): Step {
  return name === '*' ? { kind: 'each' } : { kind: 'key', name };
}

/** Undefined when the text is none that we understand. */
export function parseJsonPath(text: string): JsonPath | undefined {
  let rest = text
    .trim()
    .replace(/^\{(.*)\}$/, '$1')
    .replace(/^\$/, '');
  if (!rest.startsWith('.') && !rest.startsWith('[')) return undefined;
  const steps: Step[] = [];
  while (rest !== '' && rest !== '.') {
    let step: Step | undefined;
    for (const { form, read } of stepForms) {
      const found = form.exec(rest);
      if (found === null) continue;
      step = read(found);
      rest = rest.slice(found[0].length);
      break;
    }
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return steps;
}

/** All values at the path, in order; none where it leads nowhere. */
export function valuesAt(path: JsonPath, root: Json): readonly Json[] {
  let values: readonly Json[] = [root];
  for (const step of path) values = values.flatMap((value) => follow(step, value));
  return values;
}

function follow(step: Step, value: Json): readonly Json[] {
  switch (step.kind) {
    case 'key': {
      const next = isJsonObject(value) && Object.hasOwn(value, step.name) ? value[step.name] : undefined;
      return next === undefined ? [] : [next];
    }
    case 'index': {
      const next = Array.isArray(value) ? value.at(step.at) : undefined;
      return next === undefined ? [] : [next];
    }
    case 'each':
      if (Array.isArray(value)) return value;
      return isJsonObject(value) ? Object.values(value) : [];
    case 'where':
      return Array.isArray(value) ? value.filter((item) => matches(item, step.keys, step.equals)) : [];
  }
}

function matches(item: Json, keys: readonly string[], equals: string): boolean {
  let here: Json | undefined = item;
  for (const name of keys) here = isJsonObject(here) ? here[name] : undefined;
  return here !== undefined && here !== null && typeof here !== 'object' && String(here) === equals;
}

/** The keys of a path that has no other steps, as those of the scale subresource must be. */
export function plainKeys(path: JsonPath): readonly string[] | undefined {
  const keys = path.map((step) => (step.kind === 'key' ? step.name : undefined));
  return keys.every((name) => name !== undefined) ? keys : undefined;
}
