import { secretOf, splitName } from './access.ts';
import { defaultLimits } from '../proxy/limits.ts';
import type { Translator } from './translation.ts';

/** What is done to requests and answers on their way. */
export function translateTraffic(to: Translator): void {
  translateLimits(to);
  translateCors(to);
  translateAffinity(to);
  translateUpstream(to);
  translateBackendTls(to);
}

const bufferUnits: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function translateLimits(to: Translator): void {
  const [, digits = '0', unit = ''] = /^(\d+)([kmg]?)$/i.exec(to.get('proxy-buffer-size') ?? '') ?? [];
  const wanted = Number(digits) * (bufferUnits[unit.toLowerCase()] ?? 1);
  const { responseHeadBytesMax } = defaultLimits;
  const bound = `heads of answers may have ${responseHeadBytesMax / 1024} KiB`;
  if (wanted > responseHeadBytesMax) to.tell('proxy-buffer-size', 'differs', `${bound}; a longer one is 502`);
  else to.tell('proxy-buffer-size', 'idle', bound);
  to.rename('proxy-connect-timeout', 'connect-timeout');
  to.rename('proxy-send-timeout', 'send-timeout');
  to.rename('proxy-read-timeout', 'read-timeout');
  to.rename('proxy-body-size', 'body-size');
}

/** ingress-nginx's own, where the annotations are silent. */
const corsDefaults: Readonly<Record<string, string>> = {
  'cors-allow-methods': 'GET, PUT, POST, DELETE, PATCH, OPTIONS',
  'cors-allow-headers':
    'DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization',
  'cors-max-age': '1728000',
};

function translateCors(to: Translator): void {
  if (!to.is('enable-cors', 'true')) {
    for (const name of ['enable-cors', ...Object.keys(corsDefaults), ...corsOthers]) {
      to.tell(name, 'idle', 'enable-cors is not "true"');
    }
    return;
  }
  to.rename('enable-cors');
  to.rename('cors-allow-origin');
  to.rename('cors-expose-headers');
  for (const [name, value] of Object.entries(corsDefaults)) {
    if (to.get(name) === undefined) to.set(name, value, 'enable-cors');
    else to.rename(name);
  }
  const anyOrigin =
    (to.get('cors-allow-origin') ?? '*').includes('*,') || (to.get('cors-allow-origin') ?? '*') === '*';
  if (to.is('cors-allow-credentials', 'false')) to.tell('cors-allow-credentials', 'same');
  else if (anyOrigin) {
    to.tell('cors-allow-credentials', 'differs', 'browsers refuse it for every origin, so it is not sent');
  } else {
    to.set('cors-allow-credentials', 'true', 'cors-allow-credentials'); // on by default
    to.tell('cors-allow-credentials', 'same');
  }
}

const corsOthers = ['cors-allow-origin', 'cors-expose-headers', 'cors-allow-credentials'];

const sessionCookies: readonly (readonly [theirs: string, ours: string])[] = [
  ['session-cookie-path', 'affinity-cookie-path'],
  ['session-cookie-domain', 'affinity-cookie-domain'],
  ['session-cookie-samesite', 'affinity-cookie-samesite'],
  ['session-cookie-secure', 'affinity-cookie-secure'],
];

function translateAffinity(to: Translator): void {
  if (!to.is('affinity', 'cookie')) {
    to.tell('affinity', 'none', 'only "cookie" is known');
    for (const name of affinityNames) to.tell(name, 'idle', 'affinity is not "cookie"');
    return;
  }
  to.rename('affinity');
  to.set('affinity-cookie-name', to.get('session-cookie-name') ?? 'INGRESSCOOKIE', 'session-cookie-name');
  to.tell('session-cookie-name', 'same');
  for (const [theirs, ours] of sessionCookies) to.rename(theirs, ours);
  const age =
    to.get('session-cookie-max-age') === undefined ? 'session-cookie-expires' : 'session-cookie-max-age';
  to.rename(age, 'affinity-cookie-max-age');
  to.tell('session-cookie-expires', age === 'session-cookie-expires' ? 'same' : 'idle', 'told by Max-Age');
  if (to.is('affinity-mode', 'persistent')) to.tell('affinity-mode', 'same');
  else to.tell('affinity-mode', 'differs', 'sessions stay with their endpoint when endpoints are added');
  to.tell('session-cookie-change-on-failure', 'differs', 'a session whose endpoint fails always moves');
  to.tell('session-cookie-conditional-samesite-none', 'none', 'SameSite is sent to every browser alike');
  to.tell(
    'affinity-canary-behavior',
    'differs',
    'the canary is chosen anew for each request, as with "legacy"',
  );
  if (to.is('affinity-canary-behavior', 'legacy')) to.tell('affinity-canary-behavior', 'same');
}

