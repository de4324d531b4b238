/** What one proxy says in Forwarded (RFC 7239 §4). Each '' where it says nothing. */
export type ForwardedElement = {
  /** Address of who came to it, without port and brackets; `unknown` and `_…` (§6.2, §6.3) as they are. */
  readonly for: string;
  /** In lower case. */
  readonly proto: string;
  readonly host: string;
};

const token = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const quoted = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t -\\x7e\\x80-\\xff])*"';
const pair = new RegExp(`[\\t ]*(?:(${token})=(${token}|${quoted}))?[\\t ]*`, 'y');

/**
 * The elements of all Forwarded fields joined by commas, in the order of the proxies that wrote them; undefined: they break the
 * grammar, so that nobody can say where an element ends, and none is to be believed.
 */
export function parseForwarded(text: string): readonly ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = [];
  let element = new Map<string, string>();
  let at = 0;
  for (;;) {
    pair.lastIndex = at;
    const [whole = '', name, value = ''] = pair.exec(text) ?? [];
    at += whole.length;
    if (name !== undefined) {
      const key = name.toLowerCase();
      if (element.has(key)) return undefined; // each parameter once (§4)
      element.set(key, value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value);
    }
    const separator = text[at];
    if (separator === ';') at += 1;
    else if (separator === ',' || separator === undefined) {
      if (element.size > 0) elements.push(elementOf(element));
      if (separator === undefined) return elements;
      element = new Map();
      at += 1;
    } else return undefined;
  }
}

function elementOf(pairs: ReadonlyMap<string, string>): ForwardedElement {
  return {
    for: nodeName(pairs.get('for') ?? ''),
    proto: (pairs.get('proto') ?? '').toLowerCase(),
    host: pairs.get('host') ?? '',
  };
}

/** `192.0.2.1:80` and `[2001:db8::1]:80` without what is not the address. */
function nodeName(node: string): string {
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::[A-Za-z0-9._-]+)?$/.exec(node) ?? [];
  return bracketed ?? plain;
}
