#!/usr/bin/env node
/** Kubernetes' own conformance tests against a cluster of ours. See README.md. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leftovers, planCluster } from '../../test/support/cluster.ts';
import { buildTestImages } from './images.ts';
import { buildPrograms, findSource, kubernetesVersion } from './programs.ts';
import { type GinkgoReport, type Outcome, outcomesOf, renderDocument, renderOutcomes } from './report.ts';

const home = join(import.meta.dirname, '../..');
const cache = join(home, '.cache', 'conformance');
const programs = join(cache, 'bin');
const reports = join(cache, 'report');

const usage = `Kubernetes ${kubernetesVersion}'s conformance tests against a cluster of two nodes, which is made for it.

  node tools/conformance/run.ts [--focus REGEXP] [--skip REGEXP] [--processes N] [--write]

  --focus       tests whose name matches; default: all that are marked [Conformance]
  --skip        but not these
  --processes   tests at once; default 4. What is marked [Serial] runs alone
  --write       put what passed into docs/conformance.md
`;

const { values } = parseArgs({
  options: {
    focus: { type: 'string', default: String.raw`\\[Conformance\\]` },
    skip: { type: 'string', default: '' },
    processes: { type: 'string', default: '4' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const say = (line: string): void => console.error(line);

async function main(): Promise<void> {
  await buildPrograms(programs, say);
  const folder = join(cache, 'images');
  const archives = await buildTestImages({ programs, source: await findSource(), folder }, say);
  const outcomes = await runInCluster(archives);
  console.log(renderOutcomes(outcomes));
  if (values.write)
    writeFileSync(join(home, 'docs', 'conformance.md'), renderDocument(kubernetesVersion, outcomes));
  if (outcomes.length === 0 || outcomes.some(({ state }) => state === 'failed')) process.exitCode = 1;
}

async function runInCluster(archives: readonly string[]): Promise<readonly Outcome[]> {
  const cluster = await planCluster({ name: 'conformance', agents: 1 });
  try {
    say('starting a cluster');
    await cluster.up();
    await cluster.cli(['image', 'import', '--name', cluster.name, ...archives]);
    return outcomesOf(await runSuite(cluster.kubeconfig));
  } finally {
    await cluster.down();
    for (const left of await leftovers(cluster)) say(`left behind: ${left}`);
  }
}

async function runSuite(kubeconfig: string): Promise<GinkgoReport> {
  mkdirSync(reports, { recursive: true });
  const arguments_ = [
    `--procs=${values.processes}`,
    `--focus=${values.focus}`,
    ...(values.skip === '' ? [] : [`--skip=${values.skip}`]),
    '--no-color',
    `--timeout=${suiteHoursMax}h`,
    `--output-dir=${reports}`,
    '--json-report=report.json',
    join(programs, 'e2e.test'),
    '--',
    `--kubeconfig=${kubeconfig}`,
    '--provider=skeleton',
    '--disable-log-dump',
  ];
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  const suite = spawn(join(programs, 'ginkgo'), arguments_, { stdio: ['ignore', 'inherit', 'inherit'], env });
  await once(suite, 'exit');
  return JSON.parse(readFileSync(join(reports, 'report.json'), 'utf8')) as GinkgoReport;
}

const suiteHoursMax = 3;

if (values.help) console.log(usage);
else await main();
