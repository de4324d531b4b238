import type { Translator } from './translation.ts';

/** Which requests an Ingress takes, and where they are sent instead. */
export function translateRouting(to: Translator): void {
  translatePaths(to);
  translateHttps(to);
  translateRedirects(to);
  translateCanary(to);
  const aliases = to.get('server-alias');
  if (aliases?.includes('~') === true) {
    to.tell('server-alias', 'none', 'regular expressions for hosts are not known; name the hosts');
  } else to.rename('server-alias', 'host-aliases');
  to.rename('from-to-www-redirect', 'www-redirect');
  to.rename('app-root');
  translatePassthrough(to);
}

function translatePassthrough(to: Translator): void {
  if (!to.is('ssl-passthrough', 'true')) return to.tell('ssl-passthrough', 'same', 'TLS ends here');
  to.set('tls-passthrough', 'true', 'ssl-passthrough');
  to.tell(
    'ssl-passthrough',
    'differs',
    'no flag of the controller is needed; plain HTTP is sent to HTTPS, and annotations about requests have no effect',
  );
}

const wholeHost =
  'paths are matched from their start, ignoring case; --nginx-annotations does so for all other Ingresses of the same hosts, too, as ingress-nginx does';

function translatePaths(to: Translator): void {
  const target = to.get('rewrite-target');
  const usesRegex = to.is('use-regex', 'true');
  to.readsRegex = usesRegex || (target !== undefined && target !== '');
  if (to.readsRegex) to.set('path-regex', 'ignore-case', usesRegex ? 'use-regex' : 'rewrite-target');
  to.tell('use-regex', usesRegex ? 'same' : 'idle', usesRegex ? wholeHost : '');
  if (target === undefined || target === '') return to.tell('rewrite-target', 'idle');
  to.set('rewrite-path', target, 'rewrite-target');
  const told = `the whole path becomes ${target}${target.includes('$') ? '' : ', whatever stands behind the matched part'}`;
  to.tell(
    'rewrite-target',
    'same',
    usesRegex ? told : `${told}; it turns on regular expressions: ${wholeHost}`,
  );
}

function translateHttps(to: Translator): void {
  to.tell('preserve-trailing-slash', 'idle', 'redirects keep the path as it came');
  if (to.is('force-ssl-redirect', 'true')) {
    to.set('ssl-redirect', 'true', 'force-ssl-redirect');
    to.tell('force-ssl-redirect', 'same');
    to.tell('ssl-redirect', 'idle', 'force-ssl-redirect says more');
    return;
  }
  to.tell('force-ssl-redirect', 'idle', 'as without it');
  if (to.is('ssl-redirect', 'false')) {
    to.tell('ssl-redirect', 'same', 'plain HTTP is served');
    return;
  }
  // Without the annotation, too: it is on by default for hosts that have a certificate.
  if (to.facts.hasTls) to.set('ssl-redirect', 'tls-hosts', 'ssl-redirect');
  to.tell('ssl-redirect', 'same', to.facts.hasTls ? 'for hosts of spec.tls' : 'no host has a certificate');
}

const permanentCodes = ['301', '308'];
const temporaryCodes = ['302', '303', '307'];

function translateRedirects(to: Translator): void {
  to.tell('relative-redirects', 'idle', 'redirects to a path stay relative');
  const temporary = to.get('temporal-redirect');
  if (temporary !== undefined) {
    translateRedirect(to, 'temporal-redirect', temporary, to.get('temporal-redirect-code') ?? '302');
    to.tell('temporal-redirect-code', 'same');
    to.tell('permanent-redirect', 'idle', 'temporal-redirect goes before it');
    to.tell('permanent-redirect-code', 'idle', 'temporal-redirect goes before it');
    return;
  }
  to.tell('temporal-redirect-code', 'idle', 'there is no temporal-redirect');
  const permanent = to.get('permanent-redirect');
  to.tell('permanent-redirect-code', permanent === undefined ? 'idle' : 'same');
  if (permanent === undefined) return;
  translateRedirect(to, 'permanent-redirect', permanent, to.get('permanent-redirect-code') ?? '301');
}

function translateRedirect(to: Translator, name: string, url: string, code: string): void {
  const unknown = /\$(?!scheme\b|host\b|request_uri\b)\w+/.exec(url)?.[0];
  if (unknown !== undefined) {
    to.tell(name, 'none', `${unknown} is not known in redirects, only $scheme, $host and $request_uri`);
    return;
  }
  const ours = temporaryCodes.includes(code) ? 'temporary-redirect' : 'permanent-redirect';
  to.set(ours, url, name);
  to.tell(name, 'same');
  if (code === '301' || code === '302') return;
  if (permanentCodes.includes(code) || temporaryCodes.includes(code))
    to.set(`${ours}-code`, code, `${name}-code`);
  else to.tell(name, 'differs', `status ${code} is not known: 301 is sent`);
}

function translateCanary(to: Translator): void {
  for (const name of ['canary', 'canary-weight', 'canary-weight-total', 'canary-by-header']) to.rename(name);
  to.rename('canary-by-header-value');
  to.rename('canary-by-cookie');
  if (to.get('canary-by-header-value') !== undefined) {
    to.tell('canary-by-header-pattern', 'idle', 'canary-by-header-value goes before it');
  } else to.rename('canary-by-header-pattern');
  if (to.get('canary-weight') !== undefined) {
    to.tell('canary-weight', 'differs', 'the share is exact by count, not by chance');
  }
}
