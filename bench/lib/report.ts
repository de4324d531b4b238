/** How figures are summed up and where they go. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';

const benchmarks = join(import.meta.dirname, '../../docs/benchmarks.md');

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Nearest-rank percentile; NaN of nothing. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1))] ??
    Number.NaN
  );
}

/** The machine in a few words, so that a figure is never read without it. */
export function machineLine(): string {
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${memoryGib} GiB, Linux ${release().split('-')[0]}, Node ${process.versions.node}`;
}

/** Replaces the text between `<!-- NAME -->` and `<!-- /NAME -->` in docs/benchmarks.md. */
export function writeSection(name: string, text: string): void {
  const document = readFileSync(benchmarks, 'utf8');
  const open = `<!-- ${name} -->`;
  const close = `<!-- /${name} -->`;
  const from = document.indexOf(open);
  const to = document.indexOf(close);
  if (from === -1 || to === -1) throw new Error(`docs/benchmarks.md has no section ${open} … ${close}`);
  // Who answered nothing has no figures.
  const told = text.replaceAll('NaN', '–');
  writeFileSync(benchmarks, `${document.slice(0, from + open.length)}\n${told}\n${document.slice(to)}`);
}
