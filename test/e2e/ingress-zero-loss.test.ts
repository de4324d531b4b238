import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import {
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  secrets,
  services,
} from '../../src/api/resource.ts';
import { createAuthority } from '../../src/base/certificates.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { ingressDefaults } from '../../src/l7/controller/config.ts';
import { type IngressPorts, runStaticIngress } from '../../src/l7/controller/run.ts';
import { countedLoad } from '../support/counted-load.ts';
import { FakeApi } from '../support/fake-api.ts';
import {
  type Backend,
  curl,
  get,
  hostRule,
  ingress,
  killBackend,
  localhost,
  seedWeb,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };

function keepAlive(t: TestContext): Agent {
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return agent;
}

async function answers(port: number, agent: Agent, path = '/'): Promise<boolean> {
  return (await get(port, path, agent)).status === 200;
}

/** WebSockets there say what they hear. */
function echoSockets({ server }: Backend): void {
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (stream) => {
      stream.on('message', (data: Buffer) => stream.send(data.toString()));
    });
  });
}

async function openStream(port: number) {
  const stream = new WebSocket(`ws://${localhost}:${port}/chat`);
  await once(stream, 'open');
  return {
    async echo(text: string): Promise<void> {
      stream.send(text);
      const [answer] = (await once(stream, 'message')) as [Buffer];
      assert.equal(String(answer), text);
    },
    async close(): Promise<void> {
      const closing = once(stream, 'close');
      stream.close(1000);
      assert.equal((await closing)[0], 1000, 'it has not been cut');
    },
  };
}

test('no request is lost while endpoints come, go and are killed', options, async (t) => {
  const backends: Backend[] = [];
  for (const name of ['a', 'b', 'c', 'd']) backends.push(await startBackend(t, name));
  const [a, b, c, d] = backends;
  assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined);
  const api = new FakeApi();
  seedWeb(api, [a]);
  const { http } = await startIngress(t, api);
  const agent = keepAlive(t);
  const traffic = countedLoad(async () => answers(http, agent));
  await traffic.more(200);
  for (const [index, backend] of [b, c, d].entries()) {
    api.seed(endpointSlices, slice('web', index + 1, backend.port)); // scaled up
    await until(() => backend.requests > 20);
  }
  // Scaled down: first the endpoint leaves, then its connections end.
  await api.delete(endpointSlices, 'default', 'web-0');
  const before = a.requests;
  await traffic.more(100);
  assert.ok(a.requests - before < 20, 'a table without it is in use at once');
  killBackend(a);
  await traffic.more(200);
  killBackend(b); // as by SIGKILL: its endpoint is still in the table, GETs are tried again elsewhere
  await traffic.more(400);
  await api.delete(endpointSlices, 'default', 'web-1');
  await traffic.more(200);
  await traffic.stop();
});

test(
  'no request is lost and no stream cut while classes, other Ingresses and annotations change',
  options,
  async (t) => {
    const backend = await startBackend(t, 'web');
    echoSockets(backend);
    const api = new FakeApi();
    seedWeb(api, [backend]);
    api.seed(ingressClasses, { metadata: { name: 'second' }, spec: { controller: 'fairlead.dev/ingress' } });
    const { http } = await startIngress(t, api);
    const stream = await openStream(http);
    const agent = keepAlive(t);
    const traffic = countedLoad(async () => answers(http, agent));
    for (let turn = 0; turn < 20; turn += 1) {
      api.seed(ingresses, ingress(`other-${turn}`, { rules: [hostRule(`other-${turn}.example`, 'web')] }));
      api.update(ingresses, 'default/web', { metadata: { annotations: { note: String(turn) } } });
      await traffic.more(20);
      await stream.echo(`turn ${turn}`);
    }
    for (const className of ['second', 'fairlead']) {
      api.update(ingresses, 'default/web', { spec: { ingressClassName: className } });
      await traffic.more(100);
      await stream.echo(className);
    }
    await traffic.stop();
    await stream.close();
  },
);

