import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasNewContainers, samplesOf, totalOf, usageBetween, usageText } from './rates.ts';

type Container = readonly [name: string, seconds: number, cores: number, mebibytes: number];

/** A summary with one Pod `a/web`. */
function summary(...containers: readonly Container[]) {
  const at = (seconds: number): string => new Date(seconds * 1000).toISOString();
  return samplesOf({
    pods: [
      {
        podRef: { namespace: 'a', name: 'web' },
        containers: containers.map(([name, seconds, used, mebibytes]) => ({
          name,
          cpu: { time: at(seconds), usageCoreNanoSeconds: used * 1e9 },
          memory: { time: at(seconds), workingSetBytes: mebibytes * 1024 * 1024 },
        })),
      },
    ],
  });
}

test('usage: a rate between two moments of each container, and of all together', () => {
  const before = summary(['x', 100, 7, 1], ['y', 101, 1, 1]);
  const now = summary(['x', 110, 12, 64], ['y', 110, 10, 2]);
  const usage = usageBetween(before, now);
  assert.deepEqual(
    [...usage],
    [
      [
        'a/web',
        {
          timeMs: 110_000,
          windowMs: 10_000,
          containers: [
            { name: 'x', nanoCores: 500_000_000, workingSetBytes: 64 * 1024 * 1024 },
            { name: 'y', nanoCores: 1_000_000_000, workingSetBytes: 2 * 1024 * 1024 },
          ],
        },
      ],
    ],
  );
  assert.deepEqual(usageText(totalOf(usage.values())), { cpu: '1500000000n', memory: '67584Ki' });
});

for (const { name, before, now, isNew } of [
  { name: 'a new Pod', before: samplesOf({}), now: summary(['x', 110, 1, 1]), isNew: true },
  {
    name: 'a new container',
    before: summary(['x', 100, 1, 1]),
    now: summary(['x', 110, 2, 1], ['y', 110, 1, 1]),
    isNew: true,
  },
  {
    name: 'a container that began anew',
    before: summary(['x', 100, 9, 1]),
    now: summary(['x', 110, 1, 1]),
    isNew: true,
  },
  {
    name: 'a moment that is the same',
    before: summary(['x', 100, 1, 1]),
    now: summary(['x', 100, 1, 1]),
    isNew: false,
  },
  { name: 'a Pod without containers', before: summary(), now: summary(), isNew: false },
]) {
  test(`usage: ${name} gives no rate`, () => {
    assert.equal(usageBetween(before, now).size, 0);
    assert.equal(hasNewContainers(before, now), isNew);
  });
}

test('usage: a summary with holes is read as far as it goes', () => {
  const containers = [{ name: 'x' }, { name: 'y', cpu: { time: 'never', usageCoreNanoSeconds: 1 } }];
  const samples = samplesOf({ pods: [{ podRef: { namespace: 'a', name: 'web' }, containers }, 7] });
  assert.equal(samples.get('a/web')?.size, 0);
});
