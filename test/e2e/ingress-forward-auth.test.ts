import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { endpointSlices, ingresses, services } from '../../src/api/resource.ts';
import { type Annotations, annotated, ask, start } from './annotation-harness.ts';
import { type Backend, service, slice, startBackend, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

type Started = Awaited<ReturnType<typeof start>>;

/** The world of `start` with one more Service of that name. */
async function beside(
  t: TestContext,
  { api }: Started,
  name: string,
  handle?: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Backend> {
  const backend = await startBackend(t, name, handle);
  api.seed(services, service(name));
  api.seed(endpointSlices, slice(name, 0, backend.port));
  return backend;
}

/** Knows the token "good". */
function decide(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const { authorization, cookie } = request.headers;
  if (authorization === 'good') {
    response.writeHead(200, { 'X-User': 'ann', 'X-Team': 'one', 'Set-Cookie': 'session=1' });
  } else if (cookie === 'banned=1') response.writeHead(403);
  else if (cookie === 'broken=1') response.writeHead(500);
  else response.writeHead(401, { 'WWW-Authenticate': 'Bearer' });
  response.end('what it says does not matter');
}

test('annotation auth-url: a service decides, and tells the backend who asks', options, async (t) => {
  const asked: IncomingMessage[] = [];
  const world = await start(t, {
    'auth-url': 'http://auth.default.svc/check',
    'auth-response-headers': 'X-User',
  });
  await beside(t, world, 'auth', (request, response) => {
    asked.push(request);
    decide(request, response);
  });
  const { http } = world;
  await until(async () => (await ask(http, '/')).status === 401);
  asked.length = 0;
  const claims = { Authorization: 'good', 'X-User': 'root', 'X-Team': 'mine' };
  const answer = await ask(http, '/shop?x=1', claims, 'POST', 'body');
  assert.equal(answer.status, 200);
  const { method, url, headers } = JSON.parse(answer.body) as {
    method: string;
    url: string;
    headers: Annotations;
  };
  assert.deepEqual([method, url, headers['x-user'], headers['x-team']], ['POST', '/shop?x=1', 'ann', 'mine']);
  assert.deepEqual(answer.headers['set-cookie'], ['session=1']);
  const [question] = asked;
  assert.deepEqual(
    [question?.method, question?.url, question?.headers.host, question?.headers['content-length']],
    ['GET', '/check', 'auth.default.svc', undefined],
  );
  assert.deepEqual(
    [question?.headers['x-original-method'], question?.headers['x-original-url']],
    ['POST', 'http://a.example/shop?x=1'],
  );
  const refused = await ask(http, '/');
  assert.deepEqual([refused.status, refused.headers['www-authenticate']], [401, 'Bearer']);
  assert.equal((await ask(http, '/', { Cookie: 'banned=1' })).status, 403);
  assert.equal((await ask(http, '/', { Cookie: 'broken=1' })).status, 503);
});

test('annotation auth-url: nobody gets in while nobody can be asked', options, async (t) => {
  const { http, api } = await start(t, { 'auth-url': 'http://nowhere.default.svc/check' });
  assert.equal((await ask(http, '/', { Authorization: 'good' })).status, 503);
  api.seed(ingresses, annotated('b', 'b.example', { 'auth-url': 'ftp://what' }));
  await until(async () => (await ask(http, '/', { host: 'b.example' })).status === 503);
});

test('annotations auth-signin and satisfy: any', options, async (t) => {
  const world = await start(t, {
    'auth-url': 'http://auth.default.svc/check',
    'auth-signin': 'https://login.example/start',
  });
  await beside(t, world, 'auth', decide);
  const { http, api } = world;
  await until(async () => (await ask(http, '/')).status === 302);
  const { headers } = await ask(http, '/shop?x=1');
  assert.equal(headers.location, 'https://login.example/start?rd=http%3A%2F%2Fa.example%2Fshop%3Fx%3D1');
  const near = {
    'auth-url': 'http://auth.default.svc/check',
    'allow-source-range': '127.0.0.0/8',
    satisfy: 'any',
  };
  api.seed(ingresses, annotated('near', 'near.example', near));
  await until(async () => (await ask(http, '/', { host: 'near.example' })).status === 200);
});

test('annotation auth-cache-duration: the same credentials are asked about once', options, async (t) => {
  const world = await start(t, {
    'auth-url': 'http://auth.default.svc/check',
    'auth-cache-duration': '600',
    'auth-cache-headers': 'Authorization',
    'auth-response-headers': 'X-User',
  });
  const auth = await beside(t, world, 'auth', decide);
  const { http } = world;
  const login = { Authorization: 'good' };
  await until(async () => (await ask(http, '/', login)).status === 200);
  const before = auth.requests;
  for (let i = 0; i < 5; i += 1) {
    const { body } = await ask(http, `/${i}`, login);
    assert.equal((JSON.parse(body) as { headers: Annotations }).headers['x-user'], 'ann');
  }
  assert.equal(auth.requests, before);
  assert.equal((await ask(http, '/', { Authorization: 'bad' })).status, 401, 'others are asked about');
  assert.equal((await ask(http, '/', { Authorization: 'bad' })).status, 401);
  assert.equal(auth.requests, before + 2, 'a no is not remembered');
});

test(
  'annotations of the mirror: copies are sent, with their bodies, and nobody waits for the answer',
  options,
  async (t) => {
    const copies: { url: string; host: string; body: string }[] = [];
    const world = await start(t, {
      'mirror-target': 'http://copy.default.svc',
      'mirror-host': 'copy.example',
    });
    await beside(t, world, 'copy', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        copies.push({
          url: request.url ?? '',
          host: request.headers.host ?? '',
          body: Buffer.concat(chunks).toString(),
        });
        if (request.url !== '/silent') response.writeHead(500).end(); // else it never answers
      });
    });
    const { http, api } = world;
    await until(async () => {
      assert.equal((await ask(http, '/')).status, 200);
      return copies.length > 0;
    });
    copies.length = 0;
    assert.equal((await ask(http, '/x?y=1', {}, 'POST', 'hello')).status, 200);
    assert.equal((await ask(http, '/silent')).status, 200);
    await until(() => copies.length === 2);
    assert.deepEqual(copies[0], { url: '/x?y=1', host: 'copy.example', body: 'hello' });
    assert.equal((await ask(http, '/large', {}, 'POST', 'x'.repeat(100_000))).status, 200);
    const part = {
      'mirror-target': 'http://copy.default.svc',
      'mirror-percentage': '25',
      'mirror-body': 'false',
    };
    api.seed(ingresses, annotated('part', 'part.example', part));
    await until(async () => (await ask(http, '/part', { host: 'part.example' })).status === 200);
    copies.length = 0;
    for (let i = 0; i < 8; i += 1) await ask(http, `/part/${i}`, { host: 'part.example' }, 'POST', 'secret');
    await until(() => copies.length >= 2);
    assert.equal((await ask(http, '/last')).status, 200);
    await until(() => copies.some(({ url }) => url === '/last'));
    const parts = copies.filter(({ url }) => url.startsWith('/part/'));
    assert.deepEqual([parts.length, new Set(parts.map(({ body }) => body)).size, parts[0]?.body], [2, 1, '']);
    assert.ok(!copies.some(({ url }) => url === '/large'), 'a body beyond the bound is not copied');
  },
);
