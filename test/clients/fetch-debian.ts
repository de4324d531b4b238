import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Brings Debian's kubectl (1.20) into test/clients/debian, where the tests find it beside the machine's own, without
 * installing it: `node test/clients/fetch-debian.ts`. Needs apt-get and dpkg-deb.
 */
const target = join(import.meta.dirname, 'debian');
const folder = mkdtempSync(join(tmpdir(), 'fairlead-debian-'));
try {
  execFileSync('apt-get', ['download', 'kubernetes-client'], { cwd: folder, stdio: 'ignore' });
  for (const name of readdirSync(folder)) {
    rmSync(target, { recursive: true, force: true });
    execFileSync('dpkg-deb', ['-x', join(folder, name), target]);
  }
  process.stdout.write(`kubectl is at ${join(target, 'usr/bin/kubectl')}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
