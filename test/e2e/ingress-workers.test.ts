/** Several worker processes behind one address: they all serve, and none of them matters alone. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { openSharedSockets } from '../../src/l7/transport/listen-sockets.ts';
import { get as getUrl, startLoad } from '../support/load.ts';
import { eventually } from '../support/shell.ts';
import { type Backend, curl, exchangeRaw, get, localhost, startBackend, until } from './ingress-harness.ts';

const program = join(import.meta.dirname, '../../src/cmd/fairlead.ts');
const options = { timeout: 300_000 };

type Instance = {
  readonly child: ChildProcess;
  readonly http: number;
  readonly https: number;
  readonly health: number;
  readonly folder: string;
};

function writeRoutes(folder: string, backends: readonly Backend[]): void {
  const list = backends.map(({ port }) => `"${localhost}:${port}"`).join(', ');
  const limited = 'annotations: { rate-limit: "1", rate-limit-burst: "1" }';
  const shared = 'annotations: { rate-limit: "1/m", rate-limit-burst: "40" }';
  const rows = [`path: /, backends: [${list}]`, `path: /limited, backends: [${list}], ${limited}`];
  rows.push(`path: /shared, backends: [${list}], ${shared}`);
  const text = `routes:\n${rows.map((row) => `  - { ${row} }\n`).join('')}`;
  writeFileSync(join(folder, 'routes.yaml.new'), text);
  renameSync(join(folder, 'routes.yaml.new'), join(folder, 'routes.yaml'));
}

/** `fairlead ingress` as its users start it. */
async function start(
  t: TestContext,
  backends: readonly Backend[],
  args: readonly string[],
  fd?: number,
): Promise<Instance> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-workers-'));
  writeRoutes(folder, backends);
  const transport = process.env['FAIRLEAD_TEST_TRANSPORT'] ?? 'auto';
  const fixed = ['--config', join(folder, 'routes.yaml'), '--health-address', `${localhost}:0`];
  const places = fd === undefined ? ['--http', `${localhost}:0`] : ['--http', '', '--http-fd', '3'];
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      program,
      'ingress',
      ...fixed,
      ...places,
      '--https',
      fd === undefined ? `${localhost}:0` : '',
      '--transport',
      transport,
      ...args,
    ],
    { stdio: ['ignore', 'inherit', 'pipe', ...(fd === undefined ? [] : [fd])] },
  );
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true });
  });
  let text = '';
  let ready: { http: number[]; https: number[]; health: number } | undefined;
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    for (const line of text.split('\n').slice(0, -1)) {
      if (line.includes('"message":"ready"')) ready = JSON.parse(line) as typeof ready;
    }
    text = text.slice(text.lastIndexOf('\n') + 1);
  });
  await until(() => ready !== undefined || child.exitCode !== null);
  assert.ok(ready !== undefined, `it ended with ${child.exitCode}`);
  return { child, folder, http: ready.http[0] ?? 0, https: ready.https[0] ?? 0, health: ready.health };
}

function workersOf({ child }: Instance): readonly number[] {
  const text = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  return text.trim().split(' ').filter(Boolean).map(Number);
}

async function metric(instance: Instance, name: string): Promise<number> {
  const text = await curl(`http://${localhost}:${instance.health}/metrics`);
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}

test('workers share the address, their counters are added up, and one explains', options, async (t) => {
  const backend = await startBackend(t, 'one');
  const instance = await start(t, [backend], ['--workers', '3']);
  assert.equal(workersOf(instance).length, 3);
  for (let request = 0; request < 60; request += 1) {
    assert.deepEqual(await get(instance.http, '/', false), { status: 200, body: 'one' });
  }
  assert.equal(await metric(instance, 'fairlead_ingress_requests_total\\{code="200"\\}'), 60);
  assert.equal(await curl('-k', `https://${localhost}:${instance.https}/`), 'one');
  const explained = await curl(`http://${localhost}:${instance.health}/debug/explain?url=http://a/`);
  assert.match(explained, new RegExp(`${localhost}:${backend.port} ready, 0 requests under way`));
});

test('endpoints that have left are explained while they carry tunnels of any worker', options, async (t) => {
  const backends = [await startBackend(t, 'stays'), await startBackend(t, 'leaves')];
  const tunnelsOf = backends.map(({ server }) => {
    const tunnels: Duplex[] = [];
    server.on('upgrade', (_request, socket) => {
      tunnels.push(socket);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    });
    return tunnels;
  });
  const instance = await start(t, backends, ['--workers', '2']);
  const clients = Array.from({ length: 6 }, () => connect(instance.http, localhost));
  t.after(() => clients.forEach((client) => client.destroy()));
  for (const client of clients) {
    client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    await once(client, 'data');
  }
  const explain = (): Promise<string> =>
    curl(`http://${localhost}:${instance.health}/debug/explain?url=http://a/`);
  writeRoutes(instance.folder, backends.slice(0, 1));
  const count = tunnelsOf[1]?.length ?? 0;
  assert.ok(count > 0, 'six over two workers: one has had two, in turn');
  const under = `${count} requests under way, ${count} of them tunnels`;
  const draining = new RegExp(`${localhost}:${backends[1]?.port} draining for \\d+ s: ${under}`);
  await eventually(async () => assert.match(await explain(), draining));
  tunnelsOf.flat().forEach((socket) => socket.end());
  clients.forEach((client) => client.end());
  await eventually(async () => assert.doesNotMatch(await explain(), /draining/));
});