const affinityNames = [
  'affinity-mode',
  'affinity-canary-behavior',
  'session-cookie-name',
  'session-cookie-max-age',
  'session-cookie-expires',
  'session-cookie-change-on-failure',
  'session-cookie-conditional-samesite-none',
  ...sessionCookies.map(([theirs]) => theirs),
];

function translateUpstream(to: Translator): void {
  to.rename('upstream-vhost', 'upstream-host');
  to.rename('x-forwarded-prefix', 'forwarded-prefix');
  const connection = to.get('connection-proxy-header')?.toLowerCase();
  if (connection === 'keep-alive' || connection === 'close') {
    to.set('upstream-connection', connection, 'connection-proxy-header');
    to.tell('connection-proxy-header', 'same');
  } else to.tell('connection-proxy-header', 'none', 'only keep-alive and close are known');
  const from = to.get('proxy-redirect-from');
  if (from === 'off' || from === undefined || from === 'default') {
    const text = from === 'default' ? 'name the URL: "default" is not known' : '';
    to.tell('proxy-redirect-from', from === 'default' ? 'none' : 'idle', text);
    to.tell('proxy-redirect-to', 'idle');
  } else {
    to.rename('proxy-redirect-from', 'location-rewrite-from');
    to.rename('proxy-redirect-to', 'location-rewrite-to');
  }
  to.rename('custom-headers', 'response-headers-from');
  const text =
    'if a header of the ConfigMap is not allowed none is set, and requests are served all the same';
  to.tell('custom-headers', 'differs', text);
  translateDefaultBackend(to);
}

function translateDefaultBackend(to: Translator): void {
  const fallback = to.get('default-backend');
  if (fallback === undefined) return;
  const [namespace, name] = splitName(fallback, to.facts.namespace);
  if (namespace !== to.facts.namespace) {
    to.tell('default-backend', 'none', 'a Service of another namespace is not used');
    return;
  }
  to.set('fallback-service', name, 'default-backend');
  to.tell('default-backend', 'same');
  if (to.get('custom-http-errors') === undefined) return;
  if (to.is('disable-proxy-intercept-errors', 'true')) {
    to.tell('custom-http-errors', 'idle', 'disable-proxy-intercept-errors is "true"');
    to.tell('disable-proxy-intercept-errors', 'same');
    return;
  }
  to.rename('custom-http-errors', 'error-codes');
  to.set('error-service', name, 'default-backend');
  to.tell(
    'custom-http-errors',
    'differs',
    'the Service is asked by GET or HEAD, without the body of the request',
  );
  to.tell('disable-proxy-intercept-errors', 'idle', 'as without it');
}

const protocols: ReadonlySet<string> = new Set(['HTTP', 'HTTPS', 'GRPC', 'GRPCS']);

const backendTlsNames = [
  'backend-protocol',
  'proxy-ssl-secret',
  'proxy-ssl-name',
  'proxy-ssl-verify',
  'proxy-ssl-server-name',
];

function translateBackendTls(to: Translator): void {
  if (to.is('ssl-passthrough', 'true')) {
    for (const name of backendTlsNames)
      to.tell(name, 'idle', "the client's own TLS goes through to the backend");
    return;
  }
  const wanted = to.get('backend-protocol')?.toUpperCase();
  const protocol = wanted !== undefined && protocols.has(wanted) ? wanted : undefined;
  if (protocol !== undefined) {
    to.set('backend-protocol', protocol, 'backend-protocol');
    to.tell('backend-protocol', 'same');
  } else to.tell('backend-protocol', 'none', `${wanted} is not spoken to backends`);
  const secret = to.get('proxy-ssl-secret');
  if (secret !== undefined) {
    const { named, consent } = secretOf(secret, to.facts.namespace, 'no backend is believed');
    to.set('backend-tls-secret', named, 'proxy-ssl-secret');
    to.tell('proxy-ssl-secret', consent === undefined ? 'same' : 'differs', consent);
  }
  to.rename('proxy-ssl-name', 'backend-tls-server-name');
  if (to.is('proxy-ssl-verify', 'on')) to.tell('proxy-ssl-verify', 'same', 'as here without an annotation');
  else to.tell('proxy-ssl-verify', 'same', 'certificates are not verified');
  // Off by default there, on by default here.
  if (protocol === 'HTTPS' || protocol === 'GRPCS') {
    to.set('backend-tls-verify', to.is('proxy-ssl-verify', 'on') ? 'on' : 'off', 'proxy-ssl-verify');
  }
  const sni = to.is('proxy-ssl-server-name', 'on');
  to.tell('proxy-ssl-server-name', sni ? 'same' : 'differs', sni ? '' : 'the name is always sent');
}
