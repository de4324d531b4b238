/**
 * Runs the tests, a file a process side by side: those beside the sources, then the end-to-end tests. Each of these has clusters,
 * namespaces and ports of its own and mostly waits, for Pods and leases, so two at a time fit two cores. One report and
 * one summary for all. Arguments: files to run instead, and `--name PATTERN` for tests whose name matches.
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';

const home = join(import.meta.dirname, '..');
const patterns = [
  'src/**/*.test.ts',
  'tools/**/*.test.ts',
  'scripts/**/*.test.ts',
  'bench/**/*.test.ts',
  'test/**/*.test.ts',
];

type Event = {
  readonly type: string;
  readonly data: { readonly nesting?: number; readonly message?: string };
};

function findFiles(): readonly string[] {
  const { values, positionals } = options();
  const found = positionals.length > 0 ? positionals.map((file) => resolve(file)) : everyFile();
  if (found.length === 0) throw new Error(`no test files for ${JSON.stringify(values)}`);
  return found;
}

function everyFile(): readonly string[] {
  return globSync(patterns, { cwd: home })
    .filter((file) => !file.includes('node_modules'))
    .toSorted()
    .map((file) => join(home, file));
}

function options() {
  return parseArgs({ allowPositionals: true, options: { name: { type: 'string', multiple: true } } });
}

const isEndToEnd = (file: string): boolean => relative(home, file).startsWith('test/e2e/');

/** "tests 12", "pass 11": the lines of a run's own summary. */
const summaryLine = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

/** The events of several runs as those of one: their summaries are added up and come last. */
async function* together(runs: readonly (() => AsyncIterable<unknown>)[]): AsyncIterable<unknown> {
  const totals = new Map<string, number>();
  for (const start of runs) {
    for await (const event of start()) {
      const { type, data } = event as Event;
      const found =
        data.nesting === 0 && type === 'test:diagnostic' ? summaryLine.exec(data.message ?? '') : null;
      if (found !== null) {
        const [, name = '', value] = found;
        totals.set(name, (totals.get(name) ?? 0) + Number(value));
        continue;
      }
      if (type === 'test:summary' && !('file' in data)) continue;
      if (type === 'test:fail') process.exitCode = 1;
      yield event;
    }
  }
  for (const [name, value] of totals) {
    yield { type: 'test:diagnostic', data: { nesting: 0, message: `${name} ${value}`, level: 'info' } };
  }
}

const files = findFiles();
const testNamePatterns = options().values.name?.map((pattern) => new RegExp(pattern)) ?? [];
const runs = [
  { files: files.filter((file) => !isEndToEnd(file)), concurrency: availableParallelism() },
  { files: files.filter(isEndToEnd), concurrency: 2 },
]
  .filter((part) => part.files.length > 0)
  .map(
    (part) => () =>
      run({ ...part, files: [...part.files], ...(testNamePatterns.length > 0 ? { testNamePatterns } : {}) }),
  );
Readable.from(together(runs)).compose(spec()).pipe(process.stdout);
