import { posix } from 'node:path';
import type { TarEntry } from '../../src/base/tar.ts';
import { readElf } from './elf.ts';

/** Every file of a set of packages by its path in a merged-/usr tree ("usr/bin/caddy"). */
export type FilePool = {
  readonly entries: ReadonlyMap<string, TarEntry>;
  /** Which package a path came from. */
  readonly packageOf: ReadonlyMap<string, string>;
};

/** What one image takes from its packages and what it adds of its own. */
export type RootfsPlan = {
  /** Paths in the packages; one that ends with "/" means everything below it. */
  readonly include: readonly string[];
  /** Path → content; a path that a package also has is replaced. */
  readonly files: ReadonlyMap<string, { readonly data: Uint8Array; readonly mode?: number }>;
  /** Path → target, as `ln -s TARGET PATH`. */
  readonly symlinks: ReadonlyMap<string, string>;
  /** Empty directories, with their modes. */
  readonly directories: ReadonlyMap<string, number>;
};

/** Top directories that are symbolic links into /usr, so that packages from before and after that change fit together. */
const mergedDirectories = ['bin', 'sbin', 'lib', 'lib64'] as const;
const SYMLINK_HOPS_MAX = 16;

/** Merges the packages' own archives. Later packages win. */
export function poolOf(packages: Iterable<readonly [name: string, entries: Iterable<TarEntry>]>): FilePool {
  const entries = new Map<string, TarEntry>();
  const packageOf = new Map<string, string>();
  for (const [name, archive] of packages) {
    for (const entry of archive) {
      const path = mergedPath(entry.path);
      if (entry.kind === 'hardlink') {
        const original = entries.get(mergedPath(entry.target));
        if (original !== undefined) entries.set(path, { ...original, path });
      } else if (entry.kind !== 'directory') {
        entries.set(path, { ...entry, path });
      }
      packageOf.set(path, name);
    }
  }
  return { entries, packageOf };
}

/**
 * The image's files in archive order: parents first, names sorted, all owned by root, times zero, so that equal
 * packages give equal bytes. Every dynamic program or library pulls in its loader and libraries, every link its
 * target, every package its copyright file. Throws if something is in no package.
 */
export function assembleRootfs(pool: FilePool, plan: RootfsPlan): readonly TarEntry[] {
  const chosen = new Map<string, TarEntry>();
  const queue = plan.include.flatMap((path) => expand(pool, path));
  for (const path of plan.symlinks.keys()) chosen.set(path, link(path, plan.symlinks.get(path) ?? ''));
  for (const [path, { data, mode }] of plan.files) chosen.set(path, { kind: 'file', path, data, mode });
  const libraries = libraryIndex(pool);
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (chosen.has(path)) continue;
    const entry = pool.entries.get(path);
    if (entry === undefined) throw new Error(`no package of this image has the file ${path}`);
    chosen.set(path, { ...entry, uid: 0, gid: 0, mtimeSeconds: 0 });
    if (entry.kind === 'symlink') queue.push(targetOf(path, entry.target));
    if (entry.kind === 'file') queue.push(...librariesOf(path, entry.data, libraries));
  }
  addCopyrights(pool, chosen);
  return withDirectories(chosen, plan.directories);
}

/** "lib/x" → "usr/lib/x". */
export function mergedPath(path: string): string {
  const first = path.split('/', 1)[0] ?? '';
  return (mergedDirectories as readonly string[]).includes(first) ? `usr/${path}` : path;
}

function expand(pool: FilePool, path: string): readonly string[] {
  if (!path.endsWith('/')) return [path];
  const below = [...pool.entries.keys()].filter((candidate) => candidate.startsWith(path));
  if (below.length === 0) throw new Error(`no package of this image has files below ${path}`);
  return below;
}

function targetOf(path: string, target: string): string {
  const absolute = posix.resolve('/', posix.dirname(path), target);
  return mergedPath(absolute.slice(1));
}

function librariesOf(
  path: string,
  data: Uint8Array,
  libraries: ReadonlyMap<string, string>,
): readonly string[] {
  const elf = readElf(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  if (elf === undefined) return [];
  const found = elf.needed.map((soname) => {
    const library = libraries.get(soname);
    if (library === undefined) throw new Error(`no package of this image has ${soname}, which ${path} needs`);
    return library;
  });
  return elf.interpreter === undefined ? found : [...found, targetOf('', elf.interpreter)];
}

/** Soname → path, in the loader's directories: /usr/lib and the directory below it that is named by the architecture. */
function libraryIndex(pool: FilePool): ReadonlyMap<string, string> {
  const index = new Map<string, string>();
  for (const path of pool.entries.keys()) {
    if (/^usr\/lib(64)?\/([a-z0-9_]+-linux-gnu\/)?[^/]+\.so(\.[^/]*)?$/.test(path))
      index.set(posix.basename(path), path);
  }
  return index;
}

/** Debian's packages may be passed on with their licences; so the licences go with the files. */
function addCopyrights(pool: FilePool, chosen: Map<string, TarEntry>): void {
  const used = new Set([...chosen.keys()].map((path) => pool.packageOf.get(path)));
  for (const name of used) {
    const path = `usr/share/doc/${name}/copyright`;
    let entry = pool.entries.get(path);
    for (let hops = 0; entry?.kind === 'symlink' && hops < SYMLINK_HOPS_MAX; hops++) {
      entry = pool.entries.get(targetOf(entry.path, entry.target));
    }
    if (entry?.kind === 'file') chosen.set(path, { kind: 'file', path, data: entry.data });
  }
}

function withDirectories(
  chosen: ReadonlyMap<string, TarEntry>,
  directories: ReadonlyMap<string, number>,
): readonly TarEntry[] {
  const all = new Map(chosen);
  for (const name of mergedDirectories) all.set(name, link(name, `usr/${name}`));
  for (const name of mergedDirectories) addDirectories(all, `usr/${name}/x`);
  for (const path of chosen.keys()) addDirectories(all, path);
  for (const [path, mode] of directories) {
    addDirectories(all, path);
    all.set(path, { kind: 'directory', path, mode });
  }
  return [...all.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function addDirectories(all: Map<string, TarEntry>, path: string): void {
  for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
    if (!all.has(parent)) all.set(parent, { kind: 'directory', path: parent, mode: 0o755 });
  }
}

function link(path: string, target: string): TarEntry {
  return { kind: 'symlink', path, target, mode: 0o777 };
}
