/**
 * Start-up as a person feels it: from `fairlead up` to the node Ready, from `kubectl apply` of the course to the first 200
 * through the Ingress, and the resident memory of the control plane.
 *
 *   npm run bench -- startup [--rounds N]
 *
 * Resident sets count the pages that processes share, foremost Node's own code, once for each of them; proportional sets
 * count them once in all, which is what the machine gives. They are taken at rest, with the course's Deployment served.
 *
 * Images are imported before the clock starts for the second figure, as they would be on a machine that has them.
 * Prints a table; `--write` puts it into docs/benchmarks.md.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { examples, importImages, planCluster, type TestCluster } from '../test/support/cluster.ts';
import { get } from '../test/support/load.ts';
import { eventually, missingForCluster } from '../test/support/shell.ts';
import { machineLine, median, writeSection } from './lib/report.ts';

const ingressHost = 'caddy.local.trapti.tech';

type Memory = { readonly process: string; readonly rssMb: number; readonly pssMb: number };

/** Resident and proportional set size of each process of the cluster, containerd left out. */
function memoryOf(cluster: TestCluster): readonly Memory[] {
  const folder = `/run/fairlead/${cluster.name}/processes`;
  return readdirSync(folder).flatMap((file) => {
    if (!file.endsWith('.json')) return [];
    const state: { pid: number } = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    const rollup = readFileSync(`/proc/${state.pid}/smaps_rollup`, 'utf8');
    const kb = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0);
    return [{ process: file.slice(0, -'.json'.length), rssMb: kb('Rss') / 1024, pssMb: kb('Pss') / 1024 }];
  });
}

/** Components give back what only their start needed some seconds after it. */
const restMs = 8_000;

/** @param weigh wait till the cluster is at rest, and tell its memory */
async function round(index: number, weigh: boolean) {
  const cluster = await planCluster({ name: `bench${process.pid}x${index}` });
  try {
    const upStartMs = performance.now();
    const printed = await cluster.up();
    const upMs = performance.now() - upStartMs;
    const nodeReadyMs = Number(/([\d.]+) s\s+✓ node ready/.exec(printed)?.[1]) * 1000;
    await importImages(cluster, ['caddy']);
    const applyStartMs = performance.now();
    const files = ['4_deployment.yaml', '5_service.yaml', '5_ingress.yaml'].map(
      (name) => `-f ${join(examples, name)}`,
    );
    await cluster.kubectl(`apply ${files.join(' ')}`);
    await eventually(
      async () => {
        const answer = await get(`http://127.0.0.1:${cluster.ports.http}/`, { host: ingressHost });
        if (answer.status !== 200) throw new Error(`status ${answer.status}`);
      },
      { everyMs: 5 },
    );
    const applyMs = performance.now() - applyStartMs;
    if (weigh) await new Promise((resolve) => setTimeout(resolve, restMs));
    return { upMs, nodeReadyMs, applyMs, memory: weigh ? memoryOf(cluster) : [] };
  } finally {
    await cluster.down();
  }
}

const missing = missingForCluster();
if (missing !== undefined) {
  console.log(`not measured: ${missing}`);
  process.exit(0);
}
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, write: { type: 'boolean', default: false } },
});
const rounds = [];
for (let index = 0; index < Number(values.rounds); index += 1) {
  rounds.push(await round(index, index === Number(values.rounds) - 1));
  console.log(
    `round ${index + 1}: up ${rounds.at(-1)?.upMs.toFixed(0)} ms, apply to 200 ${rounds.at(-1)?.applyMs.toFixed(0)} ms`,
  );
}
const last = rounds.at(-1)?.memory ?? [];
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const lines = [
  '| what | median | least | most | budget |',
  '|---|---|---|---|---|',
  ...(
    [
      ['`fairlead up` to the API serving and the node Ready, ms', rounds.map((r) => r.nodeReadyMs), '1000'],
      ['… to DNS and Ingress ready and the command’s end, ms', rounds.map((r) => r.upMs), '–'],
      [
        '`kubectl apply` of the course to the first 200 through the Ingress, ms',
        rounds.map((r) => r.applyMs),
        '2000',
      ],
    ] as const
  ).map(
    ([what, ms, budget]) =>
      `| ${what} | ${median(ms).toFixed(0)} | ${Math.min(...ms).toFixed(0)} | ${Math.max(...ms).toFixed(0)} | ${budget} |`,
  ),
  '',
  '| process | resident MB | proportional MB |',
  '|---|---|---|',
  ...last.map((row) => `| ${row.process} | ${row.rssMb.toFixed(0)} | ${row.pssMb.toFixed(0)} |`),
  `| **together** (budget 200) | **${sum(last.map((r) => r.rssMb)).toFixed(0)}** | **${sum(last.map((r) => r.pssMb)).toFixed(0)}** |`,
];
console.log(lines.join('\n'));
if (values.write)
  writeSection(
    'startup',
    [
      `Command: \`npm run bench -- startup --rounds ${values.rounds} --write\`. ${machineLine()}.`,
      '',
      ...lines,
    ].join('\n'),
  );
