import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectKey } from '../../api/object.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { parseAnnotations } from '../policy/annotations.ts';
import { documentedNames, translateNginx } from './translate.ts';
import { nginxPrefix, type Translation, type Verdict } from './translation.ts';

function translate(annotations: Readonly<Record<string, string>>, hasTls = false): Translation {
  const long = Object.entries(annotations).map(([name, value]) => [`${nginxPrefix}${name}`, value]);
  const translation = translateNginx(Object.fromEntries(long), { namespace: 'default', hasTls });
  assert.ok(translation !== undefined);
  return translation;
}

type Strings = Readonly<Record<string, string>>;

/** Theirs, and what they are in ours. */
const cases: readonly (readonly [name: string, given: Strings, ours: Strings])[] = [
  ['canary by weight', { canary: 'true', 'canary-weight': '30' }, { canary: 'true', 'canary-weight': '30' }],
  [
    'canary with all its conditions',
    {
      canary: 'true',
      'canary-weight-total': '1000',
      'canary-by-header': 'X-A',
      'canary-by-header-value': 'b',
      'canary-by-header-pattern': 'c',
      'canary-by-cookie': 'd',
    },
    {
      canary: 'true',
      'canary-weight-total': '1000',
      'canary-by-header': 'X-A',
      'canary-by-header-value': 'b',
      'canary-by-cookie': 'd',
    },
  ],
  [
    'canary by header pattern',
    { canary: 'true', 'canary-by-header': 'X-A', 'canary-by-header-pattern': '^v[0-9]' },
    { canary: 'true', 'canary-by-header': 'X-A', 'canary-by-header-pattern': '^v[0-9]' },
  ],
  ['rewrite-target', { 'rewrite-target': '/$2' }, { 'path-regex': 'ignore-case', 'rewrite-path': '/$2' }],
  ['use-regex', { 'use-regex': 'true' }, { 'path-regex': 'ignore-case' }],
  ['use-regex that is off', { 'use-regex': 'false' }, {}],
  ['app-root', { 'app-root': '/app' }, { 'app-root': '/app' }],
  [
    'permanent-redirect',
    { 'permanent-redirect': 'https://b.example$request_uri', 'permanent-redirect-code': '308' },
    { 'permanent-redirect': 'https://b.example$request_uri', 'permanent-redirect-code': '308' },
  ],
  [
    'permanent-redirect by a code that is not',
    { 'permanent-redirect': 'https://b.example', 'permanent-redirect-code': '307' },
    { 'temporary-redirect': 'https://b.example', 'temporary-redirect-code': '307' },
  ],
  [
    'temporal-redirect goes before the permanent one',
    { 'permanent-redirect': '/a', 'temporal-redirect': '/b', 'temporal-redirect-code': '303' },
    { 'temporary-redirect': '/b', 'temporary-redirect-code': '303' },
  ],
  ['a redirect with a variable that is not known', { 'permanent-redirect': 'https://$cookie_x' }, {}],
  ['ssl-redirect without a certificate', { 'ssl-redirect': 'true' }, {}],
  ['force-ssl-redirect', { 'force-ssl-redirect': 'true' }, { 'ssl-redirect': 'true' }],
  ['upstream-vhost', { 'upstream-vhost': 'in.example' }, { 'upstream-host': 'in.example' }],
  [
    'connection-proxy-header',
    { 'connection-proxy-header': 'Keep-Alive' },
    { 'upstream-connection': 'keep-alive' },
  ],
  ['x-forwarded-prefix', { 'x-forwarded-prefix': '/a' }, { 'forwarded-prefix': '/a' }],
  [
    'timeouts',
    { 'proxy-connect-timeout': '5', 'proxy-send-timeout': '6', 'proxy-read-timeout': '7' },
    { 'connect-timeout': '5', 'read-timeout': '7', 'send-timeout': '6' },
  ],
  ['proxy-body-size', { 'proxy-body-size': '8m' }, { 'body-size': '8m' }],
  ['client-body-buffer-size', { 'client-body-buffer-size': '1m' }, {}],
  ['backend-protocol', { 'backend-protocol': 'http' }, { 'backend-protocol': 'HTTP' }],
  ['gRPC to backends', { 'backend-protocol': 'GRPC' }, { 'backend-protocol': 'GRPC' }],
  [
    'HTTPS to backends, which there is not verified',
    { 'backend-protocol': 'HTTPS' },
    { 'backend-protocol': 'HTTPS', 'backend-tls-verify': 'off' },
  ],
  [
    'proxy-ssl-*',
    {
      'backend-protocol': 'HTTPS',
      'proxy-ssl-verify': 'on',
      'proxy-ssl-secret': 'default/ca',
      'proxy-ssl-name': 'in.example',
      'proxy-ssl-server-name': 'on',
    },
    {
      'backend-protocol': 'HTTPS',
      'backend-tls-secret': 'ca',
      'backend-tls-server-name': 'in.example',
      'backend-tls-verify': 'on',
    },
  ],
  [
    'enable-cors with its defaults',
    { 'enable-cors': 'true', 'cors-allow-origin': 'https://a.example' },
    {
      'cors-allow-credentials': 'true',
      'cors-allow-headers':
        'DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization',
      'cors-allow-methods': 'GET, PUT, POST, DELETE, PATCH, OPTIONS',
      'cors-allow-origin': 'https://a.example',
      'cors-max-age': '1728000',
      'enable-cors': 'true',
    },
  ],
  [
    'enable-cors in full',
    {
      'enable-cors': 'true',
      'cors-allow-credentials': 'false',
      'cors-allow-headers': 'X-A',
      'cors-allow-methods': 'GET',
      'cors-expose-headers': 'X-B',
      'cors-max-age': '60',
    },
    {
      'cors-allow-headers': 'X-A',
      'cors-allow-methods': 'GET',
      'cors-expose-headers': 'X-B',
      'cors-max-age': '60',
      'enable-cors': 'true',
    },
  ],
  [
    'whitelist-source-range',
    { 'whitelist-source-range': '10.0.0.0/8' },
    { 'allow-source-range': '10.0.0.0/8' },
  ],
  [
    'allowlist- and denylist-source-range',
    { 'allowlist-source-range': '10.0.0.0/8', 'denylist-source-range': '10.1.0.0/16' },
    { 'allow-source-range': '10.0.0.0/8', 'deny-source-range': '10.1.0.0/16' },
  ],
  [
    'basic auth',
    { 'auth-type': 'basic', 'auth-secret': 'default/users', 'auth-realm': 'Shop', satisfy: 'any' },
    { 'basic-auth-realm': 'Shop', 'basic-auth-secret': 'users', satisfy: 'any' },
  ],
  [
    'client certificates',
    {
      'auth-tls-secret': 'default/ca',
      'auth-tls-verify-client': 'optional_no_ca',
      'auth-tls-verify-depth': '2',
      'auth-tls-error-page': 'https://$host/no-certificate',
      'auth-tls-pass-certificate-to-upstream': 'true',
      'auth-tls-match-cn': 'CN=.*\\.example',
    },
    {
      'client-certificate-depth': '2',
      'client-certificate-error-page': 'https://$host/no-certificate',
      'client-certificate-pass': 'true',
      'client-certificate-secret': 'ca',
      'client-certificate-subject': 'CN=.*\\.example',
      'client-certificate-verify': 'optional-any',
    },
  ],
  [
    'client certificates that are not asked for',
    { 'auth-tls-secret': 'default/ca', 'auth-tls-verify-client': 'off' },
    {},
  ],
  [
    'limits',
    { 'limit-rps': '5', 'limit-connections': '9', 'limit-whitelist': '10.0.0.0/8' },
    {
      'connection-limit': '9',
      'rate-limit': '5',
      'rate-limit-burst': '25',
      'rate-limit-exempt-range': '10.0.0.0/8',
    },
  ],
  [
    'limit-rpm',
    { 'limit-rpm': '30', 'limit-burst-multiplier': '2' },
    { 'rate-limit': '30/m', 'rate-limit-burst': '60' },
  ],
  ['server-alias', { 'server-alias': 'b.example, c.example' }, { 'host-aliases': 'b.example, c.example' }],
  ['from-to-www-redirect', { 'from-to-www-redirect': 'true' }, { 'www-redirect': 'true' }],
  ['default-backend', { 'default-backend': 'sorry' }, { 'fallback-service': 'sorry' }],
  [
    'proxy-redirect-from and -to',
    { 'proxy-redirect-from': 'http://in/', 'proxy-redirect-to': '/' },
    { 'location-rewrite-from': 'http://in/', 'location-rewrite-to': '/' },
  ],
  [
    'auth-url with what belongs to it',
    {
      'auth-url': 'http://auth.default.svc.cluster.local:8080/check',
      'auth-method': 'POST',
      'auth-response-headers': 'X-User',
      'auth-signin': 'https://$host/login',
      'auth-cache-key': '$remote_user$http_x_team',
      'auth-cache-duration': '200 202 10m, 401 5m',
    },
    {
      'auth-cache-duration': '600',
      'auth-cache-headers': 'authorization, x-team',
      'auth-method': 'POST',
      'auth-response-headers': 'X-User',
      'auth-signin': 'https://$host/login',
      'auth-url': 'http://auth.default.svc.cluster.local:8080/check',
    },
  ],
  [
    'auth-url with variables, headers for the service from a snippet and a ConfigMap',
    {
      'auth-url': 'https://$host/oauth2/auth',
      'auth-signin': 'https://$host/oauth2/start?rd=$escaped_request_uri',
      'auth-snippet': 'proxy_set_header X-Client $remote_addr;\nproxy_set_header X-Kind "a b";',
      'auth-proxy-set-headers': 'default/auth-headers',
    },
    {
      'auth-request-headers': 'X-Client: $remote_addr\nX-Kind: a b',
      'auth-request-headers-from': 'default/auth-headers',
      'auth-signin': 'https://$host/oauth2/start?rd=$escaped_request_uri',
      'auth-url': 'https://$host/oauth2/auth',
    },
  ],
  [
    'an auth-snippet with more than headers',
    { 'auth-url': 'http://auth.default.svc/', 'auth-snippet': 'if ($x) { return 403; }' },
    { 'auth-url': 'http://auth.default.svc/' },
  ],
  ['custom-headers', { 'custom-headers': 'default/more' }, { 'response-headers-from': 'default/more' }],
  [
    'custom-http-errors with a default-backend',
    { 'custom-http-errors': '404,503', 'default-backend': 'default/pages' },
    { 'error-codes': '404,503', 'error-service': 'pages', 'fallback-service': 'pages' },
  ],
  ['custom-http-errors without one', { 'custom-http-errors': '404' }, {}],
  [
    'disable-proxy-intercept-errors',
    { 'custom-http-errors': '404', 'default-backend': 'pages', 'disable-proxy-intercept-errors': 'true' },
    { 'fallback-service': 'pages' },
  ],
  [
    'mirror-target',
    {
      'mirror-target': 'http://copy.default.svc$request_uri',
      'mirror-host': 'copy.example',
      'mirror-request-body': 'off',
    },
    { 'mirror-body': 'false', 'mirror-host': 'copy.example', 'mirror-target': 'http://copy.default.svc' },
  ],
  ['ssl-passthrough', { 'ssl-passthrough': 'true' }, { 'tls-passthrough': 'true' }],
  ['ssl-passthrough that is off', { 'ssl-passthrough': 'false' }, {}],
  ['load-balance', { 'load-balance': 'ewma' }, { 'load-balance': 'least-request' }],
  [
    'upstream-hash-by',
    { 'upstream-hash-by': '$http_x_user', 'load-balance': 'ewma' },
    { 'hash-by': 'header:x-user', 'load-balance': 'consistent-hash' },
  ],
  [
    'upstream-hash-by a client',
    { 'upstream-hash-by': '$remote_addr' },
    { 'hash-by': 'client-address', 'load-balance': 'consistent-hash' },
  ],
  [
    'proxy-next-upstream',
    { 'proxy-next-upstream': 'error timeout http_503 non_idempotent', 'proxy-next-upstream-tries': '2' },
    { retries: '1', 'retry-on': 'reset, timeout, 503' },
  ],
  [
    'session affinity',
    {
      affinity: 'cookie',
      'affinity-mode': 'persistent',
      'session-cookie-max-age': '60',
      'session-cookie-path': '/a',
      'session-cookie-domain': 'example',
      'session-cookie-samesite': 'Strict',
      'session-cookie-secure': 'true',
    },
    {
      affinity: 'cookie',
      'affinity-cookie-domain': 'example',
      'affinity-cookie-max-age': '60',
      'affinity-cookie-name': 'INGRESSCOOKIE',
      'affinity-cookie-path': '/a',
      'affinity-cookie-samesite': 'Strict',
      'affinity-cookie-secure': 'true',
    },
  ],
];

