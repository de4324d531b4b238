import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** Packages that one image may be made of; a closure beyond this means that the recipe is wrong. */
const CLOSURE_PACKAGES_MAX = 200;

/** What a recipe's packages turn into: archives on this disk, with the versions that went into them. */
export type PackageFile = { readonly name: string; readonly path: string };

type Apt = {
  /** Runs one apt tool with this cache's options; returns its standard output. */
  run(tool: 'apt-get' | 'apt-cache', args: readonly string[], cwd?: string): Promise<string>;
};

/** The machine cannot build images: the message says what to install or to run. */
export class ImageToolError extends Error {
  override readonly name: string = 'ImageToolError';
}

/** A program of Debian's that this needs is not there. */
export class MissingToolError extends ImageToolError {
  override readonly name = 'MissingToolError';
}

/** Debian's name of this machine's architecture. */
export function debianArchitecture(arch: NodeJS.Architecture = process.arch): 'amd64' | 'arm64' {
  if (arch === 'x64') return 'amd64';
  if (arch === 'arm64') return 'arm64';
  throw new ImageToolError(`images can be built on amd64 and arm64, not on ${arch}`);
}

/**
 * Downloads each group's packages and the libraries they depend on into `directory`, by the machine's own apt.
 * All groups in one call, because each call of an apt tool reads the whole list of packages for a second.
 * Files that are there already are not asked for again.
 */
export async function fetchPackages<Group>(
  groups: ReadonlyMap<Group, readonly string[]>,
  directory: string,
  onProgress: (line: string) => void,
): Promise<ReadonlyMap<Group, readonly PackageFile[]>> {
  await mkdir(directory, { recursive: true });
  onProgress('looking up the packages');
  let resolution = await resolve(groups, directory, onProgress);
  try {
    await downloadMissing(resolution, directory, onProgress);
  } catch (error) {
    if (!(error instanceof ImageToolError) || error instanceof MissingToolError) throw error;
    // Old lists name package versions that the mirror no longer has.
    resolution = await resolveAfterUpdate(groups, directory, onProgress);
    await downloadMissing(resolution, directory, onProgress);
  }
  const { closures, wanted } = resolution;
  const result = new Map<Group, readonly PackageFile[]>();
  for (const [group, names] of closures) {
    const files = names.flatMap((name) => wanted.get(name) ?? []);
    result.set(
      group,
      files.map(({ name, file }) => ({ name, path: join(directory, file) })),
    );
  }
  return result;
}

export type WantedPackage = { readonly name: string; readonly file: string; readonly bytes: number };

/** Lines of `apt-get download --print-uris`: 'URI' FILE BYTES DIGEST. */
export function parseUris(output: string): readonly WantedPackage[] {
  return output.split('\n').flatMap((line) => {
    const match = /^'\S+' (\S+) (\d+) /.exec(line);
    if (match?.[1] === undefined) return [];
    const name = match[1].split('_')[0] ?? match[1];
    return [{ name, file: match[1], bytes: Number(match[2]) }];
  });
}

/**
 * Output of `apt-cache depends --recurse`: a package's name at the margin, its dependencies indented.
 * Of alternatives (`|`) the first is taken; a virtual package (`<name>`) stands for nothing here.
 */
export function parseDependencies(output: string): ReadonlyMap<string, readonly string[]> {
  const result = new Map<string, string[]>();
  let current: string[] = [];
  let alternative = false;
  for (const line of output.split('\n')) {
    if (line === '' || line.startsWith('<')) {
      current = [];
    } else if (!line.startsWith(' ')) {
      current = [];
      result.set(line, current);
    } else {
      const match = /^ ( |\|)(?:Pre)?Depends: (\S+)$/.exec(line);
      if (match?.[2] === undefined) continue; // a provider of a virtual package
      if (!alternative && !match[2].startsWith('<')) current.push(match[2]);
      alternative = match[1] === '|';
    }
  }
  return result;
}

/**
 * The roots and every library package that they reach through library packages. What else a package
 * depends on (debconf, maintainer scripts' tools) has no use in an image where no package is ever configured.
 */
export function libraryClosure(
  roots: readonly string[],
  dependencies: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const reached = new Set(roots);
  for (const name of reached) {
    for (const next of dependencies.get(name) ?? []) {
      if (isLibraryPackage(next)) reached.add(next);
    }
  }
  return [...reached].toSorted();
}

function isLibraryPackage(name: string): boolean {
  return name.startsWith('lib') || name.endsWith('-libs') || name === 'zlib1g';
}

type Resolution<Group> = {
  readonly apt: Apt;
  readonly closures: ReadonlyMap<Group, readonly string[]>;
  readonly wanted: ReadonlyMap<string, WantedPackage>;
};

