import type { Translator } from './translation.ts';

/** Which endpoint gets a request, and which one next if that fails. */
export function translateBalance(to: Translator): void {
  translateAlgorithm(to);
  translateRetries(to);
}

function translateAlgorithm(to: Translator): void {
  const hash = to.get('upstream-hash-by');
  const by = hash === undefined ? undefined : hashByOf(hash);
  if (by !== undefined) {
    to.set('load-balance', 'consistent-hash', 'upstream-hash-by');
    to.set('hash-by', by, 'upstream-hash-by');
    to.tell(
      'upstream-hash-by',
      'differs',
      'the same keys stay together, but not at the endpoint that ingress-nginx would choose',
    );
    to.tell('load-balance', 'idle', 'upstream-hash-by goes before it');
    return;
  }
  to.tell('upstream-hash-by', 'none', `there is no hash by ${hash}`);
  const algorithm = to.get('load-balance');
  if (algorithm === 'round_robin') to.tell('load-balance', 'same', 'as here without an annotation');
  else if (algorithm === 'ewma') {
    to.set('load-balance', 'least-request', 'load-balance');
    to.tell('load-balance', 'differs', 'requests under way decide, not how long others took');
  } else to.tell('load-balance', 'none', `${algorithm} is not known`);
}

const hashVariables: Readonly<Record<string, string>> = {
  $request_uri: 'uri',
  $uri: 'path',
  $remote_addr: 'client-address',
  $binary_remote_addr: 'client-address',
};

/** undefined: by something that we do not hash by. */
function hashByOf(text: string): string | undefined {
  const known = hashVariables[text];
  if (known !== undefined) return known;
  const [, kind, name] = /^\$(http|cookie|arg)_(\w+)$/.exec(text) ?? [];
  if (name === undefined) return undefined;
  if (kind === 'http') return `header:${name.replaceAll('_', '-')}`;
  return `${kind === 'arg' ? 'query' : 'cookie'}:${name}`;
}

/** What of proxy-next-upstream is a cause here; without a value: it goes without saying, or never happens. */
const causes: Readonly<Record<string, string | undefined>> = {
  error: 'reset',
  timeout: 'timeout',
  http_500: '500',
  http_502: '502',
  http_503: '503',
  http_504: '504',
};

function translateRetries(to: Translator): void {
  const tries = Number(to.get('proxy-next-upstream-tries') ?? 0);
  if (tries > 0) {
    to.set('retries', String(Math.min(tries, 11) - 1), 'proxy-next-upstream-tries');
    to.tell('proxy-next-upstream-tries', 'same');
  } else to.tell('proxy-next-upstream-tries', 'differs', 'a request is sent at most three times');
  const written = to.get('proxy-next-upstream');
  if (written === undefined) return;
  const words = written.split(/[\s,]+/).filter((word) => word !== '');
  if (words.includes('off')) {
    to.set('retries', '0', 'proxy-next-upstream');
    to.tell(
      'proxy-next-upstream',
      'same',
      'a connection that was never made is tried elsewhere all the same',
    );
    return;
  }
  const known = words.flatMap((word) => causes[word] ?? []);
  if (known.length > 0) to.set('retry-on', known.join(', '), 'proxy-next-upstream');
  const unknown = words.filter((word) => causes[word] === undefined);
  const others = unknown.length === 0 ? '' : `; ${unknown.join(', ')} is no cause`;
  to.tell('proxy-next-upstream', 'differs', `only idempotent requests are sent again${others}`);
}
