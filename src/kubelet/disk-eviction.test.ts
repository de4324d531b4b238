import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { Pod } from '../api/gen/core-v1.ts';
import { silentLogger } from '../base/log.ts';
import type { CriResponse } from './cri.ts';
import { runDiskEviction } from './disk-eviction.ts';
import { type NodePaths, podLogDir, volumeDir } from './pod-paths.ts';

const mebi = 2 ** 20;
type Stats = CriResponse<'listContainerStats'>['stats'];

function pod(uid: string, spec: Partial<Pod['spec']>, more: Partial<Pod> = {}): Pod {
  const metadata = { name: uid, namespace: 'shop', uid };
  return { metadata, spec: { containers: [{ name: 'main' }], ...spec }, ...more };
}
const limited = (uid: string, limit: string, more: Partial<Pod> = {}): Pod =>
  pod(uid, { containers: [{ name: 'main', resources: { limits: { 'ephemeral-storage': limit } } }] }, more);

function layer(uid: string, attempt: number, bytes: number): Stats[number] {
  const labels = { 'io.kubernetes.pod.uid': uid, 'io.kubernetes.container.name': 'main' };
  return {
    attributes: { id: `${uid}-${attempt}`, metadata: { name: 'main', attempt }, labels },
    cpu: undefined,
    memory: undefined,
    writableLayer: { timestamp: 0, usedBytes: { value: bytes } },
  };
}

/** One round over these Pods; who was evicted, in order, and how often the runtime was asked. `last` is always evicted. */
async function round(
  paths: NodePaths,
  pods: readonly Pod[],
  stats: Stats,
): Promise<{ readonly evicted: readonly string[]; readonly asked: number }> {
  const clock = new FakeClock();
  const stop = new AbortController();
  const done = Promise.withResolvers<void>();
  const evicted: string[] = [];
  let asked = 0;
  const running = runDiskEviction(
    {
      cri: {
        listContainerStats: async () => {
          asked++;
          return { stats };
        },
      },
      clock,
      log: silentLogger,
      paths,
      checkMs: 10_000,
      pods: () => pods,
      evict: (uid, message) => {
        if (uid === 'last') done.resolve();
        else evicted.push(`${uid}: ${message}`);
      },
    },
    stop.signal,
  );
  await clock.advance(10_000);
  await done.promise;
  stop.abort();
  await running;
  return { evicted, asked };
}

test('folders, logs and the newest writable layer of each container count', async () => {
  const root = await mkdtemp(join(tmpdir(), 'fairlead-disk-eviction-'));
  const paths: NodePaths = { nodeDir: root, runDir: root };
  const fill = async (dir: string, file: string) => {
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, file), Buffer.alloc(2 * mebi, 1));
  };
  try {
    const last = pod('last', { volumes: [{ name: 'full', emptyDir: { sizeLimit: '1Mi' } }] });
    await fill(volumeDir(paths, 'last', 'full'), 'a');
    const talker = limited('talker', '1Mi');
    await fill(join(podLogDir(paths, talker), 'main'), '0.log');
    const free = pod('free', {});
    await fill(volumeDir(paths, 'free', 'any'), 'a');
    const folders = await round(paths, [free, last], []);
    assert.deepEqual(folders, { evicted: [], asked: 0 }, 'without limits of containers no layer matters');
    const found = await round(
      paths,
      [
        talker,
        limited('writer', '10Mi'),
        limited('restarted', '10Mi'),
        limited('ended', '10Mi', { status: { phase: 'Succeeded' } }),
        last,
      ],
      [
        layer('writer', 0, 11 * mebi),
        layer('restarted', 1, mebi),
        layer('restarted', 0, 11 * mebi),
        layer('ended', 0, 11 * mebi),
      ],
    );
    assert.deepEqual(found, {
      evicted: [
        'talker: Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ',
        'writer: Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ',
      ],
      asked: 1,
    });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
