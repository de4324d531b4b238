/**
 * Compiles every source and every package that Fairlead loads into the runtime's compile cache. Without it each process of a
 * cluster's first start strips the types of all its sources: it takes twice as long, and half as much memory again.
 * Run by bootstrap.mjs when sources or packages are newer than the cache. Fairlead works without it, too.
 */
import { globSync, readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { createAuthority } from '../src/base/certificates.ts';

const home = join(import.meta.dirname, '..');

// Importing has no effects but loading: the main file runs only when it is started itself.
for (const file of globSync('src/**/*.ts', { cwd: home })) {
  if (!file.endsWith('.test.ts')) await import(join(home, file));
}
await createAuthority('warm', new Date(0), new Date(1)); // readies what the X.509 library wants to find
const { dependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};
for (const name of Object.keys(dependencies)) await import(name);
flushCompileCache();
