/**
 * Links in HTML that comes through a proxy. What a page says of its own server, `href="/style.css"`, must lead through the
 * proxy again, as kube-apiserver makes it. A streaming reader of tags, not of documents. Pure.
 */

/** A longer tag is passed on as it is, characters. */
const tagLengthMax = 64 * 1024;

/** Attributes with an URL, by element (HTML 4.01 and 5). */
const urlAttributes: Readonly<Record<string, readonly string[]>> = {
  a: ['href'],
  applet: ['codebase'],
  area: ['href'],
  audio: ['src'],
  base: ['href'],
  blockquote: ['cite'],
  body: ['background'],
  button: ['formaction'],
  command: ['icon'],
  del: ['cite'],
  embed: ['src'],
  form: ['action'],
  frame: ['longdesc', 'src'],
  head: ['profile'],
  html: ['manifest'],
  iframe: ['longdesc', 'src'],
  img: ['longdesc', 'src', 'usemap'],
  input: ['src', 'usemap', 'formaction'],
  ins: ['cite'],
  link: ['href'],
  object: ['classid', 'codebase', 'data', 'usemap'],
  q: ['cite'],
  script: ['src'],
  source: ['src'],
  video: ['poster', 'src'],
};

/** Elements whose content is text until their own end tag. */
const rawElements: ReadonlySet<string> = new Set(['script', 'style', 'textarea', 'title', 'xmp']);

export type LinkRewriter = {
  /** What can be passed on. Bytes are characters (latin1), so that every encoding that has ASCII in it goes through. */
  push(text: string): string;
  /** The rest. */
  end(): string;
};

/** Writes each URL as `rewrite` says. Holds back at most a tag of `tagLengthMax`. */
export function createLinkRewriter(rewrite: (url: string) => string): LinkRewriter {
  let held = '';
  /** What ends the text that is passed on unread; undefined: tags are looked for. */
  let until: string | undefined;

  function step(): string | undefined {
    if (until !== undefined) return passUntil(until);
    const start = held.indexOf('<');
    if (start === -1) return take(held.length);
    if (start > 0) return take(start);
    if (held.startsWith('<!--')) {
      until = '-->';
      return take(4);
    }
    if (held.length < 4 && '<!--'.startsWith(held)) return undefined;
    if (!/^<[a-z]/i.test(held)) return take(1);
    const end = endOfTag(held);
    if (end === undefined) return held.length > tagLengthMax ? take(held.length) : undefined;
    const tag = take(end);
    const name = nameOf(tag);
    if (rawElements.has(name)) until = `</${name}`;
    return rewritten(tag, name, rewrite);
  }

  function passUntil(mark: string): string | undefined {
    const at = held.toLowerCase().indexOf(mark);
    if (at !== -1) {
      until = undefined;
      return take(at + mark.length);
    }
    // The mark may have begun.
    return held.length < mark.length ? undefined : take(held.length - mark.length + 1);
  }

  function take(length: number): string {
    const taken = held.slice(0, length);
    held = held.slice(length);
    return taken;
  }

  return {
    push(text) {
      held += text;
      const passed: string[] = [];
      while (held !== '') {
        const part = step();
        if (part === undefined) break;
        passed.push(part);
      }
      return passed.join('');
    },
    end: () => take(held.length),
  };
}

/** Behind the `>` that is not within quotes; undefined: it has not come yet. */
function endOfTag(text: string): number | undefined {
  let quote = '';
  for (let at = 1; at < Math.min(text.length, tagLengthMax + 1); at++) {
    const character = text.charAt(at);
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '"' || character === "'") quote = character;
    else if (character === '>') return at + 1;
  }
  return undefined;
}

function nameOf(tag: string): string {
  return (/^<([a-z][a-z0-9]*)/i.exec(tag)?.[1] ?? '').toLowerCase();
}

const attribute = /([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'<>=`]+)/g;

function rewritten(tag: string, name: string, rewrite: (url: string) => string): string {
  const attributes = Object.hasOwn(urlAttributes, name) ? urlAttributes[name] : undefined;
  if (attributes === undefined) return tag;
  return tag.replace(attribute, (whole, key: string, equals: string, value: string) => {
    if (!attributes.includes(key.toLowerCase())) return whole;
    const quote = /^["']/.exec(value)?.[0] ?? '';
    const url = value.slice(quote.length, value.length - quote.length);
    return `${key}${equals}${quote}${rewrite(url)}${quote}`;
  });
}
