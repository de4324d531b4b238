import type { ProxyContext } from '../proxy/context.ts';
import { hashText } from './hash.ts';
import type { ClientFacts } from '../proxy/headers.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { HashBy } from '../policy/policy.ts';
import { clientAddress, cookieValue, fieldValue } from '../proxy/request-fields.ts';

/** What a request is sent to the same endpoint by; undefined: it has nothing of that. `context.requestLines` must be those of `head`. */
export function requestHash(
  by: HashBy,
  head: RequestHead,
  client: ClientFacts,
  context: Pick<ProxyContext, 'requestLines' | 'isTrusted' | 'trustedHops'>,
): number | undefined {
  const value = valueOf(by, head, client, context);
  return value === undefined ? undefined : hashText(value);
}

function valueOf(
  by: HashBy,
  head: RequestHead,
  client: ClientFacts,
  context: Pick<ProxyContext, 'requestLines' | 'isTrusted' | 'trustedHops'>,
): string | undefined {
  switch (by.kind) {
    case 'client-address':
      return clientAddress(head, client, context);
    case 'uri':
      return head.target;
    case 'path':
      return head.path;
    case 'header':
      return by.name === 'host' ? head.host : fieldValue(head, context.requestLines, by.name);
    case 'cookie':
      return cookieValue(head, context.requestLines, by.name);
    case 'query':
      return queryValue(head.target.slice(head.path.length), by.name);
  }
}

/** As sent: percent-encodings are not undone, for a key needs only to be the same each time. */
function queryValue(query: string, name: string): string | undefined {
  for (const item of query.slice(1).split('&')) {
    if (item.startsWith(`${name}=`)) return item.slice(name.length + 1);
  }
  return undefined;
}
