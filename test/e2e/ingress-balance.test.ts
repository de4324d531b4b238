import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { test, type TestContext } from 'node:test';
import { endpointSlices, ingresses } from '../../src/api/resource.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { countedLoad } from '../support/counted-load.ts';
import { FakeApi } from '../support/fake-api.ts';
import { get as getUrl } from '../support/load.ts';
import {
  type Backend,
  get,
  hostRule,
  ingress,
  killBackend,
  seedWeb,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

/** Service `web` with the backends behind an Ingress that has those annotations. */
function seed(api: FakeApi, backends: readonly Backend[], annotations: Record<string, string>): void {
  seedWeb(api, backends);
  const web = ingress('web', { rules: [hostRule(undefined, 'web')] });
  const prefixed = Object.entries(annotations).map(([name, value]) => [`fairlead.dev/${name}`, value]);
  api.seed(ingresses, { ...web, metadata: { ...web.metadata, annotations: Object.fromEntries(prefixed) } });
}

async function startAll(t: TestContext, names: readonly string[]): Promise<Backend[]> {
  const backends: Backend[] = [];
  for (const name of names) backends.push(await startBackend(t, name));
  return backends;
}

function keepAlive(t: TestContext): Agent {
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return agent;
}

test('ingress balance: weights of slices are exact over a round', options, async (t) => {
  const [light, heavy] = await startAll(t, ['light', 'heavy']);
  assert.ok(light !== undefined && heavy !== undefined);
  const api = new FakeApi();
  seedWeb(api, [light]);
  const weighted = slice('web', 1, heavy.port);
  const annotations = { 'fairlead.dev/weight': '3' };
  api.seed(endpointSlices, {
    ...weighted,
    metadata: { ...weighted.metadata, annotations },
  });
  const { http } = await startIngress(t, api);
  const agent = keepAlive(t);
  for (let turn = 0; turn < 40; turn += 1) await get(http, '/', agent);
  assert.deepEqual([light.requests, heavy.requests], [10, 30]);
});

test(
  'ingress balance: a hashed header keeps its endpoint, and only those of a lost endpoint move',
  options,
  async (t) => {
    const backends = await startAll(t, ['a', 'b', 'c', 'd']);
    const api = new FakeApi();
    seed(api, backends, { 'load-balance': 'consistent-hash', 'hash-by': 'header:x-user' });
    const { http } = await startIngress(t, api);
    const agent = keepAlive(t);
    const users = Array.from({ length: 60 }, (_, index) => `user-${index}`);
    const homes = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const user of users) found.push((await get(http, '/', agent, { 'x-user': user })).body);
      return found;
    };
    const before = await homes();
    assert.deepEqual(await homes(), before);
    assert.equal(new Set(before).size, 4);
    await api.delete(endpointSlices, 'default', 'web-2');
    let after = await homes();
    await until(async () => {
      after = await homes();
      return !after.includes('c');
    });
    const moved = users.filter((_, index) => before[index] !== 'c' && before[index] !== after[index]);
    assert.ok(moved.length <= 10, `${moved.length} of ${users.length} moved without need`);
  },
);

test(
  'ingress balance: by client address all requests of a client go to one endpoint, and move once',
  options,
  async (t) => {
    const backends = await startAll(t, ['a', 'b', 'c']);
    const api = new FakeApi();
    seed(api, backends, { affinity: 'client-ip' });
    const { http } = await startIngress(t, api, { trustedProxies: ['127.0.0.0/8'] });
    const agent = keepAlive(t);
    const ask = async (address: string): Promise<string> =>
      (await get(http, '/', agent, { 'x-forwarded-for': address })).body;
    const clients = Array.from({ length: 30 }, (_, index) => `192.0.2.${index}`);
    const before = new Map<string, string>();
    for (const client of clients) before.set(client, await ask(client));
    for (const client of clients) assert.equal(await ask(client), before.get(client));
    // It terminates but serves: nobody new, and its clients go where they stay.
    const leaving = slice('web', 0, backends[0]!.port);
    const conditions = { ready: false, serving: true, terminating: true };
    api.seed(endpointSlices, { ...leaving, endpoints: [{ addresses: ['127.0.0.1'], conditions }] });
    const [asked] = clients.filter((client) => before.get(client) === 'a');
    assert.ok(asked !== undefined);
    await until(async () => (await ask(asked)) !== 'a');
    const after = new Map<string, string>();
    for (const client of clients) after.set(client, await ask(client));
    for (const client of clients) {
      if (before.get(client) === 'a') assert.notEqual(after.get(client), 'a');
      else assert.equal(after.get(client), before.get(client));
    }
    await api.delete(endpointSlices, 'default', 'web-0');
    for (const client of clients) assert.equal(await ask(client), after.get(client));
  },
);

