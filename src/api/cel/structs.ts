/**
 * Mutations of admission policies build values as messages – `Object.spec{replicas: 3}`, `JSONPatch{op: "add"}` – which our
 * evaluator does not know. As maps they say the same, once their names have been checked. As in Kubernetes these tell of paths, not of a
 * kind: whether a kind has such fields shows when its objects are written.
 */

export type StructsAsMaps = {
  /** The expression with every message as a map: `Object{spec: x}` → `{"spec": x}`. Texts are left alone. */
  readonly text: string;
  /** What is wrong with the names of messages and of their fields. */
  readonly problem: string | undefined;
};

/** An open brace, bracket or parenthesis; with the name of the message, whose keys are bare names, and its last key. */
type Open = { readonly message: string | undefined; key: string };

const patchFields: readonly string[] = ['op', 'path', 'from', 'value'];

/** Reads an expression of a mutation. Pure. */
export function structsAsMaps(text: string): StructsAsMaps {
  let result = '';
  let at = 0;
  let problem: string | undefined;
  const open: Open[] = [];
  /** A key may stand here. */
  let expectsKey = false;
  while (at < text.length) {
    const rest = text.slice(at);
    const quoted = /^(?:[rRbB]{0,2}(?:"""[^]*?"""|'''[^]*?'''|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))/.exec(
      rest,
    )?.[0];
    const name =
      quoted === undefined
        ? /^[_a-zA-Z][_a-zA-Z0-9]*(?:\s*\.\s*[_a-zA-Z][_a-zA-Z0-9]*)*/.exec(rest)?.[0]
        : undefined;
    const space = /^\s+/.exec(rest)?.[0];
    if (quoted !== undefined) {
      result += quoted;
      at += quoted.length;
      expectsKey = false;
    } else if (space !== undefined) {
      result += space;
      at += space.length;
    } else if (name !== undefined) {
      at += name.length;
      const brace = /^\s*\{/.exec(text.slice(at))?.[0];
      const inner = open.at(-1);
      const isKey = expectsKey && inner?.message !== undefined && /^\s*:/.test(text.slice(at));
      if (isMessage(name) && brace !== undefined) {
        const message = name.replaceAll(/\s/g, '');
        problem ??= misplaced(message, open);
        result += '{';
        at += brace.length;
        open.push({ message, key: '' });
        expectsKey = true;
      } else {
        if (isKey) {
          inner.key = name;
          if (inner.message === 'JSONPatch' && !patchFields.includes(name)) {
            problem ??= `undefined field '${name}'`;
          }
        }
        result += isKey ? JSON.stringify(name) : name;
        expectsKey = false;
      }
    } else {
      const sign = text.charAt(at++);
      result += sign;
      if (sign === '{' || sign === '[' || sign === '(') open.push({ message: undefined, key: '' });
      else if (sign === '}' || sign === ']' || sign === ')') open.pop();
      expectsKey = sign === ',';
    }
  }
  return { text: result, problem };
}

/** A message is named after the fields that lead to it; lists and maps between them have no name. */
function misplaced(message: string, open: readonly Open[]): string | undefined {
  const around = open.findLast((one) => one.message !== undefined);
  if (around?.message === undefined || around.message === 'JSONPatch' || message === 'JSONPatch')
    return undefined;
  const expected = `${around.message}.${around.key}`;
  if (message === expected) return undefined;
  return `unexpected type name "${message}", expected "${expected}", which matches field name path from root Object type`;
}

function isMessage(name: string): boolean {
  return /^(?:Object(?:\s*\.\s*[_a-zA-Z][_a-zA-Z0-9]*)*|JSONPatch)$/.test(name);
}
