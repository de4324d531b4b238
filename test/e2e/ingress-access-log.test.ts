import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openAccessLogSink } from '../../src/l7/observe/access-log-sink.ts';
import { get as getUrl } from '../support/load.ts';
import { get, localhost, startBackend, until } from './ingress-harness.ts';

const options = { timeout: 300_000 };

type Started = { readonly child: ChildProcess; readonly http: number; readonly health: number };

/** The real command with a routes file, its standard output a pipe that nobody reads unless the test does. */
async function startCommand(t: TestContext, backend: number, ...args: readonly string[]): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-access-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const routes = join(folder, 'routes.yaml');
  writeFileSync(routes, `routes:\n  - backends: ["${localhost}:${backend}"]\n`);
  const program = [
    '--disable-warning=ExperimentalWarning',
    join(import.meta.dirname, '../../src/cmd/fairlead.ts'),
  ];
  const addresses = ['--http', `${localhost}:0`, '--https', '', '--health-address', `${localhost}:0`];
  const child = spawn(process.execPath, [...program, 'ingress', '--config', routes, ...addresses, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(async () => {
    if (child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  await until(() => log.includes('"ready"') || child.exitCode !== null);
  const ready = log.split('\n').find((line) => line.includes('"ready"'));
  assert.ok(ready !== undefined, log);
  const { http, health } = JSON.parse(ready) as { http: number[]; health: number };
  return { child, http: http[0] ?? 0, health };
}

test(
  'ingress access log: a pipe that nobody reads stops no request; lines are dropped and counted',
  options,
  async (t) => {
    const backend = await startBackend(t, 'web');
    const { child, http, health } = await startCommand(t, backend.port, '--access-log', '--request-id');
    const path = `/${'x'.repeat(8000)}`;
    const dropped = async (): Promise<number> => {
      const text = (await getUrl(`http://${localhost}:${health}/metrics`)).body;
      return Number(/^fairlead_ingress_access_log_dropped_total (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    while ((await dropped()) === 0) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => get(http, path, false)));
      for (const { status } of answers) assert.equal(status, 200);
    }
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const before = text.length;
    await until(() => text.length > before + 100_000);
    const first = JSON.parse(text.slice(0, text.indexOf('\n'))) as Record<string, unknown>;
    assert.equal(first['target'], path);
    assert.equal(first['status'], 200);
    assert.match(String(first['requestId']), /^[0-9a-f]{32}$/);
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
    for (const line of text.trimEnd().split('\n')) JSON.parse(line); // whole lines, up to the last
  },
);

test('ingress access log: a stalled pipe does not keep the process from stopping', options, async (t) => {
  const backend = await startBackend(t, 'web');
  const { child, http } = await startCommand(t, backend.port, '--access-log');
  const path = `/${'x'.repeat(8000)}`;
  for (let turn = 0; turn < 20; turn += 1) await get(http, path, false);
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
});

test('ingress access log: a file that is moved away is opened anew', options, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-access-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'access.log');
  const errors: unknown[] = [];
  const sink = await openAccessLogSink(path, (error) => errors.push(error));
  assert.equal(await sink.write('one\n'), true);
  renameSync(path, join(folder, 'access.log.1'));
  await until(async () => {
    assert.equal(await sink.write('more\n'), true);
    try {
      return readFileSync(path, 'utf8') !== '';
    } catch {
      return false; // not there yet
    }
  });
  assert.match(readFileSync(join(folder, 'access.log.1'), 'utf8'), /^one\nmore\n/);
  assert.equal(readFileSync(path, 'utf8'), 'more\n');
  assert.deepEqual(errors, []);
  sink.close();
  await assert.rejects(
    openAccessLogSink(join(folder, 'none/access.log'), () => {}),
    /cannot be opened/,
  );
});

test(
  'ingress access log: traces begin where there is none, and their id is in the log',
  options,
  async (t) => {
    const parents: string[] = [];
    const backend = await startBackend(t, 'web', (request, response) => {
      parents.push(String(request.headers['traceparent'] ?? ''));
      response.end('web');
    });
    const { child, http } = await startCommand(
      t,
      backend.port,
      '--access-log',
      '--access-log-sample',
      '0',
      '--trace-context',
      '0',
    );
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const parent = `00-${traceId}-b7ad6b7169203331-01`;
    await get(http, '/', false);
    await get(http, '/', false, { traceparent: parent });
    await until(() => text.includes('\n'));
    assert.match(parents[0] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(parents[1], parent);
    const lines = text.trimEnd().split('\n');
    assert.equal(lines.length, 1, 'of a share of none only what is sampled by its own trace');
    assert.equal((JSON.parse(lines[0] ?? '') as { traceId: string }).traceId, traceId);
  },
);
