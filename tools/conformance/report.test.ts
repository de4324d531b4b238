import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcomesOf, renderOutcomes } from './report.ts';

const spec = (text: string, State: string, Message?: string) => ({
  LeafNodeType: 'It',
  ContainerHierarchyTexts: [text],
  LeafNodeText: 'works [Conformance]',
  State,
  RunTime: 2e9,
  ...(Message === undefined ? {} : { Failure: { Message } }),
});

const outcomes = outcomesOf([
  {
    SpecReports: [
      { ...spec('', 'passed'), LeafNodeType: 'BeforeSuite' },
      spec('[sig-node] Pods', 'failed', 'Expected\n  a | b'),
      spec('[sig-network] DNS', 'passed'),
      spec('[sig-network] Services', 'skipped', 'needs a cloud'),
      spec('[sig-network] Other', 'skipped'), // left out by the focus
      spec('[sig-apps] Job', 'timedout', 'took | too long\nand more'),
    ],
  },
  { SpecReports: null },
]);

test('conformance: what ran, by group and name', () => {
  assert.deepEqual(
    outcomes.map(({ group, name, state }) => [group, name, state]),
    [
      ['sig-apps', 'Job works', 'failed'],
      ['sig-network', 'DNS works', 'passed'],
      ['sig-network', 'Services works', 'skipped'],
      ['sig-node', 'Pods works', 'failed'],
    ],
  );
});

test('conformance: the table counts, and says why', () => {
  assert.deepEqual(renderOutcomes(outcomes).split('\n'), [
    '| group | passed | failed | skipped |',
    '|---|---|---|---|',
    '| sig-apps | 0 | 1 | 0 |',
    '| sig-network | 1 | 0 | 1 |',
    '| sig-node | 0 | 1 | 0 |',
    '| **together** | 1 | 2 | 1 |',
    '',
    '| group | test | |',
    '|---|---|---|',
    String.raw`| sig-apps | Job works | failed: took \| too long |`,
    '| sig-network | Services works | skipped: needs a cloud |',
    '| sig-node | Pods works | failed: Expected |',
  ]);
});
