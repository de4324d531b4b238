import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeApi } from '../../test/support/fake-api.ts';
import { eventually } from '../../test/support/shell.ts';
import type { Pod } from '../api/gen/core-v1.ts';
import { pods } from '../api/resource.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import { processAnnotation, runProcessPod } from './process-pods.ts';

test('a process that is ready before the answer to its first status has come becomes ready', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-process-pods-'));
  let probes = 0;
  const server = createServer((_request, response) => {
    probes += 1;
    response.end('ok');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    join(folder, 'dns.json'),
    JSON.stringify({ pid: process.pid, startedAtMs: Date.now(), restarts: 0 }),
  );
  const api = new FakeApi();
  api.seed(pods, {
    metadata: {
      name: 'dns',
      namespace: 'kube-system',
      uid: 'u',
      annotations: { [processAnnotation]: 'dns' },
    },
    spec: {
      containers: [
        { name: 'dns', image: 'dns:1', readinessProbe: { httpGet: { path: '/', port }, periodSeconds: 1 } },
      ],
    },
  });
  const find = (): Pod => api.find(pods, 'kube-system/dns') ?? {};
  const patches = slowPatches(api);
  let looks = 0;
  const clock = { ...systemClock, nowMs: () => ((looks += 1), systemClock.nowMs()) };
  const stop = new AbortController();
  const deps = {
    client: api,
    clock,
    log: silentLogger,
    cri: {} as never, // the probe is of HTTP
    nodeName: 'server-0',
    nodeIps: ['127.0.0.1'],
    dir: folder,
    processStateDir: folder,
  };
  const running = runProcessPod(deps, find(), stop.signal);
  try {
    const lookAgain = async (): Promise<void> => {
      const before = looks;
      await eventually(() => assert.ok(looks >= before + 2 * looksPerReport, 'it has looked again'));
    };
    await eventually(() => assert.equal(patches.sent(), 1));
    await eventually(() => assert.ok(probes > 0));
    await lookAgain();
    patches.doThem();
    await eventually(() => assert.equal(readyOf(find()), false));
    await lookAgain();
    patches.answer();
    await eventually(() => assert.equal(readyOf(find()), true));
  } finally {
    stop.abort();
    await running;
    server.close();
    rmSync(folder, { recursive: true });
  }
});

/** The clock is asked once for a status; more is no harm. */
const looksPerReport = 1;

const readyOf = (pod: Pod): boolean | undefined => pod.status?.containerStatuses?.[0]?.ready;

/** Patches that arrive late and are answered late, as where the machine is busy. */
function slowPatches(api: FakeApi): { sent(): number; doThem(): void; answer(): void } {
  const doing = Promise.withResolvers<void>();
  const answering = Promise.withResolvers<void>();
  const patch = api.patch.bind(api);
  let sent = 0;
  api.patch = async (...request) => {
    sent += 1;
    await doing.promise;
    const answer = await patch(...request);
    await answering.promise;
    return answer;
  };
  return { sent: () => sent, doThem: doing.resolve, answer: answering.resolve };
}
