/** `npm run check`: format, types, lint, house rules and unit tests. No root, no network, under half a minute. */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { tidy } from './tidy.ts';

const root = join(import.meta.dirname, '..');
const bin = (name: string): string => join(root, 'node_modules/.bin', name);

type Step = { readonly name: string; run(): Promise<string | undefined> };

/** Runs a command; resolves to its output when it fails, else to undefined. */
function command(file: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', (error) => resolve(String(error)));
    child.on('close', (code) => resolve(code === 0 ? undefined : Buffer.concat(chunks).toString('utf8')));
  });
}

const steps: readonly Step[] = [
  { name: 'format', run: () => command(bin('biome'), ['format', '.']) },
  { name: 'types', run: () => command(bin('tsc'), ['-p', '.']) },
  { name: 'lint', run: () => command(bin('oxlint'), ['--type-aware', '--deny-warnings']) },
  {
    name: 'tidy',
    run: () => {
      const problems = tidy(root);
      return Promise.resolve(problems.length === 0 ? undefined : problems.join('\n'));
    },
  },
  {
    name: 'unit tests',
    run: () =>
      command(process.execPath, [
        '--disable-warning=ExperimentalWarning',
        '--test',
        '--test-reporter=dot',
        ...globSync(['src/**/*.test.ts', 'tools/images/**/*.test.ts', 'scripts/**/*.test.ts'], { cwd: root }),
      ]),
  },
];

let failed = false;
for (const step of steps) {
  const startMs = performance.now();
  const problem = await step.run();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${problem === undefined ? 'ok  ' : 'FAIL'} ${step.name} (${seconds} s)`);
  if (problem !== undefined) {
    console.log(problem);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