test(
  'ingress balance: a cookie holds its endpoint, and its client moves once when that drains',
  options,
  async (t) => {
    const backends = await startAll(t, ['a', 'b', 'c']);
    const api = new FakeApi();
    seed(api, backends, { affinity: 'cookie' });
    const { http } = await startIngress(t, api);
    const url = `http://127.0.0.1:${http}/`;
    const first = await getUrl(url);
    const cookieOf = (answer: typeof first): string =>
      String(answer.headers['set-cookie'] ?? '').split(';')[0] ?? '';
    let cookie = cookieOf(first);
    for (let turn = 0; turn < 10; turn += 1) {
      const again = await getUrl(url, { cookie });
      assert.equal(again.body, first.body);
      assert.equal(cookieOf(again), '', 'nothing new to be told');
    }
    const index = ['a', 'b', 'c'].indexOf(first.body);
    const conditions = { ready: false, serving: true, terminating: true };
    const leaving = slice('web', index, backends[index]!.port);
    api.seed(endpointSlices, { ...leaving, endpoints: [{ addresses: ['127.0.0.1'], conditions }] });
    let moved = first;
    await until(async () => {
      moved = await getUrl(url, { cookie });
      return moved.body !== first.body;
    });
    cookie = cookieOf(moved);
    assert.notEqual(cookie, '');
    await api.delete(endpointSlices, 'default', `web-${index}`); // gone for good: no second move
    for (let turn = 0; turn < 10; turn += 1) assert.equal((await getUrl(url, { cookie })).body, moved.body);
  },
);

test(
  'ingress balance: an endpoint at its bound lets requests wait, and turns away those beyond the queue',
  options,
  async (t) => {
    const held: (() => void)[] = [];
    let most = 0;
    const backend = await startBackend(t, 'a', (_request, response) => {
      held.push(() => response.end('done'));
      most = Math.max(most, held.length);
    });
    const api = new FakeApi();
    seed(api, [backend], { 'max-connections': '2', 'max-pending': '3' });
    const { http, health } = await startIngress(t, api);
    const agent = keepAlive(t);
    const asked = Array.from({ length: 8 }, async () => (await get(http, '/', agent)).status);
    const statuses: number[] = [];
    for (const one of asked) void one.then((status) => statuses.push(status));
    await until(() => statuses.length === 3);
    assert.deepEqual(statuses, [503, 503, 503]);
    const text = (await getUrl(`http://127.0.0.1:${health}/metrics`)).body;
    assert.match(text, /fairlead_ingress_backend_waiting_requests\{backend="default\/web:80"\} 3/);
    while (statuses.length < 8) {
      await until(() => held.length > 0 || statuses.length === 8);
      held.shift()?.();
    }
    assert.equal(most, 2);
    assert.deepEqual(
      statuses.toSorted((a, b) => a - b),
      [200, 200, 200, 200, 200, 503, 503, 503],
    );
  },
);

