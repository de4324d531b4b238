/**
 * `npm run lock`: writes package-lock.json anew from package.json, complete for every platform.
 *
 * Where a registry lacks an optional package of another platform, npm leaves it out of the lock file, and `npm ci` then
 * refuses that file everywhere. The missing entries are added from what their parents say: name and version; system,
 * processor and C library are part of these packages' names.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Entry = {
  readonly version?: string;
  readonly name?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
};
type Lock = { readonly packages: Readonly<Record<string, Entry>> };

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const processors = [
  'arm64',
  'x64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
];

/** The lock file with an entry for each optional package that another entry names. Pure. */
export function completeLock(lock: Lock): Lock {
  const added: Record<string, Entry> = {};
  for (const [path, parent] of Object.entries(lock.packages)) {
    if (path === '') continue; // our own optional packages must be found
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const key = `node_modules/${name}`;
      if (lock.packages[key] === undefined) added[key] = platformEntry(name, version, parent.dev === true);
    }
  }
  const packages = { ...lock.packages, ...added };
  return {
    ...lock,
    packages: Object.fromEntries(
      Object.keys(packages)
        .toSorted()
        .map((key) => [key, packages[key] ?? {}]),
    ),
  };
}

function platformEntry(name: string, version: string, dev: boolean): Entry {
  const words = name.split(/[-/]/);
  const os = systems.find((system) => words.includes(system));
  const cpu = processors.find((processor) => words.includes(processor));
  const libc = words.some((word) => word.startsWith('musl'))
    ? 'musl'
    : words.some((word) => word.startsWith('gnu'))
      ? 'glibc'
      : undefined;
  return {
    version: version.replace(/^[\^~]/, ''),
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(dev ? { dev } : {}),
    ...(libc === undefined ? {} : { libc: [libc] }),
    optional: true,
    ...(os === undefined ? {} : { os: [os] }),
  };
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-lock-'));
  try {
    copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
    execFileSync('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], {
      cwd: folder,
      stdio: 'inherit',
    });
    const lock: Lock & { name?: string } = JSON.parse(
      readFileSync(join(folder, 'package-lock.json'), 'utf8'),
    );
    writeFileSync(
      join(root, 'package-lock.json'),
      `${JSON.stringify({ ...completeLock(lock), name: 'fairlead' }, undefined, 2)}\n`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
