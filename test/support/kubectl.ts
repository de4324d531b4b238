import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunResult, run, runOk } from './shell.ts';

/** A kubectl with its kubeconfig; command lines as one would type them. */
export type Kubectl = {
  /** Must succeed; standard output without the line end. */
  ok(line: string): Promise<string>;
  /** Must succeed; standard error, where kubectl writes warnings. */
  warnings(line: string): Promise<string>;
  /** Must fail; standard error. */
  fails(line: string): Promise<string>;
  /** Writes the objects to a file and tells its path. The next call writes another one. */
  file(...objects: readonly object[]): string;
};

/** `folder` holds the cache and the files. Arguments are split at spaces; a part in '…' stays whole. */
export function kubectlOf(path: string, kubeconfig: string, folder: string): Kubectl {
  let files = 0;
  const args = (line: string): readonly string[] => [
    `--cache-dir=${join(folder, 'cache')}`,
    `--kubeconfig=${kubeconfig}`,
    ...[...line.matchAll(/'([^']*)'|\S+/g)].map((part) => part[1] ?? part[0]),
  ];
  return {
    ok: async (line) => (await runOk(path, args(line))).trim(),
    async warnings(line) {
      const result: RunResult = await run(path, args(line));
      assert.equal(result.code, 0, result.stderr);
      return result.stderr;
    },
    async fails(line) {
      const result: RunResult = await run(path, args(line));
      assert.notEqual(result.code, 0, `should have failed: ${line}\n${result.stdout}`);
      return result.stderr;
    },
    file(...objects) {
      const name = join(folder, `objects-${files++}.json`);
      const [only, second] = objects;
      const value = second === undefined ? only : { apiVersion: 'v1', kind: 'List', items: objects };
      writeFileSync(name, JSON.stringify(value));
      return name;
    },
  };
}
