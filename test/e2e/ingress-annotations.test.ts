import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { configMaps, endpointSlices, events, ingresses, secrets, services } from '../../src/api/resource.ts';
import { apr1 } from '../../src/l7/policy/password-hash.ts';
import { type Annotations, type Answer, annotated, ask, start } from './annotation-harness.ts';
import { exchangeRaw, service, slice, startBackend, startIngress, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

const redirectCases: readonly (readonly [
  name: string,
  Annotations,
  path: string,
  status: number,
  to: string,
])[] = [
  ['ssl-redirect', { 'ssl-redirect': 'true' }, '/x?y=1', 308, 'https://a.example/x?y=1'],
  [
    'ssl-redirect-port',
    { 'ssl-redirect': 'true', 'ssl-redirect-port': '8443' },
    '/',
    308,
    'https://a.example:8443/',
  ],
  ['permanent-redirect', { 'permanent-redirect': 'https://new.example/' }, '/x', 301, 'https://new.example/'],
  [
    'permanent-redirect-code',
    { 'permanent-redirect': '/new', 'permanent-redirect-code': '308' },
    '/x',
    308,
    '/new',
  ],
  ['temporary-redirect', { 'temporary-redirect': 'https://b.example/' }, '/x', 302, 'https://b.example/'],
  [
    'temporary-redirect-code',
    { 'temporary-redirect': '/later', 'temporary-redirect-code': '307' },
    '/x',
    307,
    '/later',
  ],
  ['app-root', { 'app-root': '/app/' }, '/', 302, '/app/'],
];

for (const [name, annotations, path, status, to] of redirectCases) {
  test(`annotation ${name}`, options, async (t) => {
    const { http } = await start(t, annotations);
    const answer = await ask(http, path);
    assert.deepEqual([answer.status, answer.headers.location], [status, to]);
    if (name === 'app-root') assert.equal((await ask(http, '/x')).status, 200, 'only / is sent on');
  });
}

test('annotation rewrite-target replaces the matched part of the path', options, async (t) => {
  const { http, api } = await start(t, { 'rewrite-target': '/v2' });
  const backend = { service: { name: 'echo', port: { number: 80 } } };
  const spec = {
    ingressClassName: 'fairlead',
    rules: [
      {
        host: 'b.example',
        http: {
          paths: [
            { path: '/api', pathType: 'Prefix', backend },
            { path: '/one', pathType: 'Exact', backend },
          ],
        },
      },
    ],
  };
  api.seed(ingresses, { ...annotated('b', 'b.example', { 'rewrite-target': '/' }), spec });
  const url = async (host: string, path: string): Promise<unknown> => {
    const { status, body } = await ask(http, path, { host });
    return status === 200 ? (JSON.parse(body) as { url: string }).url : status;
  };
  await until(async () => (await url('b.example', '/api')) === '/');
  assert.equal(await url('a.example', '/x?q=/x'), '/v2/x?q=/x');
  assert.equal(await url('b.example', '/api/users?id=1'), '/users?id=1');
  assert.equal(await url('b.example', '/one'), '/');
  assert.equal(await url('b.example', '/apis'), 404);
  const { body } = await ask(http, '/api/x', { host: 'b.example', 'X-Forwarded-Prefix': '/spoofed' });
  const { headers } = JSON.parse(body) as { headers: Annotations };
  assert.equal(headers['x-forwarded-prefix'], '/api');
});

test('annotations read-timeout and body-size', options, async (t) => {
  const silent = await startBackend(t, 'silent', () => {});
  const { http, api } = await start(t, { 'body-size': '1k' });
  api.seed(services, service('silent'));
  api.seed(endpointSlices, slice('silent', 0, silent.port));
  api.seed(ingresses, annotated('slow', 'slow.example', { 'read-timeout': '50ms' }, 'silent'));
  await until(async () => (await ask(http, '/', { host: 'slow.example' })).status === 504);
  assert.equal((await ask(http, '/', {}, 'POST', 'x'.repeat(1024))).status, 200);
  assert.equal((await ask(http, '/', {}, 'POST', 'x'.repeat(1025))).status, 413);
  const chunked = `POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(2048)}\r\n0\r\n\r\n`;
  assert.match(await exchangeRaw(http, chunked), /^HTTP\/1.1 413 /);
});

test('annotations of CORS', options, async (t) => {
  const { http } = await start(t, {
    'enable-cors': 'true',
    'cors-allow-origin': 'https://good.example, https://*.good.example',
    'cors-allow-methods': 'GET, PUT',
    'cors-allow-headers': 'X-Token',
    'cors-expose-headers': 'X-Total',
    'cors-allow-credentials': 'true',
    'cors-max-age': '60',
  });
  const preflight = { 'Access-Control-Request-Method': 'PUT' };
  const asked = await ask(http, '/', { Origin: 'https://good.example', ...preflight }, 'OPTIONS');
  assert.equal(asked.status, 204);
  assert.deepEqual(
    Object.entries(asked.headers).filter(([name]) => name.startsWith('access-control') || name === 'vary'),
    [
      ['access-control-allow-origin', 'https://good.example'],
      ['vary', 'Origin'],
      ['access-control-allow-credentials', 'true'],
      ['access-control-expose-headers', 'X-Total'],
      ['access-control-allow-methods', 'GET, PUT'],
      ['access-control-allow-headers', 'X-Token'],
      ['access-control-max-age', '60'],
    ],
  );
  const origin = async (value: string): Promise<string | undefined> =>
    (await ask(http, '/', { Origin: value })).headers['access-control-allow-origin'];
  assert.equal(await origin('https://a.good.example'), 'https://a.good.example');
  assert.equal(await origin('https://evilgood.example'), undefined);
  assert.equal(await origin('http://good.example'), undefined);
  const refused = await ask(http, '/', { Origin: 'https://evil.example', ...preflight }, 'OPTIONS');
  assert.equal(refused.headers['access-control-allow-origin'], undefined);
});

test('annotations allow-source-range and deny-source-range', options, async (t) => {
  const { http, api } = await start(t, { 'allow-source-range': '10.0.0.0/8, 127.0.0.1' });
  api.seed(
    ingresses,
    annotated('far', 'far.example', { 'allow-source-range': '10.0.0.0/8' }),
    annotated('denied', 'denied.example', { 'deny-source-range': '127.0.0.0/8' }),
    annotated('mistyped', 'mistyped.example', { 'allow-source-range': '10.0.0.0/88' }),
  );
  const status = async (host: string): Promise<number> => (await ask(http, '/', { host })).status;
  await until(async () => (await status('mistyped.example')) === 403); // whom it should keep out is not known
  assert.equal(await status('a.example'), 200);
  assert.equal(await status('far.example'), 403);
  assert.equal(await status('denied.example'), 403);
  const { http: behind } = await startIngress(t, api, { trustedProxies: ['127.0.0.0/8'] });
  const from = async (list: string): Promise<number> =>
    (await ask(behind, '/', { host: 'far.example', 'X-Forwarded-For': list })).status;
  assert.equal(await from('10.1.1.1'), 200, 'the address that a trusted proxy tells counts');
  assert.equal(await from('10.1.1.1, 192.0.2.1'), 403, 'but not what its client claims');
  const speaking = { trustedProxies: ['127.0.0.0/8'], trustedFields: 'rfc7239' } as const;
  const { http: forwarded } = await startIngress(t, api, speaking);
  const by = async (field: string, value: string): Promise<number> =>
    (await ask(forwarded, '/', { host: 'far.example', [field]: value })).status;
  assert.equal(await by('Forwarded', 'for=10.1.1.1;proto=https'), 200, 'by Forwarded it is the same');
  assert.equal(await by('Forwarded', 'for=10.1.1.1, for="192.0.2.1:99"'), 403);
  assert.equal(await by('X-Forwarded-For', '10.1.1.1'), 403, 'and then by nothing else');
});

test('annotation basic-auth-secret', options, async (t) => {
  const { http, api } = await start(t, { 'basic-auth-secret': 'users', 'basic-auth-realm': 'Shop' });
  assert.equal((await ask(http)).status, 401, 'without the Secret nobody gets in');
  const sha = `{SHA}${createHash('sha1').update('open').digest('base64')}`;
  const file = `ann:${apr1('secret', 'abcdefgh')}\nbob:${sha}\nold:XXXXXXXXXXXXX\n`;
  api.seed(secrets, {
    metadata: { name: 'users', namespace: 'default' },
    data: { auth: Buffer.from(file).toString('base64') },
  });
  const login = async (credentials: string): Promise<Answer> =>
    ask(http, '/', { Authorization: `Basic ${Buffer.from(credentials).toString('base64')}` });
  await until(async () => (await login('ann:secret')).status === 200);
  assert.equal((await login('bob:open')).status, 200);
  for (const wrong of ['ann:open', 'bob:', 'nobody:secret', 'old:', 'ann']) {
    assert.equal((await login(wrong)).status, 401, wrong);
  }
  assert.equal((await ask(http)).headers['www-authenticate'], 'Basic realm="Shop", charset="UTF-8"');
  // A Secret of another namespace is used once its own annotation says so, and no longer than that.
  api.update(ingresses, 'default/a', {
    metadata: { annotations: { 'fairlead.dev/basic-auth-secret': 'team/users' } },
  });
  api.seed(secrets, {
    metadata: { name: 'users', namespace: 'team' },
    data: { auth: Buffer.from(`eve:${sha}\n`).toString('base64') },
  });
  await until(async () => (await login('bob:open')).status === 401);
  assert.equal((await login('eve:open')).status, 401);
  const share = (allowed: string): void =>
    api.update(secrets, 'team/users', {
      metadata: { annotations: { 'fairlead.dev/allow-from-namespaces': allowed } },
    });
  share('default');
  await until(async () => (await login('eve:open')).status === 200);
  share('other');
  await until(async () => (await login('eve:open')).status === 401);
});

test('annotation rate-limit counts by client and tells when to come again', options, async (t) => {
  const { http } = await start(t, { 'rate-limit': '0.001', 'rate-limit-burst': '3' });
  const statuses: number[] = [];
  for (let count = 0; count < 5; count += 1) statuses.push((await ask(http)).status);
  assert.deepEqual(statuses, [200, 200, 200, 429, 429]);
  assert.ok(Number((await ask(http)).headers['retry-after']) > 0);
});

test('annotations of a canary: header before cookie before weight', options, async (t) => {
  const canary = await startBackend(t, 'canary');
  const { http, api } = await start(t, {});
  api.seed(services, service('new'));
  api.seed(endpointSlices, slice('new', 0, canary.port));
  const rule = {
    canary: 'true',
    'canary-weight': '20',
    'canary-by-header': 'X-Canary',
    'canary-by-cookie': 'canary',
  };
  api.seed(ingresses, annotated('canary', 'a.example', rule, 'new'));
  const isNew = async (headers: Annotations = {}): Promise<boolean> =>
    (await ask(http, '/', headers)).body === 'canary';
  await until(() => isNew({ 'X-Canary': 'always' }));
  let taken = 0;
  for (let count = 0; count < 100; count += 1) taken += (await isNew()) ? 1 : 0;
  assert.equal(taken, 20);
  assert.equal(await isNew({ Cookie: 'a=b; canary=always' }), true);
  for (let count = 0; count < 20; count += 1) {
    assert.equal(await isNew({ 'X-Canary': 'never', Cookie: 'canary=always' }), false);
    assert.equal(await isNew({ Cookie: 'canary=never' }), false);
  }
  api.seed(ingresses, annotated('lonely', 'lonely.example', { canary: 'true' }, 'new'));
  await until(() => api.objects(events).some(({ reason }) => reason === 'CanaryWithoutRoute'));
  assert.equal((await ask(http, '/', { host: 'lonely.example' })).status, 404);
});

test('annotation canary-by-header-value', options, async (t) => {
  const canary = await startBackend(t, 'canary');
  const { http, api } = await start(t, {});
  api.seed(services, service('new'));
  api.seed(endpointSlices, slice('new', 0, canary.port));
  const rule = { canary: 'true', 'canary-by-header': 'X-Region', 'canary-by-header-value': 'eu' };
  api.seed(ingresses, annotated('canary', 'a.example', rule, 'new'));
  await until(async () => (await ask(http, '/', { 'X-Region': 'eu' })).body === 'canary');
  assert.notEqual((await ask(http, '/', { 'X-Region': 'always' })).body, 'canary');
});

test('annotations request-headers and response-headers set, replace and remove', options, async (t) => {
  const { http } = await start(t, {
    'request-headers': 'X-Team: shop\nX-Secret:',
    'response-headers': 'Strict-Transport-Security: max-age=60\nX-Powered-By:',
  });
  const { headers, body } = await ask(http, '/', { 'X-Team': 'spoofed', 'X-Secret': '1' });
  const seen = (JSON.parse(body) as { headers: Annotations }).headers;
  assert.equal(seen['x-team'], 'shop');
  assert.equal(seen['x-secret'], undefined);
  assert.equal(headers['strict-transport-security'], 'max-age=60');
  assert.equal(headers['x-powered-by'], undefined);
});

test('annotations response-headers-from, error-codes and error-service', options, async (t) => {
  const { http, api } = await start(t, {
    'response-headers-from': 'more',
    'error-codes': '403',
    'error-service': 'pages:http',
    'deny-source-range': '10.0.0.0/8',
  });
  const pages = await startBackend(t, 'pages', (request, response) => {
    response.statusCode = 451;
    response.end(`${request.method} ${request.url} ${String(request.headers['x-code'])}`);
  });
  api.seed(services, service('pages'));
  api.seed(endpointSlices, slice('pages', 0, pages.port));
  const map = { name: 'more', namespace: 'default' };
  const shown = async (): Promise<unknown> => (await ask(http, '/')).headers['x-shop'];
  const labels = { 'fairlead.dev/content': 'true' };
  api.seed(configMaps, { metadata: { ...map, labels }, data: { 'X-Shop': 'one' } });
  await until(async () => (await shown()) === 'one');
  api.seed(configMaps, { metadata: { ...map, labels }, data: { 'X-Shop': 'two' } });
  await until(async () => (await shown()) === 'two');
  api.update(ingresses, 'default/a', {
    metadata: { annotations: { 'fairlead.dev/deny-source-range': '127.0.0.1' } },
  });
  await until(async () => (await ask(http, '/x', {}, 'PUT')).status !== 200);
  const { status, body } = await ask(http, '/x', {}, 'PUT');
  assert.deepEqual([status, body], [451, 'GET / 403']);
});

test(
  'annotation affinity keeps a client at its endpoint, and lets it go when that is gone',
  options,
  async (t) => {
    const { http, api } = await start(t, {});
    const names = ['b1', 'b2', 'b3'];
    api.seed(services, service('sticky'));
    for (const [index, name] of names.entries()) {
      api.seed(endpointSlices, slice('sticky', index, (await startBackend(t, name)).port));
    }
    const rule = { affinity: 'cookie', 'affinity-cookie-name': 'stay', 'affinity-cookie-max-age': '60' };
    api.seed(ingresses, annotated('sticky', 'sticky.example', rule, 'sticky'));
    const host = 'sticky.example';
    await until(async () => (await ask(http, '/', { host })).status === 200);
    const first = await ask(http, '/', { host });
    const [line = ''] = first.headers['set-cookie'] ?? [];
    assert.match(line, /^stay=[0-9a-f]{20}; Path=\/; Max-Age=60; HttpOnly; SameSite=Lax$/);
    const Cookie = line.split(';')[0] ?? '';
    for (let count = 0; count < 10; count += 1) {
      const again = await ask(http, '/', { host, Cookie });
      assert.equal(again.body, first.body);
      assert.equal(again.headers['set-cookie'], undefined);
    }
    await api.delete(endpointSlices, 'default', `sticky-${names.indexOf(first.body)}`);
    await until(async () => (await ask(http, '/', { host, Cookie })).body !== first.body);
    assert.ok((await ask(http, '/', { host, Cookie })).headers['set-cookie'], 'a new endpoint, a new cookie');
  },
);

const badCases: readonly (readonly [name: string, value: string])[] = [
  ['ssl-redirect', 'yes'],
  ['permanent-redirect', 'javascript:alert(1)'],
  ['permanent-redirect-code', '200'],
  ['app-root', 'app'],
  ['rewrite-target', '/a?b'],
  ['read-timeout', '5 parsecs'],
  ['body-size', 'big'],
  ['cors-max-age', '-1'],
  ['rate-limit', '0'],
  ['canary-weight', '101'],
  ['request-headers', 'Host: other'],
  ['response-headers', 'no colon'],
  ['affinity', 'ip'],
  ['backend-protocol', 'FCGI'],
  ['backend-tls-secret', 'No Name'],
  ['backend-tls-server-name', 'no_name'],
  ['backend-tls-verify', 'false'],
  ['proxy-protocol', '1'],
  ['rewrite-traget', '/x'],
];

test(
  'a bad value is told by an Event that names field, value and what is allowed; the rest works',
  options,
  async (t) => {
    const { http, api } = await start(t, {
      ...Object.fromEntries(badCases),
      'response-headers': 'no colon',
      'cors-max-age': '-1',
      'enable-cors': 'true',
    });
    const { status, headers } = await ask(http, '/', { Origin: 'https://x.example' });
    assert.equal(status, 200);
    assert.equal(headers['access-control-allow-origin'], '*', 'a good value beside bad ones is honoured');
    await until(() => api.objects(events).length >= badCases.length);
    const messages = api.objects(events).map(({ reason, message }) => `${reason} ${message}`);
    for (const [name, value] of badCases) {
      const start = `InvalidAnnotation metadata.annotations[fairlead.dev/${name}]: ${JSON.stringify(value)}: `;
      const found = messages.find((message) => message.startsWith(start));
      assert.match(found ?? `nothing begins with ${start}`, /allowed: ./);
    }
  },
);
