import { translateAccess } from './access.ts';
import { untranslated } from './catalogue.ts';
import { translateOutside } from './forward-auth.ts';
import { translateRouting } from './routing.ts';
import { translateBalance } from './balance.ts';
import { translateTraffic } from './traffic.ts';
import { type IngressFacts, nginxPrefix, type Translation, Translator } from './translation.ts';

/** The most that an unknown name is looked like; beyond it is not a slip of the pen. */
const slipDistanceMax = 3;

/**
 * Tells the annotations of ingress-nginx in ours. Where something that keeps people out has no equal, the translation lets
 * nobody in. `undefined`: there is none of them, and none of their defaults matters.
 */
export function translateNginx(
  annotations: Readonly<Record<string, string>> | undefined,
  facts: IngressFacts,
): Translation | undefined {
  const given = new Map(
    Object.entries(annotations ?? {})
      .filter(([name]) => name.startsWith(nginxPrefix))
      .map(([name, value]) => [name.slice(nginxPrefix.length), value] as const),
  );
  if (given.size === 0 && !facts.hasTls) return undefined;
  const to = new Translator(given, facts);
  translateRouting(to);
  translateAccess(to);
  translateTraffic(to);
  translateBalance(to);
  translateOutside(to);
  for (const name of given.keys()) {
    if (to.told(name)) continue;
    const known = untranslated[name];
    if (known === undefined)
      to.tell(name, 'none', `ingress-nginx documents no such annotation${slipOf(name)}`);
    else to.tell(name, ...known);
  }
  return to.finish();
}

function slipOf(name: string): string {
  const near = documentedNames.find((known) => distance(known, name) <= slipDistanceMax);
  return near === undefined ? '' : `; is ${near} meant?`;
}

/** Letters to change, add or take away between the two. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > slipDistanceMax) return slipDistanceMax + 1;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** All that ingress-nginx documents, with the older spellings that it still reads. */
export const documentedNames: readonly string[] = [
  ...Object.keys(untranslated),
  ...['affinity', 'affinity-canary-behavior', 'affinity-mode', 'allowlist-source-range', 'app-root'],
  ...['auth-url', 'custom-headers', 'mirror-target'],
  ...['auth-realm', 'auth-secret', 'auth-secret-type', 'auth-tls-error-page', 'auth-tls-match-cn'],
  ...['auth-tls-pass-certificate-to-upstream', 'auth-tls-secret', 'auth-tls-verify-client'],
  ...['auth-tls-verify-depth', 'auth-type', 'backend-protocol', 'canary', 'canary-by-cookie'],
  ...['canary-by-header', 'canary-by-header-pattern', 'canary-by-header-value', 'canary-weight'],
  ...['canary-weight-total', 'connection-proxy-header', 'cors-allow-credentials', 'cors-allow-headers'],
  ...['cors-allow-methods', 'cors-allow-origin', 'cors-expose-headers', 'cors-max-age', 'default-backend'],
  ...['denylist-source-range', 'enable-cors', 'force-ssl-redirect', 'from-to-www-redirect'],
  ...[
    'limit-burst-multiplier',
    'limit-connections',
    'limit-rpm',
    'limit-rps',
    'limit-whitelist',
    'load-balance',
  ],
  ...['permanent-redirect', 'permanent-redirect-code', 'preserve-trailing-slash', 'proxy-body-size'],
  ...['proxy-connect-timeout', 'proxy-read-timeout', 'proxy-redirect-from', 'proxy-redirect-to'],
  ...['proxy-buffer-size', 'proxy-next-upstream', 'proxy-next-upstream-tries', 'upstream-hash-by'],
  ...['proxy-send-timeout', 'proxy-ssl-name', 'proxy-ssl-secret', 'proxy-ssl-server-name'],
  ...['proxy-ssl-verify', 'relative-redirects', 'rewrite-target', 'satisfy', 'server-alias'],
  ...['session-cookie-change-on-failure', 'session-cookie-conditional-samesite-none'],
  ...['session-cookie-domain', 'session-cookie-expires', 'session-cookie-max-age', 'session-cookie-name'],
  ...[
    'session-cookie-path',
    'session-cookie-samesite',
    'session-cookie-secure',
    'ssl-passthrough',
    'ssl-redirect',
  ],
  ...['temporal-redirect', 'temporal-redirect-code', 'upstream-vhost', 'use-regex'],
  ...['whitelist-source-range', 'x-forwarded-prefix'],
];