test(
  'ingress balance: a failing endpoint is ejected, tried by one request, and taken back when it is well',
  options,
  async (t) => {
    let ill = true;
    const bad = await startBackend(t, 'bad', (_request, response) => {
      response.statusCode = ill ? 500 : 200;
      response.end('bad');
    });
    const good = await startBackend(t, 'good');
    const api = new FakeApi();
    seed(api, [bad, good], { 'outlier-errors': '3', 'outlier-ejection-time': '500ms' });
    const { http } = await startIngress(t, api);
    const agent = keepAlive(t);
    let failures = 0;
    for (let turn = 0; turn < 30; turn += 1) {
      if ((await get(http, '/', agent)).status === 500) failures += 1;
    }
    // Of 30 it would have failed 15. One more finds out each time that it has been out for long enough.
    assert.ok(failures >= 3 && failures < 10, `${failures} failed: it was ejected after 3`);
    const before = bad.requests;
    await until(async () => {
      await get(http, '/', agent);
      return bad.requests > before;
    });
    assert.equal(bad.requests - before, 1, 'half-open: one request finds out');
    ill = false;
    await until(async () => (await get(http, '/', agent)).body === 'bad');
    let served = 0;
    for (let turn = 0; turn < 20; turn += 1) if ((await get(http, '/', agent)).body === 'bad') served += 1;
    assert.equal(served, 10);
  },
);

test(
  'ingress balance: a GET that is answered 503 is asked again elsewhere, a POST is not',
  options,
  async (t) => {
    const bad = await startBackend(t, 'bad', (request, response) => {
      request.resume();
      response.statusCode = 503;
      response.end('bad');
    });
    const good = await startBackend(t, 'good');
    const api = new FakeApi();
    seed(api, [bad, good], { 'retry-on': 'reset,503' });
    const { http } = await startIngress(t, api);
    for (let turn = 0; turn < 10; turn += 1) {
      assert.equal((await get(http, '/', false)).body, 'good');
      const put = await fetch(`http://127.0.0.1:${http}/`, { method: 'PUT', body: 'again and again' });
      assert.equal(await put.text(), 'good');
    }
    const posts: number[] = [];
    for (let turn = 0; turn < 10; turn += 1) {
      const post = await fetch(`http://127.0.0.1:${http}/`, { method: 'POST', body: 'once' });
      posts.push(post.status);
      await post.text();
    }
    assert.equal(posts.filter((status) => status === 503).length, 5);
  },
);

test(
  'ingress balance: a request that takes longer than it may is 504, and its endpoint is let go',
  options,
  async (t) => {
    const silent = await startBackend(t, 'a', () => {});
    const api = new FakeApi();
    seed(api, [silent], { 'request-timeout': '300ms' });
    const { http } = await startIngress(t, api);
    assert.equal((await get(http, '/', false)).status, 504);
    await until(
      () =>
        new Promise<boolean>((resolve, reject) => {
          silent.server.getConnections((error, count) =>
            error === null ? resolve(count === 0) : reject(error),
          );
        }),
    );
  },
);

test(
  'ingress balance: no idempotent request is lost while Pods are rolled, killed and out of order',
  options,
  async (t) => {
    const backends = await startAll(t, ['a', 'b', 'c']);
    const api = new FakeApi();
    seed(api, backends, { 'load-balance': 'least-request', 'slow-start': '1s' });
    const { http } = await startIngress(t, api, { limits: { ...defaultLimits, quarantineMs: 100 } });
    const agent = keepAlive(t);
    const traffic = countedLoad(async () => {
      const { status, body } = await get(http, '/', agent);
      return status === 200 || `${status} ${body}`;
    }, 16);
    await traffic.more(200);
    for (let round = 0; round < 3; round += 1) {
      const index = round % 3;
      killBackend(backends[index]!); // SIGKILL: nobody has told the API yet
      await traffic.more(300);
      const fresh = await startBackend(t, `new-${round}`);
      backends[index] = fresh;
      api.seed(endpointSlices, slice('web', index, fresh.port));
      await until(() => fresh.requests > 5 || traffic.counts.failures.length > 0);
    }
    await traffic.stop();
  },
);
