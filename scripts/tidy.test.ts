import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { tidy } from './tidy.ts';

const cases = [
  {
    name: 'a clean pure file passes',
    path: 'src/l4/run.ts',
    text: 'export const a = 1;\n',
    want: 'nothing imports',
  },
  {
    name: 'siblings never import each other',
    path: 'src/l4/run.ts',
    text: "import '../l7/x.ts';\n",
    want: 'l4 must not import l7',
  },
  {
    name: 'a lower layer never imports a higher one',
    path: 'src/base/ip.ts',
    text: "import '../api/x.ts';\n",
    want: 'base must not import api',
  },
  {
    name: 'a pure file has no clock',
    path: 'src/l4/compile.ts',
    text: 'export const a = () => Date.now();\n',
    want: 'uses Date.now(',
  },
  {
    name: 'a pure file has no I/O',
    path: 'src/dns/answer.ts',
    text: "import 'node:fs';\n",
    want: 'imports node:fs',
  },
  { name: 'noise names are refused', path: 'src/api/utils.ts', text: '', want: 'name the file after' },
  {
    name: 'long files are refused',
    path: 'src/l4/run.ts',
    text: '\n'.repeat(600),
    want: 'two ideas in one file',
  },
  {
    name: 'loose ends are refused',
    path: 'src/l4/run.ts',
    text: '// FIX' + 'ME later\n',
    want: 'left behind',
  },
];

for (const { name, path, text, want } of cases) {
  test(`tidy: ${name}`, () => {
    const root = mkdtempSync(join(tmpdir(), 'tidy-'));
    try {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), text);
      assert.match(tidy(root).join('\n'), new RegExp(want.replaceAll(/[().]/g, '\\$&')));
    } finally {
      rmSync(root, { recursive: true });
    }
  });
}