for (const [name, given, ours] of cases) {
  test(`nginx annotations: ${name}`, () => {
    const translation = translate(given);
    assert.deepEqual(translation.annotations, ours);
    const long = Object.entries(ours).map(([key, value]) => [`${annotationPrefix}${key}`, value]);
    const { problems } = parseAnnotations(objectKey('default', 'web'), Object.fromEntries(long));
    assert.deepEqual(problems, [], 'what it is translated to is allowed');
  });
}

test('nginx annotations: a host with a certificate is redirected to HTTPS unless told otherwise', () => {
  const { annotations } = translateNginx({}, { namespace: 'default', hasTls: true }) ?? {};
  assert.deepEqual(annotations, { 'ssl-redirect': 'tls-hosts' });
  assert.deepEqual(translate({ 'ssl-redirect': 'false' }, true).annotations, {});
});

const closing: readonly Strings[] = [
  { 'auth-type': 'digest', 'auth-secret': 'users' },
  { 'auth-type': 'basic', 'auth-secret': 'users', 'auth-secret-type': 'auth-map' },
  { 'auth-tls-secret': 'ca', 'auth-tls-verify-client': 'sometimes' },
  { 'auth-url': 'https://$http_x_where/oauth2/auth' },
  { 'auth-url': 'http://auth.default.svc/check?with=$no_such_thing' },
];

for (const given of closing) {
  test(`nginx annotations: nobody gets in where ${JSON.stringify(given)} cannot be asked for`, () => {
    const { annotations, findings } = translate(given);
    assert.equal(annotations['deny-source-range'], '0.0.0.0/0, ::/0');
    assert.equal(annotations['satisfy'], undefined);
    assert.ok(findings.some(({ verdict, text }) => verdict === 'none' && text.endsWith('nobody is let in')));
  });
}

test('nginx annotations: each documented one gets a verdict of its own', () => {
  assert.equal(new Set(documentedNames).size, documentedNames.length);
  for (const name of documentedNames) {
    const { findings } = translate({ [name]: 'x' });
    assert.equal(findings.length, 1, name);
    assert.doesNotMatch(findings[0]?.text ?? '', /documents no such/, name);
  }
});

test('nginx annotations: a slip of the pen is told with what may be meant', () => {
  const [finding] = translate({ 'rewrite-targt': '/' }).findings;
  const want: { verdict: Verdict; text: string } = {
    verdict: 'none',
    text: 'ingress-nginx documents no such annotation; is rewrite-target meant?',
  };
  assert.deepEqual(finding, { annotation: 'rewrite-targt', ...want });
});
