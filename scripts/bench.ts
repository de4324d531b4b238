/** `npm run bench -- NAME [options]`: runs bench/NAME.bench.ts; `--help` shows what it says of itself; without a name lists them. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(import.meta.dirname, '../bench');
const [name, ...options] = process.argv.slice(2);
const file = join(folder, `${name}.bench.ts`);
if (name === undefined || !existsSync(file)) {
  const names = globSync('**/*.bench.ts', { cwd: folder }).map((path) => path.slice(0, -'.bench.ts'.length));
  console.log(`usage: npm run bench -- NAME [options]\nbenchmarks: ${names.join(', ')}`);
  process.exitCode = name === undefined ? 0 : 2;
} else if (options.includes('--help')) {
  const [, comment = ''] = /\/\*\*([^]*?)\*\//.exec(readFileSync(file, 'utf8')) ?? [];
  console.log(comment.replaceAll(/^ *\* ?/gm, '').trim());
} else {
  const result = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', file, ...options], {
    stdio: 'inherit',
  });
  process.exitCode = result.status ?? 1;
}
