import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configMaps,
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  secrets,
  services,
} from '../../src/api/resource.ts';
import { apr1 } from '../../src/l7/policy/password-hash.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import { createTestPki } from '../support/pki.ts';
import { FakeApi } from '../support/fake-api.ts';
import { type Annotations, type Answer, ask, askOverTls } from './annotation-harness.ts';
import { service, slice, startBackend, startIngress, until } from './ingress-harness.ts';
import { echoed, everything, nginx, type Path, startNginx } from './nginx-harness.ts';

const options = { timeout: 300_000 };

/** One request to an Ingress for "a.example" and what must come of it. */
type Case = {
  readonly annotations: Annotations;
  readonly paths?: readonly Path[];
  readonly path?: string;
  readonly headers?: Annotations;
  readonly method?: string;
  readonly body?: string;
  readonly want: (answer: Answer) => unknown;
  readonly is: unknown;
};

const status = (answer: Answer): number => answer.status;
const location = (answer: Answer): unknown => [answer.status, answer.headers.location];
const seen = (field: string) => (answer: Answer) => echoed(answer).headers[field];

const cases: Readonly<Record<string, Case>> = {
  'rewrite-target with capture groups': {
    annotations: { 'rewrite-target': '/$2' },
    paths: [['/api(/|$)(.*)', 'ImplementationSpecific']],
    path: '/API/users?x=1',
    want: (answer) => echoed(answer).url,
    is: '/users?x=1',
  },
  'rewrite-target without capture groups replaces the whole path': {
    annotations: { 'rewrite-target': '/v2' },
    paths: [['/api', 'Prefix']],
    path: '/api/users',
    want: (answer) => echoed(answer).url,
    is: '/v2',
  },
  'app-root': { annotations: { 'app-root': '/app' }, want: location, is: [302, '/app'] },
  'permanent-redirect': {
    annotations: { 'permanent-redirect': 'https://b.example$request_uri', 'permanent-redirect-code': '308' },
    path: '/x?y',
    want: location,
    is: [308, 'https://b.example/x?y'],
  },
  'temporal-redirect': {
    annotations: { 'temporal-redirect': 'https://b.example', 'temporal-redirect-code': '307' },
    want: location,
    is: [307, 'https://b.example'],
  },
  'force-ssl-redirect': {
    annotations: { 'force-ssl-redirect': 'true' },
    want: location,
    is: [308, 'https://a.example/'],
  },
  'ssl-redirect without a certificate': { annotations: { 'ssl-redirect': 'true' }, want: status, is: 200 },
  'upstream-vhost': {
    annotations: { 'upstream-vhost': 'inner.example' },
    want: seen('host'),
    is: 'inner.example',
  },
  'connection-proxy-header': {
    annotations: { 'connection-proxy-header': 'close' },
    want: seen('connection'),
    is: 'close',
  },
  'x-forwarded-prefix': {
    annotations: { 'x-forwarded-prefix': '/shop' },
    want: seen('x-forwarded-prefix'),
    is: '/shop',
  },
  'proxy-body-size': {
    annotations: { 'proxy-body-size': '1k' },
    method: 'POST',
    body: 'x'.repeat(1025),
    want: status,
    is: 413,
  },
  'client-body-buffer-size': {
    annotations: { 'client-body-buffer-size': '1k' },
    method: 'POST',
    body: 'x'.repeat(5000),
    want: status,
    is: 200,
  },
  'backend-protocol': { annotations: { 'backend-protocol': 'HTTP' }, want: status, is: 200 },
  'enable-cors': {
    annotations: { 'enable-cors': 'true', 'cors-allow-origin': 'https://b.example' },
    headers: { Origin: 'https://b.example' },
    want: ({ headers }) => [
      headers['access-control-allow-origin'],
      headers['access-control-allow-credentials'],
    ],
    is: ['https://b.example', 'true'],
  },
  'whitelist-source-range': {
    annotations: { 'whitelist-source-range': '10.0.0.0/8' },
    want: status,
    is: 403,
  },
  'denylist-source-range': { annotations: { 'denylist-source-range': '127.0.0.1' }, want: status, is: 403 },
  'limit-whitelist': {
    annotations: { 'limit-rpm': '1', 'limit-burst-multiplier': '1', 'limit-whitelist': '127.0.0.0/8' },
    want: status,
    is: 200,
  },
  'auth-type basic': {
    annotations: { 'auth-type': 'basic', 'auth-secret': 'users', 'auth-realm': 'Shop' },
    want: (answer) => [answer.status, answer.headers['www-authenticate']],
    is: [401, 'Basic realm="Shop", charset="UTF-8"'],
  },
  'auth-url, auth-response-headers and variables': {
    annotations: {
      'auth-url': 'http://auth.default.svc/check?for=$host&at=$request_uri',
      'auth-response-headers': 'X-Asked',
      'auth-snippet': 'proxy_set_header X-Told $http_x_team/$request_method;',
    },
    path: '/shop?x=1',
    headers: { Authorization: 'good', 'X-Team': 'red' },
    want: seen('x-asked'),
    is: 'auth.default.svc/check?for=a.example&at=/shop?x=1 red/GET',
  },
  'auth-url on the host of the request': {
    annotations: { 'auth-url': 'https://$host/oauth2/auth', 'auth-response-headers': 'X-Asked' },
    paths: [...everything, ['/oauth2', 'Prefix', 'auth']],
    headers: { Authorization: 'good' },
    want: seen('x-asked'),
    is: 'a.example/oauth2/auth',
  },
  'auth-signin with variables': {
    annotations: {
      'auth-url': 'http://auth.default.svc/check',
      'auth-signin': 'https://$host/oauth2/start?rd=$scheme://$host$request_uri',
    },
    path: '/shop',
    want: location,
    is: [302, 'https://a.example/oauth2/start?rd=http://a.example/shop'],
  },
  'auth-url that cannot be asked': {
    annotations: { 'auth-url': 'http://nobody.default.svc/' },
    headers: { Authorization: 'good' },
    want: status,
    is: 503,
  },
  'auth-proxy-set-headers': {
    annotations: {
      'auth-url': 'http://auth.default.svc/check',
      'auth-response-headers': 'X-Asked',
      'auth-proxy-set-headers': 'default/told',
    },
    headers: { Authorization: 'good' },
    want: seen('x-asked'),
    is: 'auth.default.svc/check by map',
  },
  'custom-headers': {
    annotations: { 'custom-headers': 'default/more' },
    want: ({ headers }) => [headers['x-shop'], headers['x-powered-by']],
    is: ['yes', undefined],
  },
  'custom-http-errors of a backend': {
    annotations: { 'custom-http-errors': '404,503', 'default-backend': 'pages' },
    path: '/bad/404',
    headers: { Accept: 'text/html' },
    method: 'POST',
    body: 'x',
    want: (answer) => [answer.status, answer.headers['content-type'], JSON.parse(answer.body)],
    is: [
      404,
      'text/html',
      [
        '/',
        'host: a.example',
        'x-code: 404',
        'x-format: text/html',
        'x-ingress-name: a',
        'x-namespace: default',
        'x-original-uri: /bad/404',
        'x-service-name: echo',
        'x-service-port: 80',
      ],
    ],
  },
  'custom-http-errors, another status': {
    annotations: { 'custom-http-errors': '404', 'default-backend': 'pages' },
    path: '/bad/503',
    want: (answer) => [answer.status, echoed(answer).url],
    is: [503, '/bad/503'],
  },
  'custom-http-errors of our own answers': {
    annotations: {
      'custom-http-errors': '403',
      'default-backend': 'pages',
      'whitelist-source-range': '10.0.0.0/8',
    },
    want: (answer) => [answer.status, (JSON.parse(answer.body) as string[])[2]],
    is: [403, 'x-code: 403'],
  },
  'custom-http-errors without anybody to tell': {
    annotations: { 'custom-http-errors': '404', 'default-backend': 'nobody' },
    path: '/bad/404',
    want: status,
    is: 404,
  },
  satisfy: {
    annotations: {
      'auth-type': 'basic',
      'auth-secret': 'users',
      satisfy: 'any',
      'whitelist-source-range': '10.0.0.0/8',
    },
    headers: { Authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` },
    want: status,
    is: 200,
  },
  'auth-tls-secret over plain HTTP': {
    annotations: { 'auth-tls-secret': 'default/ca' },
    want: status,
    is: 400,
  },
  'auth-tls-secret of another namespace': {
    annotations: { 'auth-tls-secret': 'other/ca' },
    want: status,
    is: 400, // nobody's certificate is believed: that Secret has not agreed
  },
  'proxy-redirect-from and -to': {
    annotations: { 'proxy-redirect-from': 'http://inner/', 'proxy-redirect-to': '/outer/' },
    path: '/moved',
    want: (answer) => answer.headers.location,
    is: '/outer/x',
  },
  'affinity with session-cookie-*': {
    annotations: { affinity: 'cookie', 'session-cookie-name': 'route', 'session-cookie-samesite': 'Strict' },
    want: ({ headers }) => headers['set-cookie']?.[0]?.replace(/=[0-9a-f]+;/, '=…;'),
    is: 'route=…; Path=/; HttpOnly; SameSite=Strict',
  },
};

for (const [
  name,
  { annotations, paths = everything, path = '/', headers, method, body, want, is },
] of Object.entries(cases)) {
  test(`nginx annotation ${name}`, options, async (t) => {
    const { http, api } = await startNginx(t, nginx('a', 'a.example', annotations, paths));
    const auth = Buffer.from(`ann:${apr1('secret', 'saltsalt')}\n`).toString('base64');
    api.seed(secrets, { metadata: { name: 'users', namespace: 'default' }, data: { auth } });
    const last = { got: undefined as unknown };
    await until(async () => {
      const answer = await ask(http, path, headers, method, body);
      last.got = want(answer);
      return last.got !== 401 || is === 401; // the Secret comes a moment later
    });
    assert.deepEqual(last.got, is);
  });
}

test(
  'nginx use-regex: all paths of the host, of whatever Ingress and type, are patterns that ignore case',
  options,
  async (t) => {
    const { http } = await startNginx(
      t,
      nginx('a', 'a.example', {}, [['/foo', 'Exact', 'other']]),
      nginx('b', 'a.example', { 'use-regex': 'true' }, [['/bar/[0-9]+', 'ImplementationSpecific']]),
      nginx('c', 'c.example', {}, [['/foo', 'Exact', 'other']]),
    );
    const bodyOf = async (path: string, host = 'a.example'): Promise<string> => {
      const answer = await ask(http, path, { host });
      return answer.status === 200 ? answer.body : String(answer.status);
    };
    assert.equal(await bodyOf('/FOObar'), 'other');
    assert.equal(await bodyOf('/FOObar', 'c.example'), '404', 'other hosts are as they were');
    assert.equal((await ask(http, '/bar/12/more')).status, 200);
    assert.equal(await bodyOf('/bar/x'), '404');
  },
);

test('nginx canary-by-header-pattern, canary-by-cookie and canary-weight', options, async (t) => {
  const rule = {
    canary: 'true',
    'canary-by-header': 'X-Version',
    'canary-by-header-pattern': '^v[2-9]$',
    'canary-by-cookie': 'beta',
    'canary-weight': '0',
  };
  const { http } = await startNginx(
    t,
    nginx('a', 'a.example', {}, everything),
    nginx('canary', 'a.example', rule, [['/', 'Prefix', 'other']]),
  );
  assert.equal((await ask(http, '/', { 'X-Version': 'v2' })).body, 'other');
  assert.equal((await ask(http, '/', { Cookie: 'beta=always' })).body, 'other');
  assert.notEqual((await ask(http, '/', { 'X-Version': 'v1' })).body, 'other');
});

test('nginx server-alias, from-to-www-redirect and default-backend', options, async (t) => {
  const { http, api } = await startNginx(
    t,
    nginx('a', 'a.example', { 'server-alias': 'b.example', 'default-backend': 'other' }, everything),
    nginx('w', 'www.c.example', { 'from-to-www-redirect': 'true' }, everything),
  );
  assert.equal((await ask(http, '/', { host: 'b.example' })).status, 200);
  assert.equal((await ask(http, '/', { host: 'c.example' })).headers.location, 'http://www.c.example/');
  await api.delete(endpointSlices, 'default', 'echo-0');
  await until(async () => (await ask(http, '/')).body === 'other');
});

test('nginx limit-rps and limit-connections: beyond them 429', options, async (t) => {
  const rule = { 'limit-rps': '1', 'limit-burst-multiplier': '2', 'limit-connections': '9' };
  const { http } = await startNginx(t, nginx('a', 'a.example', rule, everything));
  await until(async () => (await ask(http, '/')).status === 429);
});

test('nginx proxy-read-timeout and a TLS host, which is redirected', options, async (t) => {
  const silent = await startBackend(t, 'silent', () => {});
  const tls = nginx('tls', 'tls.example', {}, everything);
  const { http, api } = await startNginx(
    t,
    { ...tls, spec: { ...tls.spec, tls: [{ hosts: ['tls.example'] }] } },
    nginx('a', 'a.example', { 'proxy-read-timeout': '1', 'proxy-connect-timeout': '1' }, [
      ['/', 'Prefix', 'silent'],
    ]),
  );
  api.seed(services, service('silent'));
  api.seed(endpointSlices, slice('silent', 0, silent.port));
  assert.equal((await ask(http, '/', { host: 'tls.example' })).status, 308);
  await until(async () => (await ask(http, '/')).status === 504);
});

test(
  'nginx annotations without an equal are told by an Event, once; ours go before theirs',
  options,
  async (t) => {
    const rule = {
      'configuration-snippet': 'more_set_headers "X-A: b";',
      'enable-modsecurity': 'true',
      'rewrite-targt': '/',
      'upstream-vhost': 'theirs.example',
    };
    const made = nginx('a', 'a.example', rule, everything);
    const annotations = { ...made.metadata?.annotations, 'fairlead.dev/upstream-host': 'ours.example' };
    const { http, api } = await startNginx(t, { ...made, metadata: { ...made.metadata, annotations } });
    assert.equal(echoed(await ask(http, '/')).headers['host'], 'ours.example');
    const told = async (): Promise<readonly (readonly [string, number | undefined])[]> =>
      (await api.list(events)).items
        .filter(({ reason }) => reason === 'UnsupportedAnnotation')
        .map(({ message = '', count }) => [/io\/([a-z-]+)\]/.exec(message)?.[1] ?? '', count] as const);
    await until(async () => (await told()).length === 3);
    assert.deepEqual((await told()).map(([name, count]) => `${name} ${count}`).toSorted(), [
      'configuration-snippet 1',
      'enable-modsecurity 1',
      'rewrite-targt 1',
    ]);
  },
);

test('nginx auth-tls-*: client certificates by host, told to the backend as there', options, async (t) => {
  const pki = await createTestPki();
  const ca = { 'ca.crt': Buffer.from(pki.authority.pair.certificate).toString('base64') };
  const asking = { 'auth-tls-secret': 'default/ca' };
  const { https, api } = await startNginx(
    t,
    nginx('on', 'on.example', { ...asking, 'auth-tls-pass-certificate-to-upstream': 'true' }, everything),
    nginx('opt', 'opt.example', { ...asking, 'auth-tls-verify-client': 'optional' }, everything),
    nginx('any', 'any.example', { ...asking, 'auth-tls-verify-client': 'optional_no_ca' }, everything),
    nginx('off', 'off.example', { ...asking, 'auth-tls-verify-client': 'off' }, everything),
    nginx('page', 'page.example', { ...asking, 'auth-tls-error-page': 'https://$host/help' }, everything),
    nginx('cn', 'cn.example', { ...asking, 'auth-tls-match-cn': 'CN=ann' }, everything),
    nginx('deep', 'deep.example', { ...asking, 'auth-tls-verify-depth': '0' }, everything),
  );
  api.seed(secrets, { metadata: { name: 'ca', namespace: 'default' }, data: ca });
  const ann = await pki.client('ann');
  const stranger = await (await createTestPki()).client('ann');
  const told = async (host: string, pair?: KeyPair): Promise<unknown> => {
    const answer = await askOverTls(https, host, pair);
    return answer.status === 200 ? echoed(answer).headers['ssl-client-verify'] : answer.status;
  };
  await until(async () => (await told('on.example', ann)) === 'SUCCESS'); // the Secret comes a moment later
  const { headers } = echoed(await askOverTls(https, 'on.example', ann));
  const names = [headers['ssl-client-subject-dn'], headers['ssl-client-issuer-dn']];
  assert.deepEqual(names, ['CN=ann', 'CN=fairlead-test-ca']);
  assert.match(headers['ssl-client-cert'] ?? '', /^-----BEGIN%20CERTIFICATE-----%0A/);
  assert.deepEqual([await told('on.example'), await told('on.example', stranger)], [400, 400]);
  assert.deepEqual([await told('opt.example'), await told('opt.example', stranger)], ['NONE', 400]);
  assert.match(String(await told('any.example', stranger)), /^FAILED:/);
  assert.equal(await told('off.example'), undefined);
  const { headers: sent } = await askOverTls(https, 'page.example', undefined);
  assert.equal(sent.location, 'https://page.example/help');
  const bob = await pki.client('bob');
  assert.deepEqual([await told('cn.example', ann), await told('cn.example', bob)], ['SUCCESS', 403]);
  assert.equal(await told('deep.example', ann), 'SUCCESS');
});

test(
  'nginx custom-headers: the ConfigMap is followed, and sets nothing that is not allowed',
  options,
  async (t) => {
    const { http, api } = await startNginx(
      t,
      nginx('a', 'a.example', { 'custom-headers': 'default/more' }, everything),
    );
    const shop = async (): Promise<unknown> => (await ask(http, '/')).headers['x-shop'];
    const write = (data: Annotations): void =>
      api.seed(configMaps, { metadata: { name: 'more', namespace: 'default' }, data });
    assert.equal(await shop(), 'yes');
    write({ 'X-Shop': 'no' });
    await until(async () => (await shop()) === 'no');
    write({ 'X-Shop': 'no', 'X-Secret': 'x' });
    await until(async () => (await shop()) === undefined);
    const reasons = async (): Promise<readonly string[]> =>
      (await api.list(events)).items.map(({ reason, message }) => `${reason}: ${message}`);
    await until(async () => (await reasons()).some((line) => line.startsWith('InvalidConfigMap')));
    assert.match(
      (await reasons()).join('\n'),
      /custom-headers\]: ConfigMap default\/more: X-Secret is not among --nginx-allowed-headers/,
    );
    await api.delete(configMaps, 'default', 'more');
    await until(async () => (await reasons()).some((line) => line.startsWith('ConfigMapNotFound')));
    assert.equal((await ask(http, '/')).status, 200);
  },
);

test(
  'nginx annotations are not read without --nginx-annotations, nor is a class of ingress-nginx ours',
  options,
  async (t) => {
    const api = new FakeApi();
    api.seed(ingressClasses, { metadata: { name: 'nginx' }, spec: { controller: 'k8s.io/ingress-nginx' } });
    api.seed(ingresses, nginx('a', 'a.example', { 'permanent-redirect': '/x' }, everything));
    const { http } = await startIngress(t, api, { ingressClasses: ['nginx'] });
    assert.equal((await ask(http, '/')).status, 404);
  },
);