test('no handshake is lost while a certificate is replaced', options, async (t) => {
  const backend = await startBackend(t, 'web');
  const api = new FakeApi();
  seedWeb(api, [backend]);
  api.seed(secrets, await certificate());
  const tls = [{ hosts: ['a.example'], secretName: 'cert' }];
  api.update(ingresses, 'default/web', { spec: { tls } });
  const { https } = await startIngress(t, api);
  const serials = new Set<string>();
  const traffic = countedLoad(async () => {
    const socket = connectTls({
      port: https,
      host: localhost,
      servername: 'a.example',
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    serials.add(socket.getPeerCertificate().serialNumber);
    socket.write('GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n');
    const [data] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    return data.toString().startsWith('HTTP/1.1 200 ');
  }, 3);
  for (let turn = 0; turn < 3; turn += 1) {
    await traffic.more(10);
    const seen = serials.size;
    api.update(secrets, 'default/cert', { data: (await certificate()).data });
    await until(() => serials.size > seen);
  }
  await traffic.stop();
});

async function certificate() {
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 3_600_000);
  const authority = await createAuthority('ca', notBefore, notAfter);
  const pair = await authority.issue({
    commonName: 'a.example',
    dnsNames: ['a.example'],
    usage: 'server',
    notBefore,
    notAfter,
  });
  return {
    metadata: { name: 'cert', namespace: 'default' },
    type: 'kubernetes.io/tls',
    data: {
      'tls.crt': Buffer.from(pair.certificate).toString('base64'),
      'tls.key': Buffer.from(pair.key).toString('base64'),
    },
  };
}

test(
  'no request is lost and no WebSocket cut while a second controller takes over and the first one drains',
  options,
  async (t) => {
    const backend = await startBackend(t, 'web');
    echoSockets(backend);
    const api = new FakeApi();
    seedWeb(api, [backend]);
    const stopOld = new AbortController();
    // For how long the old one serves on is up to the load balancer: its time is over when nobody asks it any more.
    const lameDuckMs = 10_000;
    const left = Promise.withResolvers<void>();
    t.after(() => left.resolve());
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) => (ms === lameDuckMs ? left.promise : systemClock.sleep(ms, signal)),
    };
    const config = { lameDuckMs, drainTimeoutMs: 600_000 };
    const old = await startIngress(t, api, config, stopOld.signal, clock);
    const next = await startIngress(t, api);
    const stream = await openStream(old.http);
    const agent = keepAlive(t);
    // As a load balancer does: it goes by /readyz, and learns a little late.
    let target = old.http;
    const traffic = countedLoad(async () => answers(target, agent));
    await traffic.more(200);
    stopOld.abort();
    const unready = async (): Promise<boolean> => (await get(old.health, '/readyz', false)).status === 503;
    await until(unready);
    await traffic.more(50); // still to the old one
    target = next.http;
    await traffic.more(200);
    await traffic.stop();
    left.resolve();
    // What was open is not cut, goes on for as long as the old one may drain, and is all that it waits for.
    await until(async () => (await get(old.http, '/', false).catch(() => undefined)) === undefined);
    for (let turn = 0; turn < 5; turn += 1) await stream.echo(`turn ${turn}`);
    await stream.close();
    await old.ended;
  },
);

