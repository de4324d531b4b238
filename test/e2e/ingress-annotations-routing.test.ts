import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress } from '../../src/api/gen/networking-v1.ts';
import { endpointSlices, events, ingresses, secrets, services } from '../../src/api/resource.ts';
import { apr1 } from '../../src/l7/policy/password-hash.ts';
import { type Annotations, annotated, ask, start } from './annotation-harness.ts';
import { localhost, service, slice, startBackend, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

type Echoed = { readonly url: string; readonly headers: Annotations };

function echoed(body: string): Echoed {
  return JSON.parse(body) as Echoed;
}

/** With other paths, each of type ImplementationSpecific. */
function withPaths(ingress: Ingress, paths: readonly (readonly [path: string, service: string])[]): Ingress {
  const rules = (ingress.spec?.rules ?? []).map((rule) => ({
    ...rule,
    http: {
      paths: paths.map(([path, name]) => ({
        path,
        pathType: 'ImplementationSpecific',
        backend: { service: { name, port: { number: 80 } } },
      })),
    },
  }));
  return { ...ingress, spec: { ...ingress.spec, rules } };
}

test(
  'annotations path-regex and rewrite-path: paths are regular expressions, whose groups make the new path',
  options,
  async (t) => {
    const { http, api } = await start(t, {});
    const other = await startBackend(t, 'other');
    api.seed(services, service('other'));
    api.seed(endpointSlices, slice('other', 0, other.port));
    const rule = { 'path-regex': 'true', 'rewrite-path': '/$2/of/$1?via=rule' };
    const made = annotated('b', 'b.example', rule);
    api.seed(
      ingresses,
      withPaths(made, [
        ['/users/([0-9]+)/(.*)', 'echo'],
        ['/users/', 'other'],
        ['/(a+)+$', 'other'],
      ]),
    );
    await until(async () => (await ask(http, '/users/', { host: 'b.example' })).body === 'other');
    const { body } = await ask(http, '/users/7/cart?x=1', { host: 'b.example' });
    assert.equal(echoed(body).url, '/cart/of/7?via=rule&x=1');
    assert.equal((await ask(http, '/Users/7/cart', { host: 'b.example' })).status, 404, 'case counts');
    assert.equal((await ask(http, `/${'a'.repeat(8000)}!`, { host: 'b.example' })).status, 404);
    api.seed(
      ingresses,
      withPaths(annotated('c', 'c.example', { 'path-regex': 'ignore-case' }), [['/x(y|z)', 'echo']]),
    );
    await until(async () => (await ask(http, '/XZ-and-more', { host: 'c.example' })).status === 200);
    api.seed(
      ingresses,
      withPaths(annotated('d', 'd.example', { 'path-regex': 'true' }), [['/(a)\\1', 'echo']]),
    );
    await until(async () => (await api.list(events)).items.some(({ reason }) => reason === 'InvalidPath'));
  },
);

test('annotations host-aliases and www-redirect: other hosts lead to the same routes', options, async (t) => {
  const { http, api } = await start(t, { 'host-aliases': 'alias.example, *.alias.example, taken.example' });
  api.seed(ingresses, annotated('taken', 'taken.example', { 'permanent-redirect': '/elsewhere' }));
  api.seed(ingresses, annotated('www', 'www.shop.example', { 'www-redirect': 'true' }));
  await until(async () => (await ask(http, '/', { host: 'taken.example' })).status === 301);
  assert.equal((await ask(http, '/', { host: 'alias.example' })).status, 200);
  assert.equal((await ask(http, '/', { host: 'one.alias.example' })).status, 200);
  const { status, headers } = await ask(http, '/cart?x=1', { host: 'shop.example' });
  assert.deepEqual([status, headers.location], [308, 'http://www.shop.example/cart?x=1']);
  await until(async () => (await api.list(events)).items.some(({ reason }) => reason === 'HostConflict'));
});

test('annotation ssl-redirect: tls-hosts redirects only hosts of spec.tls', options, async (t) => {
  const { http, api } = await start(t, {});
  const made = annotated('b', 'b.example', { 'ssl-redirect': 'tls-hosts' });
  const rules = [...(made.spec?.rules ?? []), { ...made.spec?.rules?.[0], host: 'plain.example' }];
  api.seed(ingresses, { ...made, spec: { ...made.spec, rules, tls: [{ hosts: ['b.example'] }] } });
  await until(async () => (await ask(http, '/', { host: 'b.example' })).status === 308);
  assert.equal((await ask(http, '/', { host: 'plain.example' })).status, 200);
});

test('annotations of redirects know scheme, host and target of the request', options, async (t) => {
  const { http } = await start(t, { 'temporary-redirect': '$scheme://new.$host/old$request_uri' });
  assert.equal((await ask(http, '/x?y=1')).headers.location, 'http://new.a.example/old/x?y=1');
});

test('annotations about what the backend sees and what of its answer is put right', options, async (t) => {
  const elsewhere = await startBackend(t, 'elsewhere', (_, response) => {
    response.writeHead(302, { Location: 'http://internal:8080/login' });
    response.end();
  });
  const { http, api } = await start(t, {
    'upstream-host': 'inner.example:8080',
    'upstream-connection': 'close',
    'forwarded-prefix': '/shop',
  });
  const { headers } = echoed((await ask(http, '/')).body);
  assert.deepEqual(
    [headers['host'], headers['connection'], headers['x-forwarded-prefix'], headers['x-forwarded-host']],
    ['inner.example:8080', 'close', '/shop', 'a.example'],
  );
  api.seed(services, service('elsewhere'));
  api.seed(endpointSlices, slice('elsewhere', 0, elsewhere.port));
  const rule = { 'location-rewrite-from': 'http://internal:8080/', 'location-rewrite-to': '/app/' };
  api.seed(ingresses, annotated('b', 'b.example', rule, 'elsewhere'));
  await until(async () => (await ask(http, '/', { host: 'b.example' })).headers.location === '/app/login');
});

test('annotation fallback-service serves while the backend has no endpoint', options, async (t) => {
  const sorry = await startBackend(t, 'sorry');
  const { http, api } = await start(t, { 'fallback-service': 'sorry' });
  api.seed(services, service('sorry'));
  api.seed(endpointSlices, slice('sorry', 0, sorry.port));
  await api.delete(endpointSlices, 'default', 'echo-0');
  await until(async () => (await ask(http, '/')).body === 'sorry');
  const back = await startBackend(t, 'back');
  api.seed(endpointSlices, slice('echo', 1, back.port));
  await until(async () => (await ask(http, '/')).body === 'back');
});

test('annotation satisfy: any lets in by address or by password', options, async (t) => {
  const password = { 'basic-auth-secret': 'users', satisfy: 'any' };
  const { http, api } = await start(t, { ...password, 'allow-source-range': '127.0.0.0/8' });
  const auth = Buffer.from(`ann:${apr1('secret', 'saltsalt')}\n`).toString('base64');
  api.seed(secrets, { metadata: { name: 'users', namespace: 'default' }, data: { auth } });
  const far = { ...password, 'allow-source-range': '10.0.0.0/8' };
  api.seed(ingresses, annotated('far', 'far.example', far));
  api.seed(ingresses, annotated('all', 'all.example', { ...far, satisfy: 'all' }));
  const login = `Basic ${Buffer.from('ann:secret').toString('base64')}`;
  const host = 'far.example';
  await until(async () => (await ask(http, '/', { host, Authorization: login })).status === 200);
  assert.equal((await ask(http, '/')).status, 200, 'the address is enough');
  assert.equal((await ask(http, '/', { host })).status, 401);
  assert.equal((await ask(http, '/', { host: 'all.example', Authorization: login })).status, 403);
});

test('annotations connection-limit and rate-limit-exempt-range', options, async (t) => {
  const waiting: (() => void)[] = [];
  const slow = await startBackend(t, 'slow', (_, response) => {
    waiting.push(() => response.end('slow'));
  });
  const { http, api } = await start(t, { 'rate-limit': '1/m', 'rate-limit-exempt-range': `${localhost}/32` });
  for (let i = 0; i < 3; i += 1) assert.equal((await ask(http, '/')).status, 200);
  api.seed(services, service('slow'));
  api.seed(endpointSlices, slice('slow', 0, slow.port));
  api.seed(ingresses, annotated('slow', 'slow.example', { 'connection-limit': '2' }, 'slow'));
  const host = 'slow.example';
  const answers: ReturnType<typeof ask>[] = [];
  await until(async () => {
    const asked = ask(http, '/', { host });
    const first = await Promise.race([asked, new Promise((resolve) => setImmediate(resolve))]);
    if (first === undefined) answers.push(asked);
    return waiting.length === 2;
  });
  assert.equal((await ask(http, '/', { host })).status, 429);
  for (const finish of waiting.splice(0)) finish();
  await until(() => waiting.length === 0);
  const more = ask(http, '/', { host });
  await until(() => waiting.length > 0);
  for (const finish of waiting) finish();
  assert.equal((await more).status, 200, 'places are given back');
  await Promise.all(answers);
});

test('annotations canary-by-header-pattern and canary-by-cookie-value', options, async (t) => {
  const canary = await startBackend(t, 'canary');
  const { http, api } = await start(t, {});
  api.seed(services, service('new'));
  api.seed(endpointSlices, slice('new', 0, canary.port));
  const rule = {
    canary: 'true',
    'canary-by-header': 'X-Version',
    'canary-by-header-pattern': '^v[2-9]',
    'canary-by-cookie': 'beta',
    'canary-by-cookie-value': 'yes',
  };
  api.seed(ingresses, annotated('canary', 'a.example', rule, 'new'));
  const goesTo = async (headers: Annotations): Promise<boolean> =>
    (await ask(http, '/', headers)).body === 'canary';
  await until(() => goesTo({ 'X-Version': 'v2' }));
  assert.equal(await goesTo({ 'X-Version': 'v1' }), false);
  assert.equal(await goesTo({ 'X-Version': 'v1', Cookie: 'a=b; beta=yes' }), true);
  assert.equal(await goesTo({ Cookie: 'beta=always' }), false, 'a value stands for always and never');
});

test('annotations of the affinity cookie', options, async (t) => {
  const { http } = await start(t, {
    affinity: 'cookie',
    'affinity-cookie-domain': 'example',
    'affinity-cookie-samesite': 'none',
    'affinity-cookie-secure': 'true',
  });
  const [cookie] = (await ask(http, '/')).headers['set-cookie'] ?? [];
  assert.match(cookie ?? '', /; Domain=example; HttpOnly; SameSite=None; Secure$/);
});

test('annotation backend-weights', options, async (t) => {
  const weights = { 'backend-weights': 'web-v1=3,web-v2=1' };
  const { http, api } = await start(t, {});
  for (const name of ['web-v1', 'web-v2']) {
    api.seed(services, service(name));
    const { port } = await startBackend(t, name);
    api.seed(endpointSlices, slice(name, 0, port));
  }
  const sticky = { ...weights, affinity: 'cookie', 'affinity-cookie-name': 'stay' };
  api.seed(
    ingresses,
    annotated('split', 'split.example', weights, 'web-v1'),
    annotated('sticky', 'sticky.example', sticky, 'web-v2'),
    annotated('missing', 'missing.example', { 'backend-weights': 'web-v1=1,gone=1' }, 'web-v1'),
    annotated('stray', 'stray.example', weights, 'echo'),
    annotated('client', 'client.example', { ...weights, affinity: 'client-ip' }, 'web-v1'),
  );
  const answers = async (
    host: string,
    count: number,
    headers: Annotations = {},
  ): Promise<readonly string[]> => {
    const all: string[] = [];
    for (let request = 0; request < count; request += 1) {
      const { status, body } = await ask(http, '/', { host, ...headers });
      all.push(status === 200 ? body : String(status));
    }
    return all;
  };
  const count = (all: readonly string[], wanted: string): number =>
    all.filter((one) => one === wanted).length;
  await until(async () => (await ask(http, '/', { host: 'client.example' })).status === 200);
  const split = await answers('split.example', 16);
  assert.deepEqual([count(split, 'web-v1'), count(split, 'web-v2')], [12, 4]);
  // A session stays with its endpoint, and so with its Service.
  for (let session = 0; session < 3; session += 1) {
    const first = await ask(http, '/', { host: 'sticky.example' });
    const Cookie = first.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
    assert.equal(count(await answers('sticky.example', 3, { Cookie }), first.body), 3);
  }
  assert.equal(new Set(await answers('client.example', 4)).size, 1, 'so does an address');
  const missing = await answers('missing.example', 6);
  assert.deepEqual(
    [count(missing, 'web-v1'), count(missing, '503')],
    [3, 3],
    'the share of what is missing is refused',
  );
  const told = async (): Promise<readonly string[]> =>
    (await api.list(events)).items.map(({ reason = '', message = '' }) => `${reason} ${message}`);
  await until(async () =>
    (await told()).some((text) => /^ServiceNotFound .*backend-weights.*default\/gone/.test(text)),
  );
  await until(async () => (await told()).some((text) => /^InvalidAnnotation .*nothing to share/.test(text)));
});
