#!/usr/bin/env node
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createOciArchive, writeOciArchive } from '../../src/base/oci-archive.ts';
import { parseTar, type TarEntry } from '../../src/base/tar.ts';
import { debianArchitecture, fetchPackages, ImageToolError, type PackageFile } from './packages.ts';
import { type ImageName, imageNames, type Recipe, recipes } from './recipes.ts';
import { assembleRootfs, poolOf } from './rootfs.ts';

const run = promisify(execFile);
/** The biggest package that is taken apart in memory, bytes. */
const PACKAGE_BYTES_MAX = 256 * 1024 * 1024;
const repository = resolve(import.meta.dirname, '../..');
const triplets = { amd64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;

/** An OCI archive on this disk, ready for `fairlead image import` or `ctr images import`. */
export type ImageArchive = {
  readonly name: ImageName;
  /** `docker.io/library/caddy:latest`. */
  readonly reference: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** True if an earlier build was taken as it was. */
  readonly cached: boolean;
};

export type BuildOptions = {
  /** Where archives and downloaded packages are kept. Default `.cache/images` in the repository. */
  readonly cacheDirectory?: string | undefined;
  /** Also puts each archive there, as NAME.tar. */
  readonly outDirectory?: string | undefined;
};

/**
 * Builds the named images from Debian packages, or takes them from the cache where recipe and tool are unchanged.
 * Rejects with ImageToolError, whose message says what to do, where this machine cannot build them.
 */
export async function buildImages(
  names: readonly string[],
  options: BuildOptions = {},
  onProgress: (line: string) => void = () => {},
): Promise<readonly ImageArchive[]> {
  const unknown = names.find((name) => !isImageName(name));
  if (unknown !== undefined) {
    throw new ImageToolError(`there is no image ${unknown}; there are: ${imageNames.join(', ')}`);
  }
  const cache = options.cacheDirectory ?? join(repository, '.cache', 'images');
  const architecture = debianArchitecture();
  const targets = await Promise.all(
    names.filter(isImageName).map(async (name) => {
      const digest = await digestOfSources(recipes[name].inputs ?? []);
      return { name, path: join(cache, `${name}-${architecture}-${digest.slice(0, 16)}.tar`) };
    }),
  );
  const missing: Target[] = [];
  for (const target of targets) if ((await sizeOf(target.path)) === undefined) missing.push(target);
  if (missing.length > 0) await buildMissing(missing, cache, architecture, onProgress);
  const archives: ImageArchive[] = [];
  for (const target of targets) {
    const { reference } = recipes[target.name];
    const sizeBytes = (await stat(target.path)).size;
    const archive = { ...target, reference, sizeBytes, cached: !missing.includes(target) };
    archives.push(options.outDirectory === undefined ? archive : await copyTo(options.outDirectory, archive));
  }
  return archives;
}

type Target = { readonly name: ImageName; readonly path: string };

async function buildMissing(
  targets: readonly Target[],
  cache: string,
  architecture: 'amd64' | 'arm64',
  onProgress: (line: string) => void,
): Promise<void> {
  const groups = new Map(targets.map((target) => [target, recipes[target.name].packages]));
  const packages = await fetchPackages(groups, join(cache, 'packages'), onProgress);
  for (const [{ name, path }, files] of packages) {
    const recipe = recipes[name];
    onProgress(`${recipe.reference}: assembling from ${files.length} packages`);
    const sizeBytes = await writeImage(recipe, files, architecture, path);
    await dropOldArchives(cache, name, path);
    onProgress(`${recipe.reference}: built, ${(sizeBytes / 1e6).toFixed(1)} MB`);
  }
}

/** Puts one image together and writes it to `path`, whole or not at all. Returns its size in bytes. */
export async function writeImage(
  { reference, config, plan }: Pick<Recipe, 'reference' | 'config' | 'plan'>,
  packages: readonly PackageFile[],
  architecture: 'amd64' | 'arm64',
  path: string,
): Promise<number> {
  const pool = poolOf(await Promise.all(packages.map(readPackage)));
  const layer = assembleRootfs(pool, plan(pool, triplets[architecture]));
  const archive = createOciArchive({ tags: [reference], architecture, config, layers: [layer] });
  const unfinished = `${path}.${process.pid}`;
  await writeOciArchive(archive, unfinished);
  await rename(unfinished, path); // so that two builds at once, or one stopped halfway, leave only whole archives
  return archive.sizeBytes;
}

async function readPackage(file: PackageFile): Promise<readonly [string, Iterable<TarEntry>]> {
  const { stdout } = await run('dpkg-deb', ['--fsys-tarfile', file.path], {
    encoding: 'buffer',
    maxBuffer: PACKAGE_BYTES_MAX,
  });
  return [file.name, parseTar(stdout)];
}

/** Archives of earlier recipes: an unchanged name with another key. */
async function dropOldArchives(cache: string, name: ImageName, current: string): Promise<void> {
  const own = new RegExp(`^${name}-(amd64|arm64)-[0-9a-f]{16}\\.tar$`);
  for (const file of await readdir(cache)) {
    if (own.test(file) && join(cache, file) !== current) await rm(join(cache, file), { force: true });
  }
}

async function copyTo(directory: string, archive: ImageArchive): Promise<ImageArchive> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${archive.name}.tar`);
  await copyFile(archive.path, path);
  return { ...archive, path };
}

/** The key of the cache: whatever decides over an archive's bytes except the packages' versions. */
async function digestOfSources(inputs: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  const own = await readdir(import.meta.dirname, { recursive: true, withFileTypes: true });
  const paths = own
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts') && !entry.name.endsWith('.md'))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const name of ['tar.ts', 'oci-archive.ts']) paths.push(join(repository, 'src', 'base', name));
  for (const name of globSync([...inputs], { cwd: repository })) paths.push(join(repository, name));
  for (const path of paths.toSorted())
    hash.update(`${path.slice(repository.length)}\0`).update(await readFile(path));
  return hash.digest('hex');
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch {
    return undefined; // not built yet
  }
}

const usage = `Builds Fairlead's own image and those of its tests from Debian packages, as OCI archives.

  node tools/images/build.ts [--out DIR] [--cache-dir DIR] [NAME…]

Names: ${imageNames.join(', ')}; without one, all of them.`;

function isImageName(name: string): name is ImageName {
  return (imageNames as readonly string[]).includes(name);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string' },
      'cache-dir': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    console.log(usage);
    return;
  }
  const names = positionals.length === 0 ? imageNames : positionals;
  const options = { outDirectory: values.out, cacheDirectory: values['cache-dir'] };
  const archives = await buildImages(names, options, (line) => console.error(line));
  for (const { reference, path, sizeBytes } of archives) {
    console.log(`${reference}\t${(sizeBytes / 1e6).toFixed(1)} MB\t${path}`);
  }
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.error(error instanceof ImageToolError ? error.message : error);
    process.exitCode = 1;
  }
}