/** Tries the machine's package lists, then lists of our own, then those after an update. */
async function resolve<Group>(
  groups: ReadonlyMap<Group, readonly string[]>,
  directory: string,
  onProgress: (line: string) => void,
): Promise<Resolution<Group>> {
  const known =
    (await tryResolve(aptWith([]), groups)) ?? (await tryResolve(await aptWithOwnLists(directory), groups));
  return known ?? (await resolveAfterUpdate(groups, directory, onProgress));
}

async function resolveAfterUpdate<Group>(
  groups: ReadonlyMap<Group, readonly string[]>,
  directory: string,
  onProgress: (line: string) => void,
): Promise<Resolution<Group>> {
  const apt = await aptWithOwnLists(directory);
  onProgress('reading the package lists (apt-get update)');
  await apt.run('apt-get', ['update']);
  const updated = await tryResolve(apt, groups);
  if (updated !== undefined) return updated;
  const names = [...new Set([...groups.values()].flat())];
  throw new ImageToolError(
    `apt knows no package for one of: ${names.join(', ')}. The images are made from Debian's packages: ` +
      'on Debian 12 or later check /etc/apt/sources.list; elsewhere bring images by `fairlead image import FILE`',
  );
}

/** Lists of our own, so that neither root's rights are needed nor the machine's apt state is changed. */
async function aptWithOwnLists(directory: string): Promise<Apt> {
  const state = join(directory, 'apt');
  await mkdir(join(state, 'lists', 'partial'), { recursive: true });
  return aptWith(['-o', `Dir::State::Lists=${join(state, 'lists')}`, '-o', `Dir::Cache=${state}`]);
}

/** Undefined where these lists do not know all packages, or not where to download them. */
async function tryResolve<Group>(
  apt: Apt,
  groups: ReadonlyMap<Group, readonly string[]>,
): Promise<Resolution<Group> | undefined> {
  const roots = [...new Set([...groups.values()].flat())];
  const excluded = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
  const options = excluded.map((relation) => `--no-${relation}`);
  try {
    const dependencies = parseDependencies(
      await apt.run('apt-cache', ['depends', '--recurse', ...options, ...roots]),
    );
    if (!roots.every((name) => dependencies.has(name))) return undefined;
    const closures = new Map(
      [...groups].map(([group, names]) => [group, libraryClosure(names, dependencies)]),
    );
    const all = [...new Set([...closures.values()].flat())];
    if (all.length > CLOSURE_PACKAGES_MAX) {
      throw new RangeError(
        `${roots.join(', ')} need ${all.length} packages; the bound is ${CLOSURE_PACKAGES_MAX}`,
      );
    }
    const uris = parseUris(await apt.run('apt-get', ['download', '--print-uris', ...all]));
    return { apt, closures, wanted: new Map(uris.map((entry) => [entry.name, entry])) };
  } catch (error) {
    if (error instanceof ImageToolError && !(error instanceof MissingToolError)) return undefined;
    throw error;
  }
}

function aptWith(options: readonly string[]): Apt {
  const sandbox = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
  return { run: (name, args, cwd) => tool(name, [...options, ...sandbox, '-q', ...args], cwd) };
}

async function downloadMissing(
  { apt, wanted }: Resolution<unknown>,
  directory: string,
  onProgress: (line: string) => void,
): Promise<void> {
  const missing: WantedPackage[] = [];
  for (const entry of wanted.values()) {
    if ((await sizeOf(join(directory, entry.file))) !== entry.bytes) missing.push(entry);
  }
  if (missing.length === 0) return;
  const megabytes = missing.reduce((sum, { bytes }) => sum + bytes, 0) / 1e6;
  onProgress(`downloading ${missing.length} packages, ${megabytes.toFixed(1)} MB`);
  // Into a directory of our own and then renamed: a build that is stopped halfway, or two at once, leave only whole files.
  const landing = await mkdtemp(join(directory, 'download-'));
  try {
    await apt.run('apt-get', ['download', ...missing.map(({ name }) => name)], landing);
    for (const file of await readdir(landing)) await rename(join(landing, file), join(directory, file));
  } finally {
    await rm(landing, { recursive: true, force: true });
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch {
    return undefined; // not there yet
  }
}

async function tool(command: string, args: readonly string[], cwd: string | undefined): Promise<string> {
  try {
    const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
    const { stdout } = await run(command, [...args], { cwd, env, maxBuffer: OUTPUT_BYTES_MAX });
    return stdout;
  } catch (cause) {
    const failure = cause as { readonly code?: unknown; readonly stderr?: string };
    if (failure.code === 'ENOENT') {
      throw new MissingToolError(
        `${command} was not found. Test images are made from Debian packages: run this on Debian or Ubuntu, ` +
          'or bring images by `fairlead image import FILE`',
        { cause },
      );
    }
    throw new ImageToolError(`${command} failed: ${(failure.stderr ?? String(cause)).trim()}`, { cause });
  }
}
