import { type Dirent, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { type ClusterConfig, pathsOf } from './config.ts';
import { readIfThere, writeWhole } from './pki.ts';

/** Where `up` put the user's context, so that `down` can take it out. */
export type MergedContext = {
  readonly file: string;
  /** Current before ours, to be restored. */
  readonly previous: string | undefined;
  /** The file did not exist; it is removed again if nothing else came into it. */
  readonly created: boolean;
};

/** A process that can be told apart from a later one with the same number. */
export type ProcessIdentity = {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  readonly startTicks: string;
};

/** What `cluster.json` holds. */
export type ClusterState = {
  readonly config: ClusterConfig;
  readonly merged?: MergedContext | undefined;
  readonly startedAtMs: number;
};

/** What `processes/NAME.json` holds; the kubelet reads it for the mirror Pods of dns and ingress. */
export type ProcessState = {
  readonly name: string;
  readonly pid: number;
  readonly startTicks: string;
  readonly startedAtMs: number;
  /** How often the supervisor started it again. */
  readonly restarts: number;
  readonly command: readonly string[];
  /** Sockets that it got as descriptors 3, 4, …, in words. */
  readonly descriptors: readonly string[];
};

export type BaseDirs = { readonly data: string; readonly run: string };

/** The default directories under which clusters live: the system's as root, otherwise the user's. */
export function baseDirs(env: Readonly<Record<string, string | undefined>>, uid: number): BaseDirs {
  if (uid === 0) return { data: '/var/lib/fairlead', run: '/run/fairlead' };
  const home = env['HOME'] ?? '/';
  return {
    data: posix.join(env['XDG_DATA_HOME'] ?? posix.join(home, '.local/share'), 'fairlead'),
    run: posix.join(env['XDG_RUNTIME_DIR'] ?? `/tmp/fairlead-${uid}`, 'fairlead'),
  };
}

export async function writeState(state: ClusterState): Promise<void> {
  const text = `${JSON.stringify(state, undefined, 2)}\n`;
  await writeWhole(pathsOf(state.config).clusterFile, text, 0o600);
  // The run directory does not outlive the machine; `up` after a restart finds the options here.
  await writeWhole(posix.join(state.config.dataDir, 'cluster.json'), text, 0o600);
}

/** The state of a cluster, or undefined when there is none of that name. Throws when the file cannot be understood. */
export async function readState(clusterFile: string): Promise<ClusterState | undefined> {
  const text = await readIfThere(clusterFile);
  if (text === undefined) return undefined;
  try {
    const state = JSON.parse(text) as ClusterState;
    if (typeof state.config.name !== 'string') throw new Error('no config.name');
    return state;
  } catch (cause) {
    throw new Error(`${clusterFile} is damaged; \`fairlead down\` removes what is left of the cluster`, {
      cause,
    });
  }
}

/** Notes where a cluster's data is when it is not at the default place, since a restart of the machine clears the run directory. */
const noteOf = (name: string, dirs: BaseDirs): string => posix.join(dirs.data, `${name}.json`);

/** Makes a cluster's data directory findable by its name alone. `forgetDataDir` takes that back. */
export async function rememberDataDir(config: ClusterConfig, dirs: BaseDirs): Promise<void> {
  if (config.dataDir === posix.join(dirs.data, config.name)) return;
  await mkdir(dirs.data, { recursive: true });
  await writeWhole(noteOf(config.name, dirs), `${JSON.stringify({ dataDir: config.dataDir })}\n`, 0o600);
}

export function forgetDataDir(name: string, dirs: BaseDirs): void {
  rmSync(noteOf(name, dirs), { force: true });
}

/** Files that may hold the state of the cluster, the surest first. `dataDir`: where the user says that its data is. */
export async function stateFiles(name: string, dirs: BaseDirs, dataDir?: string): Promise<readonly string[]> {
  const note = await readIfThere(noteOf(name, dirs));
  const noted = note === undefined ? undefined : (JSON.parse(note) as { readonly dataDir: string }).dataDir;
  const folders = [posix.join(dirs.run, name), noted, dataDir, posix.join(dirs.data, name)];
  return folders.flatMap((folder) => (folder === undefined ? [] : posix.join(folder, 'cluster.json')));
}

/** The state of a running or stopped cluster; undefined when there is none of that name. Throws like `readState`. */
export async function findState(
  name: string,
  dirs: BaseDirs,
  dataDir?: string,
): Promise<ClusterState | undefined> {
  for (const file of await stateFiles(name, dirs, dataDir)) {
    const state = await readState(file);
    if (state?.config.name === name) return state; // the directory that the user names may be another cluster's
  }
  return undefined;
}

/** Names of all clusters, running or stopped. */
export function clusterNames(dirs: BaseDirs): readonly string[] {
  const running = entriesOf(dirs.run).filter((entry) => entry.isDirectory());
  const stored = entriesOf(dirs.data).filter((entry) =>
    entry.isDirectory()
      ? existsSync(posix.join(dirs.data, entry.name, 'cluster.json'))
      : entry.name.endsWith('.json'),
  );
  return [...new Set([...running, ...stored].map(({ name }) => name.replace(/\.json$/, '')))].toSorted();
}

/** Ports that other clusters have for their API servers, running, stopped or about to start. */
export async function otherApiPorts(name: string, dirs: BaseDirs): Promise<ReadonlySet<number>> {
  const others = clusterNames(dirs).filter((other) => other !== name);
  // One whose state cannot be read is told of where it is started or removed.
  const states = await Promise.all(others.map((other) => findState(other, dirs).catch(() => undefined)));
  return new Set(states.flatMap((state) => state?.config.apiPort ?? []));
}

function entriesOf(dir: string): readonly Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Start time of a live process, in ticks since boot; undefined when there is none (or only its zombie is left). */
export function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may contain spaces and parentheses: fields begin after the last ')'.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined; // no such process
  }
}

export function isAlive(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && startTicksOf(identity.pid) === identity.startTicks;
}

/** All process files of a cluster, by process name. Files that cannot be read are left out: they are then replaced. */
export function readProcessStates(config: ClusterConfig): ReadonlyMap<string, ProcessState> {
  const states = new Map<string, ProcessState>();
  const dir = pathsOf(config).processes;
  let files: readonly string[];
  try {
    files = readdirSync(dir);
  } catch {
    return states; // not started yet
  }
  for (const file of files) {
    if (!file.endsWith('.json')) continue;
    try {
      const state = JSON.parse(readFileSync(posix.join(dir, file), 'utf8')) as ProcessState;
      states.set(state.name, state);
    } catch {
      // written by a version we do not know, or removed meanwhile
    }
  }
  return states;
}
