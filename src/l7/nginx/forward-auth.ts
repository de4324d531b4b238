import { templatesOf } from '../policy/annotations/forward-auth.ts';
import { questionTargetOf, urlTargetOf } from '../policy/annotations/url-target.ts';
import type { Translator } from './translation.ts';

/** Who is asked whether a request may pass, and who gets a copy of it. */
export function translateOutside(to: Translator): void {
  translateForwardAuth(to);
  translateMirror(to);
}

function translateForwardAuth(to: Translator): void {
  const url = to.get('auth-url');
  if (url === undefined) return to.tell('auth-snippet', 'idle', 'there is no auth-url');
  const target = questionTargetOf(url);
  if (target === undefined) {
    return to.close(
      'auth-url',
      'it must be a URL whose host is written out, best that of a Service: http://NAME.NAMESPACE.svc/PATH, or $host',
    );
  }
  to.rename('auth-url');
  const straight =
    target.at === 'itself' ? '; the path is asked of its backend at once, past the annotations there' : '';
  to.tell('auth-url', 'differs', `a service that fails is answered 503, not 500${straight}`);
  translateSnippet(to);
  to.rename('auth-proxy-set-headers', 'auth-request-headers-from');
  for (const name of ['auth-method', 'auth-response-headers', 'auth-signin', 'auth-signin-redirect-param']) {
    to.rename(name);
  }
  to.rename('auth-request-redirect');
  to.tell('auth-always-set-cookie', 'same', 'its cookies always reach the client');
  const key = to.get('auth-cache-key');
  if (key === undefined) {
    to.tell('auth-cache-duration', 'idle', 'there is no auth-cache-key');
    return;
  }
  const fields = cacheFieldsOf(key);
  if (fields === undefined) {
    to.tell(
      'auth-cache-key',
      'none',
      'only $http_…, $cookie_… and $remote_user are known: nothing is remembered',
    );
    to.tell('auth-cache-duration', 'idle', 'nothing is remembered');
    return;
  }
  to.set('auth-cache-headers', fields.join(', '), 'auth-cache-key');
  to.set(
    'auth-cache-duration',
    String(cacheSecondsOf(to.get('auth-cache-duration') ?? '')),
    'auth-cache-duration',
  );
  to.tell('auth-cache-key', 'same');
  to.tell('auth-cache-duration', 'differs', 'only answers that let a request pass are remembered');
}

/** nginx configuration is not run, but what nearly all of these say has an equal. */
function translateSnippet(to: Translator): void {
  const directives = (to.get('auth-snippet') ?? '')
    .split(/[;\n]/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const lines = directives.map((line) => {
    const [, name, bare, quoted] =
      /^proxy_set_header\s+([\w-]+)\s+(?:([^\s"']+)|"([^"]*)")$/.exec(line) ?? [];
    return name === undefined ? undefined : `${name}: ${bare ?? quoted ?? ''}`;
  });
  const text = lines.join('\n');
  if (lines.includes(undefined) || templatesOf(text) === undefined) return;
  to.set('auth-request-headers', text, 'auth-snippet');
  to.tell('auth-snippet', 'same');
}

/** The request fields that the key is made of; undefined: of something else, too. */
function cacheFieldsOf(key: string): readonly string[] | undefined {
  const fields = new Set<string>();
  for (const [, name = ''] of key.matchAll(/\$\{?(\w+)\}?/g)) {
    if (name === 'remote_user' || name === 'http_authorization') fields.add('authorization');
    else if (name.startsWith('cookie_') || name === 'http_cookie') fields.add('cookie');
    else if (name.startsWith('http_')) fields.add(name.slice('http_'.length).replaceAll('_', '-'));
    else return undefined;
  }
  return fields.size === 0 ? undefined : [...fields];
}

const cacheSecondsDefault = 300;
const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Of the first entry that is about 200 or about no status: "200 202 10m, 401 5m". */
function cacheSecondsOf(text: string): number {
  for (const entry of text.split(',')) {
    const words = entry.trim().split(/\s+/);
    const [, digits, unit = ''] = /^(\d{1,5})([smh])$/.exec(words.at(-1) ?? '') ?? [];
    const codes = words.slice(0, -1);
    if (digits === undefined || (codes.length > 0 && !codes.includes('200'))) continue;
    return Math.min(86_400, Math.max(1, Number(digits) * (unitSeconds[unit] ?? 1)));
  }
  return cacheSecondsDefault;
}

function translateMirror(to: Translator): void {
  const given = to.get('mirror-target');
  if (given === undefined) return;
  const url = given.replace(/\$request_uri$/, '');
  if (urlTargetOf(url)?.path !== '/') {
    const text = 'it must be a host, with $request_uri or nothing behind it';
    to.tell('mirror-target', 'none', text);
    to.tell('mirror-request-body', 'idle', 'nothing is mirrored');
    to.tell('mirror-host', 'idle', 'nothing is mirrored');
    return;
  }
  to.set('mirror-target', url, 'mirror-target');
  to.tell('mirror-target', 'differs', 'requests with a body beyond 64 KiB are not mirrored');
  to.rename('mirror-host');
  if (to.is('mirror-request-body', 'off')) to.set('mirror-body', 'false', 'mirror-request-body');
  to.tell('mirror-request-body', 'same');
}