test('a rate limit holds for all workers together', options, async (t) => {
  const instance = await start(t, [await startBackend(t, 'one')], ['--workers', '3']);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  let passed = 0;
  const ask = async (by: Agent | false): Promise<void> => {
    if ((await get(instance.http, '/shared', by)).status === 200) passed += 1;
  };
  for (let request = 0; request < 40; request += 1) await ask(agent); // all to one worker
  assert.equal(passed, 40);
  // Each alone, the others would let as many pass again before they refuse all.
  for (let row = 0, before = 0; row < 40; row = passed === before ? row + 1 : 0) {
    before = passed;
    await ask(false);
  }
  assert.ok(passed < 80, `${passed} have passed`);
});

test('a change of routes reaches every worker', options, async (t) => {
  const [one, two] = [await startBackend(t, 'one'), await startBackend(t, 'two')];
  const instance = await start(t, [one], ['--workers', '3']);
  assert.equal((await get(instance.http, '/', false)).body, 'one');
  writeRoutes(instance.folder, [two]);
  let row = 0;
  await until(async () => {
    row = (await get(instance.http, '/', false)).body === 'two' ? row + 1 : 0;
    return row === 40; // each connection may meet another worker
  });
});

test('a killed worker is started again, and nobody who connects meanwhile is refused', options, async (t) => {
  const backend = await startBackend(t, 'one');
  const instance = await start(t, [backend], ['--workers', '2']);
  const before = workersOf(instance);
  for (let request = 0; request < 20; request += 1) await get(instance.http, '/', false);
  assert.equal(await metric(instance, 'fairlead_ingress_requests_total\\{code="200"\\}'), 20);
  process.kill(before[0] ?? 0, 'SIGKILL');
  await until(() => !workersOf(instance).includes(before[0] ?? 0));
  const answers = await Promise.all(Array.from({ length: 60 }, () => get(instance.http, '/', false)));
  assert.ok(answers.every(({ status }) => status === 200));
  await until(() => workersOf(instance).length === 2);
  assert.ok(workersOf(instance).includes(before[1] ?? 0), 'the other one has not noticed');
  assert.equal(
    await metric(instance, 'fairlead_ingress_requests_total\\{code="200"\\}'),
    80,
    'what the killed one had told counts on',
  );
});

test(
  'an upgrade: a second instance joins, the first one drains, and no request fails',
  options,
  async (t) => {
    const backend = await startBackend(t, 'one');
    const { fds, port } = await openSharedSockets(localhost, 0, 1);
    t.after(() => closeSync(fds[0] ?? 0));
    const first = await start(t, [backend], ['--workers', '2'], fds[0]);
    assert.equal(first.http, port);
    const url = `http://${localhost}:${port}/`;
    const loads = [true, false].map((keepAlive) => startLoad({ url, keepAlive, concurrency: 4 }));
    for (let round = 0, old = first; round < 3; round += 1) {
      const next = await start(t, [backend], ['--workers', '2'], fds[0]);
      old.child.kill('SIGTERM');
      const [code] = (await once(old.child, 'exit')) as [number];
      assert.equal(code, 0);
      old = next;
    }
    for (const stop of loads) {
      const { failures, requests } = await stop();
      assert.deepEqual(failures, []);
      assert.ok(requests > 50);
    }
  },
);

test(
  'a draining instance lets a request finish that is under way, whichever worker has it',
  options,
  async (t) => {
    let release: () => void = () => {};
    const backend = await startBackend(t, 'slow', (request, response) => {
      request.resume();
      if (backend.requests > 1) response.end('at once');
      else release = () => response.end('at last');
    });
    const instance = await start(t, [backend], ['--workers', '2']);
    const answer = exchangeRaw(instance.http, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => backend.requests === 1);
    instance.child.kill('SIGTERM');
    await until(async () => {
      try {
        await getUrl(`http://${localhost}:${instance.http}/`);
        return false;
      } catch {
        return true; // refused: it has begun to drain
      }
    });
    release();
    assert.match(await answer, /at last/);
    await once(instance.child, 'exit');
    assert.equal(instance.child.exitCode, 0);
  },
);

/** A backend for tunnels that sends back what comes. */
async function startEcho(t: TestContext): Promise<Backend> {
  const backend = await startBackend(t, 'echo');
  backend.server.on('upgrade', (_, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.on('error', () => {}); // cut, as it may be
    socket.pipe(socket);
  });
  return backend;
}

async function openTunnel(port: number): Promise<Socket> {
  const socket = connect(port, localhost);
  socket.on('error', () => {});
  socket.write(
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1.1 101/);
  return socket;
}

test(
  'a WebSocket outlives an upgrade for as long as --drain-timeout says, and no longer',
  options,
  async (t) => {
    const backend = await startEcho(t);
    const short = await start(t, [backend], ['--drain-timeout', '1']);
    const { fds, port } = await openSharedSockets(localhost, 0, 1);
    const fd = fds[0] ?? 0;
    t.after(() => closeSync(fd));
    const long = await start(t, [backend], ['--drain-timeout', '600'], fd);
    const [cut, kept] = [await openTunnel(short.http), await openTunnel(port)];
    const next = await start(t, [backend], [], fd);
    long.child.kill('SIGTERM');
    short.child.kill('SIGTERM');
    await once(short.child, 'exit');
    if (!cut.closed) await once(cut, 'close');
    assert.equal(long.child.exitCode, null);
    assert.equal((await get(port, '/', false)).body, 'echo'); // the next instance serves beside it
    assert.equal(next.child.exitCode, null);
    kept.write('still here');
    const [answer] = (await once(kept, 'data')) as [Buffer];
    assert.equal(answer.toString(), 'still here');
    kept.end();
    await once(long.child, 'exit');
    assert.equal(long.child.exitCode, 0);
  },
);
