import { fieldOfHead } from '../http1/head-edit.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import { cookieOf } from '../proxy/request-fields.ts';

/**
 * Text in which `$name` or `${name}` stands for something of a request, under nginx's names: parsed once, filled in for
 * each request.
 */
export type Template = {
  readonly text: string;
  /** Plain text and names by turns, beginning with text. */
  readonly parts: readonly string[];
};

/** What the variables say. */
export type VariableSource = {
  readonly scheme: string;
  /** Lower case, without port. */
  readonly host: string;
  /** As the client wrote it. */
  readonly authority: string;
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly clientAddress: string;
  /** '' without. `name` in lower case. */
  field(name: string): string;
  cookie(name: string): string;
};

const plainNames: ReadonlySet<string> = new Set([
  'scheme',
  'pass_access_scheme',
  'host',
  'best_http_host',
  'http_host',
  'request_method',
  'request_uri',
  'escaped_request_uri',
  'uri',
  'args',
  'query_string',
  'is_args',
  'remote_addr',
]);

export const templateVariables =
  '$scheme, $host, $http_host, $request_method, $request_uri, $escaped_request_uri, $uri, $args, $remote_addr, $http_NAME, $cookie_NAME and $arg_NAME';

/** undefined: it holds a `$` that begins none of the variables. */
export function templateOf(text: string): Template | undefined {
  const parts: string[] = [];
  let from = 0;
  for (const match of text.matchAll(/\$(?:\{(\w+)\}|(\w+))?/g)) {
    const name = match[1] ?? match[2] ?? '';
    if (!plainNames.has(name) && !/^(http|cookie|arg)_\w/.test(name)) return undefined;
    parts.push(text.slice(from, match.index), name);
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return { text, parts };
}

/** Text without variables. */
export function plainTemplate(text: string): Template {
  return { text, parts: [text] };
}

/** What came from the client holds no space or control character any more: those are escaped, so it stays one word of one line. */
export function fillTemplate({ parts }: Template, source: VariableSource): string {
  let out = parts[0] ?? '';
  for (let i = 1; i < parts.length; i += 2) {
    out += oneWord(valueOf(parts[i]!, source)) + parts[i + 1]!;
  }
  return out;
}

function oneWord(value: string): string {
  return value.replaceAll(/[^\x21-\x7e]/g, (char) => {
    const code = char.charCodeAt(0) & 0xff; // heads are Latin-1
    return `%${code.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

function valueOf(name: string, source: VariableSource): string {
  const { target } = source;
  const query = target.indexOf('?');
  switch (name) {
    case 'scheme':
    case 'pass_access_scheme':
      return source.scheme;
    case 'host':
      return source.host;
    case 'http_host':
    case 'best_http_host':
      return source.authority;
    case 'request_method':
      return source.method;
    case 'request_uri':
      return target;
    case 'escaped_request_uri':
      return encodeURIComponent(target);
    case 'uri':
      return query === -1 ? target : target.slice(0, query);
    case 'args':
    case 'query_string':
      return query === -1 ? '' : target.slice(query + 1);
    case 'is_args':
      return query === -1 ? '' : '?';
    case 'remote_addr':
      return source.clientAddress;
    default:
      return named(name, query === -1 ? '' : target.slice(query + 1), source);
  }
}

function named(name: string, query: string, source: VariableSource): string {
  if (name.startsWith('http_'))
    return source.field(name.slice('http_'.length).toLowerCase().replaceAll('_', '-'));
  if (name.startsWith('cookie_')) return source.cookie(name.slice('cookie_'.length));
  const wanted = `${name.slice('arg_'.length)}=`;
  return (
    query
      .split('&')
      .find((item) => item.startsWith(wanted))
      ?.slice(wanted.length) ?? ''
  );
}

/** What a request says of itself: fields are looked for when they are asked for. */
export function variablesOf(
  { text, host, authority, method, target }: RequestHead,
  { scheme, clientAddress }: Pick<VariableSource, 'scheme' | 'clientAddress'>,
): VariableSource {
  const field = (name: string): string => fieldOfHead(text, name) ?? '';
  return {
    scheme,
    host,
    authority,
    method,
    target,
    clientAddress,
    field,
    cookie: (name) => cookieOf(field('cookie'), name) ?? '',
  };
}