test(
  'nothing of ours touches objects of a foreign controller, and the other way round',
  options,
  async (t) => {
    const backend = await startBackend(t, 'web');
    const api = new FakeApi();
    seedWeb(api, [backend]);
    api.seed(services, {
      metadata: { name: 'ingress', namespace: 'kube-system' },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } },
    });
    // A stand-in: it owns the class "foreign", makes it the default, and writes its own address.
    const foreign = {
      metadata: {
        name: 'foreign',
        annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
      },
      spec: { controller: 'example.com/foreign' },
    };
    api.seed(ingressClasses, foreign);
    api.update(ingressClasses, 'fairlead', { metadata: { annotations: null } });
    const theirs = ['foreign-a', 'foreign-b', 'foreign-c'];
    const { http, health } = await startIngress(t, api, {
      createIngressClasses: true,
      ingressClasses: ['fairlead', 'foreign'],
    });
    const [named, bare, legacy] = theirs.map((name) =>
      ingress(name, { rules: [hostRule(`${name}.example`, 'ghost')] }),
    );
    assert.ok(named?.spec !== undefined && bare !== undefined && legacy !== undefined);
    api.seed(ingresses, { ...named, spec: { ...named.spec, ingressClassName: 'foreign' } });
    api.seed(ingresses, { ...bare, spec: { rules: [hostRule('foreign-b.example', 'ghost')] } });
    api.seed(ingresses, {
      metadata: { ...legacy.metadata, annotations: { 'kubernetes.io/ingress.class': 'foreign' } },
      spec: { rules: [hostRule('foreign-c.example', 'ghost')] },
    });
    await Promise.all(
      theirs.map(async (name) =>
        api.patch(
          ingresses,
          'default',
          name,
          'merge',
          { status: { loadBalancer: { ingress: [{ ip: '198.51.100.9' }] } } },
          { subresource: 'status' },
        ),
      ),
    );
    const writesBefore = api.writes.length;
    // Ours with a fault, made last: when its Event is there, theirs would have had one too.
    api.seed(ingresses, ingress('faulty', { rules: [hostRule('faulty.example', 'ghost')] }));
    await until(() => api.objects(events).some(({ involvedObject }) => involvedObject.name === 'faulty'));
    await until(() => api.find(ingresses, 'default/faulty')?.status?.loadBalancer !== undefined);
    for (const name of theirs) {
      assert.equal(
        (await get(http, '/', false, { host: `${name}.example` })).body.slice(0, 3),
        'web',
        'no host of it is ours',
      );
      assert.deepEqual(api.find(ingresses, `default/${name}`)?.status?.loadBalancer?.ingress, [
        { ip: '198.51.100.9' },
      ]);
    }
    const touched = api.writes.slice(writesBefore).filter((write) => /foreign/.test(write));
    assert.deepEqual(touched, []);
    assert.deepEqual(
      api.objects(events).filter(({ involvedObject }) => theirs.includes(involvedObject.name ?? '')),
      [],
    );
    assert.deepEqual(api.find(ingressClasses, 'foreign')?.spec, foreign.spec);
    const told = await curl(`http://${localhost}:${health}/debug/explain?url=http://foreign-a.example/`);
    assert.match(told, /its class "foreign" belongs to the controller example.com\/foreign/);
  },
);

test(
  'a routes file is served without any cluster and followed without losing a request',
  options,
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-routes-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const [one, two] = [await startBackend(t, 'one'), await startBackend(t, 'two')];
    const file = join(folder, 'routes.yaml');
    const write = (text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    write(`routes:\n  - backends: ["127.0.0.1:${one.port}"]\n`);
    const stop = new AbortController();
    const ready = Promise.withResolvers<IngressPorts>();
    const place = { kind: 'address', host: localhost, port: 0 } as const;
    const config = { ...ingressDefaults, http: [place], https: [], healthAddress: undefined };
    const running = runStaticIngress(config, file, silentLogger, stop.signal, {
      clock: systemClock,
      onReady: ready.resolve,
    });
    running.catch(ready.reject);
    const http = (await ready.promise).http[0] ?? 0;
    const agent = keepAlive(t);
    const traffic = countedLoad(async () => answers(http, agent), 2);
    await traffic.more(50);
    write(`routes:\n  - backends: ["127.0.0.1:${two.port}"]\n`);
    await until(() => two.requests > 20);
    write('routes: nonsense');
    await traffic.more(100); // a bad file leaves the routes as they were
    write(`routes:\n  - { path: /, backends: ["127.0.0.1:${one.port}", "127.0.0.1:${two.port}"] }\n`);
    const before = one.requests;
    await until(() => one.requests > before + 20);
    await traffic.stop();
    stop.abort();
    await running;
  },
);
