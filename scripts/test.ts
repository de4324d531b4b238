/**
 * Runs the tests, a file a process side by side: those beside the sources, then the end-to-end tests. Each of these has clusters,
 * namespaces and ports of its own and mostly waits, for Pods and leases, so two at a time fit two cores. One report and
 * one summary for all. Arguments: files to run instead, and `--name PATTERN` for tests whose name matches.
 */
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
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

type Event = { readonly type: string; readonly data: object };

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

type Counts = Readonly<Record<string, number>>;

/** Of a run: what each file came to, by its path. */
type Results = Map<string, { readonly counts: Counts; readonly success: boolean }>;

/** A run's own words of its totals: left out, as we add up several runs. */
const summaryLine = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/** The events of one run but its totals; `results` gets each file's. */
async function* eventsOf(
  files: readonly string[],
  concurrency: number,
  results: Results,
): AsyncIterable<Event> {
  if (files.length === 0) return;
  const testNamePatterns = options().values.name?.map((pattern) => new RegExp(pattern)) ?? [];
  const named = testNamePatterns.length > 0 ? { testNamePatterns } : {};
  const failed = new Set<string>();
  const counted = new Map<string, Counts>();
  for await (const event of run({ files: [...files], concurrency, ...named })) {
    if (event.type === 'test:fail' && event.data.todo === undefined)
      failed.add(event.data.file ?? event.data.name);
    if (event.type === 'test:summary') {
      if (event.data.file !== undefined) counted.set(event.data.file, event.data.counts);
    } else if (!(event.type === 'test:diagnostic' && isTotal(event.data))) {
      yield event;
    }
  }
  for (const file of files) {
    // A file that cannot be loaded has no counts, and one that ends badly after its tests counts no failure.
    const { failed: failures = 0, ...counts } = counted.get(file) ?? { tests: 1 };
    const success = !failed.has(file);
    results.set(file, { counts: { ...counts, failed: success ? failures : Math.max(1, failures) }, success });
  }
}

function isTotal({ nesting, message }: { readonly nesting: number; readonly message: string }): boolean {
  return nesting === 0 && summaryLine.test(message);
}

/**
 * All as one report. End-to-end files that failed run once more, one at a time: on a machine that was busy with something
 * else this tells a lost race from a fault. What failed stays in the report, and a file that passed only then is named.
 */
async function* everyRun(files: readonly string[]): AsyncIterable<Event> {
  const startedAt = performance.now();
  const results: Results = new Map();
  yield* eventsOf(
    files.filter((file) => !isEndToEnd(file)),
    availableParallelism(),
    results,
  );
  yield* eventsOf(files.filter(isEndToEnd), 2, results);
  const failed = failedOf(results);
  const again = failed.filter(isEndToEnd);
  // Many failures are no accident.
  if (again.length <= secondTriesMax) yield* eventsOf(again, 1, results);
  for (const file of failed.filter((name) => results.get(name)?.success === true)) {
    yield diagnostic(`${relative(home, file)} failed, and passed when it ran again: find out why`);
  }
  for (const line of totalsOf(results)) yield diagnostic(line);
  yield diagnostic(`duration_ms ${performance.now() - startedAt}`);
  if (failedOf(results).length > 0) process.exitCode = 1;
}

const secondTriesMax = 3;

const failedOf = (results: Results): readonly string[] =>
  [...results].filter(([, { success }]) => !success).map(([file]) => file);

/** Under the names and in the order of the runner's own. */
function totalsOf(results: Results): readonly string[] {
  const names = {
    tests: 'tests',
    suites: 'suites',
    pass: 'passed',
    fail: 'failed',
    cancelled: 'cancelled',
    skipped: 'skipped',
    todo: 'todo',
  };
  return Object.entries(names).map(
    ([title, name]) =>
      `${title} ${[...results.values()].reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0)}`,
  );
}

const diagnostic = (message: string): Event => ({
  type: 'test:diagnostic',
  data: { nesting: 0, message, level: 'info' },
});

// By itself kubectl keeps in the home folder what it has learned of servers, by their addresses, which other servers have in the next run.
const kubectlCache = mkdtempSync(join(tmpdir(), 'fairlead-kubectl-'));
process.env['KUBECACHEDIR'] = kubectlCache;
process.once('exit', () => rmSync(kubectlCache, { recursive: true, force: true }));

Readable.from(everyRun(findFiles())).compose(spec()).pipe(process.stdout);
