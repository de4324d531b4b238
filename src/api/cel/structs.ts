/**
 * Mutations of admission policies build values as messages – `Object.spec{replicas: 3}`, `JSONPatch{op: "add"}` – which our
 * evaluator does not know. As maps they say the same, since types are not checked against schemas here.
 */

/** The expression with every message as a map: `Object{spec: x}` → `{"spec": x}`. Texts are left alone. Pure. */
export function structsAsMaps(text: string): string {
  let result = '';
  let at = 0;
  /** Open braces and brackets; true for a message, whose keys are bare names. */
  const open: boolean[] = [];
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
      const isKey = expectsKey && open.at(-1) === true && /^\s*:/.test(text.slice(at));
      if (isMessage(name) && brace !== undefined) {
        result += '{';
        at += brace.length;
        open.push(true);
        expectsKey = true;
      } else {
        result += isKey ? JSON.stringify(name) : name;
        expectsKey = false;
      }
    } else {
      const sign = text.charAt(at++);
      result += sign;
      if (sign === '{' || sign === '[' || sign === '(') open.push(false);
      else if (sign === '}' || sign === ']' || sign === ')') open.pop();
      expectsKey = sign === ',';
    }
  }
  return result;
}

function isMessage(name: string): boolean {
  return /^(?:Object(?:\s*\.\s*[_a-zA-Z][_a-zA-Z0-9]*)*|JSONPatch)$/.test(name);
}
