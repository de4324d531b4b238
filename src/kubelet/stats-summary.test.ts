import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CriResponse } from './cri.ts';
import { runtimeLabels } from './sandbox-config.ts';
import { statsSummary } from './stats-summary.ts';

type Stat = CriResponse<'listContainerStats'>['stats'][number];

const nowMs = Date.parse('2026-01-01T00:00:10.000Z');

function stat(name: string, attempt: number, cpu: number | undefined, memory = 1000): Stat {
  const labels = {
    [runtimeLabels.podUid]: 'u',
    [runtimeLabels.podName]: 'web',
    [runtimeLabels.podNamespace]: 'a',
    [runtimeLabels.container]: name,
  };
  const timestamp = (nowMs - 1000) * 1e6;
  return {
    attributes: { id: `${name}${attempt}`, metadata: { name, attempt }, labels },
    cpu: { timestamp, usageCoreNanoSeconds: cpu === undefined ? undefined : { value: cpu } },
    memory: { timestamp, workingSetBytes: { value: memory } },
    writableLayer: undefined,
  };
}

test('stats: containers by Pod, the newest of each, and their sums', () => {
  const summary = statsSummary('n', [stat('x', 1, 5), stat('x', 0, 90), stat('y', 0, 7)], nowMs);
  const time = '2026-01-01T00:00:09.000Z';
  const now = '2026-01-01T00:00:10.000Z';
  const used = (cpu: number): object => ({
    cpu: { time, usageCoreNanoSeconds: cpu },
    memory: { time, workingSetBytes: 1000 },
  });
  const all = {
    cpu: { time: now, usageCoreNanoSeconds: 12 },
    memory: { time: now, workingSetBytes: 2000 },
  };
  assert.deepEqual(summary, {
    node: { nodeName: 'n', ...all },
    pods: [
      {
        podRef: { name: 'web', namespace: 'a', uid: 'u' },
        containers: [
          { name: 'x', ...used(5) },
          { name: 'y', ...used(7) },
        ],
        ...all,
      },
    ],
  });
});

test('stats: what does not run is not told, and neither is what is no Pod’s', () => {
  const foreign: Stat = { ...stat('z', 0, 3), attributes: { id: 'z', metadata: undefined, labels: {} } };
  assert.deepEqual(statsSummary('n', [stat('x', 0, undefined), foreign], nowMs).pods, []);
});
