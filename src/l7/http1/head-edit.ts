import type { FieldEdit } from '../policy/policy.ts';

/** A head (start line, fields, empty line) with fields set, replaced or removed. */
export function editFields(head: string, edits: readonly FieldEdit[]): string {
  let text = head;
  for (const edit of edits) {
    text = withoutField(text, edit.name);
    if (edit.value !== '') text = addLines(text, `${edit.name}: ${edit.value}\r\n`);
  }
  return text;
}

/** `lines` each with its CRLF, put behind the last field. */
export function addLines(head: string, lines: string): string {
  return `${head.slice(0, -2)}${lines}\r\n`;
}

/** Without the lines of that name, whatever its case. */
export function withoutField(head: string, name: string): string {
  const wanted = `${name.toLowerCase()}:`;
  let out = '';
  let at = 0;
  while (at < head.length) {
    const end = head.indexOf('\r\n', at) + 2;
    if (end === 1) break;
    const matches = at > 0 && head.slice(at, at + wanted.length).toLowerCase() === wanted;
    if (!matches) out += head.slice(at, end);
    at = end;
  }
  return out;
}

/** With another request target. `before` is the one that the head has. */
export function withTarget(head: string, method: string, before: string, after: string): string {
  return `${method} ${after}${head.slice(method.length + 1 + before.length)}`;
}

/** With the values of the fields of that name changed. */
export function editField(head: string, name: string, change: (value: string) => string): string {
  const wanted = `${name.toLowerCase()}:`;
  return head
    .split('\r\n')
    .map((line) => {
      if (line.slice(0, wanted.length).toLowerCase() !== wanted) return line;
      return `${line.slice(0, wanted.length)} ${change(line.slice(wanted.length).trim())}`;
    })
    .join('\r\n');
}

/** The first field of that name (lower case), read from the text. Not for the hot path. */
export function fieldOfHead(head: string, name: string): string | undefined {
  const wanted = `${name}:`;
  for (let at = head.indexOf('\r\n') + 2; at > 1 && at < head.length; at = head.indexOf('\r\n', at) + 2) {
    if (head.slice(at, at + wanted.length).toLowerCase() !== wanted) continue;
    return head.slice(at + wanted.length, head.indexOf('\r\n', at)).trim();
  }
  return undefined;
}

const bodyFields = ['Content-Length', 'Transfer-Encoding', 'Content-Type', 'Expect', 'Upgrade', 'Connection'];

/** The head of a request of our own about a client's: other method and target, no body, HTTP/1.1. */
export function withoutBody(head: string, before: string, method: string, target: string): string {
  const old = head.slice(before.length + 1, head.indexOf(' ', before.length + 1));
  const text = `${method}${withTarget(head, before, old, target).slice(before.length)}`;
  return bodyFields.reduce(withoutField, text.replace(/ HTTP\/1\.0\r\n/, ' HTTP/1.1\r\n'));
}
